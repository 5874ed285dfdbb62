//! The admin listener: what the command line asks of a running sidecar.

mod api_keys;
mod inspect;
mod signing_keys;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::endpoint::{self, Endpoint, Requirement};
use super::extract;
use super::problem::Problem;
use crate::app::App;
use crate::desk::{IssueTokenError, IssuedToken, TokenRequest};
use crate::store::StoreStat;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let mut endpoints = vec![
        endpoint::post("/admin/v1/tokens", Requirement::AdminSocket, "Issues an access token.")
            .json::<TokenRequest>()
            .answers::<IssuedToken>(StatusCode::OK, "The token.")
            .fails(StatusCode::BAD_REQUEST, &["invalid"])
            .runs(issue_token),
        endpoint::get(
            "/admin/v1/store",
            Requirement::AdminSocket,
            "Says how much is in the store and what it runs on.",
        )
        .answers::<StoreStat>(StatusCode::OK, "The store.")
        .runs(store),
    ];
    endpoints.extend(api_keys::endpoints());
    endpoints.extend(signing_keys::endpoints());
    endpoints.extend(inspect::endpoints());
    endpoints
}

async fn store(State(app): State<Arc<App>>) -> Result<Json<StoreStat>, Problem> {
    Ok(Json(app.desk.store_stat().await?))
}

async fn issue_token(
    State(app): State<Arc<App>>,
    extract::Json(asked): extract::Json<TokenRequest>,
) -> Result<Json<IssuedToken>, Problem> {
    let issued = app.desk.issue_token(asked)?;
    app.metrics.tokens_issued.inc();
    Ok(Json(issued))
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
