//! Revocations, for the command line.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::endpoint::{self, Endpoint, Requirement};
use super::extract::{self, Query};
use super::problem::Problem;
use crate::app::App;
use crate::desk::{RevocationList, RevokeBatch, RevokeError, RevokeRequest, Revoked, RevokedBatch};
use crate::store::StoreError;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let (path, admin) = ("/admin/v1/revocations", Requirement::AdminSocket);
    vec![
        endpoint::get(path, admin, "Lists revocations, a page at a time.")
            .query::<ListQuery>()
            .answers::<RevocationList>(StatusCode::OK, "Some of the revocations, in no order.")
            .fails(StatusCode::BAD_REQUEST, &["cursor-unknown"])
            .runs(list),
        endpoint::post(path, admin, "Revokes tokens or an API key.")
            .json::<RevokeRequest>()
            .answers::<Revoked>(StatusCode::CREATED, "What was revoked; it is in the store.")
            .fails(StatusCode::BAD_REQUEST, &["invalid"])
            .fails(StatusCode::NOT_FOUND, &["api-key-unknown"])
            .fails(StatusCode::CONFLICT, &["api-key-revoked", "changed"])
            .runs(revoke),
        endpoint::post("/admin/v1/revocations/batch", admin, "Revokes many tokens in one step.")
            .json::<RevokeBatch>()
            .answers::<RevokedBatch>(StatusCode::OK, "What became of them; it is in the store.")
            .fails(StatusCode::BAD_REQUEST, &["invalid"])
            .fails(StatusCode::CONFLICT, &["changed"])
            .runs(revoke_batch),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Where the page begins; the first if missing.
    cursor: Option<String>,
}

async fn revoke(
    State(app): State<Arc<App>>,
    extract::Json(asked): extract::Json<RevokeRequest>,
) -> Result<(StatusCode, Json<Revoked>), Problem> {
    let revoked = app.desk.revoke(asked, app.revocation_keep_seconds).await?;
    record(&app, &revoked).await;
    Ok((StatusCode::CREATED, Json(revoked)))
}

async fn revoke_batch(
    State(app): State<Arc<App>>,
    extract::Json(asked): extract::Json<RevokeBatch>,
) -> Result<Json<RevokedBatch>, Problem> {
    let (reason, by) = (asked.reason.clone(), asked.by.clone());
    let done = app.desk.revoke_batch(asked, app.revocation_keep_seconds).await?;
    // One event for all of them: what each was stands with the revocation itself.
    let counts = json!({
        "revoked": done.revoked, "unchanged": done.unchanged, "problems": done.problems.len(),
    });
    let mut event = of_a_revocation(app.clock.now_milliseconds());
    event.insert("batch".to_owned(), counts);
    event.extend(reason.map(|reason| ("reason".to_owned(), reason.into())));
    event.extend(by.map(|by| ("by".to_owned(), by.into())));
    write(&app, event).await;
    Ok(Json(done))
}

/// Writes a revocation to the audit log.
pub(super) async fn record(app: &App, revoked: &Revoked) {
    write(app, event(revoked, app.clock.now_milliseconds())).await;
}

/// After the deed, which must not wait for a disk that is full.
async fn write(app: &App, event: Map<String, Value>) {
    if let Err(error) = app.audit.record(event).await {
        tracing::error!(%error, "a revocation is not in the audit log");
    }
}

fn of_a_revocation(now_milliseconds: u64) -> Map<String, Value> {
    let mut event = Map::new();
    event.insert("time".to_owned(), now_milliseconds.into());
    event.insert("decision".to_owned(), "revocation".into());
    event
}

/// The event of a revocation.
fn event(revoked: &Revoked, now_milliseconds: u64) -> Map<String, Value> {
    let mut event = of_a_revocation(now_milliseconds);
    match revoked {
        Revoked::Revocation(view) => {
            event.insert("credential_id".to_owned(), view.id.clone().into());
            event.insert("revocation".to_owned(), json!(view.stored));
        }
        Revoked::ApiKey(key) => {
            event.insert("credential_id".to_owned(), key.id.clone().into());
        }
    }
    event
}

async fn list(
    State(app): State<Arc<App>>,
    Query(ListQuery { cursor }): Query<ListQuery>,
) -> Result<Json<RevocationList>, Problem> {
    Ok(Json(app.desk.revocations(cursor).await.map_err(RevokeError::from)?))
}

impl From<RevokeError> for Problem {
    fn from(error: RevokeError) -> Self {
        match error {
            RevokeError::Invalid(detail) => Self::new(StatusCode::BAD_REQUEST, "invalid", detail),
            RevokeError::ApiKey(error) => error.into(),
            RevokeError::Store(StoreError::Changed) => {
                let detail = "others revoke the same all the time";
                Self::new(StatusCode::CONFLICT, "changed", detail)
            }
            RevokeError::Store(error @ StoreError::CursorUnknown) => {
                Self::new(StatusCode::BAD_REQUEST, "cursor-unknown", error.to_string())
            }
            RevokeError::Store(error) => Self::internal(&error),
        }
    }
}
