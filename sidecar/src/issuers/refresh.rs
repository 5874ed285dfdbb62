//! Asks an issuer for its keys, again and again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use wardgate_core::wire::feed::{ChangeKind, LogEntry};

use super::fetch::FetchError;
use super::key_set::{KeySetError, StoredKeySet, jwks_uri, read};
use super::url::{Url, UrlError, discovery};
use super::{Issuers, Source, document_key};
use crate::store::{StoreError, Table, Transaction};

/// How long keys are fresh if the issuer does not say.
const DEFAULT_SECONDS: u64 = 15 * 60;
/// An issuer that wants to be asked more often is not: a new key is asked for when it is seen.
const MIN_SECONDS: u64 = 5 * 60;
/// An issuer that wants to be asked less often is asked all the same: a key that it takes back must
/// not stand for a week.
const MAX_SECONDS: u64 = 24 * 3600;
/// Pauses after failures grow from the one to the other.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LAST_PAUSE: Duration = Duration::from_mins(5);
/// Tries to store what was fetched while other sidecars store theirs.
const TRIES: usize = 8;

/// Why there are no new keys.
#[derive(Debug, thiserror::Error)]
pub(super) enum RefreshError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("the key set: {0}")]
    KeySet(#[from] KeySetError),
    #[error("the address of the keys: {0}")]
    Url(#[from] UrlError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Issuers {
    /// Keeps the keys of one issuer fresh, for as long as the policy has it.
    pub(super) async fn keep(self: Arc<Self>, issuer: String, source: Source, wake: Arc<Notify>) {
        let mut pause = self.fresh_for(&issuer, &source).await;
        let mut after_failure = FIRST_PAUSE;
        loop {
            let woken = timeout(pause, wake.notified()).await.is_ok();
            if !woken {
                // Another sidecar may have asked meanwhile.
                pause = self.fresh_for(&issuer, &source).await;
                if !pause.is_zero() {
                    continue;
                }
            }
            match self.refresh(&issuer, &source).await {
                Ok(()) => {
                    after_failure = FIRST_PAUSE;
                    pause = self.fresh_for(&issuer, &source).await.max(FIRST_PAUSE);
                }
                Err(error) => {
                    tracing::warn!(issuer, %error, "the keys of an issuer cannot be fetched");
                    self.metrics.issuers.failed(&issuer);
                    self.drop_if_old(&issuer, &source).await;
                    // Not by way of the pause: `woken` must go on counting.
                    pause = self.jittered(after_failure);
                    after_failure = after_failure.saturating_mul(2).min(LAST_PAUSE);
                    // What is fresh still is asked for at its time.
                    pause = pause.max(self.fresh_for(&issuer, &source).await);
                }
            }
        }
    }

    /// How long what the store has is fresh.
    async fn fresh_for(&self, issuer: &str, source: &Source) -> Duration {
        let stored = loop {
            match self.stored(&document_key(issuer, source)).await {
                Ok(stored) => break stored,
                Err(error) => {
                    tracing::warn!(issuer, %error, "the keys of an issuer cannot be read");
                    sleep(FIRST_PAUSE).await;
                }
            }
        };
        let Some((stored, _)) = stored else { return Duration::ZERO };
        self.metrics.issuers.heard(issuer, stored.fetched_at);
        let seconds = stored.ask_again_at.saturating_sub(self.clock.now().0);
        if seconds == 0 {
            return Duration::ZERO;
        }
        // Several sidecars are not to ask at one moment.
        self.jittered(Duration::from_secs(seconds.min(MAX_SECONDS)))
    }

    /// Up to a tenth more.
    fn jittered(&self, duration: Duration) -> Duration {
        let part = self.random.bytes::<1>().map_or(0, |[byte]| u32::from(byte));
        let more = duration.saturating_mul(part).checked_div(2560).unwrap_or_default();
        duration.saturating_add(more)
    }

    /// Asks the issuer and stores what it says.
    pub(super) async fn refresh(&self, issuer: &str, source: &Source) -> Result<(), RefreshError> {
        let uri = match source {
            Source::Uri(uri) => uri.clone(),
            Source::Discover => {
                let url = Url::parse(&discovery(issuer), self.fetcher.allow_http)?;
                jwks_uri(issuer, &self.fetcher.get(&url).await?.body)?
            }
        };
        let url = Url::parse(&uri, self.fetcher.allow_http)?;
        let fetched = self.fetcher.get(&url).await?;
        let jwks = read(issuer, &fetched.body)?;
        let fresh = fetched.max_age_seconds.unwrap_or(DEFAULT_SECONDS);
        let now = self.clock.now();
        let new = StoredKeySet {
            issuer: issuer.to_owned(),
            jwks,
            fetched_at: now.0,
            // Ahead of time: what is fresh until then must be there before.
            ask_again_at: now.plus(fresh.clamp(MIN_SECONDS, MAX_SECONDS).saturating_mul(4) / 5).0,
        };
        self.put(&document_key(issuer, source), &new).await?;
        self.metrics.issuers.heard(issuer, now.0);
        Ok(())
    }

    /// Stores a key set; filters hear of it if it is another one.
    async fn put(&self, key: &str, new: &StoredKeySet) -> Result<(), StoreError> {
        let value = serde_json::to_vec(new).unwrap_or_default();
        for _ in 0..TRIES {
            let stands = self.store.get(Table::Documents, key).await?;
            let before = stands.as_deref().map(serde_json::from_slice::<StoredKeySet>);
            let is_other = !before.is_some_and(|it| it.is_ok_and(|it| it.jwks == new.jwks));
            let mut transaction = match stands {
                Some(stands) => Transaction::new().same(Table::Documents, key, stands),
                None => Transaction::new().absent(Table::Documents, key),
            };
            transaction = transaction.put(Table::Documents, key, value.clone());
            if is_other {
                tracing::info!(issuer = new.issuer, "the keys of an issuer are others");
                transaction = transaction.append(self.settings_entry());
            }
            match self.store.commit(transaction).await {
                Ok(_) => return Ok(()),
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Changed)
    }

    /// Keys that nobody could confirm for so long are given up: the issuer may have taken them back.
    pub(super) async fn drop_if_old(&self, issuer: &str, source: &Source) {
        let key = document_key(issuer, source);
        // What the store does not say now it says at the next failure.
        let Ok(Some((stored, bytes))) = self.stored(&key).await else { return };
        if self.clock.now().0.saturating_sub(stored.fetched_at) <= self.keep_seconds {
            return;
        }
        let transaction = Transaction::new()
            .same(Table::Documents, &key, bytes)
            .delete(Table::Documents, &key)
            .append(self.settings_entry());
        match self.store.commit(transaction).await {
            Ok(_) => tracing::error!(issuer, "no answer for too long: its keys are given up"),
            Err(error) => tracing::warn!(issuer, %error, "old keys cannot be given up"),
        }
    }

    fn settings_entry(&self) -> Vec<u8> {
        let at_milliseconds = self.clock.now_milliseconds();
        let entry = LogEntry { at_milliseconds, kind: ChangeKind::Settings };
        // Two plain members into memory: this cannot fail.
        serde_json::to_vec(&entry).unwrap_or_default()
    }
}
