//! An endpoint, declared once: its route, its place in the OpenAPI document and what is required of
//! whoever asks come from the same lines. A declaration begins with its requirement, so that none can
//! be forgotten, and the requirement chooses the listener, so that what is for operators cannot be
//! served to anyone by mistake.

mod document;
mod origins;
mod page;
mod place;
mod requirement;
mod router;
mod schema;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::handler::Handler;
use axum::http::StatusCode;
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::{JsonSchema, Schema, SchemaGenerator};

pub(super) use document::openapi;
pub(super) use origins::OtherOrigins;
pub(super) use page::authorization;
pub(super) use requirement::{ListenerName, Requirement};
pub(super) use router::router;

use crate::app::App;
use place::IssuerPath;

/// Bodies as the HTML standard encodes forms: those of OAuth (RFC 6749 appendix B).
const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// Writes the schema of a type.
type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// The methods that endpoints take.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

/// What is said of an endpoint, as long as nothing answers it.
pub(super) struct Declaration {
    method: Method,
    path: &'static str,
    requirement: Requirement,
    summary: &'static str,
    is_for_operators_too: bool,
    other_origins: OtherOrigins,
    issuer_path: IssuerPath,
    parameters: Vec<(&'static str, &'static str)>,
    query: Option<SchemaOf>,
    body: Option<Body>,
    answers: Vec<Answer>,
}

/// An endpoint: what is said of it, and what answers it.
pub(super) struct Endpoint {
    declaration: Declaration,
    handler: MethodRouter<Arc<App>>,
}

/// The body of a request.
struct Body {
    media_type: &'static str,
    schema: SchemaOf,
    is_required: bool,
}

/// One kind of answer.
struct Answer {
    status: StatusCode,
    description: &'static str,
    content: Content,
    headers: Vec<(&'static str, &'static str)>,
}

