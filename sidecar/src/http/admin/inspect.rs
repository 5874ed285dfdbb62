//! What a token is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode};
use serde_json::Value;

use crate::app::App;
use crate::desk::{InspectToken, RevokeError, TokenInspection, inspect_refresh_token};
use crate::http::NO_STORE;
use crate::http::endpoint::{self, Endpoint, Requirement};
use crate::http::extract;
use crate::http::problem::Problem;
use crate::store::StoreError;

type Shown = ([(HeaderName, &'static str); 1], Json<TokenInspection>);

pub(super) fn endpoints() -> Vec<Endpoint> {
    let path = "/admin/v1/tokens/inspect";
    let summary = "Says what a token is, and what a filter would say of it.";
    vec![
        endpoint::post(path, Requirement::AdminSocket, summary)
            .json::<InspectToken>()
            .answers::<TokenInspection>(StatusCode::OK, "What it is, without what is secret of it.")
            .runs(inspect),
    ]
}

async fn inspect(
    State(app): State<Arc<App>>,
    extract::Json(asked): extract::Json<InspectToken>,
) -> Result<Shown, Problem> {
    let failed = |error: StoreError| Problem::from(RevokeError::from(error));
    let refresh_token = inspect_refresh_token(&app.families, &asked).await.map_err(failed)?;
    if let Some(inspection) = refresh_token {
        return Ok((NO_STORE, Json(inspection)));
    }
    let served = app.policy.current().await.map_err(failed)?;
    let policy = Value::Object(served.document);
    let others = app.issuers.key_sets().await.map_err(failed)?;
    let inspection = app.desk.inspect_token(&asked, &policy, &others).await.map_err(failed)?;
    Ok((NO_STORE, Json(inspection)))
}
