//! Many revocations in one step: lists of compromised tokens.

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wardgate_core::time::UnixSeconds;

use super::{
    RevocationView, RevokeError, RevokeTarget, TRIES, beside, check_texts, end, put, read_target,
    stored,
};
use crate::desk::Desk;
use crate::store::records::StoredRevocation;
use crate::store::{StoreError, Table, Transaction};

/// Revocations of one batch. Each is three operations of a transaction, which may have 4,096.
pub const MAX_REVOKE_BATCH: usize = 1000;
/// By how much the end of a revocation that stands may be earlier, where the end is reckoned from the
/// time of the request because nothing else is known. What is named was there when it was revoked
/// first, so it is over no later; and a list that is begun again need not be written again.
const SAME_END_SECONDS: u64 = 86_400;

/// Body of `POST /admin/v1/revocations/batch`.
#[derive(Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeBatch {
    /// At most [`MAX_REVOKE_BATCH`].
    pub revocations: Vec<BatchRevocation>,
    /// Why, for those who read it later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who does it, for those who read it later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// One of a batch.
#[derive(Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BatchRevocation {
    /// What is revoked; API keys are revoked one by one.
    pub target: RevokeTarget,
    /// As of one revocation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// As of one revocation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_until: Option<u64>,
}

/// What became of a batch.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct RevokedBatch {
    /// What is revoked now and was not before, or not for so long.
    pub revoked: u64,
    /// What was revoked already.
    pub unchanged: u64,
    /// What was not revoked.
    pub problems: Vec<RevokeProblem>,
}

/// Why something of a batch was not revoked.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct RevokeProblem {
    /// Its place in the batch, from 0.
    pub index: usize,
    /// What is wrong. Never says what was sent: it may be a token.
    pub problem: String,
}

/// A revocation that is still to be written.
struct Rest {
    view: RevocationView,
    /// By how much the end of one that stands may be earlier.
    tolerance_seconds: u64,
}

impl Desk {
    /// Revokes many things; filters hear of them by the log. Those that are revoked already, and
    /// those with a problem, do not hinder the others; done again, it changes nothing.
    ///
    /// # Errors
    ///
    /// [`RevokeError`] when the batch is too long or the store fails.
    pub async fn revoke_batch(
        &self,
        asked: RevokeBatch,
        keep_seconds: u64,
    ) -> Result<RevokedBatch, RevokeError> {
        check_texts(asked.reason.as_ref(), asked.by.as_ref())?;
        if asked.revocations.len() > MAX_REVOKE_BATCH {
            return Err(RevokeError::Invalid("more than 1000 revocations in one batch"));
        }
        let mut done = RevokedBatch::default();
        let mut rest = self.read_batch(asked, keep_seconds, &mut done);
        // Of a list that is new, nothing stands: it costs no look.
        let mut change = self.absent(&rest)?;
        for _ in 0..TRIES {
            if rest.is_empty() {
                return Ok(done);
            }
            match self.store.commit(change).await {
                Ok(_) => {
                    tracing::info!(count = rest.len(), "revoked a batch");
                    done.revoked = u64::try_from(rest.len()).unwrap_or(u64::MAX);
                    return Ok(done);
                }
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            (change, rest) = self.beside_what_stands(rest, &mut done).await?;
        }
        Err(StoreError::Changed.into())
    }

    fn read_batch(
        &self,
        asked: RevokeBatch,
        keep_seconds: u64,
        done: &mut RevokedBatch,
    ) -> Vec<Rest> {
        let now = self.clock.now();
        let mut rest = Vec::new();
        let mut ids = HashSet::new();
        let RevokeBatch { revocations, reason, by } = asked;
        for (index, one) in revocations.into_iter().enumerate() {
            let BatchRevocation { target, until, issued_until } = one;
            let read = read_target(target).map(|(target, token_end)| {
                let end = end(until, token_end);
                (stored(target, end, issued_until, now, keep_seconds), end)
            });
            match read {
                Err(error) => {
                    let problem = error.to_string();
                    done.problems.push(RevokeProblem { index, problem });
                }
                Ok((stored, end)) => {
                    let stored =
                        StoredRevocation { reason: reason.clone(), by: by.clone(), ..stored };
                    let id = stored.target.fingerprint().text();
                    if !ids.insert(id.clone()) {
                        done.unchanged = done.unchanged.saturating_add(1);
                        continue;
                    }
                    let tolerance_seconds = if end.is_some() { 0 } else { SAME_END_SECONDS };
                    rest.push(Rest { view: RevocationView { id, stored }, tolerance_seconds });
                }
            }
        }
        rest
    }

    fn absent(&self, rest: &[Rest]) -> Result<Transaction, RevokeError> {
        let now = self.clock.now_milliseconds();
        rest.iter().try_fold(Transaction::new(), |change, one| {
            put(change.absent(Table::Revocations, &*one.view.id), &one.view, now)
        })
    }

    /// Those that something is to be written of, given what stands.
    async fn beside_what_stands(
        &self,
        rest: Vec<Rest>,
        done: &mut RevokedBatch,
    ) -> Result<(Transaction, Vec<Rest>), RevokeError> {
        let now = self.clock.now_milliseconds();
        let (mut change, mut left) = (Transaction::new(), Vec::new());
        let ids: Vec<String> = rest.iter().map(|one| one.view.id.clone()).collect();
        let standing = self.store.get_all(Table::Revocations, &ids).await?;
        for (one, stands) in rest.into_iter().zip(standing) {
            let id = one.view.id.as_str();
            if stands.as_deref().is_some_and(|stands| one.is_covered_by(stands)) {
                done.unchanged = done.unchanged.saturating_add(1);
                continue;
            }
            let stored = beside(one.view.stored.clone(), stands.as_deref());
            let view = RevocationView { id: id.to_owned(), stored };
            change = match stands {
                Some(stands) => change.same(Table::Revocations, id, stands),
                None => change.absent(Table::Revocations, id),
            };
            change = put(change, &view, now)?;
            left.push(one);
        }
        Ok((change, left))
    }
}

impl Rest {
    /// Whether what stands refuses all that this would.
    fn is_covered_by(&self, stands: &[u8]) -> bool {
        let Ok(earlier) = serde_json::from_slice::<StoredRevocation>(stands) else { return false };
        let new = &self.view.stored;
        let issued = match (earlier.issued_until, new.issued_until) {
            (None, _) => true,
            (Some(earlier), Some(new)) => earlier >= new,
            (Some(_), None) => false,
        };
        issued && UnixSeconds(earlier.until).plus(self.tolerance_seconds).0 >= new.until
    }
}

#[cfg(test)]
mod tests;
