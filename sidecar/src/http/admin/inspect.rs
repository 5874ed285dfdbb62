//! What a token is.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::Value;

use super::parse;
use crate::app::App;
use crate::desk::{InspectToken, RevokeError, TokenInspection};
use crate::http::problem::Problem;
use crate::store::StoreError;

/// What somebody's token says is nobody else's.
const NO_STORE: [(HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-store")];

type Shown = ([(HeaderName, &'static str); 1], Json<TokenInspection>);

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route("/admin/v1/tokens/inspect", post(inspect))
}

async fn inspect(State(app): State<Arc<App>>, body: Bytes) -> Result<Shown, Problem> {
    let asked: InspectToken = parse(&body)?;
    let failed = |error: StoreError| Problem::from(RevokeError::from(error));
    let served = app.policy.current().await.map_err(failed)?;
    let policy = Value::Object(served.document);
    let others = app.issuers.key_sets().await.map_err(failed)?;
    let inspection = app.desk.inspect_token(&asked, &policy, &others).await.map_err(failed)?;
    Ok((NO_STORE, Json(inspection)))
}
