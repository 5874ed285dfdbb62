//! Where the accounts of global limits stand.
//!
//! One sidecar with an embedded store keeps them in memory: nobody else counts, and what is lost
//! with the process is one burst of each account. Several sidecars keep them in their store, and
//! change them by compare and set.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;
use wardgate_core::base64url;
use wardgate_core::rate_limit::ledger::{Ask, Grant, settle};
use wardgate_core::rate_limit::{Account, Limit};
use wardgate_core::time::UnixSeconds;

use crate::store::{Store, StoreError, Table, Transaction};

/// Accounts in memory, some 40 MB. Those that owe nothing are forgotten.
const MAX_ACCOUNTS: usize = 1_000_000;
/// How often a change is tried that other sidecars come before. Of those that try at once one gets
/// through, so whoever loses so often, with a longer pause each time, has a store that is broken.
const MAX_TRIES: u32 = 32;
const SECOND: u64 = 1_000_000_000;

/// One ask, with what it is about.
pub(super) type Wanted = (Account, Limit, Ask);

/// The accounts of global limits.
#[derive(Debug)]
pub struct Ledger(Kind);

#[derive(Debug)]
enum Kind {
    Memory(Mutex<Accounts>),
    Shared {
        store: Arc<dyn Store>,
        /// One change at a time from this sidecar: else its own requests come before each other.
        turn: AsyncMutex<()>,
    },
}

#[derive(Debug, Default)]
struct Accounts {
    arrivals: HashMap<Account, u64>,
    swept: u64,
}

impl Ledger {
    /// Accounts of one sidecar alone.
    pub fn in_memory() -> Self {
        Self(Kind::Memory(Mutex::default()))
    }

    /// Accounts of all sidecars of a store.
    pub fn in_store(store: Arc<dyn Store>) -> Self {
        Self(Kind::Shared { store, turn: AsyncMutex::default() })
    }

    /// Settles with one filter; the grants in the order of what is wanted.
    pub(super) async fn settle(
        &self,
        wanted: &[Wanted],
        now: u64,
    ) -> Result<Vec<Grant>, StoreError> {
        match &self.0 {
            Kind::Memory(accounts) => {
                let mut accounts = accounts.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(accounts.settle(wanted, now))
            }
            Kind::Shared { store, turn } => {
                let _turn = turn.lock().await;
                settle_shared(store.as_ref(), wanted, now).await
            }
        }
    }
}

impl Accounts {
    fn settle(&mut self, wanted: &[Wanted], now: u64) -> Vec<Grant> {
        if self.arrivals.len() >= MAX_ACCOUNTS && now.saturating_sub(self.swept) >= SECOND {
            self.swept = now;
            self.arrivals.retain(|_, arrival| *arrival > now);
        }
        let one = |(account, limit, ask): &Wanted| {
            let held = self.arrivals.get(account).copied();
            if held.is_none() && self.arrivals.len() >= MAX_ACCOUNTS {
                // No word about it: the filters go by their parts.
                return Grant { granted: 0, limited: false, standing: limit.standing(now, now) };
            }
            let (arrival, grant) = settle(*limit, held.unwrap_or(0), *ask, now);
            self.arrivals.insert(*account, arrival);
            grant
        };
        wanted.iter().map(one).collect()
    }
}

async fn settle_shared(
    store: &dyn Store,
    wanted: &[Wanted],
    now: u64,
) -> Result<Vec<Grant>, StoreError> {
    let mut tries = 1;
    loop {
        let mut transaction = Transaction::new();
        let mut grants = Vec::new();
        for (account, limit, ask) in wanted {
            let key = base64url::encode(account);
            let held = store.get(Table::RateLimits, &key).await?;
            let (arrival, grant) = settle(*limit, arrival_of(held.as_deref()), *ask, now);
            transaction = match held {
                Some(held) => transaction.same(Table::RateLimits, key.clone(), held),
                None => transaction.absent(Table::RateLimits, key.clone()),
            };
            // Once it owes nothing, an account is as good as none.
            let end = UnixSeconds((arrival / SECOND).saturating_add(1));
            let value = arrival.to_string().into_bytes();
            transaction = transaction.put_until(Table::RateLimits, key, value, Some(end));
            grants.push(grant);
        }
        match store.commit(transaction).await {
            Ok(_) => return Ok(grants),
            Err(StoreError::Conflict { .. }) if tries < MAX_TRIES => {
                tries = tries.saturating_add(1);
                // Not in step with whoever was faster.
                tokio::time::sleep(Duration::from_millis(u64::from(tries))).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// A value that is no number was not written by us; the account begins anew.
fn arrival_of(value: Option<&[u8]>) -> u64 {
    let text = value.and_then(|value| core::str::from_utf8(value).ok());
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}
