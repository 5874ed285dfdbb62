//! The public listener: health, metrics and the public keys.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::problem::Problem;
use crate::app::App;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/healthz", get(async || Json(json!({"status": "ok"}))))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/.well-known/jwks.json", get(jwks))
        .merge(super::oauth::router())
}

/// Ready while the store, the feed and the audit log work.
async fn ready(State(app): State<Arc<App>>) -> Result<Json<Value>, Problem> {
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
    Ok(Json(json!({"status": "ready"})))
}

async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], app.metrics.text())
}

async fn jwks(State(app): State<Arc<App>>) -> impl IntoResponse {
    let body = Value::Object(app.desk.signing_keys().jwks()).to_string();
    let headers = [
        (header::CONTENT_TYPE, "application/jwk-set+json"),
        // A new key is shown long before it signs; five minutes of a stale set do no harm.
        (header::CACHE_CONTROL, "public, max-age=300"),
    ];
    (headers, body)
}
