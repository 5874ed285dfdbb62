//! The public listener: health, metrics and the public keys.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::jwks;
use super::problem::Problem;
use crate::app::App;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/healthz", get(async || Json(json!({"status": "ok"}))))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/.well-known/jwks.json", get(jwks::jwks))
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
