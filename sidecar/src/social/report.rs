//! Hands out tokens to clients, each time on the record.

use serde_json::{Map, Value, json};

use super::{FetchError, SocialToken};
use crate::app::App;

/// Who asks for a token of a user.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// The client, which was authenticated.
    pub client_id: &'a str,
    /// Where it asked from.
    pub source_address: Option<&'a str>,
}

/// The access token of a user at a provider, for a client that was authenticated. The event is on disk
/// before the token is handed out: what is not on the record is not handed out.
///
/// # Errors
///
/// [`FetchError`] when it may not be handed out, there is none, or it cannot be recorded.
pub async fn hand_out(
    app: &App,
    user: &str,
    provider: &str,
    asking: Asking<'_>,
) -> Result<SocialToken, FetchError> {
    let fetched = app.social.fetch(user, provider, asking.client_id).await;
    let event = event(user, provider, asking, fetched.as_ref().err(), app);
    match app.audit.record(event).await {
        Ok(()) => fetched,
        Err(error) => {
            tracing::error!(%error, "a token of a provider is not handed out: no audit log");
            fetched.and(Err(FetchError::NotAudited))
        }
    }
}

fn event(
    user: &str,
    provider: &str,
    asking: Asking<'_>,
    failed: Option<&FetchError>,
    app: &App,
) -> Map<String, Value> {
    let decision = if failed.is_none() { "social-token-given" } else { "social-token-refused" };
    let event = json!({
        "time": app.clock.now_milliseconds(),
        "decision": decision,
        "cause": failed.map(FetchError::word),
        "issuer": app.families.issuer(),
        "subject": user,
        "provider": provider,
        "client_id": asking.client_id,
        "source_address": asking.source_address,
    });
    let mut event = event.as_object().cloned().unwrap_or_default();
    event.retain(|_, value| !value.is_null());
    event
}
