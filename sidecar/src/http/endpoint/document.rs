//! The OpenAPI 3.1 document.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use super::requirement::security_schemes;
use super::{Answer, Content, Declaration, Endpoint, JSON, ListenerName, schema};

const PROBLEM: &str = "application/problem+json";

/// Writes the operations of the document.
struct Writer {
    questions: SchemaGenerator,
    answers: SchemaGenerator,
    /// Answers that are nothing but a problem, by their reasons.
    problems: BTreeMap<String, Value>,
}

/// The answers of one status, gathered.
#[derive(Default)]
struct Response {
    descriptions: Vec<&'static str>,
    content: Map<String, Value>,
    reasons: Vec<&'static str>,
    headers: Map<String, Value>,
}

/// The document of these endpoints, in order of their paths.
pub(in crate::http) fn openapi(endpoints: &[Endpoint]) -> Value {
    let mut writer = Writer {
        questions: schema::of_questions(),
        answers: schema::of_answers(),
        problems: BTreeMap::new(),
    };
    let mut paths: BTreeMap<&str, BTreeMap<String, Value>> = BTreeMap::new();
    for Endpoint { declaration, .. } in endpoints {
        let method = declaration.method.word().to_ascii_lowercase();
        let operation = writer.operation(declaration);
        paths.entry(declaration.path).or_default().insert(method, operation);
    }
    let mut schemas: BTreeMap<String, Value> =
        writer.answers.take_definitions(true).into_iter().collect();
    schemas.insert("Problem".to_owned(), problem());
    let tag = |it: ListenerName| json!({"name": it.word(), "description": it.description()});
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Wardgate sidecar",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Each operation has the name of its listener as its tag, in \
                `x-wardgate-requirement` what whoever asks must show, and in \
                `x-wardgate-other-origins` of which origins scripts in browsers may ask, if any.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": ListenerName::ALL.map(tag),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": writer.problems,
            "securitySchemes": security_schemes(),
        },
    })
}

impl Writer {
    fn operation(&mut self, declaration: &Declaration) -> Value {
        let served = ListenerName::ALL.into_iter().filter(|it| declaration.is_served_by(*it));
        let mut operation = Map::new();
        let mut set = |name: &str, value: Value| operation.insert(name.to_owned(), value);
        set("operationId", operation_id(declaration).into());
        set("tags", served.map(ListenerName::word).collect());
        set("summary", declaration.summary.into());
        set("x-wardgate-requirement", declaration.requirement.word().into());
        if let Some(origins) = declaration.other_origins.word() {
            set("x-wardgate-other-origins", origins.into());
        }
        set("security", declaration.requirement.security());
        let parameters = self.parameters(declaration);
        if !parameters.is_empty() {
            set("parameters", parameters.into());
        }
        if let Some(body) = &declaration.body {
            let schema = (body.schema)(&mut self.questions);
            let content = json!({body.media_type: {"schema": schema}});
            set("requestBody", json!({"required": body.is_required, "content": content}));
        }
        set("responses", self.responses(declaration));
        Value::Object(operation)
    }

    fn parameters(&mut self, declaration: &Declaration) -> Vec<Value> {
        let of_path = declaration.parameters.iter().map(|(name, description)| {
            let schema = json!({"type": "string", "minLength": 1});
            json!({
                "name": name, "in": "path", "required": true, "description": description,
                "schema": schema,
            })
        });
        let mut parameters: Vec<Value> = of_path.collect();
        let Some(query) = declaration.query else { return parameters };
        for (name, mut schema, required) in schema::members(&query(&mut self.questions)) {
            let description = schema.as_object_mut().and_then(|it| it.remove("description"));
            parameters.push(json!({
                "name": name, "in": "query", "required": required,
                "description": description.unwrap_or_default(), "schema": schema,
            }));
        }
        parameters
    }

    fn responses(&mut self, declaration: &Declaration) -> Value {
        let mut responses: BTreeMap<StatusCode, Response> = BTreeMap::new();
        for answer in &declaration.answers {
            let content = self.content(&answer.content);
            responses.entry(answer.status).or_default().add(answer, content);
        }
        for (status, reason) in common_failures(declaration) {
            responses.entry(status).or_default().reasons.push(reason);
        }
        let named = responses.into_iter().map(|(status, response)| {
            (status.as_str().to_owned(), self.response(status, response))
        });
        Value::Object(named.collect())
    }

