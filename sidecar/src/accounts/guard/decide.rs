//! Whether an attempt may be made: a function of what is counted and the time.

use serde::{Deserialize, Serialize};
use wardgate_core::time::UnixSeconds;

use super::{Counter, LoginLimits, Wait, Who};

/// The part of a period that is a turn: an eighth, so that who comes when told is not late.
const TURN_PART: u64 = 8;

/// A counter at rest.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub(super) struct Failures {
    /// How many.
    pub(super) count: u32,
    /// When the last of them was, in seconds since the epoch.
    pub(super) last_at: u64,
    /// Until when the network is remembered as one that logged in, in seconds since the epoch; of
    /// pairs only.
    pub(super) known_until: u64,
    /// Whether it was told in the audit log that somebody waits.
    pub(super) told: bool,
}

/// The counters of an attempt.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Standing {
    pub(super) pair: Failures,
    pub(super) address: Failures,
    pub(super) account: Failures,
}

impl Failures {
    /// Those that still count.
    fn counted(self, limits: &LoginLimits, now: UnixSeconds) -> u32 {
        let forgotten = self.last_at.saturating_add(limits.forget_seconds) <= now.0;
        if forgotten { 0 } else { self.count }
    }

    /// One more.
    pub(super) fn failed(self, limits: &LoginLimits, now: UnixSeconds) -> Self {
        let count = self.counted(limits, now).saturating_add(1);
        Self { count, last_at: now.0, told: false, ..self }
    }

    /// Whether the network logged in to the account, not too long ago.
    pub(super) fn is_known(self, now: UnixSeconds) -> bool {
        self.known_until > now.0
    }

    /// When there is nothing more to know.
    pub(super) fn ends_at(self, limits: &LoginLimits) -> UnixSeconds {
        UnixSeconds(self.last_at.saturating_add(limits.forget_seconds).max(self.known_until))
    }

    /// How long to wait for a delay that doubles with each failure beyond `free`.
    fn delay(self, free: u32, limits: &LoginLimits, now: UnixSeconds) -> u64 {
        let Some(beyond) = self.counted(limits, now).checked_sub(free) else { return 0 };
        let doubled = 1_u64.checked_shl(beyond).unwrap_or(u64::MAX);
        let delay = doubled.min(limits.max_delay_seconds);
        self.last_at.saturating_add(delay).saturating_sub(now.0)
    }
}

/// Whether an attempt may be made now.
pub(super) fn decide(
    standing: &Standing,
    who: &Who,
    limits: &LoginLimits,
    now: UnixSeconds,
) -> Result<(), Wait> {
    let wait = |seconds: u64, counter| {
        if seconds == 0 { Ok(()) } else { Err(Wait { seconds, counter }) }
    };
    wait(standing.pair.delay(limits.per_network, limits, now), Counter::Pair)?;
    if standing.pair.is_known(now) {
        // The attack: whoever wants to lock somebody out fails at their account on purpose. From
        // elsewhere that is nothing to a network that the user comes from.
        return Ok(());
    }
    wait(standing.address.delay(limits.per_address, limits, now), Counter::Address)?;
    if standing.account.counted(limits, now) < limits.per_account {
        return Ok(());
    }
    wait(until_turn(standing, who, limits, now), Counter::Account)
}

/// How long until it is this network's turn; one attempt is a turn.
///
/// The attack: with one delay for all, whoever asks all the time takes each chance as it comes, and
/// the user never has one. A turn belongs to one network and one account, by a keyed digest, so that
/// nobody can choose a network by its turn. The price: an attacker has one attempt in each period
/// from each network that they have.
fn until_turn(standing: &Standing, who: &Who, limits: &LoginLimits, now: UnixSeconds) -> u64 {
    let period = limits.max_delay_seconds.max(1);
    let place = who.place.checked_rem(period).unwrap_or(0);
    let since = now.0.saturating_add(place).checked_rem(period).unwrap_or(0);
    let length = period.div_ceil(TURN_PART);
    let began = now.0.saturating_sub(since);
    let used = standing.pair.last_at >= began && standing.pair.counted(limits, now) > 0;
    if since < length && !used { 0 } else { period.saturating_sub(since) }
}
