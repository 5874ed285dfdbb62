//! What handlers take of a request. All that is wrong is answered as a problem.
//!
//! A body of JSON must say that it is one. The attack: a page sends a request as browsers send one
//! without asking first (the Fetch standard's "simple" request: a text, or no type at all), so that a
//! login or the change of a password is tried from the address of whoever opens the page.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
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

/// What bodies of JSON are called: as such, and as changes of members (RFC 7396 §4).
const JSON_TYPES: [&str; 2] = ["application/json", "application/merge-patch+json"];

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
        let is_json = says_json(request.headers());
        let body = bytes(request, state).await?;
        if is_json { parse(&body).map(Self) } else { Err(not_json()) }
    }
}

impl<T, S> FromRequest<S> for OptionalJson<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_json = says_json(request.headers());
        let body = bytes(request, state).await?;
        if body.is_empty() {
            return Ok(Self(None));
        }
        if is_json { parse(&body).map(|it| Self(Some(it))) } else { Err(not_json()) }
    }
}

fn says_json(headers: &HeaderMap) -> bool {
    let said = media_type(headers);
    JSON_TYPES.iter().any(|known| said.eq_ignore_ascii_case(known))
}

/// What the body is said to be, without parameters (RFC 9110 §8.3.1); empty when nothing is said.
pub(super) fn media_type(headers: &HeaderMap) -> &str {
    let said = headers.get(header::CONTENT_TYPE).and_then(|said| said.to_str().ok());
    said.and_then(|said| said.split(';').next()).unwrap_or_default().trim()
}

fn not_json() -> Problem {
    let detail = "the body is to be JSON: send it with `Content-Type: application/json`";
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type-unsupported", detail)
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
    use axum::http::{HeaderMap, HeaderValue, header};
    use serde::Deserialize;

    use super::{parse, says_json};

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default)]
    struct Asked {
        count: u64,
    }

    #[test]
    fn json_says_that_it_is_json() {
        let says = |said: &str| {
            let value = HeaderValue::from_str(said).unwrap();
            says_json(&HeaderMap::from_iter([(header::CONTENT_TYPE, value)]))
        };
        for json in
            ["application/json", "Application/JSON ; charset=utf-8", "application/merge-patch+json"]
        {
            assert!(says(json), "{json}");
        }
        for other in ["", "text/plain", "text/plain;application/json", "application/jsonx", "json"]
        {
            assert!(!says(other), "{other}");
        }
        assert!(!says_json(&HeaderMap::new()));
    }

    #[test]
    fn a_list_is_no_object() {
        assert_eq!(parse::<Asked>(b" {}").ok(), Some(Asked { count: 0 }));
        for list in ["[]", " [1]"] {
            assert!(parse::<Asked>(list.as_bytes()).is_err(), "{list}");
        }
    }
}
