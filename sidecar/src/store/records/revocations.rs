//! Revocations, by the fingerprint of their target.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wardgate_core::feed::{Revocation, RevocationTarget};

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
