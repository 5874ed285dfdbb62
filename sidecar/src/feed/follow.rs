//! Fills the mirror from the store's tables and keeps it up by the store's log.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use wardgate_core::feed::Table as FeedTable;
use wardgate_core::wire::feed::ChangeKind;

use super::mirror::{GapError, Mirror, read_entry};
use super::settings::{EncodedSettings, SettingsSource};
use super::{Feed, State};
use crate::store::records::{StoredApiKey, StoredRevocation};
use crate::store::{LogPage, LogPosition, Pages, StoreError, Table};

/// Entries that are taken in at a time; readers of the mirror wait meanwhile.
const ENTRIES: usize = 256;
/// How long a look at the log waits for a change.
const QUIET: Duration = Duration::from_millis(500);
/// How often the store is confirmed: with the time that it takes well under
/// [`super::CONFIRMED_WITHIN`].
const CONFIRM_EVERY: Duration = Duration::from_millis(500);
/// Pauses after failures of the store grow from the one to the other.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// What is over is looked for in steps: one in a tick, all of a table within a minute or so.
const SWEEP_TICK: Duration = Duration::from_secs(1);
const SWEEP_STEPS: u32 = 60;

/// Why the mirror has to be filled anew.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the store's log is another one, or was trimmed")]
    Unknown,
    #[error(transparent)]
    Gap(#[from] GapError),
}

impl Feed {
    /// Keeps the mirror and the settings up, for ever.
    pub async fn follow(self: Arc<Self>, source: Arc<dyn SettingsSource>) {
        tokio::join!(
            self.follow_store(&*source),
            self.confirm_store(),
            self.follow_settings(&*source),
            self.sweep_expired()
        );
    }

