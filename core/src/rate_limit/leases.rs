//! Pieces of global limits, as one worker holds them.
//!
//! A request never waits for a piece. If the worker holds one, it is used; if the sidecar has just
//! said that there is no more, the request is refused; in all other cases (nobody has asked yet, the
//! sidecar does not answer) it counts against a part of the limit that each proxy has for itself,
//! and the sidecar is told afterwards.

use std::collections::HashMap;

use super::ledger::{Ask, Grant};
use super::{Limit, Standing};

/// Accounts of one worker, about 150 bytes each. Whoever finds no place is held to the part that
/// each proxy has for itself.
pub const MAX_LEASES: usize = 4096;
/// Accounts in one call: some 30 KiB.
pub const MAX_ASKS: usize = 256;
/// How long a piece may be used after it was asked for: the filter may use it that much later than
/// the sidecar has charged it, and the limit is exceeded by that much at most.
pub const LEASE_NANOSECONDS: u64 = 1_000_000_000;
/// How long the last answer holds: then the sidecar counts as away.
pub const HOLD_NANOSECONDS: u64 = 1_000_000_000;
/// Time between two calls.
const PAUSE_NANOSECONDS: u64 = 100_000_000;
/// The same while somebody is here for the first time.
const FIRST_PAUSE_NANOSECONDS: u64 = 20_000_000;
/// An account that nobody used for so long is forgotten.
const IDLE_NANOSECONDS: u64 = 10_000_000_000;

/// Which account: the same bytes in every proxy.
pub type Account = [u8; 16];

/// What a request comes to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LeaseVerdict {
    /// It was admitted from a piece.
    Admitted(Standing),
    /// There is no more.
    Refused(Standing),
    /// The worker cannot tell; the part of this proxy decides. If it admits, the account must be
    /// told by [`Leases::admitted_without`].
    Unknown,
}

/// The answer to one ask.
pub type LeaseAnswer = Grant;

/// The pieces of one worker.
#[derive(Debug, Default)]
pub struct Leases {
    held: HashMap<Account, Held>,
    asked: Option<Asked>,
    next_call: u64,
    /// Whether somebody was here for whom there was no answer.
    is_first: bool,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    limit: Limit,
    left: u64,
    until: u64,
    /// Requests since the last ask.
    seen: u64,
    /// Admitted without a piece, and not told yet.
    used: u64,
    /// Not used in time, and not told yet.
    returned: u64,
    last_seen: u64,
    answer: Option<Answered>,
}

#[derive(Clone, Copy, Debug)]
struct Answered {
    at: u64,
    grant: Grant,
}

/// A call on its way.
#[derive(Debug)]
struct Asked {
    at: u64,
    asks: Vec<(Account, Ask)>,
}

impl Leases {
    /// Decides about a request.
    pub fn decide(&mut self, account: Account, limit: Limit, now: u64) -> LeaseVerdict {
        let is_full = self.held.len() >= MAX_LEASES;
        let held = match self.held.get_mut(&account) {
            Some(held) => held,
            None if is_full => return LeaseVerdict::Unknown,
            None => self.held.entry(account).or_insert(Held::new(limit)),
        };
        held.limit = limit;
        held.seen = held.seen.saturating_add(1);
        held.last_seen = now;
        if held.left > 0 && now < held.until {
            held.left = held.left.saturating_sub(1);
            return LeaseVerdict::Admitted(held.standing(now));
        }
        if held.is_refused(now) {
            return LeaseVerdict::Refused(held.standing(now));
        }
        self.is_first = true;
        LeaseVerdict::Unknown
    }

    /// A request that [`LeaseVerdict::Unknown`] was said of was admitted.
    pub fn admitted_without(&mut self, account: Account) {
        if let Some(held) = self.held.get_mut(&account) {
            held.used = held.used.saturating_add(1);
        }
    }

