//! What comes due with time: new secrets by schedule, warnings of an end, forgetting what is over.
//!
//! Any number of sidecars may do it: each change is made only if the key still is what was looked
//! at, so each happens once.

use serde::Serialize;
use wardgate_core::time::UnixSeconds;
use wardgate_core::wire::ApiKeyState;

use super::ApiKeyError;
use crate::desk::Desk;
use crate::store::records::{StoredApiKey, api_keys};
use crate::store::{StoreError, Table, Transaction};
use crate::usage;

/// The document that says when the keys were last looked through, so that several sidecars do not
/// all do it.
const LAST_SWEEP: &str = "api_keys_last_sweep";

/// What an operator or an owner should hear of a key.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct KeyNotice {
    /// `api-key-expires` or `api-key-rotated`.
    pub event: &'static str,
    /// The id of the key.
    pub api_key_id: String,
    /// Its name.
    pub name: String,
    /// Issuer of the owner.
    pub issuer: Option<String>,
    /// Subject of the owner.
    pub subject: Option<String>,
    /// When the key stops working, in seconds since the epoch.
    pub expires_at: Option<u64>,
    /// When the secret before the newest one stops working at the latest, in seconds since the epoch.
    pub previous_works_until: Option<u64>,
}

/// A page of keys that was looked through.
#[derive(Debug, Default)]
pub struct Swept {
    /// What there is to tell.
    pub notices: Vec<KeyNotice>,
    /// Keys that got a new secret.
    pub rotated: u64,
    /// Keys that were forgotten.
    pub forgotten: u64,
    /// Keys that could not be looked after; the log says why.
    pub failed: u64,
    /// Where the next page begins.
    pub next: Option<String>,
}

impl Desk {
    /// Whether this sidecar is the one to look through the keys now.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn take_api_key_sweep(&self, interval_seconds: u64) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let stands = self.store.get(Table::Documents, LAST_SWEEP).await?;
        let last = stands.as_deref().and_then(|bytes| core::str::from_utf8(bytes).ok());
        let last: Option<u64> = last.and_then(|text| text.parse().ok());
        // One from the future is of a clock that was set back since, and does not count.
        if last.is_some_and(|last| last <= now.0 && now.0.saturating_sub(last) < interval_seconds) {
            return Ok(false);
        }
        let transaction = match stands {
            Some(stands) => Transaction::new().same(Table::Documents, LAST_SWEEP, stands),
            None => Transaction::new().absent(Table::Documents, LAST_SWEEP),
        };
        let transaction = transaction.put(Table::Documents, LAST_SWEEP, now.0.to_string());
        match self.store.commit(transaction).await {
            Ok(_) => Ok(true),
            Err(StoreError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Looks through a page of the keys and does what is due; `None` begins.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the page cannot be read.
    pub async fn sweep_api_keys(&self, cursor: Option<String>) -> Result<Swept, StoreError> {
        let (keys, next) = api_keys::page(&*self.store, cursor).await?;
        let mut swept = Swept { next, ..Swept::default() };
        for key in keys {
            match self.look_after(&key, &mut swept).await {
                // Somebody changed it meanwhile; the next sweep sees what it is now.
                Ok(()) | Err(ApiKeyError::Store(StoreError::Changed)) => {}
                Err(error) => {
                    swept.failed = swept.failed.saturating_add(1);
                    let id = &key.record.id;
                    tracing::error!(%id, %error, "an API key cannot be looked after");
                }
            }
        }
        Ok(swept)
    }

    /// Does the one thing that is due first; the rest with the next sweep.
    async fn look_after(&self, key: &StoredApiKey, swept: &mut Swept) -> Result<(), ApiKeyError> {
        let now = self.clock.now();
        if self.is_forgotten(key, now) {
            api_keys::remove(&*self.store, key, self.clock.now_milliseconds()).await?;
            usage::forget(&*self.store, &key.record.id).await?;
            swept.forgotten = swept.forgotten.saturating_add(1);
            tracing::info!(id = %key.record.id, name = %key.record.name, "API key forgotten");
            return Ok(());
        }
        if key.record.state == ApiKeyState::Revoked && key.details.revoked_at.is_none() {
            // Older versions did not note when. What is not known counts from now on.
            let mut after = key.clone();
            after.details.revoked_at = Some(now.0);
            self.replace(key, &after).await?;
            return Ok(());
        }
        if let Some(after) = self.rotated_by_schedule(key, now)? {
            self.replace(key, &after).await?;
            swept.rotated = swept.rotated.saturating_add(1);
            swept.notices.push(notice("api-key-rotated", &after));
            tracing::info!(id = %key.record.id, name = %key.record.name, "new secret waits");
            return Ok(());
        }
        if let Some(threshold) = self.warning_due(key, now) {
            let mut after = key.clone();
            after.details.warned_before = Some(threshold);
            // Noted before it is told: a sidecar that is killed in between does not tell twice.
            self.replace(key, &after).await?;
            swept.notices.push(notice("api-key-expires", &after));
        }
        Ok(())
    }

    /// Whether a key has been over for so long that nobody asks for it any more.
    fn is_forgotten(&self, key: &StoredApiKey, now: UnixSeconds) -> bool {
        let revoked = key.details.revoked_at.filter(|_| key.record.state == ApiKeyState::Revoked);
        let over = match (revoked, key.record.expires_at) {
            (Some(revoked), Some(expired)) => Some(revoked.min(expired)),
            (one, other) => one.or(other),
        };
        let keep = self.api_keys.keep_revoked_days.0.saturating_mul(86_400);
        over.is_some_and(|over| over.saturating_add(keep) <= now.0)
    }

    /// The warning that is due and was not given: the shortest of the times before the end that has
    /// come, so that a sidecar that was away gives one and not three.
    fn warning_due(&self, key: &StoredApiKey, now: UnixSeconds) -> Option<u64> {
        if key.record.state != ApiKeyState::Active {
            return None;
        }
        let left = key.record.expires_at?.checked_sub(now.0).filter(|left| *left > 0)?;
        // What is longer than its whole life warns of nothing.
        let life = key.record.expires_at?.saturating_sub(key.created_at);
        let thresholds = self.api_keys.warn_before_seconds.iter().map(|threshold| threshold.0);
        let due = thresholds.filter(|threshold| left <= *threshold && *threshold < life).min()?;
        key.details.warned_before.is_none_or(|warned| due < warned).then_some(due)
    }
}

fn notice(event: &'static str, key: &StoredApiKey) -> KeyNotice {
    let record = &key.record;
    KeyNotice {
        event,
        api_key_id: record.id.clone(),
        name: record.name.clone(),
        issuer: record.issuer.clone(),
        subject: record.subject.clone(),
        expires_at: record.expires_at,
        previous_works_until: record.previous.as_ref().map(|previous| previous.until),
    }
}