/// The body of an answer.
enum Content {
    Nothing,
    Bytes { media_type: &'static str },
    Json { media_type: &'static str, schema: SchemaOf },
    Problem { reasons: &'static [&'static str] },
}

/// Declares `GET path`. `summary` is a sentence that says what the endpoint does.
pub(super) fn get(
    path: &'static str,
    requirement: Requirement,
    summary: &'static str,
) -> Declaration {
    Declaration::new(Method::Get, path, requirement, summary)
}

/// Declares `POST path`.
pub(super) fn post(
    path: &'static str,
    requirement: Requirement,
    summary: &'static str,
) -> Declaration {
    Declaration::new(Method::Post, path, requirement, summary)
}

/// Declares `PUT path`.
pub(super) fn put(
    path: &'static str,
    requirement: Requirement,
    summary: &'static str,
) -> Declaration {
    Declaration::new(Method::Put, path, requirement, summary)
}

/// Declares `PATCH path`.
pub(super) fn patch(
    path: &'static str,
    requirement: Requirement,
    summary: &'static str,
) -> Declaration {
    Declaration::new(Method::Patch, path, requirement, summary)
}

/// Declares `DELETE path`.
pub(super) fn delete(
    path: &'static str,
    requirement: Requirement,
    summary: &'static str,
) -> Declaration {
    Declaration::new(Method::Delete, path, requirement, summary)
}

impl Method {
    /// As it stands in a request.
    fn word(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Put => MethodFilter::PUT,
            Self::Patch => MethodFilter::PATCH,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

impl Declaration {
    fn new(
        method: Method,
        path: &'static str,
        requirement: Requirement,
        summary: &'static str,
    ) -> Self {
        Self {
            method,
            path,
            requirement,
            summary,
            is_for_operators_too: false,
            other_origins: OtherOrigins::None,
            issuer_path: IssuerPath::Nowhere,
            parameters: Vec::new(),
            query: None,
            body: None,
            answers: Vec::new(),
        }
    }

    /// Says what `{name}` of the path is.
    pub(super) fn parameter(mut self, name: &'static str, description: &'static str) -> Self {
        self.parameters.push((name, description));
        self
    }

    /// The members of `T` are the parameters of the query.
    pub(super) fn query<T: JsonSchema>(mut self) -> Self {
        self.query = Some(schema::of::<T>);
        self
    }

    /// The body is a `T` as JSON.
    pub(super) fn json<T: JsonSchema>(self) -> Self {
        self.body(JSON, schema::of::<T>, true)
    }

    /// The body is a `T` as JSON, or empty.
    pub(super) fn optional_json<T: JsonSchema>(self) -> Self {
        self.body(JSON, schema::of::<T>, false)
    }

    /// The body is some members of `T` as JSON; `null` takes one away (RFC 7396).
    pub(super) fn merge_patch<T: JsonSchema>(self) -> Self {
        self.body(JSON, schema::merge_patch::<T>, true)
    }

    /// The body is a form with the members of `T`.
    pub(super) fn form<T: JsonSchema>(self) -> Self {
        self.body(FORM, schema::of::<T>, true)
    }

    fn body(mut self, media_type: &'static str, schema: SchemaOf, is_required: bool) -> Self {
        self.body = Some(Body { media_type, schema, is_required });
        self
    }

    /// An answer is a `T` as JSON.
    pub(super) fn answers<T: JsonSchema>(
        self,
        status: StatusCode,
        description: &'static str,
    ) -> Self {
        self.answers_as::<T>(status, JSON, description)
    }

    /// An answer is a `T` as JSON of this media type.
    pub(super) fn answers_as<T: JsonSchema>(
        self,
        status: StatusCode,
        media_type: &'static str,
        description: &'static str,
    ) -> Self {
        self.answer(status, description, Content::Json { media_type, schema: schema::of::<T> })
    }

    /// An answer is bytes of this media type.
    pub(super) fn answers_bytes(
        self,
        status: StatusCode,
        media_type: &'static str,
        description: &'static str,
    ) -> Self {
        self.answer(status, description, Content::Bytes { media_type })
    }

    /// An answer has no body.
    pub(super) fn answers_nothing(self, status: StatusCode, description: &'static str) -> Self {
        self.answer(status, description, Content::Nothing)
    }

    /// An answer is a problem (RFC 9457) with one of these values of `reason`. What every endpoint of
    /// its kind may answer need not be said: see [`document`].
    pub(super) fn fails(self, status: StatusCode, reasons: &'static [&'static str]) -> Self {
        self.answer(status, "", Content::Problem { reasons })
    }

    fn answer(mut self, status: StatusCode, description: &'static str, content: Content) -> Self {
        self.answers.push(Answer { status, description, content, headers: Vec::new() });
        self
    }

    /// The answer that was named last has this header.
    pub(super) fn header(mut self, name: &'static str, description: &'static str) -> Self {
        if let Some(answer) = self.answers.last_mut() {
            answer.headers.push((name, description));
        }
        self
    }

    /// It is served to operators as well.
    pub(super) fn for_operators_too(mut self) -> Self {
        self.is_for_operators_too = true;
        self
    }

    /// Scripts of these other origins may ask it and read its answers.
    pub(super) fn for_scripts_of(mut self, origins: OtherOrigins) -> Self {
        self.other_origins = origins;
        self
    }

    /// Its address begins with the issuer, as the metadata says it: where the issuer has a path, that
    /// comes first.
    pub(super) fn below_issuer(mut self) -> Self {
        self.issuer_path = IssuerPath::First;
        self
    }

    /// Its address is made of the issuer as RFC 8414 §3.1 does it: where the issuer has a path, that
    /// comes last.
    pub(super) fn well_known_of_issuer(mut self) -> Self {
        self.issuer_path = IssuerPath::Last;
        self
    }

    /// What answers it.
    pub(super) fn runs<H, T>(self, handler: H) -> Endpoint
    where
        H: Handler<T, Arc<App>>,
        T: 'static,
    {
        let handler = on(self.method.filter(), handler);
        Endpoint { declaration: self, handler }
    }

    /// Whether this listener serves it.
    fn is_served_by(&self, listener: ListenerName) -> bool {
        let own = self.requirement.listener() == listener;
        own || (self.is_for_operators_too && listener == ListenerName::Admin)
    }
}

impl Endpoint {
    /// Scripts of which other origins may ask it.
    pub(super) fn other_origins(&self) -> OtherOrigins {
        self.declaration.other_origins
    }
}
