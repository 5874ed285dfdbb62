//! What handlers take of a request. All that is wrong is answered as a problem.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::IntoResponse as _;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// The parameters of the path.
pub(super) struct Path<T>(pub(super) T);

/// The parameters of the query.
pub(super) struct Query<T>(pub(super) T);

/// The body, as JSON.
pub(super) struct Json<T>(pub(super) T);

/// The body, as JSON; nothing if it is empty.
pub(super) struct OptionalJson<T>(pub(super) Option<T>);

impl<T, S> FromRequestParts<S> for Path<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        let read = read.map_err(|_| Problem::malformed("a name in the path is not UTF-8 text"))?;
        Ok(Self(read.0))
    }
}

impl<T, S> FromRequestParts<S> for Query<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        let read = read.map_err(|error| Problem::malformed(error.body_text()))?;
        Ok(Self(read.0))
    }
}

impl<T, S> FromRequest<S> for Json<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        parse(&bytes(request, state).await?).map(Self)
    }
}

impl<T, S> FromRequest<S> for OptionalJson<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body = bytes(request, state).await?;
        let parsed = (!body.is_empty()).then(|| parse(&body)).transpose();
        parsed.map(Self)
    }
}

/// The bytes of a body that is not too long.
pub(super) async fn bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|rejection| {
        let status = rejection.into_response().status();
        if status == StatusCode::PAYLOAD_TOO_LARGE {
            return Problem::new(status, "body-too-large", "the body is too long");
        }
        Problem::malformed("the body broke off")
    })
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    // Serde reads a list as the members of a struct, one after the other; nobody means that.
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(Problem::malformed("the body: expected an object, found a list"));
    }
    serde_json::from_slice(body).map_err(|error| Problem::malformed(format!("the body: {error}")))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::parse;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default)]
    struct Asked {
        count: u64,
    }

    #[test]
    fn a_list_is_no_object() {
        assert_eq!(parse::<Asked>(b" {}").ok(), Some(Asked { count: 0 }));
        for list in ["[]", " [1]"] {
            assert!(parse::<Asked>(list.as_bytes()).is_err(), "{list}");
        }
    }
}
