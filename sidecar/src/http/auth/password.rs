//! Changing one's own password.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use schemars::JsonSchema;
use serde::Deserialize;

use super::refused;
use crate::accounts::Password;
use crate::app::App;
use crate::http::endpoint::{self, Endpoint, OtherOrigins, Requirement};
use crate::http::extract;
use crate::http::oauth::{count, kept_by_nobody};
use crate::limits::Peer;
use crate::oauth::PasswordRequest;

pub(super) fn endpoint() -> Endpoint {
    let refusals = &[
        "invalid-request",
        "invalid-grant",
        "unauthorized-client",
        "password-refused",
        "invalid-dpop-proof",
        "use-dpop-nonce",
    ];
    endpoint::post(
        "/auth/password",
        Requirement::UserPassword,
        "Changes the password of a user who knows it, and ends what they were issued.",
    )
    .json::<PasswordBody>()
    .answers_nothing(StatusCode::NO_CONTENT, "The new password is the one; the user logs in anew.")
    .header("DPoP-Nonce", "The nonce of the next proof.")
    .fails(StatusCode::BAD_REQUEST, refusals)
    .fails(StatusCode::UNAUTHORIZED, &["invalid-client"])
    .fails(StatusCode::TOO_MANY_REQUESTS, &["temporarily-unavailable"])
    .fails(StatusCode::SERVICE_UNAVAILABLE, &["temporarily-unavailable"])
    .for_scripts_of(OtherOrigins::Allowed)
    .below_issuer()
    .runs(change)
}

/// A change of a password.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PasswordBody {
    /// The name of the user.
    name: String,
    /// The password that the user has.
    old_password: Password,
    /// The one that the user wants.
    new_password: Password,
    /// The client, where it does not authenticate in a header.
    client_id: Option<String>,
    /// Its secret (`client_secret_post`).
    client_secret: Option<String>,
    /// `urn:ietf:params:oauth:client-assertion-type:jwt-bearer` (`private_key_jwt`).
    client_assertion_type: Option<String>,
    /// The token that it has signed (RFC 7523).
    client_assertion: Option<String>,
}

async fn change(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    extract::Json(body): extract::Json<PasswordBody>,
) -> Response {
    let members = [
        ("client_id", body.client_id),
        ("client_secret", body.client_secret),
        ("client_assertion_type", body.client_assertion_type),
        ("client_assertion", body.client_assertion),
    ];
    let request = super::asked(&app, peer, headers, members);
    let asked = PasswordRequest {
        request: request.clone(),
        name: body.name,
        old_password: body.old_password,
        new_password: body.new_password,
    };
    match app.oauth.change_password(asked).await {
        Ok(()) => {
            count(&app, "password", None);
            kept_by_nobody(&app, &request, StatusCode::NO_CONTENT.into_response())
        }
        Err(error) => refused(&app, "password", &request, error).await,
    }
}
