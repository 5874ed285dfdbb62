//! Revocations: what is not accepted any more, however well it is signed.

mod request;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wardgate_core::feed::RevocationTarget;
use wardgate_core::time::UnixSeconds;
use wardgate_core::wire::feed::{ChangeKind, LogEntry};

pub use request::{RevokeRequest, RevokeTarget};

use super::{ApiKeyAction, ApiKeyError, ApiKeyView, Desk};
use crate::store::records::StoredRevocation;
use crate::store::{MAX_EXPIRES_AT, StoreError, Table, Transaction};

/// What a token may be over its `exp` and still be accepted: the most that a policy can say in
/// `clock_skew_seconds`. A revocation that ended with the token would let it pass once more.
const MAX_SKEW_SECONDS: u64 = 300;
/// The shortest revocation: a token that is over is revoked all the same, so that nobody who revokes
/// what is about to end has to care.
const MIN_SECONDS: u64 = 60;
/// Longest reason and name of who revokes: they stand in the store and in the audit log.
const MAX_TEXT_BYTES: usize = 1024;
/// Longest token that is read, as long as the longest that any gate takes.
const MAX_TOKEN_BYTES: usize = 64 * 1024;
/// Longest name of an issuer, a subject and so on: no token that is accepted has a longer one.
const MAX_NAME_BYTES: usize = 2048;
/// How often a revocation is tried again when somebody else revokes the same.
const TRIES: usize = 32;

/// A revocation as an operator sees it.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct RevocationView {
    /// The name of the revocation: the fingerprint of its target.
    pub id: String,
    /// What it says.
    #[serde(flatten)]
    pub stored: StoredRevocation,
}

/// Some of the revocations.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct RevocationList {
    /// In no order.
    pub revocations: Vec<RevocationView>,
    /// Where the next page begins, if there may be one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What was revoked.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Revoked {
    /// Tokens.
    Revocation(RevocationView),
    /// An API key.
    ApiKey(Box<ApiKeyView>),
}

