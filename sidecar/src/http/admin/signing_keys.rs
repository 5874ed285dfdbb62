//! The sidecar's own signing keys.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use crate::app::App;
use crate::desk::{
    RotateKeysError, RotateSigningKeys, RotatedSigningKeys, SigningKeyList, SigningKeysError,
};
use crate::http::endpoint::{self, Endpoint, Requirement};
use crate::http::extract::OptionalJson;
use crate::http::problem::Problem;
use crate::keeper::record_key_events;
use crate::store::StoreError;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let (path, admin) = ("/admin/v1/keys", Requirement::AdminSocket);
    vec![
        endpoint::get(path, admin, "Lists the signing keys.")
            .answers::<SigningKeyList>(StatusCode::OK, "The keys, without their private parts.")
            .fails(StatusCode::CONFLICT, &["changed"])
            .runs(list),
        endpoint::post(path, admin, "Makes new signing keys.")
            .optional_json::<RotateSigningKeys>()
            .answers::<RotatedSigningKeys>(StatusCode::CREATED, "Keys were made.")
            .answers::<RotatedSigningKeys>(StatusCode::OK, "Keys wait to sign already.")
            .fails(StatusCode::BAD_REQUEST, &["invalid"])
            .fails(StatusCode::CONFLICT, &["too-many-keys", "changed"])
            .runs(rotate),
    ]
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
    OptionalJson(asked): OptionalJson<RotateSigningKeys>,
) -> Result<(StatusCode, Json<RotatedSigningKeys>), Problem> {
    let asked = asked.unwrap_or_default();
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
