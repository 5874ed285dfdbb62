//! Who is told that a family has ended: the audit log and, of what was stolen, the webhook.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{EndCause, EndedFamily};
use crate::app::App;
use crate::random::Random;

/// What the webhook is told.
#[derive(Serialize)]
struct Alert<'a> {
    issuer: &'a str,
    subject: &'a str,
    client_id: &'a str,
    session: &'a str,
    cause: EndCause,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_address: Option<&'a str>,
}

impl EndedFamily {
    /// The name of the event.
    pub fn event_name(&self) -> &'static str {
        match self.cause {
            EndCause::Reuse => "refresh-token-reuse",
            EndCause::Forgotten => "refresh-token-forgotten",
            EndCause::Returned
            | EndCause::LoggedOut
            | EndCause::Administrator
            | EndCause::TooMany => "session-ended",
        }
    }

    /// The event for the audit log.
    pub fn event(
        &self,
        issuer: &str,
        source_address: Option<&str>,
        now_milliseconds: u64,
    ) -> Map<String, Value> {
        let stored = &self.family.stored;
        let event = json!({
            "time": now_milliseconds,
            "decision": self.event_name(),
            "cause": self.cause.word(),
            "issuer": issuer,
            "subject": stored.subject,
            "client_id": stored.client_id,
            "session": self.family.id,
            "source_address": source_address,
        });
        let mut event = event.as_object().cloned().unwrap_or_default();
        event.retain(|_, value| !value.is_null());
        event
    }

    /// Whether somebody should look at it.
    pub fn is_alarming(&self) -> bool {
        self.event_name() != "session-ended"
    }
}

/// Writes the end of a family to the audit log, and has the webhook called if a token was stolen.
/// After the deed, which must not wait for a disk that is full; what happened stands in the store as
/// the reason of the session's revocation too.
pub async fn report(app: &App, ended: &EndedFamily, source_address: Option<&str>) {
    let (issuer, now) = (app.families.issuer(), app.clock.now_milliseconds());
    if let Err(error) = app.audit.record(ended.event(issuer, source_address, now)).await {
        tracing::error!(%error, "the end of a session is not in the audit log");
    }
    if !ended.is_alarming() {
        return;
    }
    let stored = &ended.family.stored;
    tracing::warn!(
        session = ended.family.id,
        client_id = stored.client_id,
        cause = ended.cause.word(),
        "a refresh token was presented that is not the current one: the login has ended"
    );
    let alert = Alert {
        issuer,
        subject: &stored.subject,
        client_id: &stored.client_id,
        session: &ended.family.id,
        cause: ended.cause,
        source_address,
    };
    app.notifier.tell(ended.event_name(), now, &alert, Random::system());
}