    async fn follow_store(&self, source: &dyn SettingsSource) {
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.fill_and_follow(source, &mut pause).await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            if matches!(error, FollowError::Store(_)) {
                tracing::warn!(%error, "the feed cannot read the store");
                sleep(pause).await;
                pause = pause.saturating_mul(2).min(LAST_PAUSE);
            } else {
                tracing::warn!(%error, "all filters will load the tables anew");
            }
        }
    }

    /// Goes on from where the mirror is; fills it if it is nowhere, or not in the log.
    async fn fill_and_follow(
        &self,
        source: &dyn SettingsSource,
        pause: &mut Duration,
    ) -> Result<std::convert::Infallible, FollowError> {
        let head = self.state().mirror.as_ref().map(Mirror::head);
        let mut at = match head {
            Some(head) => head,
            None => self.fill(source).await?,
        };
        loop {
            let entries = match self.store.log_after(at, ENTRIES).await? {
                LogPage::Entries { entries } => entries,
                LogPage::Unknown => self.forget()?,
            };
            *pause = FIRST_PAUSE;
            let Some((last, _)) = entries.last() else {
                self.store.log_changed(at, QUIET).await?;
                continue;
            };
            let last = *last;
            let is_settings = |(position, entry): &(LogPosition, Vec<u8>)| {
                let entry = read_entry(*position, entry);
                entry.is_some_and(|entry| matches!(entry.kind, ChangeKind::Settings))
            };
            // Before the entry is shown: 'the settings are others' must come with the others.
            if entries.iter().any(is_settings) {
                self.read_settings(source).await?;
            }
            if let Err(gap) = self.take_in(&entries) {
                self.state_mut().forget();
                return Err(gap.into());
            }
            at = last;
        }
    }

    fn take_in(&self, entries: &[(LogPosition, Vec<u8>)]) -> Result<(), GapError> {
        let mut state = self.state_mut();
        if let Some(mirror) = &mut state.mirror {
            for (position, entry) in entries {
                mirror.apply(*position, entry)?;
            }
        }
        state.settle();
        self.count_records(&state);
        drop(state);
        self.wake();
        Ok(())
    }

    /// The mirror is of another log. It says nothing more until it was filled anew.
    fn forget<T>(&self) -> Result<T, FollowError> {
        self.state_mut().forget();
        Err(FollowError::Unknown)
    }

    /// Has the store confirmed, beside the reading of it: a server that waits for its replicas holds
    /// up no change that they already have.
    async fn confirm_store(&self) {
        let mut confirmed_before = true;
        loop {
            let asked = Instant::now();
            match self.store.confirm().await {
                Ok(position) => {
                    let mut state = self.state_mut();
                    state.seen = Some((position, asked));
                    state.settle();
                    confirmed_before = true;
                }
                Err(error) => {
                    if confirmed_before {
                        tracing::warn!(%error, "the store is not confirmed");
                    }
                    confirmed_before = false;
                }
            }
            let next = asked.checked_add(CONFIRM_EVERY).unwrap_or(asked);
            // Whether the time is over or it was filled, it goes on.
            let _ = timeout_at(next, self.filled.notified()).await;
            // A store that fails at once.
            if !confirmed_before {
                sleep(FIRST_PAUSE).await;
            }
        }
    }

    /// Reads the tables. What changes meanwhile is in what was read or not; either way the log after
    /// the place where this began tells it, and is taken in next.
    async fn fill(&self, source: &dyn SettingsSource) -> Result<LogPosition, FollowError> {
        let begun = Instant::now();
        let at = self.store.log_head().await?;
        let mut mirror = Mirror::new(at);
        let mut pages = Pages::of(&*self.store, Table::Revocations);
        while let Some(entries) = pages.next().await? {
            for entry in entries {
                match serde_json::from_slice::<StoredRevocation>(&entry.value) {
                    Ok(stored) => mirror.put_revocation(at.sequence, &stored.revocation()),
                    Err(error) => tracing::error!(key = entry.key, %error, "a revocation is lost"),
                }
            }
            // An embedded store never makes us wait, and others want this thread.
            tokio::task::yield_now().await;
        }
        let mut pages = Pages::of(&*self.store, Table::ApiKeys);
        while let Some(entries) = pages.next().await? {
            for entry in entries {
                match serde_json::from_slice::<StoredApiKey>(&entry.value) {
                    Ok(stored) => {
                        let fingerprint = stored.fingerprint();
                        mirror.put_api_key(at.sequence, fingerprint, &stored.record);
                    }
                    Err(error) => tracing::error!(key = entry.key, %error, "an API key is lost"),
                }
            }
            tokio::task::yield_now().await;
        }
        self.read_settings(source).await?;
        let mut state = self.state_mut();
        tracing::info!(
            revocations = mirror.table(FeedTable::Revocations).records(),
            api_keys = mirror.table(FeedTable::ApiKeys).records(),
            milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            "the tables of the feed are read"
        );
        state.mirror = Some(mirror);
        state.fill = state.fill.wrapping_add(1);
        self.count_records(&state);
        drop(state);
        self.filled.notify_one();
        self.wake();
        Ok(at)
    }

    /// Reads the settings and tells those who wait if they are others.
    async fn read_settings(&self, source: &dyn SettingsSource) -> Result<(), StoreError> {
        let _turn = self.settings_turn.lock().await;
        let settings = EncodedSettings::new(source.parts().await?);
        let mut state = self.state_mut();
        let before = state.settings.as_ref().map(|settings| &settings.generation);
        if before == Some(&settings.generation) {
            return Ok(());
        }
        tracing::info!(generation = settings.generation, "the settings of filters changed");
        state.settings = Some(Arc::new(settings));
        drop(state);
        self.wake();
        Ok(())
    }

    async fn follow_settings(&self, source: &dyn SettingsSource) {
        loop {
            self.settings_other.notified().await;
            while let Err(error) = self.read_settings(source).await {
                tracing::warn!(%error, "the settings cannot be read");
                sleep(LAST_PAUSE).await;
            }
        }
    }

    /// Removes revocations that have nothing left to match.
    async fn sweep_expired(&self) {
        loop {
            sleep(SWEEP_TICK).await;
            self.sweep();
        }
    }

    pub(super) fn sweep(&self) {
        let now = self.clock.now();
        let mut state = self.state_mut();
        if let Some(mirror) = &mut state.mirror {
            let buckets = mirror.table(FeedTable::Revocations).layout().buckets();
            let step = usize::try_from(buckets.div_ceil(SWEEP_STEPS)).unwrap_or(usize::MAX);
            mirror.sweep(now, step);
        }
        self.count_records(&state);
    }

    fn count_records(&self, state: &State) {
        let Some(mirror) = &state.mirror else { return };
        for table in FeedTable::ALL {
            self.metrics.feed.records(table, mirror.table(table).records());
        }
    }
}
