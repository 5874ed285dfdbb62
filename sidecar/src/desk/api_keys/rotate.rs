//! A new secret for a key that keeps its id, name and history.
//!
//! Filters know two secrets of a key: the newest, and the one before it until a moment that stands
//! in the record. So a rotation is one change of one record, and nothing needs to happen at the end
//! of the grace: the old secret ends by itself, also when no sidecar runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wardgate_core::api_key::ApiKey;
use wardgate_core::secret::Secret;
use wardgate_core::time::UnixSeconds;
use wardgate_core::wire::{ApiKeyState, PreviousApiKey};

use super::view::{ApiKeyView, CreatedApiKey};
use super::{ApiKeyError, MAX_TRIES, check};
use crate::config::ApiKeysSection;
use crate::desk::Desk;
use crate::seal::UnsealError;
use crate::store::StoreError;
use crate::store::records::StoredApiKey;
use crate::store::records::api_keys::{RotationSchedule, WaitingSecret};
use crate::usage::TokenEvent;

/// The shortest time between two secrets: a client needs some of it to move.
const MIN_EVERY_SECONDS: u64 = 3600;
/// The longest grace. Beyond a month the old secret is not being replaced, there are two.
const MAX_GRACE_SECONDS: u64 = 31 * 86_400;

/// How a key is rotated by hand.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RotateApiKey {
    /// How long the old secret still works; the default of the configuration when missing.
    #[schemars(range(max = 2_678_400))]
    pub grace_seconds: Option<u64>,
    /// The newest secret was lost before anybody used it: it stops at once, and the one before it
    /// goes on.
    pub lost: bool,
}

/// The schedule that is asked for.
pub(super) fn schedule(
    every_seconds: Option<u64>,
    grace_seconds: Option<u64>,
    settings: &ApiKeysSection,
    now: UnixSeconds,
) -> Result<Option<RotationSchedule>, ApiKeyError> {
    let Some(every_seconds) = every_seconds else {
        return match grace_seconds {
            None => Ok(None),
            Some(_) => Err(ApiKeyError::Invalid("`grace_seconds` needs `rotate_every_seconds`")),
        };
    };
    let grace_seconds = grace(grace_seconds, settings)?;
    if !(MIN_EVERY_SECONDS..=check::MAX_SECONDS).contains(&every_seconds) {
        return Err(ApiKeyError::Invalid(
            "`rotate_every_seconds` is at least an hour and at most 100 years",
        ));
    }
    // Otherwise a third secret would come while two still work, and filters know two.
    if grace_seconds >= every_seconds {
        return Err(ApiKeyError::Invalid("`grace_seconds` is less than `rotate_every_seconds`"));
    }
    let next_at = now.plus(every_seconds).0;
    Ok(Some(RotationSchedule { every_seconds, grace_seconds, next_at }))
}

fn grace(asked: Option<u64>, settings: &ApiKeysSection) -> Result<u64, ApiKeyError> {
    match asked.unwrap_or(settings.grace_seconds.0) {
        seconds @ 0..=MAX_GRACE_SECONDS => Ok(seconds),
        _ => Err(ApiKeyError::Invalid("`grace_seconds` is at most 31 days")),
    }
}

impl Desk {
    /// Gives a key a new secret and shows it, this once.
    ///
    /// # Errors
    ///
    /// [`ApiKeyError`] when there is no such key, it is revoked or imported, an earlier rotation is
    /// under way, or the store fails. [`StoreError::Changed`] when somebody else changed the key
    /// meanwhile: two that rotate at once make one rotation, and the other one is told.
    pub async fn rotate_api_key(
        &self,
        name_or_id: &str,
        asked: RotateApiKey,
    ) -> Result<CreatedApiKey, ApiKeyError> {
        let grace = grace(asked.grace_seconds, &self.api_keys)?;
        let before = self.find(name_or_id).await?;
        let now = self.clock.now();
        let key = self.new_secret(&before)?;
        let mut after = before.clone();
        let record = &mut after.record;
        let old = std::mem::replace(&mut record.digest, key.digest(&self.digest_key).text());
        let until = now.plus(grace).0;
        // Nobody has the newest secret if it waits to be collected or was lost: the one before it
        // is the one that clients use, and it goes on, for no longer than it would have.
        let unused = asked.lost || before.details.waiting.is_some();
        let previous = record.previous.take().filter(|it| it.until > now.0);
        record.previous = match previous {
            Some(previous) if unused => {
                Some(PreviousApiKey { until: previous.until.min(until), ..previous })
            }
            Some(previous) if grace > 0 => {
                return Err(ApiKeyError::RotationUnderWay(previous.until));
            }
            None if unused => None,
            Some(_) | None => (grace > 0).then_some(PreviousApiKey { digest: old, until }),
        };
        note_rotation(&mut after, &key, now);
        after.details.waiting = None;
        self.replace(&before, &after).await?;
        self.count_api_key(&after.record, TokenEvent::Refreshed);
        tracing::info!(id = %after.record.id, name = %after.record.name, grace, "API key rotated");
        Ok(CreatedApiKey { api_key: key.expose().to_owned(), view: ApiKeyView::of(after, now) })
    }

