//! Changing what an API key may do.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use wardgate_core::time::UnixSeconds;
use wardgate_core::wire::{ApiKeyState, RateLimitRecord};

use super::view::ApiKeyView;
use super::{ApiKeyError, check, rotate};
use crate::config::ApiKeysSection;
use crate::desk::Desk;
use crate::store::records::StoredApiKey;

/// What is to be changed of a key (RFC 7396: a member that is missing stays, `null` takes away).
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateApiKey {
    /// The roles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// The scopes; `null` restricts nothing.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Option<Vec<String>>>,
    /// The networks; any if empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub networks: Option<Vec<String>>,
    /// How often the key may be used; `null` for any.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<Option<RateLimitRecord>>,
    /// Members of the metadata; `null` takes one away, others stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BTreeMap<String, Option<String>>>,
    /// What the key is for.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub description: Option<Option<String>>,
    /// How long the key works from now on, in seconds; `null` for ever.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub expires_in_seconds: Option<Option<u64>>,
    /// How often it gets a new secret by itself, in seconds; `null` for never.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub rotate_every_seconds: Option<Option<u64>>,
    /// How long the old secret then works after the new one was collected, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_seconds: Option<u64>,
}

/// A member that is there, even if it is `null`.
#[expect(clippy::option_option, reason = "missing and null are two things")]
fn present<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}

impl Desk {
    /// Changes what a key may do. Name, owner and id stay.
    ///
    /// # Errors
    ///
    /// [`ApiKeyError`] when there is no such key, it is revoked, the change is wrong, or the store
    /// fails.
    pub async fn update_api_key(
        &self,
        name_or_id: &str,
        asked: UpdateApiKey,
    ) -> Result<ApiKeyView, ApiKeyError> {
        self.edit(name_or_id, |key, now| {
            if key.record.state == ApiKeyState::Revoked {
                return Err(ApiKeyError::Revoked);
            }
            apply(key, asked.clone(), &self.api_keys, now)?;
            check::notes(key.details.description.as_deref(), &key.details.metadata)?;
            check::record(&key.record)
        })
        .await
    }
}

fn apply(
    key: &mut StoredApiKey,
    asked: UpdateApiKey,
    settings: &ApiKeysSection,
    now: UnixSeconds,
) -> Result<(), ApiKeyError> {
    set(&mut key.record.roles, asked.roles);
    set(&mut key.record.scopes, asked.scopes);
    set(&mut key.record.networks, asked.networks);
    set(&mut key.record.rate_limit, asked.rate_limit);
    set(&mut key.details.description, asked.description);
    if let Some(expires) = asked.expires_in_seconds {
        let seconds = expires.map(check::lifetime).transpose()?;
        key.record.expires_at = seconds.map(|seconds| now.plus(seconds).0);
        // Another end is warned of anew.
        key.details.warned_before = None;
    }
    for (name, value) in asked.metadata.unwrap_or_default() {
        match value {
            Some(value) => key.details.metadata.insert(name, value),
            None => key.details.metadata.remove(&name),
        };
    }
    if asked.rotate_every_seconds.is_some() || asked.grace_seconds.is_some() {
        if key.details.imported.is_some() {
            return Err(ApiKeyError::ImportedKey);
        }
        let stands = key.details.rotation;
        let every = asked.rotate_every_seconds.unwrap_or(stands.map(|it| it.every_seconds));
        let kept = stands.filter(|_| every.is_some()).map(|it| it.grace_seconds);
        let mut schedule = rotate::schedule(every, asked.grace_seconds.or(kept), settings, now)?;
        if let (Some(schedule), Some(stands)) = (&mut schedule, stands)
            && schedule.every_seconds == stands.every_seconds
        {
            schedule.next_at = stands.next_at;
        }
        key.details.rotation = schedule;
    }
    Ok(())
}

fn set<T>(place: &mut T, asked: Option<T>) {
    if let Some(asked) = asked {
        *place = asked;
    }
}
