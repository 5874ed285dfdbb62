//! Tokens of users at providers, for the services that may have them.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::endpoint::{self, Endpoint, Requirement};
use super::oauth::{ClientCredentials, answer, read, refusals};
use crate::app::App;
use crate::oauth::{AuthenticationMethod, OAuthError, OAuthRequest};
use crate::social::{Asking, FetchError, SocialToken, hand_out};

/// After how many seconds it is worth while to ask a provider again that gives nothing now.
const RETRY_AFTER_SECONDS: u64 = 3;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let declared = endpoint::post(
        "/auth/social-tokens",
        Requirement::ClientAuthentication,
        "Gives the access token of a user at a provider.",
    );
    vec![
        refusals(declared)
            .answers::<super::oauth::Refusal>(
                StatusCode::SERVICE_UNAVAILABLE,
                "The provider gives no token now.",
            )
            .form::<AskedToken>()
            .answers::<GivenToken>(StatusCode::OK, "The token; it lives for a minute at least.")
            .header("Cache-Control", "`no-store`: nothing on the way keeps it.")
            .below_issuer()
            .runs(give),
    ]
}

/// What is asked, for the OpenAPI document alone.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct AskedToken {
    /// The user (`sub`).
    subject: String,
    /// The provider, by the name that the configuration gives it.
    provider: String,
    #[serde(flatten)]
    client: ClientCredentials,
}

#[derive(JsonSchema, Serialize)]
struct GivenToken {
    /// The token.
    access_token: String,
    /// Always `Bearer`.
    token_type: String,
    /// Seconds until it expires; unknown if missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<u64>,
    /// What was granted, as the provider says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
}

async fn give(State(app): State<Arc<App>>, request: Request) -> Response {
    let (asked, outcome) = match read(&app, request).await {
        Ok(asked) => {
            let outcome = token(&app, &asked).await;
            (asked, outcome)
        }
        Err(error) => (OAuthRequest::default(), Err(error)),
    };
    answer(&app, "social-tokens", &asked, outcome).await
}

async fn token(app: &App, asked: &OAuthRequest) -> Result<Body, OAuthError> {
    let client = app.oauth.authenticate(asked).await?;
    // A public client shows its name, which everybody knows.
    if client.metadata().token_endpoint_auth_method == AuthenticationMethod::None {
        return Err(OAuthError::UnauthorizedClient("a public client gets no tokens of providers"));
    }
    let user = asked.form.require("subject", "`subject` is missing")?;
    let provider = asked.form.require("provider", "`provider` is missing")?;
    let address = asked.address.map(|address| address.to_string());
    let asking = Asking { client_id: client.id(), source_address: address.as_deref() };
    let token = hand_out(app, user, provider, asking).await?;
    Ok(Body::from(json!(given(app, &token)).to_string()))
}

fn given(app: &App, token: &SocialToken) -> GivenToken {
    let now = app.clock.now();
    GivenToken {
        access_token: token.access_token.to_string(),
        token_type: "Bearer".to_owned(),
        expires_in: token.expires_at.map(|end| end.0.saturating_sub(now.0)),
        scope: token.scope.clone(),
    }
}

impl From<FetchError> for OAuthError {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::NotPermitted => {
                Self::UnauthorizedClient("the client may not have tokens of this provider")
            }
            FetchError::Unknown => Self::InvalidGrant("the user has no tokens at this provider"),
            FetchError::LoginNeeded => {
                Self::InvalidGrant("the user must log in at the provider again")
            }
            FetchError::Unavailable(_) => Self::Busy(RETRY_AFTER_SECONDS),
            FetchError::NotAudited
            | FetchError::Seal
            | FetchError::Store(_)
            | FetchError::Random(_) => Self::Server(Box::new(error)),
        }
    }
}
