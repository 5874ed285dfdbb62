//! API keys.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use wardgate_core::time::UnixSeconds;

use crate::app::App;
use crate::desk::{
    ApiKeyAction, ApiKeyError, ApiKeyFilter, ApiKeyList, ApiKeyView, CreateApiKey, CreatedApiKey,
    ImportApiKeys, Imported, RotateApiKey, UpdateApiKey,
};
use crate::http::NO_STORE;
use crate::http::endpoint::{self, Declaration, Endpoint, Requirement};
use crate::http::extract::{self, OptionalJson, Path, Query};
use crate::http::problem::Problem;
use crate::http::recorded;
use crate::oauth::Event;
use crate::store::StoreError;
use crate::usage::{UsageReport, report};

/// Days that a report is of when nothing else is asked.
const DEFAULT_DAYS: u64 = 30;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let mut endpoints = life();
    endpoints.extend(changes());
    endpoints
}

/// Making, importing and looking at keys.
fn life() -> Vec<Endpoint> {
    let admin = Requirement::AdminSocket;
    vec![
        endpoint::get("/admin/v1/api-keys", admin, "Lists API keys, a page at a time.")
            .query::<ApiKeyFilter>()
            .answers::<ApiKeyList>(StatusCode::OK, "Those of the page that were asked for.")
            .fails(StatusCode::BAD_REQUEST, &["cursor-unknown"])
            .runs(list),
        endpoint::post("/admin/v1/api-keys", admin, "Makes an API key.")
            .json::<CreateApiKey>()
            .answers::<CreatedApiKey>(StatusCode::CREATED, "The key, which is shown this once.")
            .header("Cache-Control", "`no-store`.")
            .fails(StatusCode::BAD_REQUEST, &["invalid"])
            .fails(StatusCode::CONFLICT, &["name-taken"])
            .runs(create),
        endpoint::post(
            "/admin/v1/api-key-imports",
            admin,
            "Imports API keys that were made elsewhere, all of them or none.",
        )
        .json::<ImportApiKeys>()
        .answers::<Imported>(StatusCode::OK, "What became of them, or all problems.")
        .fails(StatusCode::BAD_REQUEST, &["invalid"])
        .fails(StatusCode::CONFLICT, &["changed", "name-taken"])
        .runs(import),
        of_key(endpoint::get("/admin/v1/api-keys/{key}", admin, "Shows an API key."))
            .answers::<ApiKeyView>(StatusCode::OK, "The key, without digests and secrets.")
            .runs(show),
        of_key(endpoint::get(
            "/admin/v1/api-keys/{key}/usage",
            admin,
            "Says how an API key was used, by day, route and result.",
        ))
        .query::<Days>()
        .answers::<UsageReport>(StatusCode::OK, "The counts.")
        .fails(StatusCode::CONFLICT, &["changed"])
        .runs(usage),
    ]
}

/// Changing keys.
fn changes() -> Vec<Endpoint> {
    let admin = Requirement::AdminSocket;
    let conflict = StatusCode::CONFLICT;
    vec![
        of_key(endpoint::patch(
            "/admin/v1/api-keys/{key}",
            admin,
            "Changes what an API key may do (RFC 7396).",
        ))
        .json::<UpdateApiKey>()
        .answers::<ApiKeyView>(StatusCode::OK, "The key as it is now.")
        .fails(StatusCode::BAD_REQUEST, &["invalid"])
        .fails(conflict, &["api-key-imported", "api-key-revoked", "changed"])
        .runs(update),
        of_key(endpoint::post(
            "/admin/v1/api-keys/{key}/rotate",
            admin,
            "Gives an API key a new secret.",
        ))
        .optional_json::<RotateApiKey>()
        .answers::<CreatedApiKey>(StatusCode::OK, "The key with its new secret.")
        .header("Cache-Control", "`no-store`.")
        .fails(StatusCode::BAD_REQUEST, &["invalid"])
        .fails(conflict, &["api-key-imported", "api-key-revoked", "changed", "rotation-under-way"])
        .runs(rotate),
        of_key(endpoint::post(
            "/admin/v1/api-keys/{key}/collect",
            admin,
            "Hands out the secret that was made by schedule, once.",
        ))
        .answers::<CreatedApiKey>(StatusCode::OK, "The key with its new secret.")
        .header("Cache-Control", "`no-store`.")
        .fails(conflict, &["api-key-revoked", "changed", "nothing-waits"])
        .runs(collect),
        action("/admin/v1/api-keys/{key}/disable", "Stops an API key for the time being.")
            .runs(disable),
        action("/admin/v1/api-keys/{key}/enable", "Lets a disabled API key work again.")
            .runs(enable),
        action("/admin/v1/api-keys/{key}/revoke", "Stops an API key for ever.").runs(revoke),
    ]
}

/// What all endpoints of one key have.
fn of_key(declaration: Declaration) -> Declaration {
    declaration
        .parameter("key", "The name or the id of the key.")
        .fails(StatusCode::NOT_FOUND, &["api-key-unknown"])
}

