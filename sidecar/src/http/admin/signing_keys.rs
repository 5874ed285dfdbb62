//! The sidecar's own signing keys.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};

use super::parse;
use crate::app::App;
use crate::desk::{
    RotateKeysError, RotateSigningKeys, RotatedSigningKeys, SigningKeyList, SigningKeysError,
};
use crate::http::problem::Problem;
use crate::keeper::record_key_events;
use crate::store::StoreError;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route("/admin/v1/keys", get(list).post(rotate))
}

async fn list(State(app): State<Arc<App>>) -> Result<Json<SigningKeyList>, Problem> {
    // What another sidecar did a moment ago is to be in it.
    if app.desk.refresh_signing_keys().await? {
        app.feed.settings_changed();
    }
    Ok(Json(app.desk.signing_key_list()))
}

async fn rotate(
    State(app): State<Arc<App>>,
    body: Bytes,
) -> Result<(StatusCode, Json<RotatedSigningKeys>), Problem> {
    let asked = if body.is_empty() { RotateSigningKeys::default() } else { parse(&body)? };
    let rotated = app.desk.rotate_signing_keys(&asked).await?;
    record_key_events(&app, &rotated.events).await;
    let status = if rotated.made.is_empty() { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(rotated)))
}

impl From<SigningKeysError> for Problem {
    fn from(error: SigningKeysError) -> Self {
        match error {
            SigningKeysError::Store(StoreError::Changed) => {
                let detail = "others change the keys all the time";
                Self::new(StatusCode::CONFLICT, "changed", detail)
            }
            SigningKeysError::Store(_)
            | SigningKeysError::Unseal(_)
            | SigningKeysError::Seal
            | SigningKeysError::Key(_) => Self::internal(&error),
        }
    }
}

impl From<RotateKeysError> for Problem {
    fn from(error: RotateKeysError) -> Self {
        match error {
            RotateKeysError::Invalid(_) | RotateKeysError::NotConfigured(_) => {
                Self::new(StatusCode::BAD_REQUEST, "invalid", error.to_string())
            }
            RotateKeysError::TooMany => {
                Self::new(StatusCode::CONFLICT, "too-many-keys", error.to_string())
            }
            RotateKeysError::Keys(error) => error.into(),
            RotateKeysError::Revoke(error) => error.into(),
        }
    }
}
