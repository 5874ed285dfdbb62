//! Revocations, by the fingerprint of their target.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wardgate_core::feed::{Revocation, RevocationTarget};
use wardgate_core::time::UnixSeconds;
use wardgate_core::wire::feed::{ChangeKind, LogEntry};

use crate::store::{Store, StoreError, Table, Transaction, to_json};

/// A revocation at rest.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct StoredRevocation {
    /// What is revoked.
    pub target: RevocationTarget,
    /// Only tokens issued until then, inclusive; all when missing. In seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_until: Option<u64>,
    /// When nothing that it could match is alive any more, in seconds since the epoch.
    pub until: u64,
    /// Why, as whoever did it wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who did it, as they say themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When it was done last, in seconds since the epoch.
    pub revoked_at: u64,
}

impl StoredRevocation {
    /// What filters are told.
    pub fn revocation(&self) -> Revocation {
        Revocation {
            fingerprint: self.target.fingerprint(),
            issued_until: self.issued_until,
            until: self.until,
        }
    }

    /// This one, and all that an earlier one of the same target matches. A revocation is never taken
    /// back by another: whoever logs a user out of one day must not let in again what was stolen
    /// before.
    #[must_use]
    pub fn widened_by(mut self, earlier: &Self) -> Self {
        self.issued_until = match (self.issued_until, earlier.issued_until) {
            (Some(one), Some(other)) => Some(one.max(other)),
            (None, _) | (_, None) => None,
        };
        self.until = self.until.max(earlier.until);
        self.reason = self.reason.or_else(|| earlier.reason.clone());
        self
    }
}

/// What is said of a target in the store; nobody may have said anything.
#[derive(Clone, Debug)]
pub struct StandingRevocation {
    key: String,
    bytes: Option<Vec<u8>>,
}

impl StandingRevocation {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn read(store: &dyn Store, target: &RevocationTarget) -> Result<Self, StoreError> {
        let key = target.fingerprint().text();
        let bytes = store.get(Table::Revocations, &key).await?;
        Ok(Self { key, bytes })
    }

    /// The moment until which what was issued is revoked, in seconds since the epoch; `None` if
    /// nothing is. One without such a moment, or that cannot be read, revokes everything.
    pub fn issued_until(&self) -> Option<u64> {
        let read = serde_json::from_slice::<StoredRevocation>(self.bytes.as_deref()?);
        Some(read.ok().and_then(|read| read.issued_until).unwrap_or(u64::MAX))
    }

    /// Adds to a transaction that this is still so.
    pub fn unchanged(self, transaction: Transaction) -> Transaction {
        match self.bytes {
            Some(bytes) => transaction.same(Table::Revocations, self.key, bytes),
            None => transaction.absent(Table::Revocations, self.key),
        }
    }

    /// Adds to a transaction that this is still so and that `new`, of the same target, is revoked
    /// too. What stands is widened and never narrowed.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the revocation cannot be written down.
    pub fn widen(
        self,
        transaction: Transaction,
        new: StoredRevocation,
        at_milliseconds: u64,
    ) -> Result<Transaction, StoreError> {
        let earlier = self.bytes.as_deref().map(serde_json::from_slice::<StoredRevocation>);
        let stored = match earlier {
            Some(Ok(earlier)) => new.widened_by(&earlier),
            // What cannot be read must not be narrowed.
            Some(Err(_)) => StoredRevocation { issued_until: None, ..new },
            None => new,
        };
        let kind = ChangeKind::Revoked { revocation: stored.revocation() };
        let entry = to_json(&LogEntry { at_milliseconds, kind })?;
        let (key, until) = (self.key.clone(), Some(UnixSeconds(stored.until)));
        let transaction = self.unchanged(transaction);
        Ok(transaction.put_until(Table::Revocations, key, to_json(&stored)?, until).append(entry))
    }
}
