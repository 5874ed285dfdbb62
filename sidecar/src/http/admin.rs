//! The admin listener: what the command line asks of a running sidecar.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router, body::Bytes};
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::app::App;
use crate::desk::{
    ApiKeyAction, ApiKeyError, ApiKeyList, ApiKeyView, CreateApiKey, CreatedApiKey,
    IssueTokenError, IssuedToken, SigningKeyList, TokenRequest,
};
use crate::store::{StoreError, StoreStat};

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/admin/v1/api-keys", get(list).post(create))
        .route("/admin/v1/api-keys/{key}", get(show))
        .route("/admin/v1/api-keys/{key}/{action}", post(change))
        .route("/admin/v1/tokens", post(issue_token))
        .route("/admin/v1/keys", get(signing_keys))
        .route("/admin/v1/store", get(store))
}

async fn store(State(app): State<Arc<App>>) -> Result<Json<StoreStat>, Problem> {
    Ok(Json(app.desk.store_stat().await?))
}

async fn create(
    State(app): State<Arc<App>>,
    body: Bytes,
) -> Result<(StatusCode, Json<CreatedApiKey>), Problem> {
    let asked: CreateApiKey = parse(&body)?;
    let created = app.desk.create_api_key(asked).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

async fn list(State(app): State<Arc<App>>) -> Result<Json<ApiKeyList>, Problem> {
    Ok(Json(app.desk.api_keys().await?))
}

async fn show(
    State(app): State<Arc<App>>,
    Path(key): Path<String>,
) -> Result<Json<ApiKeyView>, Problem> {
    Ok(Json(app.desk.api_key(&key).await?))
}

async fn change(
    State(app): State<Arc<App>>,
    Path((key, action)): Path<(String, String)>,
) -> Result<Json<ApiKeyView>, Problem> {
    let action = match action.as_str() {
        "disable" => ApiKeyAction::Disable,
        "enable" => ApiKeyAction::Enable,
        "revoke" => ApiKeyAction::Revoke,
        _ => return Err(super::problem::not_found().await),
    };
    Ok(Json(app.desk.change_api_key(&key, action).await?))
}

async fn issue_token(
    State(app): State<Arc<App>>,
    body: Bytes,
) -> Result<Json<IssuedToken>, Problem> {
    let asked: TokenRequest = parse(&body)?;
    let issued = app.desk.issue_token(asked)?;
    app.metrics.tokens_issued.inc();
    Ok(Json(issued))
}

async fn signing_keys(State(app): State<Arc<App>>) -> Json<SigningKeyList> {
    Json(app.desk.signing_key_list())
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::malformed(format!("the body: {error}")))
}

impl From<ApiKeyError> for Problem {
    fn from(error: ApiKeyError) -> Self {
        let (status, code) = match &error {
            ApiKeyError::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid"),
            ApiKeyError::Unknown => (StatusCode::NOT_FOUND, "api-key-unknown"),
            ApiKeyError::Revoked => (StatusCode::CONFLICT, "api-key-revoked"),
            ApiKeyError::Store(StoreError::NameTaken | StoreError::IdTaken) => {
                (StatusCode::CONFLICT, "name-taken")
            }
            ApiKeyError::Store(StoreError::Changed | StoreError::Conflict { .. }) => {
                (StatusCode::CONFLICT, "changed")
            }
            ApiKeyError::Store(StoreError::Failed(_) | StoreError::Invalid(_))
            | ApiKeyError::Random(_) => {
                return Self::internal(&error);
            }
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<IssueTokenError> for Problem {
    fn from(error: IssueTokenError) -> Self {
        match &error {
            IssueTokenError::Invalid(_)
            | IssueTokenError::SigningKey(crate::keys::SigningKeyError::Missing(_)) => {
                Self::new(StatusCode::BAD_REQUEST, "invalid", error.to_string())
            }
            IssueTokenError::SigningKey(_) | IssueTokenError::Random(_) => Self::internal(&error),
        }
    }
}
