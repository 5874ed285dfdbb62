//! Counts in memory, and their way into the store.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value};
use tokio::sync::Notify;
use wardgate_core::time::UnixSeconds;

use super::record::{Addition, LastUse, Side, day_ends, day_key, token_day_key};
use super::tally::{Tally, Use};
use super::tokens::{Names, TokenUse};
use crate::clock::Clock;
use crate::config::UsageSection;
use crate::metrics::Metrics;
use crate::store::{Store, StoreError, Table, Transaction};

/// Keys (and days) that are counted between two flushes: with 64 pairs and 32 addresses each at
/// most, some 100 MB at the very worst and some 5 MB as a rule. What is beyond is counted as dropped.
const MAX_TALLIES: usize = 20_000;
/// Keys that are written at once.
const BATCH: usize = 256;
/// Clients, or users, of a day that are counted by name between two flushes: 3 MB at the very worst.
/// What is beyond is counted without its name.
const MAX_NAMES_IN_MEMORY: usize = 10_000;
/// How often a batch is tried again that another sidecar got in the way of.
const MAX_TRIES: usize = 16;

/// Counts what events say, until it is in the store.
pub struct UsageRecorder {
    clock: Clock,
    keep_days: u64,
    dropped: prometheus_client::metrics::counter::Counter,
    tallies: Mutex<HashMap<(String, u64), (Tally, LastUse)>>,
    tokens: Mutex<BTreeMap<(Side, u64), Names>>,
    /// What is on its way into the store; one task at a time.
    under_way: tokio::sync::Mutex<Vec<Item>>,
    /// There is much to write.
    full: Notify,
}

/// An entry that is to be written.
struct Item {
    key: String,
    addition: Addition,
    ends: Option<UnixSeconds>,
    /// The value that was written without an answer.
    attempted: Option<Vec<u8>>,
}

impl UsageRecorder {
    /// Begins with nothing.
    pub fn new(section: &UsageSection, clock: Clock, metrics: &Metrics) -> Self {
        Self {
            clock,
            keep_days: section.keep_days.0,
            dropped: metrics.usage_dropped.clone(),
            tallies: Mutex::default(),
            tokens: Mutex::default(),
            under_way: tokio::sync::Mutex::default(),
            full: Notify::new(),
        }
    }

    /// Counts an event that is in the audit log.
    pub fn observe(&self, event: &Map<String, Value>) {
        if let Some(found) = TokenUse::of(event) {
            self.count_token(&found);
        }
        let Some(found) = Use::of(event) else { return };
        let (at, day) = self.day(found.at);
        let mut tallies = self.tallies();
        let count = tallies.len();
        let place = (found.id.to_owned(), day);
        if count >= MAX_TALLIES && !tallies.contains_key(&place) {
            self.dropped.inc();
            return;
        }
        let (tally, last) = tallies.entry(place).or_default();
        tally.count(found.route, &found.result, 1);
        if let Some(source) = &found.source {
            tally.count_source(source, 1);
        }
        if at >= last.at {
            *last = LastUse { at, source: found.source };
        }
        drop(tallies);
        if count > MAX_TALLIES / 2 {
            self.full.notify_one();
        }
    }

    /// Counts something that happened to a token, by its client and by its user.
    pub fn count_token(&self, happened: &TokenUse<'_>) {
        let (_, day) = self.day(happened.at_milliseconds);
        // A count more or less is no harm.
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        for side in Side::ALL {
            let name = match side {
                Side::Client => happened.client(),
                Side::User => happened.user(),
            };
            let names = tokens.entry((side, day)).or_default();
            names.count(name, happened.token_type, happened.event, MAX_NAMES_IN_MEMORY);
        }
    }

    /// The second and the day of an event, but none that ends at once or has not come: clocks differ.
    fn day(&self, milliseconds: u64) -> (u64, u64) {
        let now = self.clock.now().0;
        let at = (milliseconds / 1000).min(now);
        (at, (at / 86_400).max((now / 86_400).saturating_sub(self.keep_days)))
    }

    fn tallies(&self) -> MutexGuard<'_, HashMap<(String, u64), (Tally, LastUse)>> {
        // A count more or less is no harm.
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when there is much to write.
    pub async fn is_full(&self) {
        self.full.notified().await;
    }

    /// Adds what was counted to the store. What could not be written is kept, and tried again with
    /// the next call.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn flush(&self, store: &dyn Store) -> Result<(), StoreError> {
        let mut under_way = self.under_way.lock().await;
        loop {
            if under_way.is_empty() {
                *under_way = self.take();
            }
            if under_way.is_empty() {
                return Ok(());
            }
            match write(store, &mut under_way).await {
                Ok(()) => under_way.clear(),
                Err(StoreError::Invalid(error)) => {
                    // It would never be taken, and all that comes after would wait for it.
                    tracing::error!(%error, "counts of use are dropped");
                    self.dropped.inc_by(u64::try_from(under_way.len()).unwrap_or(u64::MAX));
                    under_way.clear();
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn take(&self) -> Vec<Item> {
        let mut items = self.take_tokens();
        let mut tallies = self.tallies();
        let places: Vec<(String, u64)> = tallies.keys().take(BATCH).cloned().collect();
        let mut last_uses: BTreeMap<String, LastUse> = BTreeMap::new();
        for place in places {
            let Some((tally, last)) = tallies.remove(&place) else { continue };
            let (id, day) = place;
            let key = day_key(&id, day);
            let ends = Some(day_ends(day, self.keep_days));
            items.push(Item { key, addition: Addition::Day(tally), ends, attempted: None });
            let latest = last_uses.entry(id).or_default();
            if last.at >= latest.at {
                *latest = last;
            }
        }
        let last = last_uses.into_iter().map(|(key, last)| Item {
            key,
            addition: Addition::Last(last),
            ends: None,
            attempted: None,
        });
        items.extend(last);
        items
    }

    fn take_tokens(&self) -> Vec<Item> {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let item = |((side, day), names)| Item {
            key: token_day_key(side, day),
            addition: Addition::Tokens(names),
            ends: Some(day_ends(day, self.keep_days)),
            attempted: None,
        };
        std::mem::take(&mut *tokens).into_iter().map(item).collect()
    }
}

/// Writes all of a batch in one step.
async fn write(store: &dyn Store, items: &mut [Item]) -> Result<(), StoreError> {
    for _ in 0..MAX_TRIES {
        let mut transaction = Transaction::new();
        for item in &mut *items {
            let stands = store.get(Table::Usage, &item.key).await?;
            // The last attempt got no answer and was made all the same, all of it.
            if stands.is_some() && stands == item.attempted {
                return Ok(());
            }
            let value = item.addition.onto(stands.as_deref());
            transaction = match stands {
                Some(stands) => transaction.same(Table::Usage, item.key.clone(), stands),
                None => transaction.absent(Table::Usage, item.key.clone()),
            };
            transaction =
                transaction.put_until(Table::Usage, item.key.clone(), value.clone(), item.ends);
            item.attempted = Some(value);
        }
        match store.commit(transaction).await {
            Ok(_) => return Ok(()),
            Err(StoreError::Conflict { .. }) => {
                for item in &mut *items {
                    item.attempted = None;
                }
            }
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::Changed)
}

#[cfg(test)]
mod tests;