    /// The answer, or a reference to it: the same few failures stand in every operation.
    fn response(&mut self, status: StatusCode, mut response: Response) -> Value {
        response.reasons.sort_unstable();
        response.reasons.dedup();
        let is_plain = response.descriptions.is_empty()
            && response.headers.is_empty()
            && response.content.is_empty();
        if !is_plain {
            return response.value(status);
        }
        let name = format!("{}.{}", status.as_str(), response.reasons.join("."));
        let reference = json!({"$ref": format!("#/components/responses/{name}")});
        self.problems.entry(name).or_insert_with(|| response.value(status));
        reference
    }

    fn content(&mut self, content: &Content) -> Option<(&'static str, Value)> {
        match content {
            Content::Nothing | Content::Problem { .. } => None,
            Content::Bytes { media_type } => Some((media_type, json!({}))),
            Content::Json { media_type, schema } => {
                Some((media_type, json!({"schema": schema(&mut self.answers)})))
            }
        }
    }
}

impl Response {
    fn add(&mut self, answer: &Answer, content: Option<(&'static str, Value)>) {
        if !answer.description.is_empty() {
            self.descriptions.push(answer.description);
        }
        if let Content::Problem { reasons } = answer.content {
            self.reasons.extend(reasons);
        }
        if let Some((media_type, content)) = content {
            self.content.insert(media_type.to_owned(), content);
        }
        for (name, description) in &answer.headers {
            let header = json!({"description": description, "schema": {"type": "string"}});
            self.headers.insert((*name).to_owned(), header);
        }
    }

    fn value(mut self, status: StatusCode) -> Value {
        if !self.reasons.is_empty() {
            let schema = json!({"allOf": [
                {"$ref": "#/components/schemas/Problem"},
                {"properties": {"reason": {"enum": self.reasons}}},
            ]});
            self.content.insert(PROBLEM.to_owned(), json!({"schema": schema}));
        }
        if self.descriptions.is_empty() {
            self.descriptions.push(status.canonical_reason().unwrap_or_default());
        }
        let mut value = Map::new();
        value.insert("description".to_owned(), self.descriptions.join(" ").into());
        if !self.headers.is_empty() {
            value.insert("headers".to_owned(), self.headers.into());
        }
        if !self.content.is_empty() {
            value.insert("content".to_owned(), self.content.into());
        }
        Value::Object(value)
    }
}

/// What every endpoint of the kind may answer, with the `reason` of the problem.
fn common_failures(declaration: &Declaration) -> Vec<(StatusCode, &'static str)> {
    let mut failures = vec![
        (StatusCode::REQUEST_TIMEOUT, "timeout"),
        (StatusCode::INTERNAL_SERVER_ERROR, "internal-error"),
    ];
    let is_read = !declaration.parameters.is_empty() || declaration.query.is_some();
    if is_read || declaration.body.is_some() {
        failures.push((StatusCode::BAD_REQUEST, "malformed"));
    }
    if let Some(body) = &declaration.body {
        failures.push((StatusCode::PAYLOAD_TOO_LARGE, "body-too-large"));
        if body.media_type == JSON && declaration.requirement.listener() != ListenerName::Internal {
            failures.push((StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type-unsupported"));
        }
    }
    match declaration.requirement.listener() {
        ListenerName::Public => {
            failures.push((StatusCode::TOO_MANY_REQUESTS, "rate-limited"));
        }
        ListenerName::Internal => {
            failures.push((StatusCode::UNAUTHORIZED, "not-authenticated"));
            failures.push((StatusCode::PAYLOAD_TOO_LARGE, "body-too-large"));
            failures.push((StatusCode::SERVICE_UNAVAILABLE, "busy"));
        }
        ListenerName::Admin => {
            failures.push((StatusCode::FORBIDDEN, "admin-socket-only"));
        }
    }
    failures
}

/// Unique, and the same as long as method and path are: generated clients name functions after it.
fn operation_id(declaration: &Declaration) -> String {
    let mut id = declaration.method.word().to_ascii_lowercase();
    let is_letter = |letter: char| letter.is_ascii_alphanumeric();
    for word in declaration.path.split(|letter| !is_letter(letter)).filter(|it| !it.is_empty()) {
        let (first, rest) = word.split_at_checked(1).unwrap_or_default();
        id.push_str(&first.to_ascii_uppercase());
        id.push_str(rest);
    }
    id
}

/// The body of every error that is not of an RFC of its own.
fn problem() -> Value {
    json!({
        "type": "object",
        "description": "An error (RFC 9457).",
        "properties": {
            "type": {"type": "string", "const": "about:blank"},
            "title": {"type": "string", "description": "The status in words."},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": {"type": "string", "description": "What is wrong, for people."},
            "reason": {"type": "string", "description": "What is wrong, for programs; stable."},
        },
        "required": ["type", "title", "status", "detail", "reason"],
    })
}