/// Why something was not revoked.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// Something of what was asked is wrong. Never says what was sent: it may be a token.
    #[error("{0}")]
    Invalid(&'static str),
    /// Of the API key.
    #[error(transparent)]
    ApiKey(#[from] ApiKeyError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Desk {
    /// Revokes something; filters hear of it by the log. When it returns the revocation is in the
    /// store. `keep_seconds` is how long one stands whose end is not known.
    ///
    /// # Errors
    ///
    /// [`RevokeError`] when the request is wrong or the store fails.
    pub async fn revoke(
        &self,
        asked: RevokeRequest,
        keep_seconds: u64,
    ) -> Result<Revoked, RevokeError> {
        check_texts(&asked)?;
        let now = self.clock.now();
        let RevokeRequest { target, reason, by, until, issued_until } = asked;
        let (target, token_end) = match target {
            RevokeTarget::ApiKey { name_or_id } => {
                let revoked = self.change_api_key(&name_or_id, ApiKeyAction::Revoke).await?;
                return Ok(Revoked::ApiKey(Box::new(revoked)));
            }
            RevokeTarget::TokenText { token } => request::read_token(&token)?,
            RevokeTarget::Named(target) => (check_target(target)?, None),
        };
        let end = until.map(UnixSeconds).or(token_end.map(|end| end.plus(MAX_SKEW_SECONDS)));
        let end = end.unwrap_or(now.plus(keep_seconds)).max(now.plus(MIN_SECONDS));
        let new = StoredRevocation {
            issued_until: issued_until.or_else(|| until_now(&target, now)),
            until: end.min(MAX_EXPIRES_AT).0,
            target,
            reason,
            by,
            revoked_at: now.0,
        };
        self.put_revocation(new).await
    }

    /// Stores a revocation together with its entry in the log. One of the same target that stands
    /// already is widened and never narrowed.
    async fn put_revocation(&self, new: StoredRevocation) -> Result<Revoked, RevokeError> {
        let id = new.target.fingerprint().text();
        for _ in 0..TRIES {
            let stands = self.store.get(Table::Revocations, &id).await?;
            let earlier = stands.as_deref().map(serde_json::from_slice::<StoredRevocation>);
            let stored = match earlier {
                // One that cannot be read matches everything for as long as any: it must not be
                // narrowed by what is not understood.
                Some(Err(_)) => StoredRevocation { issued_until: None, ..new.clone() },
                Some(Ok(earlier)) => new.clone().widened_by(&earlier),
                None => new.clone(),
            };
            let entry = LogEntry {
                at_milliseconds: self.clock.now_milliseconds(),
                kind: ChangeKind::Revoked { revocation: stored.revocation() },
            };
            let transaction = match stands {
                Some(stands) => Transaction::new().same(Table::Revocations, &id, stands),
                None => Transaction::new().absent(Table::Revocations, &id),
            };
            let (value, entry) = (json(&stored)?, json(&entry)?);
            let until = Some(UnixSeconds(stored.until));
            let transaction =
                transaction.put_until(Table::Revocations, &id, value, until).append(entry);
            match self.store.commit(transaction).await {
                Ok(_) => {
                    tracing::info!(id, kind = kind(&stored.target), "revoked");
                    return Ok(Revoked::Revocation(RevocationView { id, stored }));
                }
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Changed.into())
    }

    /// Some of the revocations; `cursor` `None` begins.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn revocations(&self, cursor: Option<String>) -> Result<RevocationList, StoreError> {
        let page = self.store.page(Table::Revocations, cursor).await?;
        let read = page.entries.into_iter().filter_map(|entry| {
            let stored = serde_json::from_slice(&entry.value).ok()?;
            Some(RevocationView { id: entry.key, stored })
        });
        Ok(RevocationList { revocations: read.collect(), next: page.next })
    }
}

/// What is about a person or a client is about what they hold now: a token of tomorrow is theirs
/// again. What names one token, session or key is about all of it.
fn until_now(target: &RevocationTarget, now: UnixSeconds) -> Option<u64> {
    match target {
        RevocationTarget::Subject { .. } | RevocationTarget::Client { .. } => Some(now.0),
        RevocationTarget::Token { .. }
        | RevocationTarget::TokenDigest { .. }
        | RevocationTarget::Session { .. }
        | RevocationTarget::SigningKey { .. } => None,
    }
}

/// The kind of a target, for logs: what it names may be personal.
pub(crate) fn kind(target: &RevocationTarget) -> &'static str {
    match target {
        RevocationTarget::Token { .. } => "token",
        RevocationTarget::TokenDigest { .. } => "token_digest",
        RevocationTarget::Session { .. } => "session",
        RevocationTarget::Subject { .. } => "subject",
        RevocationTarget::Client { .. } => "client",
        RevocationTarget::SigningKey { .. } => "signing_key",
    }
}

fn check_texts(asked: &RevokeRequest) -> Result<(), RevokeError> {
    let long = |text: &Option<String>| text.as_ref().is_some_and(|it| it.len() > MAX_TEXT_BYTES);
    if long(&asked.reason) || long(&asked.by) {
        return Err(RevokeError::Invalid("`reason` and `by` have 1024 bytes at most"));
    }
    Ok(())
}

fn check_target(target: RevocationTarget) -> Result<RevocationTarget, RevokeError> {
    let names: [&str; 2] = match &target {
        RevocationTarget::Token { issuer, token_id } => [issuer, token_id],
        RevocationTarget::TokenDigest { digest } => {
            request::check_digest(digest)?;
            [digest, digest]
        }
        RevocationTarget::Session { issuer, session } => [issuer, session],
        RevocationTarget::Subject { issuer, subject } => [issuer, subject],
        RevocationTarget::Client { issuer, client_id } => [issuer, client_id],
        RevocationTarget::SigningKey { issuer, key_id } => [issuer, key_id],
    };
    if names.iter().any(|name| name.is_empty() || name.len() > MAX_NAME_BYTES) {
        return Err(RevokeError::Invalid("each part of the target has 1 to 2048 bytes"));
    }
    Ok(target)
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, RevokeError> {
    serde_json::to_vec(value).map_err(|_| RevokeError::Invalid("the revocation cannot be written"))
}

#[cfg(test)]
mod tests;