fn action(path: &'static str, summary: &'static str) -> Declaration {
    of_key(endpoint::post(path, Requirement::AdminSocket, summary))
        .answers::<ApiKeyView>(StatusCode::OK, "The key as it is now.")
        .fails(StatusCode::CONFLICT, &["api-key-revoked", "changed"])
}

/// An answer with a secret.
type Shown = (StatusCode, [(HeaderName, &'static str); 1], Json<CreatedApiKey>);

async fn create(
    State(app): State<Arc<App>>,
    extract::Json(asked): extract::Json<CreateApiKey>,
) -> Result<Shown, Problem> {
    let created = app.desk.create_api_key(asked).await?;
    record(&app, "api-key-created", &created.view.id).await;
    Ok((StatusCode::CREATED, NO_STORE, Json(created)))
}

async fn list(
    State(app): State<Arc<App>>,
    Query(filter): Query<ApiKeyFilter>,
) -> Result<Json<ApiKeyList>, Problem> {
    Ok(Json(app.desk.api_keys(&filter).await?))
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
    extract::Json(asked): extract::Json<UpdateApiKey>,
) -> Result<Json<ApiKeyView>, Problem> {
    let updated = app.desk.update_api_key(&key, asked).await?;
    record(&app, "api-key-changed", &updated.id).await;
    Ok(Json(updated))
}

async fn rotate(
    State(app): State<Arc<App>>,
    Path(key): Path<String>,
    OptionalJson(asked): OptionalJson<RotateApiKey>,
) -> Result<Shown, Problem> {
    let rotated = app.desk.rotate_api_key(&key, asked.unwrap_or_default()).await?;
    record(&app, "api-key-rotated", &rotated.view.id).await;
    Ok((StatusCode::OK, NO_STORE, Json(rotated)))
}

async fn collect(State(app): State<Arc<App>>, Path(key): Path<String>) -> Result<Shown, Problem> {
    let collected = app.desk.collect_api_key(&key).await?;
    record(&app, "api-key-collected", &collected.view.id).await;
    Ok((StatusCode::OK, NO_STORE, Json(collected)))
}

async fn import(
    State(app): State<Arc<App>>,
    extract::Json(asked): extract::Json<ImportApiKeys>,
) -> Result<Json<Imported>, Problem> {
    let done = app.desk.import_api_keys(asked).await?;
    if done.imported > 0 {
        // One event for all of a batch: a million lines of a file are not a million of the log.
        let event = Event::new("api-keys-imported");
        let event = event.with("imported", done.imported).with("unchanged", done.unchanged);
        recorded::record(&app, event).await;
    }
    Ok(Json(done))
}

type Changed = Result<Json<ApiKeyView>, Problem>;

async fn disable(State(app): State<Arc<App>>, Path(key): Path<String>) -> Changed {
    change(&app, &key, ApiKeyAction::Disable, "api-key-disabled").await
}

async fn enable(State(app): State<Arc<App>>, Path(key): Path<String>) -> Changed {
    change(&app, &key, ApiKeyAction::Enable, "api-key-enabled").await
}

async fn revoke(State(app): State<Arc<App>>, Path(key): Path<String>) -> Changed {
    change(&app, &key, ApiKeyAction::Revoke, "api-key-revoked").await
}

async fn change(app: &App, key: &str, action: ApiKeyAction, decision: &str) -> Changed {
    let changed = app.desk.change_api_key(key, action).await?;
    record(app, decision, &changed.id).await;
    Ok(Json(changed))
}

async fn record(app: &App, decision: &str, id: &str) {
    recorded::record(app, Event::new(decision).with("credential_id", id)).await;
}

/// The days of a report: times in seconds since the epoch, both in UTC days, both inclusive.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Days {
    /// The first day, by any second of it; 30 days in all when missing.
    from: Option<u64>,
    /// The last day, by any second of it; today when missing.
    to: Option<u64>,
}

async fn usage(
    State(app): State<Arc<App>>,
    Path(key): Path<String>,
    Query(days): Query<Days>,
) -> Result<Json<UsageReport>, Problem> {
    let id = app.desk.api_key(&key).await?.id;
    // What this sidecar has counted and not yet written is to be in it.
    app.usage.flush(&**app.desk.store()).await.map_err(ApiKeyError::from)?;
    let to = days.to.unwrap_or(app.clock.now().0);
    let default = to.saturating_sub(DEFAULT_DAYS.saturating_sub(1).saturating_mul(86_400));
    let from = days.from.unwrap_or(default);
    let report = report(&**app.desk.store(), &id, UnixSeconds(from), UnixSeconds(to));
    Ok(Json(report.await.map_err(ApiKeyError::from)?))
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
            ApiKeyError::Store(StoreError::CursorUnknown) => {
                (StatusCode::BAD_REQUEST, "cursor-unknown")
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
