//! Signing keys as an operator sees them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wardgate_core::time::UnixSeconds;

use crate::desk::Desk;
use crate::keys::{HeldKey, KeyState};

/// A signing key as an operator sees it.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct SigningKeyView {
    /// The thumbprint.
    pub kid: String,
    /// The algorithm.
    pub algorithm: String,
    /// Where it is in its life.
    pub state: KeyState,
    /// When it was made, in seconds since the epoch.
    pub created_at: u64,
    /// When it begins to sign.
    pub signs_from: u64,
    /// When another one signs in its place, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retires_at: Option<u64>,
    /// When all of its tokens were revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<u64>,
    /// When it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone_at: Option<u64>,
}

/// All signing keys.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct SigningKeyList {
    /// By algorithm, in the order that they were made in.
    pub keys: Vec<SigningKeyView>,
}

impl SigningKeyView {
    pub(in crate::desk) fn of(held: &HeldKey, now: UnixSeconds) -> Self {
        let (key, times) = (&held.key, &held.times);
        Self {
            kid: key.kid().to_owned(),
            algorithm: key.algorithm().word().to_owned(),
            state: times.state(now),
            created_at: key.created_at().0,
            signs_from: times.signs_from.0,
            retires_at: times.retires_at.map(|at| at.0),
            revoked_at: times.revoked_at.map(|at| at.0),
            gone_at: times.gone_at().map(|at| at.0),
        }
    }
}

impl Desk {
    /// The signing keys, as an operator sees them.
    pub fn signing_key_list(&self) -> SigningKeyList {
        let now = self.clock.now();
        let keys = self.signing_keys();
        SigningKeyList { keys: keys.iter().map(|held| SigningKeyView::of(held, now)).collect() }
    }
}
