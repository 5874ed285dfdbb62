//! The public keys of the issuer (RFC 7517 §5), and whether a client has them already.

use std::sync::Arc;

use aws_lc_rs::digest;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use wardgate_core::base64url;

use crate::app::App;
use crate::keys::JWKS_MAX_AGE_SECONDS;

/// The media type of a JWK Set (RFC 7517 §8.5.2).
pub(super) const JWK_SET: &str = "application/jwk-set+json";

/// `GET /.well-known/jwks.json`.
pub(super) async fn jwks(State(app): State<Arc<App>>, asked: HeaderMap) -> Response {
    let body = Value::Object(app.desk.signing_keys().jwks(app.clock.now())).to_string();
    let hash = digest::digest(&digest::SHA256, body.as_bytes());
    let tag = format!("\"{}\"", base64url::encode(hash.as_ref().get(..16).unwrap_or_default()));
    let has_it = matches(&asked, &tag);
    let headers = [
        (header::CONTENT_TYPE, JWK_SET.to_owned()),
        // A new key is shown for longer than that before it signs.
        (header::CACHE_CONTROL, format!("public, max-age={JWKS_MAX_AGE_SECONDS}")),
        (header::ETAG, tag),
    ];
    if has_it {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, body).into_response()
}

/// Whether one of the tags that the client names is this one (RFC 9110 §13.1.2, by weak comparison).
fn matches(asked: &HeaderMap, tag: &str) -> bool {
    let values = asked.get_all(header::IF_NONE_MATCH).into_iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    let mut tags = texts.flat_map(|text| text.split(',')).map(str::trim);
    tags.any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, header};

    use super::matches;

    #[test]
    fn a_client_has_the_set_if_it_names_its_tag() {
        for (value, expected) in [
            ("\"a\"", true),
            ("W/\"a\"", true),
            ("\"b\", \"a\"", true),
            ("*", true),
            ("\"b\"", false),
            ("a", false),
            ("", false),
        ] {
            let mut asked = HeaderMap::new();
            asked.insert(header::IF_NONE_MATCH, HeaderValue::from_static(value));
            assert_eq!(matches(&asked, "\"a\""), expected, "{value}");
        }
        assert!(!matches(&HeaderMap::new(), "\"a\""));
    }
}
