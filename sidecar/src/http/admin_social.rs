//! The tokens that users have at providers, for operators and for the flow that logs users in there.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::endpoint::{self, Endpoint, Requirement};
use super::extract::{self, Path};
use super::problem::Problem;
use super::recorded;
use crate::app::App;
use crate::oauth::Event;
use crate::social::{KeepError, KeepSocialTokens, SocialTokensList, SocialTokensView};
use crate::store::StoreError;

/// The event of tokens that are there no more.
const FORGOTTEN: &str = "social-tokens-forgotten";

pub(super) fn endpoints() -> Vec<Endpoint> {
    let all = "/admin/v1/users/{user}/social-tokens";
    let one = "/admin/v1/users/{user}/social-tokens/{provider}";
    let admin = Requirement::AdminSocket;
    let (user, provider) =
        ("Id of the user.", "Name of the provider, as the configuration has it.");
    vec![
        endpoint::get(all, admin, "Lists what a user has at providers: never the tokens.")
            .parameter("user", user)
            .answers::<SocialTokensList>(StatusCode::OK, "What there is, by provider.")
            .runs(list),
        endpoint::put(one, admin, "Keeps the tokens of a user at a provider.")
            .parameter("user", user)
            .parameter("provider", provider)
            .json::<KeepSocialTokens>()
            .answers::<SocialTokensView>(StatusCode::OK, "What was kept, without the tokens.")
            .fails(StatusCode::BAD_REQUEST, &["invalid"])
            .fails(StatusCode::NOT_FOUND, &["provider-unknown", "user-unknown"])
            .fails(StatusCode::CONFLICT, &["changed"])
            .runs(keep),
        endpoint::delete(one, admin, "Forgets the tokens of a user at a provider.")
            .parameter("user", user)
            .parameter("provider", provider)
            .answers_nothing(StatusCode::NO_CONTENT, "There are none any more.")
            .fails(StatusCode::NOT_FOUND, &["unknown"])
            .runs(forget),
        endpoint::delete(all, admin, "Forgets the tokens of a user at all providers.")
            .parameter("user", user)
            .answers::<SocialTokensList>(StatusCode::OK, "What there was, by provider.")
            .runs(forget_all),
    ]
}

async fn list(
    State(app): State<Arc<App>>,
    Path(user): Path<String>,
) -> Result<Json<SocialTokensList>, Problem> {
    Ok(Json(app.social.list(&user).await.map_err(KeepError::from)?))
}

async fn keep(
    State(app): State<Arc<App>>,
    Path((user, provider)): Path<(String, String)>,
    extract::Json(tokens): extract::Json<KeepSocialTokens>,
) -> Result<Json<SocialTokensView>, Problem> {
    let kept = app.social.keep(&user, &provider, tokens).await?;
    record(&app, "social-tokens-kept", &user, &provider).await;
    Ok(Json(kept))
}

async fn forget(
    State(app): State<Arc<App>>,
    Path((user, provider)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    if app.social.forget(&user, &provider).await.map_err(KeepError::from)? {
        record(&app, FORGOTTEN, &user, &provider).await;
        return Ok(StatusCode::NO_CONTENT);
    }
    let detail = "the user has no tokens at this provider";
    Err(Problem::new(StatusCode::NOT_FOUND, "unknown", detail))
}

async fn forget_all(
    State(app): State<Arc<App>>,
    Path(user): Path<String>,
) -> Result<Json<SocialTokensList>, Problem> {
    let forgotten = app.social.forget_all(&user).await.map_err(KeepError::from)?;
    for tokens in &forgotten.social_tokens {
        record(&app, FORGOTTEN, &user, &tokens.provider).await;
    }
    Ok(Json(forgotten))
}

async fn record(app: &App, decision: &str, user: &str, provider: &str) {
    let event = Event::new(decision)
        .with("issuer", app.families.issuer())
        .with("subject", user)
        .with("provider", provider);
    recorded::record(app, event).await;
}

impl From<KeepError> for Problem {
    fn from(error: KeepError) -> Self {
        let (status, code) = match &error {
            KeepError::UnknownProvider => (StatusCode::NOT_FOUND, "provider-unknown"),
            KeepError::UnknownUser => (StatusCode::NOT_FOUND, "user-unknown"),
            KeepError::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid"),
            KeepError::Store(StoreError::Changed) => (StatusCode::CONFLICT, "changed"),
            KeepError::Seal | KeepError::Store(_) => return Self::internal(&error),
        };
        Self::new(status, code, error.to_string())
    }
}
