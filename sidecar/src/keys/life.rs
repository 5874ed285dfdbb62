//! The life of a signing key: published, signing, retired, gone. Decided from stored times alone, so
//! that all sidecars of a store decide alike without a word between them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wardgate_core::time::UnixSeconds;

/// How long anyone may keep the key set (`Cache-Control` of the JWKS endpoint), in seconds. Whoever
/// has a set that old must know every key that signs.
pub const JWKS_MAX_AGE_SECONDS: u64 = 300;
/// The longest that a token lives: `issuer.access_token_lifetime_seconds` and every request for a
/// token are bounded by it.
pub const MAX_TOKEN_LIFETIME_SECONDS: u64 = 86_400;
/// The most that a policy lets clocks differ (`clock_skew_seconds`): so long after its `exp` a token
/// may still be accepted.
const MAX_SKEW_SECONDS: u64 = 300;
/// How much longer another sidecar may sign with a key that has retired: its clock is behind, or it
/// has not heard of a rotation at once.
const SLOW_SIDECAR_SECONDS: u64 = 600;
/// How long a retired key stays: until the last token that it may have signed is dead for everyone.
pub const RETIRED_SECONDS: u64 =
    MAX_TOKEN_LIFETIME_SECONDS + MAX_SKEW_SECONDS + SLOW_SIDECAR_SECONDS;
/// How much later than scheduled a key retires that no sidecar has replaced, because none has its
/// algorithm in the configuration any more.
const ABANDONED_AFTER_SECONDS: u64 = 86_400;

/// What is known of the life of a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeyTimes {
    /// When it begins to sign.
    pub signs_from: UnixSeconds,
    /// When another one signs in its place, once that is known.
    pub retires_at: Option<UnixSeconds>,
    /// When all of its tokens were revoked.
    pub revoked_at: Option<UnixSeconds>,
}

/// Where a key is in its life.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// In the key set, and signs nothing yet.
    Published,
    /// Signs, unless a newer one does.
    Signing,
    /// Signs no more; tokens of it are good.
    Retired,
    /// Signs no more, and all tokens of it are refused.
    Revoked,
    /// No token of it can be good any more.
    Gone,
}

/// When keys are replaced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Schedule {
    /// How long a key signs, in seconds; `None` for ever.
    pub rotate_after_seconds: Option<u64>,
    /// How long a new key is in the key set before it signs, in seconds.
    pub publish_ahead_seconds: u64,
}

/// What is to be done about the keys of one algorithm.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// There is none: one is made that signs at once, since nobody can know of it earlier.
    First,
    /// The key at this place is succeeded by a new one at this time.
    Successor {
        /// The place of the key that signs, among those that were given.
        of: usize,
        /// When the new one begins to sign.
        signs_from: UnixSeconds,
    },
    /// The key at this place retires, and no other takes its place.
    Retirement {
        /// Its place among those that were given.
        of: usize,
    },
}

impl KeyState {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Signing => "signing",
            Self::Retired => "retired",
            Self::Revoked => "revoked",
            Self::Gone => "gone",
        }
    }
}

impl KeyTimes {
    /// A key that signs from then on.
    pub fn from(signs_from: UnixSeconds) -> Self {
        Self { signs_from, retires_at: None, revoked_at: None }
    }

    /// Where the key is in its life at `now`.
    pub fn state(&self, now: UnixSeconds) -> KeyState {
        let gone = self.gone_at().is_some_and(|gone| gone <= now);
        match (self.revoked_at, self.retires_at) {
            _ if gone => KeyState::Gone,
            (Some(_), _) => KeyState::Revoked,
            (None, Some(retires_at)) if retires_at <= now => KeyState::Retired,
            (None, Some(_) | None) if self.signs_from > now => KeyState::Published,
            (None, Some(_) | None) => KeyState::Signing,
        }
    }

    /// From when on no token of it can be good, if that is known.
    pub fn gone_at(&self) -> Option<UnixSeconds> {
        // Of a revoked key too: filters are to say why they refuse its tokens.
        let last = match (self.retires_at, self.revoked_at) {
            (Some(retires_at), Some(revoked_at)) => Some(retires_at.max(revoked_at)),
            (one, other) => one.or(other),
        };
        last.map(|last| last.plus(RETIRED_SECONDS))
    }
}

/// The place of the key that signs at `now`: the newest of those that may.
pub fn signer(keys: &[KeyTimes], now: UnixSeconds) -> Option<usize> {
    let signs = |key: &KeyTimes| key.state(now) == KeyState::Signing;
    let signing = keys.iter().enumerate().filter(|(_, key)| signs(key));
    // The later of two with one time: those that are given are in the order that they were made in.
    signing.max_by_key(|(_, key)| key.signs_from).map(|(place, _)| place)
}

/// What is to be done at `now` about the keys of one algorithm, in the order that they were made in.
/// `wanted` says whether the configuration has the algorithm.
pub fn due(keys: &[KeyTimes], wanted: bool, schedule: &Schedule, now: UnixSeconds) -> Due {
    if keys.iter().any(|key| key.state(now) == KeyState::Published) {
        return Due::Nothing;
    }
    let Some(of) = signer(keys, now) else {
        return if wanted { Due::First } else { Due::Nothing };
    };
    let signs_from = keys.get(of).map(|key| key.signs_from);
    let Some((signs_from, after)) = signs_from.zip(schedule.rotate_after_seconds) else {
        return Due::Nothing;
    };
    let end = signs_from.plus(after);
    if wanted {
        let signs_from = now.plus(schedule.publish_ahead_seconds);
        if signs_from >= end { Due::Successor { of, signs_from } } else { Due::Nothing }
    } else if now >= end.plus(ABANDONED_AFTER_SECONDS) {
        // Not before: another sidecar of the store may have the algorithm, and would have replaced
        // the key by now. Retired earlier, it would be made and retired in turn, for ever.
        Due::Retirement { of }
    } else {
        Due::Nothing
    }
}

#[cfg(test)]
mod tests;
