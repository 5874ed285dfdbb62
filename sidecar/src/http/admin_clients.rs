//! OAuth clients, for the command line.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;

use super::admin::parse;
use super::problem::Problem;
use crate::app::App;
use crate::desk::RevokeError;
use crate::oauth::{ClientError, ClientList, ClientView, CreatedClient, Event, RotateClientSecret};
use crate::store::StoreError;

/// What an answer with a secret carries: nothing on the way keeps it.
const NO_STORE: [(HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-store")];

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/admin/v1/clients", get(list).post(create))
        .route("/admin/v1/clients/{client_id}", get(show).patch(update).delete(delete))
        .route("/admin/v1/clients/{client_id}/rotate-secret", post(rotate_secret))
}

/// An answer with a secret.
type Shown = (StatusCode, [(HeaderName, &'static str); 1], Json<CreatedClient>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    cursor: Option<String>,
}

async fn create(State(app): State<Arc<App>>, body: Bytes) -> Result<Shown, Problem> {
    let created = app.oauth.clients().create(parse(&body)?).await?;
    record(&app, "client-created", &created.view.client_id).await;
    Ok((StatusCode::CREATED, NO_STORE, Json(created)))
}

async fn list(
    State(app): State<Arc<App>>,
    asked: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<ClientList>, Problem> {
    let Query(ListQuery { cursor }) = asked?;
    Ok(Json(app.oauth.clients().list(cursor).await?))
}

async fn show(
    State(app): State<Arc<App>>,
    Path(client_id): Path<String>,
) -> Result<Json<ClientView>, Problem> {
    Ok(Json(app.oauth.clients().show(&client_id).await?))
}

async fn update(
    State(app): State<Arc<App>>,
    Path(client_id): Path<String>,
    body: Bytes,
) -> Result<Json<ClientView>, Problem> {
    let updated = app.oauth.clients().update(&client_id, parse(&body)?).await?;
    record(&app, "client-changed", &client_id).await;
    Ok(Json(updated))
}

async fn rotate_secret(
    State(app): State<Arc<App>>,
    Path(client_id): Path<String>,
    body: Bytes,
) -> Result<Shown, Problem> {
    let asked = if body.is_empty() { RotateClientSecret::default() } else { parse(&body)? };
    let rotated = app.oauth.clients().rotate_secret(&client_id, &asked).await?;
    record(&app, "client-secret-rotated", &client_id).await;
    Ok((StatusCode::OK, NO_STORE, Json(rotated)))
}

async fn delete(
    State(app): State<Arc<App>>,
    Path(client_id): Path<String>,
) -> Result<StatusCode, Problem> {
    let keep = app.revocation_keep_seconds;
    app.oauth.clients().delete(&client_id, &app.desk, keep).await?;
    record(&app, "client-deleted", &client_id).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Writes to the audit log what became of a client. After the deed, which must not wait for a disk
/// that is full.
async fn record(app: &App, decision: &str, client_id: &str) {
    let event = Event::new(decision).with("client_id", client_id);
    if let Err(error) = app.audit.record(event.at(app.clock.now_milliseconds())).await {
        tracing::error!(%error, "a change of a client is not in the audit log");
    }
}

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Self {
        let conflict = StatusCode::CONFLICT;
        let (status, code) = match &error {
            ClientError::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid"),
            ClientError::Unknown => (StatusCode::NOT_FOUND, "client-unknown"),
            ClientError::IdTaken => (conflict, "id-taken"),
            ClientError::NoSecret => (conflict, "client-has-no-secret"),
            ClientError::Store(StoreError::Changed | StoreError::Conflict { .. })
            | ClientError::Revoke(RevokeError::Store(StoreError::Changed)) => (conflict, "changed"),
            ClientError::Store(
                StoreError::Failed(_)
                | StoreError::Invalid(_)
                | StoreError::NameTaken
                | StoreError::IdTaken,
            )
            | ClientError::Revoke(_)
            | ClientError::Random(_) => return Self::internal(&error),
        };
        Self::new(status, code, error.to_string())
    }
}
