//! Revocations: what is not accepted any more, however well it is signed.

mod batch;
mod line;
mod request;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wardgate_core::feed::RevocationTarget;
use wardgate_core::time::UnixSeconds;
use wardgate_core::wire::feed::{ChangeKind, LogEntry};

pub use batch::{BatchRevocation, MAX_REVOKE_BATCH, RevokeBatch, RevokeProblem, RevokedBatch};
pub use line::revocation_of_line;
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
        check_texts(asked.reason.as_ref(), asked.by.as_ref())?;
        let now = self.clock.now();
        let RevokeRequest { target, reason, by, until, issued_until } = asked;
        let target = match target {
            RevokeTarget::ApiKey { name_or_id } => {
                let revoked = self.change_api_key(&name_or_id, ApiKeyAction::Revoke).await?;
                return Ok(Revoked::ApiKey(Box::new(revoked)));
            }
            other @ (RevokeTarget::TokenText { .. } | RevokeTarget::Named(_)) => other,
        };
        let (target, token_end) = read_target(target)?;
        let new = stored(target, end(until, token_end), issued_until, now, keep_seconds);
        let new = StoredRevocation { reason, by, ..new };
        self.put_revocation(new).await
    }

    /// Stores a revocation together with its entry in the log.
    async fn put_revocation(&self, new: StoredRevocation) -> Result<Revoked, RevokeError> {
        for _ in 0..TRIES {
            let (change, view) = self.with_revocation(Transaction::new(), new.clone()).await?;
            match self.store.commit(change).await {
                Ok(_) => {
                    tracing::info!(id = view.id, kind = kind(&view.stored.target), "revoked");
                    return Ok(Revoked::Revocation(view));
                }
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Changed.into())
    }

    /// The transaction with a revocation and its entry in the log. One of the same target that
    /// stands already is widened and never narrowed.
    pub(super) async fn with_revocation(
        &self,
        transaction: Transaction,
        new: StoredRevocation,
    ) -> Result<(Transaction, RevocationView), RevokeError> {
        let id = new.target.fingerprint().text();
        let stands = self.store.get(Table::Revocations, &id).await?;
        let stored = beside(new, stands.as_deref());
        let transaction = match stands {
            Some(stands) => transaction.same(Table::Revocations, &id, stands),
            None => transaction.absent(Table::Revocations, &id),
        };
        let view = RevocationView { id, stored };
        Ok((put(transaction, &view, self.clock.now_milliseconds())?, view))
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

/// What a target is, and when the token that it is ends.
fn read_target(
    target: RevokeTarget,
) -> Result<(RevocationTarget, Option<UnixSeconds>), RevokeError> {
    match target {
        RevokeTarget::TokenText { token } => request::read_token(&token),
        RevokeTarget::Named(target) => Ok((check_target(target)?, None)),
        RevokeTarget::ApiKey { .. } => {
            Err(RevokeError::Invalid("API keys are revoked one by one: `wardgate apikey revoke`"))
        }
    }
}

/// When nothing that it could match is alive any more, if that is given or known from the token.
fn end(until: Option<u64>, token_end: Option<UnixSeconds>) -> Option<UnixSeconds> {
    until.map(UnixSeconds).or(token_end.map(|end| end.plus(MAX_SKEW_SECONDS)))
}

fn stored(
    target: RevocationTarget,
    end: Option<UnixSeconds>,
    issued_until: Option<u64>,
    now: UnixSeconds,
    keep_seconds: u64,
) -> StoredRevocation {
    let end = end.unwrap_or(now.plus(keep_seconds)).max(now.plus(MIN_SECONDS));
    StoredRevocation {
        issued_until: issued_until.or_else(|| until_now(&target, now)),
        until: end.min(MAX_EXPIRES_AT).0,
        target,
        reason: None,
        by: None,
        revoked_at: now.0,
    }
}

/// A revocation together with what stands of the same target: widened and never narrowed.
fn beside(new: StoredRevocation, stands: Option<&[u8]>) -> StoredRevocation {
    match stands.map(serde_json::from_slice::<StoredRevocation>) {
        // One that cannot be read matches everything for as long as any: it must not be narrowed by
        // what is not understood.
        Some(Err(_)) => StoredRevocation { issued_until: None, ..new },
        Some(Ok(earlier)) => new.widened_by(&earlier),
        None => new,
    }
}

/// Writes a revocation, and its entry in the log.
fn put(
    transaction: Transaction,
    view: &RevocationView,
    at_milliseconds: u64,
) -> Result<Transaction, RevokeError> {
    let kind = ChangeKind::Revoked { revocation: view.stored.revocation() };
    let entry = LogEntry { at_milliseconds, kind };
    let until = Some(UnixSeconds(view.stored.until));
    let (id, value) = (view.id.as_str(), json(&view.stored)?);
    Ok(transaction.put_until(Table::Revocations, id, value, until).append(json(&entry)?))
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

pub(super) fn check_texts(reason: Option<&String>, by: Option<&String>) -> Result<(), RevokeError> {
    let long = |text: Option<&String>| text.is_some_and(|it| it.len() > MAX_TEXT_BYTES);
    if long(reason) || long(by) {
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
