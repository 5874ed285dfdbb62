//! OAuth clients, for the command line.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::NO_STORE;
use super::endpoint::{self, Endpoint, Requirement};
use super::extract::{self, OptionalJson, Path, Query};
use super::problem::Problem;
use super::recorded;
use crate::app::App;
use crate::desk::RevokeError;
use crate::oauth::{
    ClientError, ClientList, ClientMetadata, ClientView, CreatedClient, Event, RotateClientSecret,
};
use crate::store::StoreError;

const CLIENT_ID: &str = "Id of the client.";
const UNKNOWN: &[&str] = &["client-unknown"];

pub(super) fn endpoints() -> Vec<Endpoint> {
    let (all, one) = ("/admin/v1/clients", "/admin/v1/clients/{client_id}");
    let (rotate, admin) = ("/admin/v1/clients/{client_id}/rotate-secret", Requirement::AdminSocket);
    let invalid = |declaration: endpoint::Declaration| {
        declaration.fails(StatusCode::BAD_REQUEST, &["invalid"])
    };
    vec![
        endpoint::get(all, admin, "Lists OAuth clients, a page at a time.")
            .query::<ListQuery>()
            .answers::<ClientList>(StatusCode::OK, "Some of the clients, in no order.")
            .fails(StatusCode::BAD_REQUEST, &["cursor-unknown"])
            .runs(list),
        invalid(endpoint::post(all, admin, "Makes an OAuth client."))
            .json::<NewClient>()
            .answers::<CreatedClient>(StatusCode::CREATED, "The client, with its secret this once.")
            .header("Cache-Control", "`no-store`: there is a secret in it.")
            .fails(StatusCode::CONFLICT, &["id-taken"])
            .runs(create),
        endpoint::get(one, admin, "Shows an OAuth client.")
            .parameter("client_id", CLIENT_ID)
            .answers::<ClientView>(StatusCode::OK, "The client, without its secrets.")
            .fails(StatusCode::NOT_FOUND, UNKNOWN)
            .runs(show),
        invalid(endpoint::patch(one, admin, "Changes members of an OAuth client (RFC 7396)."))
            .parameter("client_id", CLIENT_ID)
            .merge_patch::<ClientMetadata>()
            .answers::<ClientView>(StatusCode::OK, "The client as it is now.")
            .fails(StatusCode::NOT_FOUND, UNKNOWN)
            .fails(StatusCode::CONFLICT, &["changed"])
            .runs(update),
        endpoint::delete(one, admin, "Forgets an OAuth client and revokes its tokens.")
            .parameter("client_id", CLIENT_ID)
            .answers_nothing(StatusCode::NO_CONTENT, "It is forgotten.")
            .fails(StatusCode::NOT_FOUND, UNKNOWN)
            .fails(StatusCode::CONFLICT, &["changed"])
            .runs(delete),
        invalid(endpoint::post(rotate, admin, "Gives an OAuth client a new secret."))
            .parameter("client_id", CLIENT_ID)
            .optional_json::<RotateClientSecret>()
            .answers::<CreatedClient>(StatusCode::OK, "The client, with its new secret this once.")
            .header("Cache-Control", "`no-store`: there is a secret in it.")
            .fails(StatusCode::NOT_FOUND, UNKNOWN)
            .fails(StatusCode::CONFLICT, &["changed", "client-has-no-secret"])
            .runs(rotate_secret),
    ]
}

/// A client that is to be made.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct NewClient {
    /// Its id; a random one when missing.
    client_id: Option<String>,
    /// What is registered of it.
    #[serde(flatten)]
    metadata: ClientMetadata,
}

/// An answer with a secret.
type Shown = (StatusCode, [(HeaderName, &'static str); 1], Json<CreatedClient>);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Where the page begins; the first if missing.
    cursor: Option<String>,
}

async fn create(
    State(app): State<Arc<App>>,
    extract::Json(asked): extract::Json<Map<String, Value>>,
) -> Result<Shown, Problem> {
    let created = app.oauth.clients().create(asked).await?;
    record(&app, "client-created", &created.view.client_id).await;
    Ok((StatusCode::CREATED, NO_STORE, Json(created)))
}

async fn list(
    State(app): State<Arc<App>>,
    Query(ListQuery { cursor }): Query<ListQuery>,
) -> Result<Json<ClientList>, Problem> {
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
    extract::Json(patch): extract::Json<Map<String, Value>>,
) -> Result<Json<ClientView>, Problem> {
    let updated = app.oauth.clients().update(&client_id, patch).await?;
    record(&app, "client-changed", &client_id).await;
    Ok(Json(updated))
}

async fn rotate_secret(
    State(app): State<Arc<App>>,
    Path(client_id): Path<String>,
    OptionalJson(asked): OptionalJson<RotateClientSecret>,
) -> Result<Shown, Problem> {
    let asked = asked.unwrap_or_default();
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

async fn record(app: &App, decision: &str, client_id: &str) {
    recorded::record(app, Event::new(decision).with("client_id", client_id)).await;
}

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Self {
        let conflict = StatusCode::CONFLICT;
        let (status, code) = match &error {
            ClientError::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid"),
            ClientError::Unknown => (StatusCode::NOT_FOUND, "client-unknown"),
            ClientError::IdTaken => (conflict, "id-taken"),
            ClientError::NoSecret => (conflict, "client-has-no-secret"),
            ClientError::Store(StoreError::CursorUnknown) => {
                (StatusCode::BAD_REQUEST, "cursor-unknown")
            }
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
