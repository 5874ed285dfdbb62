//! The keys of other issuers: fetched here, ahead of time, and handed to filters with the settings.
//!
//! What was fetched stands in the store: so all sidecars of a system hand out the same keys, and a
//! sidecar that starts while an issuer is down has them.

mod budget;
mod fetch;
mod key_set;
mod refresh;
mod url;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use wardgate_core::feed::Fingerprint;
use wardgate_core::policy::{Issuer, Policy};
use wardgate_core::wire::IssuerKeySet;
use wardgate_core::wire::feed::UnknownKey;

pub use fetch::CaFileError;

use crate::clock::Clock;
use crate::config::IssuersSection;
use crate::metrics::Metrics;
use crate::random::Random;
use crate::store::{Store, StoreError, Table};
use budget::Budget;
use fetch::Fetcher;
use key_set::StoredKeySet;

/// Knows the issuers of the policy whose keys are fetched, and fetches them.
pub struct Issuers {
    store: Arc<dyn Store>,
    clock: Clock,
    random: Random,
    metrics: Arc<Metrics>,
    fetcher: Fetcher,
    keep_seconds: u64,
    known: Mutex<BTreeMap<String, Known>>,
}

/// Where the keys of each issuer are found that is not in the policy with all its keys.
pub type Sources = BTreeMap<String, Source>;

/// Where the keys of an issuer are found. From the policy, whole.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source {
    /// At this address.
    Uri(String),
    /// The issuer says where.
    Discover,
}

struct Known {
    source: Source,
    wake: Arc<Notify>,
    budget: Budget,
    task: AbortHandle,
}

impl Drop for Known {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Issuers {
    /// Knows no issuer yet.
    ///
    /// # Errors
    ///
    /// [`CaFileError`] when the trusted authorities cannot be read.
    pub fn new(
        section: &IssuersSection,
        ca_file: Option<&Path>,
        (store, clock, random): (Arc<dyn Store>, Clock, Random),
        metrics: Arc<Metrics>,
    ) -> Result<Self, CaFileError> {
        let timeout = Duration::from_millis(section.timeout_milliseconds.0);
        Ok(Self {
            store,
            clock,
            random,
            metrics,
            fetcher: Fetcher::new(ca_file, timeout, section.allow_http)?,
            keep_seconds: section.keep_seconds.0,
            known: Mutex::default(),
        })
    }

    /// From now on the issuers are these. Those that are new are asked at once, unless the store has
    /// keys of them that are fresh.
    pub fn follow_policy(self: &Arc<Self>, wanted: &Sources) {
        let mut known = self.known();
        known.retain(|issuer, known| wanted.get(issuer) == Some(&known.source));
        for (issuer, source) in wanted {
            if known.contains_key(issuer) {
                continue;
            }
            let wake = Arc::new(Notify::new());
            let keep = Arc::clone(self).keep(issuer.clone(), source.clone(), Arc::clone(&wake));
            let task = tokio::spawn(keep).abort_handle();
            let budget = Budget::new(Instant::now());
            let source = source.clone();
            known.insert(issuer.clone(), Known { source, wake, budget, task });
        }
    }

    /// The keys of all issuers that are known here.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn key_sets(&self) -> Result<Vec<IssuerKeySet>, StoreError> {
        let known: Vec<(String, Source)> = self
            .known()
            .iter()
            .map(|(issuer, known)| (issuer.clone(), known.source.clone()))
            .collect();
        let mut sets = Vec::new();
        for (issuer, source) in known {
            let stored = self.stored(&document_key(&issuer, &source)).await?;
            if let Some((stored, _)) = stored {
                sets.push(IssuerKeySet { issuer, jwks: stored.jwks });
            }
        }
        Ok(sets)
    }

    /// A filter saw a token with a key that the issuer's set has not. Says whether the issuer is
    /// asked for its keys.
    ///
    /// Anyone can send tokens with made-up keys, so this is bounded per issuer; and the address is
    /// the policy's, so a token cannot choose who is asked.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn unknown_key(&self, unknown: &UnknownKey) -> Result<bool, StoreError> {
        let source = self.known().get(&unknown.issuer).map(|known| known.source.clone());
        let Some(source) = source else { return Ok(false) };
        let stored = self.stored(&document_key(&unknown.issuer, &source)).await?;
        // The filter has not heard yet of what was fetched a moment ago.
        if stored.is_some_and(|(stored, _)| has_key(&stored, &unknown.key_id)) {
            return Ok(false);
        }
        let mut known = self.known();
        let Some(known) = known.get_mut(&unknown.issuer) else { return Ok(false) };
        let asked = known.budget.take(Instant::now());
        if asked {
            known.wake.notify_one();
        }
        Ok(asked)
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        // Nothing is left half done under this lock.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the store has of an issuer, read and as it is. What cannot be read is as good as nothing.
    async fn stored(&self, key: &str) -> Result<Option<(StoredKeySet, Vec<u8>)>, StoreError> {
        let Some(bytes) = self.store.get(Table::Documents, key).await? else { return Ok(None) };
        Ok(serde_json::from_slice(&bytes).ok().map(|stored| (stored, bytes)))
    }
}

/// Where a policy says that keys are found.
pub fn sources(policy: &Policy) -> Sources {
    let source = |issuer: &Issuer| {
        let uri = issuer.jwks_uri.clone().map(Source::Uri);
        let source = uri.or(issuer.discover.then_some(Source::Discover))?;
        Some((issuer.rules.issuer.clone(), source))
    };
    policy.issuers().iter().filter_map(source).collect()
}

/// Keys from one address are not those from another, even if it is the same issuer: who changes the
/// address may do so because of what stood at the old one.
fn document_key(issuer: &str, source: &Source) -> String {
    let source = match source {
        Source::Uri(uri) => uri.as_bytes(),
        Source::Discover => &[],
    };
    format!("key_set/{}", Fingerprint::of("key_set", &[issuer.as_bytes(), source]).text())
}

fn has_key(stored: &StoredKeySet, key_id: &str) -> bool {
    let keys = stored.jwks.get("keys").and_then(Value::as_array);
    keys.into_iter().flatten().any(|key| key.get("kid").and_then(Value::as_str) == Some(key_id))
}
