//! The public listener: health, metrics, the public keys, and the description of all this.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::endpoint::{self, Endpoint, OtherOrigins, Requirement};
use super::jwks;
use super::problem::Problem;
use crate::app::App;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) fn endpoints() -> Vec<Endpoint> {
    let open = Requirement::Open;
    vec![
        endpoint::get("/healthz", open, "Says that the sidecar runs.")
            .answers::<Health>(StatusCode::OK, "It runs.")
            .runs(async || Json(Health { status: "ok" })),
        endpoint::get("/readyz", open, "Says whether store, feed and audit log work.")
            .answers::<Health>(StatusCode::OK, "They work.")
            .fails(StatusCode::SERVICE_UNAVAILABLE, &["not-ready"])
            .runs(ready),
        endpoint::get("/metrics", open, "Shows what is counted.")
            .answers_bytes(StatusCode::OK, OPEN_METRICS, "The metrics.")
            .runs(metrics),
        endpoint::get("/.well-known/jwks.json", open, "Shows the public keys (RFC 7517 §5).")
            .answers_as::<KeySet>(StatusCode::OK, jwks::JWK_SET, "The keys.")
            .header("Cache-Control", "How long it may be kept.")
            .header("ETag", "Names what it is, for `If-None-Match`.")
            .answers_nothing(StatusCode::NOT_MODIFIED, "It is what `If-None-Match` names.")
            .for_scripts_of(OtherOrigins::All)
            .below_issuer()
            .runs(jwks::jwks),
        endpoint::get("/openapi.json", open, "Shows this document.")
            .answers::<Map<String, Value>>(StatusCode::OK, "The document, OpenAPI 3.1.")
            .header("Cache-Control", "How long it may be kept.")
            .for_operators_too()
            .runs(openapi),
    ]
}

/// How the sidecar is.
#[derive(JsonSchema, Serialize)]
struct Health {
    /// `ok` or `ready`.
    status: &'static str,
}

/// A JWK Set.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct KeySet {
    /// The keys, each without its private part.
    keys: Vec<Map<String, Value>>,
}

/// Ready while the store, the feed and the audit log work.
async fn ready(State(app): State<Arc<App>>) -> Result<Json<Health>, Problem> {
    let not_ready = |what: &str| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", format!("{what} does not work"))
    };
    app.desk.store().log_head().await.map_err(|_| not_ready("the store"))?;
    if !app.feed.is_ready() {
        return Err(not_ready("the feed"));
    }
    if !app.audit.is_working().await {
        return Err(not_ready("the audit log"));
    }
    Ok(Json(Health { status: "ready" }))
}

async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], app.metrics.text())
}

async fn openapi() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        // Another version of the sidecar has another document.
        (header::CACHE_CONTROL, "public, max-age=300"),
    ];
    (headers, super::openapi_text())
}