    /// Makes the new secret of a key whose schedule says so, and keeps it, sealed, for its owner.
    /// The old one works until the grace after the collection ends, or until the time for the
    /// collection is over: a key that nobody looks after must not work for ever.
    pub(super) fn rotated_by_schedule(
        &self,
        before: &StoredApiKey,
        now: UnixSeconds,
    ) -> Result<Option<StoredApiKey>, ApiKeyError> {
        let Some(schedule) = before.details.rotation.filter(|it| it.next_at <= now.0) else {
            return Ok(None);
        };
        let record = &before.record;
        let works =
            record.state == ApiKeyState::Active && record.expires_at.is_none_or(|at| at > now.0);
        let under_way = before.details.waiting.is_some()
            || record.previous.as_ref().is_some_and(|it| it.until > now.0);
        if !works || under_way || before.details.imported.is_some() {
            return Ok(None);
        }
        let key = self.new_secret(before)?;
        let secret = Secret::new(key.expose().as_bytes().to_vec());
        let context = context(&record.id);
        let sealed = self.store_keys.seal(&context, &secret, now).ok_or(UnsealError)?;
        let mut after = before.clone();
        let new = key.digest(&self.digest_key).text();
        let digest = std::mem::replace(&mut after.record.digest, new);
        let until = now.plus(self.api_keys.collect_within_seconds.0).0;
        after.record.previous = Some(PreviousApiKey { digest, until });
        let grace_seconds = schedule.grace_seconds;
        note_rotation(&mut after, &key, now);
        after.details.waiting = Some(WaitingSecret { sealed, made_at: now.0, grace_seconds });
        Ok(Some(after))
    }

    /// Hands the waiting secret to its owner, once: who comes second finds nothing.
    ///
    /// # Errors
    ///
    /// [`ApiKeyError`] when there is no such key, nothing waits, or the store fails.
    pub async fn collect_api_key(&self, name_or_id: &str) -> Result<CreatedApiKey, ApiKeyError> {
        for _ in 0..MAX_TRIES {
            let before = self.find(name_or_id).await?;
            if before.record.state == ApiKeyState::Revoked {
                return Err(ApiKeyError::Revoked);
            }
            let waiting = before.details.waiting.clone().ok_or(ApiKeyError::NothingWaits)?;
            let secret = self.store_keys.open(&context(&before.record.id), &waiting.sealed)?;
            let key = ApiKey::parse(secret.expose()).map_err(|_| UnsealError)?;
            let now = self.clock.now();
            let mut after = before.clone();
            after.details.waiting = None;
            let until = now.plus(waiting.grace_seconds).0;
            let previous = after.record.previous.take();
            after.record.previous = previous
                .map(|it| PreviousApiKey { until: it.until.min(until), ..it })
                .filter(|it| it.until > now.0);
            match self.replace(&before, &after).await {
                // Somebody changed the roles, or was faster: the next look says which.
                Err(StoreError::Changed) => {}
                Err(error) => return Err(error.into()),
                Ok(()) => {
                    let record = &after.record;
                    tracing::info!(id = %record.id, name = %record.name, "new secret collected");
                    let api_key = key.expose().to_owned();
                    return Ok(CreatedApiKey { api_key, view: ApiKeyView::of(after, now) });
                }
            }
        }
        Err(StoreError::Changed.into())
    }

    fn new_secret(&self, key: &StoredApiKey) -> Result<ApiKey, ApiKeyError> {
        if key.record.state == ApiKeyState::Revoked {
            return Err(ApiKeyError::Revoked);
        }
        if key.details.imported.is_some() {
            return Err(ApiKeyError::ImportedKey);
        }
        self.random_key(&key.record.environment, Some(&key.record.id))
    }
}

fn note_rotation(key: &mut StoredApiKey, new: &ApiKey, now: UnixSeconds) {
    let details = &mut key.details;
    details.last_four = Some(new.last_four().to_owned());
    details.rotated_at = Some(now.0);
    details.rotations = details.rotations.saturating_add(1);
    if let Some(schedule) = &mut details.rotation {
        schedule.next_at = now.plus(schedule.every_seconds).0;
    }
}

/// What a waiting secret is sealed for: it cannot be put in the place of another key's.
fn context(id: &str) -> String {
    format!("api-key-waiting {id}")
}
