//! API keys.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use wardgate_core::time::UnixSeconds;

use super::parse;
use crate::app::App;
use crate::desk::{
    ApiKeyAction, ApiKeyError, ApiKeyFilter, ApiKeyList, ApiKeyView, CreateApiKey, CreatedApiKey,
    ImportApiKeys, Imported, RotateApiKey, UpdateApiKey,
};
use crate::http::problem::{Problem, not_found};
use crate::store::StoreError;
use crate::usage::{UsageReport, report};

/// What an answer with a secret carries: nothing on the way keeps it.
const NO_STORE: [(HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-store")];
/// Days that a report is of when nothing else is asked.
const DEFAULT_DAYS: u64 = 30;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/admin/v1/api-keys", get(list).post(create))
        .route("/admin/v1/api-key-imports", post(import))
        .route("/admin/v1/api-keys/{key}", get(show).patch(update))
        .route("/admin/v1/api-keys/{key}/usage", get(usage))
        .route("/admin/v1/api-keys/{key}/rotate", post(rotate))
        .route("/admin/v1/api-keys/{key}/collect", post(collect))
        .route("/admin/v1/api-keys/{key}/{action}", post(change))
}

/// An answer with a secret.
type Shown = (StatusCode, [(HeaderName, &'static str); 1], Json<CreatedApiKey>);

async fn create(State(app): State<Arc<App>>, body: Bytes) -> Result<Shown, Problem> {
    let asked: CreateApiKey = parse(&body)?;
    let created = app.desk.create_api_key(asked).await?;
    Ok((StatusCode::CREATED, NO_STORE, Json(created)))
}

async fn list(
    State(app): State<Arc<App>>,
    filter: Result<Query<ApiKeyFilter>, QueryRejection>,
) -> Result<Json<ApiKeyList>, Problem> {
    Ok(Json(app.desk.api_keys(&query(filter)?).await?))
}

async fn show(
    State(app): State<Arc<App>>,
    Path(key): Path<String>,
) -> Result<Json<ApiKeyView>, Problem> {
    Ok(Json(app.desk.api_key(&key).await?))
}

async fn update(
    State(app): State<Arc<App>>,
    Path(key): Path<String>,
    body: Bytes,
) -> Result<Json<ApiKeyView>, Problem> {
    let asked: UpdateApiKey = parse(&body)?;
    Ok(Json(app.desk.update_api_key(&key, asked).await?))
}

async fn rotate(
    State(app): State<Arc<App>>,
    Path(key): Path<String>,
    body: Bytes,
) -> Result<Shown, Problem> {
    let asked = if body.is_empty() { RotateApiKey::default() } else { parse(&body)? };
    let rotated = app.desk.rotate_api_key(&key, asked).await?;
    Ok((StatusCode::OK, NO_STORE, Json(rotated)))
}

async fn collect(State(app): State<Arc<App>>, Path(key): Path<String>) -> Result<Shown, Problem> {
    let collected = app.desk.collect_api_key(&key).await?;
    Ok((StatusCode::OK, NO_STORE, Json(collected)))
}

async fn import(State(app): State<Arc<App>>, body: Bytes) -> Result<Json<Imported>, Problem> {
    let asked: ImportApiKeys = parse(&body)?;
    Ok(Json(app.desk.import_api_keys(asked).await?))
}

async fn change(
    State(app): State<Arc<App>>,
    Path((key, action)): Path<(String, String)>,
) -> Result<Json<ApiKeyView>, Problem> {
    let action = match action.as_str() {
        "disable" => ApiKeyAction::Disable,
        "enable" => ApiKeyAction::Enable,
        "revoke" => ApiKeyAction::Revoke,
        _ => return Err(not_found().await),
    };
    Ok(Json(app.desk.change_api_key(&key, action).await?))
}

/// The days of a report: times in seconds since the epoch, both in UTC days, both inclusive.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Days {
    from: Option<u64>,
    to: Option<u64>,
}

async fn usage(
    State(app): State<Arc<App>>,
    Path(key): Path<String>,
    days: Result<Query<Days>, QueryRejection>,
) -> Result<Json<UsageReport>, Problem> {
    let days = query(days)?;
    let id = app.desk.api_key(&key).await?.id;
    // What this sidecar has counted and not yet written is to be in it.
    app.usage.flush(&**app.desk.store()).await.map_err(ApiKeyError::from)?;
    let to = days.to.unwrap_or(app.clock.now().0);
    let default = to.saturating_sub(DEFAULT_DAYS.saturating_sub(1).saturating_mul(86_400));
    let from = days.from.unwrap_or(default);
    let report = report(&**app.desk.store(), &id, UnixSeconds(from), UnixSeconds(to));
    Ok(Json(report.await.map_err(ApiKeyError::from)?))
}

fn query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    query.map(|Query(query)| query).map_err(|error| Problem::malformed(error.body_text()))
}

impl From<ApiKeyError> for Problem {
    fn from(error: ApiKeyError) -> Self {
        let conflict = StatusCode::CONFLICT;
        let (status, code) = match &error {
            ApiKeyError::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid"),
            ApiKeyError::Unknown => (StatusCode::NOT_FOUND, "api-key-unknown"),
            ApiKeyError::Revoked => (conflict, "api-key-revoked"),
            ApiKeyError::RotationUnderWay(_) => (conflict, "rotation-under-way"),
            ApiKeyError::ImportedKey => (conflict, "api-key-imported"),
            ApiKeyError::NothingWaits => (conflict, "nothing-waits"),
            ApiKeyError::Store(StoreError::NameTaken | StoreError::IdTaken) => {
                (conflict, "name-taken")
            }
            ApiKeyError::Store(StoreError::Changed | StoreError::Conflict { .. }) => {
                (conflict, "changed")
            }
            ApiKeyError::Store(StoreError::Failed(_) | StoreError::Invalid(_))
            | ApiKeyError::Random(_)
            | ApiKeyError::Unseal(_) => return Self::internal(&error),
        };
        Self::new(status, code, error.to_string())
    }
}
