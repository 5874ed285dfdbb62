//! The bodies of the internal interface, version 1, as JSON.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The keys of one issuer.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct IssuerKeySet {
    /// The `iss` that these keys may sign for.
    pub issuer: String,
    /// The JWK Set (RFC 7517 §5).
    pub jwks: Map<String, Value>,
}

/// What a filter needs to decide for one API key.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ApiKeyRecord {
    /// The public id.
    pub id: String,
    /// The environment that the key was made for.
    pub environment: String,
    /// The name that bindings and audit events use.
    pub name: String,
    /// Keyed digest of the whole key, base64url.
    pub digest: String,
    /// Issuer of the owner, if the key has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Subject of the owner, if the key has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The roles of the key.
    pub roles: Vec<String>,
    /// The scopes that restrict the key; `None` restricts nothing.
    #[serde(default)]
    pub scopes: Option<Vec<String>>,
    /// When the key stops working, in seconds since the epoch.
    #[serde(default)]
    pub expires_at: Option<u64>,
    /// Whether the key works.
    pub state: ApiKeyState,
    /// The secret before the last rotation, while it still works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousApiKey>,
    /// The networks that the key may be used from, as addresses or CIDR; any if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// How often the key may be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimitRecord>,
}

/// The secret of an API key before its last rotation.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PreviousApiKey {
    /// Keyed digest of the whole key, base64url.
    pub digest: String,
    /// When it stops working, in seconds since the epoch.
    pub until: u64,
}

/// How often something may be used.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RateLimitRecord {
    /// So many times in each period.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1_000_000_000)))]
    pub requests: u64,
    /// The period, in seconds.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 2_678_400)))]
    pub period_seconds: u64,
}

/// Whether a key works.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ApiKeyState {
    /// It works until it expires.
    Active,
    /// It does not work for the time being.
    Disabled,
    /// It never works again.
    Revoked,
}

/// Events of one VM incarnation, in order, for [`super::AUDIT_PATH`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AuditBatch {
    /// Random name of the VM incarnation that numbers these events from 1.
    #[cfg_attr(feature = "schema", schemars(regex(pattern = "^[A-Za-z0-9_-]{1,64}$")))]
    pub incarnation: String,
    /// The events; each has its `sequence`.
    pub events: Vec<Map<String, Value>>,
}

/// Answer of [`super::AUDIT_PATH`], given once the events are on disk.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AuditAnswer {
    /// Highest sequence of the incarnation that is on disk, and all before it.
    pub acknowledged: u64,
}
