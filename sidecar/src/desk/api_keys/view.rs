//! An API key as an operator sees it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wardgate_core::time::UnixSeconds;
use wardgate_core::wire::{ApiKeyState, RateLimitRecord};

use crate::store::records::StoredApiKey;

/// A new secret: the only time that it is seen.
#[derive(Deserialize, JsonSchema, Serialize)]
pub struct CreatedApiKey {
    /// The key in clear.
    pub api_key: String,
    /// What is kept of it.
    #[serde(flatten)]
    pub view: ApiKeyView,
}

/// An API key as an operator sees it: without digests and secrets.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ApiKeyView {
    /// The public id.
    pub id: String,
    /// The name.
    pub name: String,
    /// The environment.
    pub environment: String,
    /// The last letters of the newest secret, where they are known.
    pub last_four: Option<String>,
    /// What the key is for.
    pub description: Option<String>,
    /// Issuer of the owner.
    pub issuer: Option<String>,
    /// Subject of the owner.
    pub subject: Option<String>,
    /// The roles.
    pub roles: Vec<String>,
    /// The scopes; `null` restricts nothing.
    pub scopes: Option<Vec<String>>,
    /// The networks that it may be used from; any if empty.
    pub networks: Vec<String>,
    /// How often it may be used.
    pub rate_limit: Option<RateLimitRecord>,
    /// What the owner keeps with it.
    pub metadata: BTreeMap<String, String>,
    /// When the key stops working, in seconds since the epoch.
    pub expires_at: Option<u64>,
    /// Whether it works.
    pub state: ApiKeyState,
    /// When it was made, in seconds since the epoch.
    pub created_at: u64,
    /// When it was revoked, in seconds since the epoch.
    pub revoked_at: Option<u64>,
    /// The prefix of a key that was made elsewhere.
    pub imported_prefix: Option<String>,
    /// When the secret last changed, in seconds since the epoch.
    pub rotated_at: Option<u64>,
    /// How many secrets it had before this one.
    pub rotations: u64,
    /// Until when the secret before this one works, in seconds since the epoch.
    pub previous_works_until: Option<u64>,
    /// Whether the newest secret waits for its owner to collect it.
    pub waits_for_collection: bool,
    /// How often it gets a new secret.
    pub rotation: Option<RotationView>,
    /// When it was last used, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<u64>,
}

/// How often a key gets a new secret.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct RotationView {
    /// So often, in seconds.
    pub every_seconds: u64,
    /// How long the old secret works after the new one was collected, in seconds.
    pub grace_seconds: u64,
    /// When the next one is due, in seconds since the epoch.
    pub next_at: u64,
}

impl ApiKeyView {
    /// What may be seen of a key now.
    pub(super) fn of(stored: StoredApiKey, now: UnixSeconds) -> Self {
        let StoredApiKey { record, created_at, details } = stored;
        let previous = record.previous.filter(|previous| previous.until > now.0);
        Self {
            id: record.id,
            name: record.name,
            environment: record.environment,
            last_four: details.last_four,
            description: details.description,
            issuer: record.issuer,
            subject: record.subject,
            roles: record.roles,
            scopes: record.scopes,
            networks: record.networks,
            rate_limit: record.rate_limit,
            metadata: details.metadata,
            expires_at: record.expires_at,
            state: record.state,
            created_at,
            revoked_at: details.revoked_at,
            imported_prefix: details.imported.map(|imported| imported.prefix),
            rotated_at: details.rotated_at,
            rotations: details.rotations,
            previous_works_until: previous.map(|previous| previous.until),
            waits_for_collection: details.waiting.is_some(),
            rotation: details.rotation.map(|it| RotationView {
                every_seconds: it.every_seconds,
                grace_seconds: it.grace_seconds,
                next_at: it.next_at,
            }),
            last_used_at: None,
        }
    }
}
