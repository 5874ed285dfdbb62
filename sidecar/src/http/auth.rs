//! Logging in and out at first-party applications: JSON in and out, errors as problems (RFC 9457)
//! whose `reason` is the code of OAuth.

mod password;

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, body::Body};
use schemars::JsonSchema;
use serde::Deserialize;

use super::endpoint::{self, Endpoint, OtherOrigins, Requirement};
use super::extract;
use super::oauth::{count, forms, kept_by_nobody, record, record_refusal, status};
use super::problem::Problem;
use crate::accounts::Password;
use crate::app::App;
use crate::families::report;
use crate::limits::Peer;
use crate::oauth::{LoginRequest, OAuthError, OAuthRequest};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let (bad, unauthorized) = (StatusCode::BAD_REQUEST, StatusCode::UNAUTHORIZED);
    vec![
        endpoint::post(
            "/auth/login",
            Requirement::UserPassword,
            "Logs a user in, at a client that is registered as `first_party`.",
        )
        .json::<LoginBody>()
        .answers::<forms::TokenAnswer>(StatusCode::OK, "The tokens of the login.")
        .header("Cache-Control", "`no-store`: there are tokens in it.")
        .header("DPoP-Nonce", "The nonce of the next proof.")
        .fails(
            bad,
            &[
                "invalid-request",
                "invalid-grant",
                "unauthorized-client",
                "invalid-scope",
                "invalid-target",
                "invalid-dpop-proof",
                "use-dpop-nonce",
            ],
        )
        .fails(unauthorized, &["invalid-client"])
        .fails(StatusCode::TOO_MANY_REQUESTS, &["temporarily-unavailable"])
        .fails(StatusCode::SERVICE_UNAVAILABLE, &["temporarily-unavailable"])
        .for_scripts_of(OtherOrigins::Allowed)
        .below_issuer()
        .runs(login),
        endpoint::post(
            "/auth/logout",
            Requirement::TokenItself,
            "Ends the login of a token, or all logins of its user.",
        )
        .optional_json::<LogoutBody>()
        .answers_nothing(StatusCode::NO_CONTENT, "It is over, whether it was before or not.")
        .fails(bad, &["invalid-request", "invalid-dpop-proof", "use-dpop-nonce"])
        .for_scripts_of(OtherOrigins::Allowed)
        .below_issuer()
        .runs(logout),
        password::endpoint(),
    ]
}

/// A login.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LoginBody {
    /// The name of the user.
    name: String,
    /// The password of the user.
    password: Password,
    /// The client, where it does not authenticate in a header.
    client_id: Option<String>,
    /// Its secret (`client_secret_post`).
    client_secret: Option<String>,
    /// `urn:ietf:params:oauth:client-assertion-type:jwt-bearer` (`private_key_jwt`).
    client_assertion_type: Option<String>,
    /// The token that it has signed (RFC 7523).
    client_assertion: Option<String>,
    /// The scopes, with spaces between them; all of the client when missing.
    scope: Option<String>,
    /// What the tokens are to be for; all of the client when empty.
    #[serde(default)]
    audiences: Vec<String>,
    /// Where the user is, for lists of logins.
    device: Option<String>,
}

/// A logout.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LogoutBody {
    /// The refresh token of the login; without it the access token of `Authorization` counts.
    refresh_token: Option<String>,
    /// Whether all logins of the user end.
    #[serde(default)]
    everywhere: bool,
}

async fn login(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    extract::Json(body): extract::Json<LoginBody>,
) -> Response {
    let members = [
        ("client_id", body.client_id),
        ("client_secret", body.client_secret),
        ("client_assertion_type", body.client_assertion_type),
        ("client_assertion", body.client_assertion),
        ("scope", body.scope),
    ];
    let audiences = body.audiences.into_iter().map(|audience| ("audience", Some(audience)));
    let request = asked(&app, peer, headers, members.into_iter().chain(audiences));
    let asked = LoginRequest {
        request: request.clone(),
        name: body.name,
        password: body.password,
        device: body.device,
    };
    match app.oauth.login(asked).await {
        Ok(answer) => {
            count(&app, "login", None);
            app.metrics.tokens_issued.inc();
            if let Some(event) = answer.event {
                record(&app, &request, event).await;
            }
            let mut response = Response::new(Body::from(answer.body.to_string()));
            let kind = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            kept_by_nobody(&app, &request, response)
        }
        Err(error) => refused(&app, "login", &request, error).await,
    }
}

async fn logout(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    extract::OptionalJson(body): extract::OptionalJson<LogoutBody>,
) -> Response {
    let body = body.unwrap_or_default();
    let request = asked(&app, peer, headers, [("refresh_token", body.refresh_token)]);
    match app.oauth.logout(&request, body.everywhere).await {
        Ok(ended) => {
            count(&app, "logout", None);
            let address = request.address.map(|address| address.to_string());
            for ended in ended {
                report(&app, &ended, address.as_deref()).await;
            }
            kept_by_nobody(&app, &request, StatusCode::NO_CONTENT.into_response())
        }
        Err(error) => refused(&app, "logout", &request, error).await,
    }
}

/// A request with these members, as the endpoints of OAuth have it.
fn asked(
    app: &App,
    peer: Peer,
    headers: HeaderMap,
    members: impl IntoIterator<Item = (&'static str, Option<String>)>,
) -> OAuthRequest {
    let address = app.public_limit.address(&headers, Some(peer));
    OAuthRequest { headers, form: members.into_iter().collect(), address }
}

/// Counts and records a refusal, and answers it.
async fn refused(
    app: &App,
    endpoint: &'static str,
    request: &OAuthRequest,
    error: OAuthError,
) -> Response {
    count(app, endpoint, Some(&error));
    record_refusal(app, request, &error).await;
    let problem = Problem::new(status(&error), error.reason(), error.to_string());
    let response = super::oauth::refused(&error, problem.into_response());
    kept_by_nobody(app, request, response)
}
