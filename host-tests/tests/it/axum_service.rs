//! A service behind the gate: who asks stands in headers that only the gate writes.

use std::collections::BTreeSet;

use axum::{
    Json, Router,
    extract::{FromRequestParts, Path},
    http::{HeaderMap, StatusCode, request::Parts},
    routing::get,
};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

/// Who the gate says is asking. An argument of a handler.
pub(crate) struct Caller {
    pub(crate) issuer: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) roles: BTreeSet<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        // The gate always says how it authenticated. Who got here without it went around Envoy.
        if one(&parts.headers, "x-wardgate-auth").is_none() {
            let detail = "this service must be reached through the gate";
            return Err((StatusCode::INTERNAL_SERVER_ERROR, detail));
        }
        let roles = parts.headers.get("x-wardgate-roles").and_then(|value| value.to_str().ok());
        let roles = roles.unwrap_or_default().split(',').filter(|role| !role.is_empty());
        Ok(Self {
            issuer: one(&parts.headers, "x-wardgate-issuer"),
            subject: one(&parts.headers, "x-wardgate-subject"),
            roles: roles.map(decoded).collect(),
        })
    }
}

fn one(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(decoded)
}

/// Values are percent-encoded, so that no name can break a header.
fn decoded(value: &str) -> String {
    percent_decode_str(value).decode_utf8_lossy().into_owned()
}

async fn thing(Path(thing): Path<String>, caller: Caller) -> Json<Value> {
    // A user is issuer and subject together: another issuer may have a user of the same name.
    let owner = [caller.issuer, caller.subject];
    Json(json!({"thing": thing, "owner": owner, "may_edit": caller.roles.contains("editor")}))
}

/// The service; serve it on a Unix socket that only Envoy may open, so that nobody can go around
/// the gate.
pub(crate) fn service() -> Router {
    Router::new().route("/things/{thing}", get(thing))
}
