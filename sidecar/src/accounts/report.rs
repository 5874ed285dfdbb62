//! What of users and logins is in the audit log and the metrics: never a password, and a name only
//! if it is a user's.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::Accounts;
use super::guard::{Counter, Wait};
use crate::store::records::StoredUser;

/// What an event says of whoever tries.
pub(super) struct Told<'a> {
    /// The name as it is compared.
    pub(super) name: &'a str,
    /// Where it comes from.
    pub(super) address: Option<IpAddr>,
}

/// What came of an attempt. Clients learn only whether it is the first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    Success,
    PasswordWrong,
    UserUnknown,
    UserDisabled,
    PasswordMissing,
}

impl Outcome {
    fn reason(self) -> Option<&'static str> {
        match self {
            Self::Success => None,
            Self::PasswordWrong => Some("password-wrong"),
            Self::UserUnknown => Some("user-unknown"),
            Self::UserDisabled => Some("user-disabled"),
            Self::PasswordMissing => Some("password-missing"),
        }
    }
}

impl Accounts {
    pub(super) async fn record_login(
        &self,
        told: &Told<'_>,
        user: Option<&StoredUser>,
        outcome: Outcome,
    ) {
        let mut event =
            self.event(if outcome == Outcome::Success { "login" } else { "login-failed" });
        if let Some(reason) = outcome.reason() {
            event.insert("reason".to_owned(), reason.into());
        }
        self.metrics.accounts.login(outcome.reason().unwrap_or("success"));
        self.add_who(&mut event, told, user);
        self.record(event).await;
    }

    pub(super) async fn record_throttled(
        &self,
        told: &Told<'_>,
        user: Option<&StoredUser>,
        wait: Wait,
    ) {
        let mut event = self.event("login-throttled");
        let reason = match wait.counter {
            Counter::Pair => "failures-of-network",
            Counter::Address => "failures-of-address",
            Counter::Account => "failures-of-account",
        };
        event.insert("reason".to_owned(), reason.into());
        event.insert("retry_after_seconds".to_owned(), wait.seconds.into());
        self.add_who(&mut event, told, user);
        self.record(event).await;
    }

    /// A change of a user, after the deed: a user who must not log in any more does not wait for a
    /// disk that is full.
    pub(super) async fn record_change(&self, decision: &'static str, id: &str) {
        let mut event = self.event(decision);
        event.insert("issuer".to_owned(), self.issuer.clone().into());
        event.insert("subject".to_owned(), id.into());
        self.record(event).await;
    }

    /// A batch of users that came in. One event for all of them: a million lines of a file must not be
    /// a million lines of the log, each of them synced to the disk. Who they were stands in the store:
    /// users that were imported, and when.
    pub(super) async fn record_import(&self, imported: u64, unchanged: u64, by: Option<String>) {
        let mut event = self.event("users-imported");
        event.insert("issuer".to_owned(), self.issuer.clone().into());
        event.insert("imported".to_owned(), imported.into());
        event.insert("unchanged".to_owned(), unchanged.into());
        event.extend(by.map(|by| ("by".to_owned(), by.into())));
        self.record(event).await;
    }

    fn event(&self, decision: &'static str) -> Map<String, Value> {
        let mut event = Map::new();
        event.insert("time".to_owned(), self.clock.now_milliseconds().into());
        event.insert("decision".to_owned(), decision.into());
        event
    }

    fn add_who(&self, event: &mut Map<String, Value>, told: &Told<'_>, user: Option<&StoredUser>) {
        event.insert("auth".to_owned(), "password".into());
        if let Some(user) = user {
            event.insert("issuer".to_owned(), self.issuer.clone().into());
            event.insert("subject".to_owned(), user.id.clone().into());
            event.insert("user_name".to_owned(), user.folded.clone().into());
        } else {
            // People type their password where the name belongs. By the digest it can still be seen
            // that it is the same one again.
            event.insert("user_name_digest".to_owned(), self.guard.name_digest(told.name).into());
        }
        if let Some(address) = told.address {
            event.insert("source_address".to_owned(), address.to_canonical().to_string().into());
        }
    }

    async fn record(&self, event: Map<String, Value>) {
        let Some(audit) = &self.audit else { return };
        if let Err(error) = audit.record(event).await {
            tracing::error!(%error, "what happened to a user is not in the audit log");
        }
    }
}
