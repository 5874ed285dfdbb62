//! Hands out pieces of global limits to filters.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use wardgate_core::base64url;
use wardgate_core::rate_limit::ledger::{Ask, Grant};
use wardgate_core::rate_limit::{Limit, MAX_ASKS};
use wardgate_core::wire::mac::Nonce;
use wardgate_core::wire::rate::{RateAsk, RateGrant, RateLeases, RateLeasesAnswer};

use super::ledger::{Ledger, Wanted};
use super::seen::{Heard, Seen};
use crate::clock::Clock;
use crate::store::StoreError;

/// Hands out pieces of global limits.
#[derive(Debug)]
pub struct LeaseServer {
    ledger: Ledger,
    clock: Clock,
    seen: Mutex<Seen>,
    window_seconds: u64,
}

/// Why a filter gets no answer.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The question is not one.
    #[error("{0}")]
    Malformed(&'static str),
    /// The store did not take the change. The filter tells again what it has used.
    #[error("the store failed")]
    Store(#[source] StoreError),
}

impl LeaseServer {
    /// A server over `ledger`; a message is believed for `window_seconds`.
    pub fn new(ledger: Ledger, clock: Clock, window_seconds: u64) -> Self {
        Self { ledger, clock, seen: Mutex::default(), window_seconds }
    }

    /// Answers a filter.
    ///
    /// A message that comes again counts for nothing. What a filter gives back would else be given
    /// back each time that somebody plays the message again, and the limit would be none.
    ///
    /// # Errors
    ///
    /// [`LeaseError`] when the question is malformed or the store fails; nothing was counted.
    pub async fn answer(
        &self,
        question: &RateLeases,
        nonce: Nonce,
    ) -> Result<RateLeasesAnswer, LeaseError> {
        let mut wanted = read(question)?;
        match self.hear(nonce) {
            Heard::First => {}
            Heard::Again => {
                let nothing = RateGrant {
                    granted: 0,
                    limited: false,
                    remaining: 0,
                    reset_nanoseconds: 0,
                    retry_nanoseconds: 0,
                };
                return Ok(RateLeasesAnswer { grants: vec![nothing; wanted.len()] });
            }
            Heard::Unknown => wanted.iter_mut().for_each(|(_, _, ask)| ask.returned = 0),
        }
        let now = self.clock.now_milliseconds().saturating_mul(1_000_000);
        let grants = self.ledger.settle(&wanted, now).await.map_err(LeaseError::Store)?;
        Ok(RateLeasesAnswer { grants: grants.into_iter().map(on_wire).collect() })
    }

    fn hear(&self, nonce: Nonce) -> Heard {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.hear(nonce, self.clock.now().0, self.window_seconds)
    }
}

fn read(question: &RateLeases) -> Result<Vec<Wanted>, LeaseError> {
    if question.asks.len() > MAX_ASKS {
        return Err(LeaseError::Malformed("too many accounts at once"));
    }
    let wanted: Option<Vec<Wanted>> = question.asks.iter().map(one).collect();
    let wanted = wanted.ok_or(LeaseError::Malformed("an account is not 16 bytes as base64url"))?;
    let accounts: HashSet<_> = wanted.iter().map(|(account, _, _)| account).collect();
    if accounts.len() < wanted.len() {
        return Err(LeaseError::Malformed("an account stands twice"));
    }
    Ok(wanted)
}

fn one(ask: &RateAsk) -> Option<Wanted> {
    let account = base64url::decode(ask.account.as_bytes())?.try_into().ok()?;
    let limit = Limit::of_parts(ask.interval_nanoseconds, ask.burst);
    let RateAsk { used, returned, wanted, .. } = *ask;
    Some((account, limit, Ask { used, returned, wanted }))
}

fn on_wire(grant: Grant) -> RateGrant {
    RateGrant {
        granted: grant.granted,
        limited: grant.limited,
        remaining: grant.standing.remaining,
        reset_nanoseconds: grant.standing.reset_nanoseconds,
        retry_nanoseconds: grant.standing.retry_nanoseconds,
    }
}
