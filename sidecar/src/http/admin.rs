//! The admin listener: what the command line asks of a running sidecar.

mod api_keys;

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router, body::Bytes};
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::app::App;
use crate::desk::{IssueTokenError, IssuedToken, SigningKeyList, TokenRequest};
use crate::store::StoreStat;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .merge(api_keys::router())
        .route("/admin/v1/tokens", post(issue_token))
        .route("/admin/v1/keys", get(signing_keys))
        .route("/admin/v1/store", get(store))
        .merge(super::admin_revocations::router())
        .merge(super::admin_policy::router())
        .merge(super::admin_users::router())
}

async fn store(State(app): State<Arc<App>>) -> Result<Json<StoreStat>, Problem> {
    Ok(Json(app.desk.store_stat().await?))
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

pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::malformed(format!("the body: {error}")))
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