    /// What to ask the sidecar now, if anything; then [`Leases::answered`] must follow.
    pub fn ask(&mut self, now: u64) -> Option<Vec<(Account, Limit, Ask)>> {
        let pause_ends = if self.is_first {
            self.next_call.saturating_sub(PAUSE_NANOSECONDS.saturating_sub(FIRST_PAUSE_NANOSECONDS))
        } else {
            self.next_call
        };
        if self.asked.is_some() || now < pause_ends || self.held.is_empty() {
            return None;
        }
        self.next_call = now.saturating_add(PAUSE_NANOSECONDS);
        self.is_first = false;
        let mut all = Vec::new();
        for (account, held) in &mut self.held {
            if all.len() < MAX_ASKS
                && let Some(ask) = held.ask(now)
            {
                all.push((*account, held.limit, ask));
            }
        }
        self.held.retain(|_, held| !held.is_idle(now));
        if all.is_empty() {
            return None;
        }
        let asks = all.iter().map(|(account, _, ask)| (*account, *ask)).collect();
        self.asked = Some(Asked { at: now, asks });
        Some(all)
    }

    /// Takes the answers to the last ask, in its order; `None` when there is no answer.
    pub fn answered(&mut self, answers: Option<&[LeaseAnswer]>, now: u64) {
        let Some(Asked { at, asks }) = self.asked.take() else { return };
        let answers = answers.filter(|answers| answers.len() == asks.len());
        for (index, (account, ask)) in asks.into_iter().enumerate() {
            let Some(held) = self.held.get_mut(&account) else { continue };
            match answers.and_then(|answers| answers.get(index)) {
                Some(grant) => held.take(*grant, at, now),
                // What was used is told again, be it twice. What was returned is not: counted
                // twice, it would be more than there was.
                None => held.used = held.used.saturating_add(ask.used),
            }
        }
    }
}

impl Held {
    fn new(limit: Limit) -> Self {
        let (left, until, seen, used, returned, last_seen) = (0, 0, 0, 0, 0, 0);
        Self { limit, left, until, seen, used, returned, last_seen, answer: None }
    }

    /// Whether the sidecar has just said that there is no more.
    fn is_refused(&self, now: u64) -> bool {
        self.answer.is_some_and(|answer| {
            answer.grant.limited && now.saturating_sub(answer.at) < HOLD_NANOSECONDS
        })
    }

    fn ask(&mut self, now: u64) -> Option<Ask> {
        if now >= self.until {
            self.give_back();
        }
        if self.seen == 0 && self.used == 0 && self.returned == 0 {
            return None;
        }
        // Twice what came since the last ask: it may grow until the next one.
        let wanted = self.seen.saturating_mul(2).min(self.limit.burst());
        let ask = Ask { used: self.used, returned: self.returned, wanted };
        (self.seen, self.used, self.returned) = (0, 0, 0);
        Some(ask)
    }

    fn take(&mut self, grant: Grant, asked_at: u64, now: u64) {
        if grant.granted > 0 || now >= self.until {
            self.give_back();
            self.left = grant.granted;
            self.until = asked_at.saturating_add(LEASE_NANOSECONDS);
        }
        self.answer = Some(Answered { at: now, grant });
    }

    fn give_back(&mut self) {
        self.returned = self.returned.saturating_add(self.left);
        self.left = 0;
    }

    fn is_idle(&self, now: u64) -> bool {
        now.saturating_sub(self.last_seen) > IDLE_NANOSECONDS
            && self.left == 0
            && self.used == 0
            && self.returned == 0
    }

    /// How the account stood when the sidecar last told, and what of it is here.
    fn standing(&self, now: u64) -> Standing {
        let Some(Answered { at, grant }) = self.answer else {
            return self.limit.standing(now, now);
        };
        let since = now.saturating_sub(at);
        let Standing { remaining, reset_nanoseconds, retry_nanoseconds } = grant.standing;
        Standing {
            remaining: if grant.limited { self.left } else { remaining.saturating_add(self.left) },
            reset_nanoseconds: reset_nanoseconds.saturating_sub(since),
            retry_nanoseconds: retry_nanoseconds.saturating_sub(since),
        }
    }
}
