//! What is done to a store in the background: entries whose time is over are removed, and secrets
//! are sealed anew when the store keys have changed. Several sidecars may do it at once.

use std::sync::Arc;
use std::time::Duration;

use super::records::sealed;
use super::{Entry, Pages, Store, StoreError, Table, Transaction};
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::seal::StoreKeys;

/// Entries of one step: one sync of the disk, and a millisecond of a Redis.
const STEP_ENTRIES: usize = 1000;
/// Steps of one tick; what is left waits for the next one. A minute's worth of a million entries an
/// hour are 17.
const STEPS: usize = 100;
/// Between two steps others have their turn.
const BETWEEN_STEPS: Duration = Duration::from_millis(10);
/// Secrets that are sealed anew in one tick.
const RESEAL_AT_ONCE: u64 = 100;
/// Between two ticks.
const BETWEEN_RESEALS: Duration = Duration::from_secs(1);
/// Ticks that may find as much to do as the one before. When another sidecar has the keys in another
/// order, each would undo for ever what the other did.
const VAIN_TICKS: u32 = 10;

/// The work, and what it needs.
#[derive(Debug)]
pub struct Upkeep {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The keys; the first is the current one.
    pub keys: StoreKeys,
    /// What time it is.
    pub clock: Clock,
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
    /// How often entries whose time is over are removed.
    pub interval: Duration,
}

/// What sealing anew did, or has yet to do.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Resealed {
    /// Under the current key now.
    pub resealed: u64,
    /// Under an older key still: beyond what one tick does, or changed by somebody else meanwhile.
    pub left: u64,
    /// Under no key that we have.
    pub unreadable: u64,
}

impl Upkeep {
    /// Works until it is dropped.
    pub async fn run(self) {
        tokio::join!(self.reseal(), self.clean_up());
    }

    async fn clean_up(&self) {
        loop {
            match self.clean_up_once().await {
                Ok(0) => {}
                Ok(removed) => tracing::debug!(removed, "entries of the store have ended"),
                Err(error) => tracing::warn!(%error, "the store was not cleaned up"),
            }
            tokio::time::sleep(self.interval).await;
        }
    }

    /// One tick; how many entries it removed.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn clean_up_once(&self) -> Result<u64, StoreError> {
        let mut removed = 0_u64;
        for _ in 0..STEPS {
            let step = self.store.clean_up(self.clock.now(), STEP_ENTRIES).await?;
            removed = removed.saturating_add(step.removed);
            self.metrics.store_cleaned.inc_by(step.removed);
            if !step.more {
                break;
            }
            tokio::time::sleep(BETWEEN_STEPS).await;
        }
        self.metrics.store_log_sequence.set(self.store.log_head().await?.sequence);
        Ok(removed)
    }

    async fn reseal(&self) {
        if !self.keys.has_older() {
            return;
        }
        let (mut all, mut vain, mut least) = (0_u64, 0, u64::MAX);
        while vain < VAIN_TICKS {
            match self.reseal_once().await {
                Ok(Resealed { left: 0, resealed, unreadable }) => {
                    return Self::tell(all.saturating_add(resealed), unreadable);
                }
                Ok(tick) => {
                    all = all.saturating_add(tick.resealed);
                    tracing::info!(
                        resealed = tick.resealed,
                        left = tick.left,
                        "secrets of the store"
                    );
                    vain = if tick.left < least { 0 } else { vain.saturating_add(1) };
                    least = least.min(tick.left);
                }
                Err(error) => {
                    tracing::warn!(%error, "secrets were not sealed anew");
                    tokio::time::sleep(self.interval).await;
                }
            }
            tokio::time::sleep(BETWEEN_RESEALS).await;
        }
        tracing::warn!(
            left = least,
            "secrets are still under older store keys: does another sidecar have them in another order?"
        );
    }

    fn tell(resealed: u64, unreadable: u64) {
        if unreadable > 0 {
            tracing::warn!(unreadable, resealed, "secrets of the store open with no store key");
            return;
        }
        tracing::info!(resealed, "all secrets are under the first store key: others may go");
    }

    /// One tick: looks at every sealed secret, and seals some anew.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn reseal_once(&self) -> Result<Resealed, StoreError> {
        let mut tick = Resealed::default();
        for table in sealed::tables() {
            let mut pages = Pages::of(&*self.store, table);
            while let Some(entries) = pages.next().await? {
                for entry in entries {
                    self.reseal_entry(table, entry, &mut tick).await?;
                }
                // A page of the embedded store is there at once: others have their turn.
                tokio::task::yield_now().await;
            }
        }
        self.metrics.store_older_secrets.set(tick.left.saturating_add(tick.unreadable));
        Ok(tick)
    }

    async fn reseal_entry(
        &self,
        table: Table,
        entry: Entry,
        tick: &mut Resealed,
    ) -> Result<(), StoreError> {
        let Entry { key, value, .. } = entry;
        let (mut unreadable, now) = (false, self.clock.now());
        let anew = sealed::replaced(table, &value, |sealed| {
            self.keys.seal_anew(sealed, now).unwrap_or_else(|_| {
                unreadable = true;
                None
            })
        });
        let anew = anew?;
        if unreadable {
            tick.unreadable = tick.unreadable.saturating_add(1);
        }
        let Some(anew) = anew else { return Ok(()) };
        if tick.resealed >= RESEAL_AT_ONCE {
            tick.left = tick.left.saturating_add(1);
            return Ok(());
        }
        // Only if it still is what was opened: somebody may have sealed or replaced it meanwhile.
        let change = Transaction::new().same(table, &*key, value).put(table, &*key, anew);
        match self.store.commit(change).await {
            Ok(_) => {
                tick.resealed = tick.resealed.saturating_add(1);
                self.metrics.store_resealed.inc();
            }
            Err(StoreError::Conflict { .. }) => tick.left = tick.left.saturating_add(1),
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
