//! The account of one global limit, as the sidecar keeps it.
//!
//! Filters have pieces of the limit in advance, and tell afterwards what they admitted without one.
//! Both are charged here, to one arrival by the wall clock of the sidecars.

use super::{Limit, Standing};

/// How far ahead an account may be charged, as a multiple of what the limit tolerates. Use that is
/// told afterwards was real, so it is charged even beyond the limit; but a filter that tells of more
/// than there was (a bug, a message that came twice) must not lock anyone out for long.
const MAX_DEBT: u64 = 2;

/// What a filter tells and asks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Ask {
    /// Requests admitted without a piece.
    pub used: u64,
    /// Requests of earlier pieces that were not used.
    pub returned: u64,
    /// Requests wanted in advance.
    pub wanted: u64,
}

/// What a filter gets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Grant {
    /// Requests that it may admit.
    pub granted: u64,
    /// Whether more was wanted than there is.
    pub limited: bool,
    /// How the account stands after it.
    pub standing: Standing,
}

/// Settles with one filter: the account afterwards, and what the filter gets.
///
/// It gets at most half of what there is, so that those who ask next get something too.
pub fn settle(limit: Limit, arrival: u64, ask: Ask, now: u64) -> (u64, Grant) {
    let most = now.saturating_add(limit.tolerance_nanoseconds().saturating_mul(MAX_DEBT));
    let returned = limit.interval_nanoseconds().saturating_mul(ask.returned);
    // Bounded before and after: a clock that was set back must not lock anyone out either.
    let arrival = arrival.min(most).saturating_sub(returned);
    let arrival = limit.charge(arrival, ask.used, now).min(most);
    let there_is = limit.standing(arrival, now).remaining;
    let granted = ask.wanted.min(there_is.div_ceil(2));
    let arrival = limit.charge(arrival, granted, now);
    let standing = limit.standing(arrival, now);
    (arrival, Grant { granted, limited: ask.wanted > there_is, standing })
}
