//! The settings as they are handed out.

use aws_lc_rs::digest;
use serde_json::{Map, Value};
use wardgate_core::base64url;
use wardgate_core::secret::Secret;
use wardgate_core::wire::IssuerKeySet;
use wardgate_core::wire::feed::Settings;

use crate::store::Answer;

/// What settings are made of.
#[derive(Clone, Debug)]
pub struct SettingsParts {
    /// Key of the digests of API keys.
    pub api_key_digest_key: Secret,
    /// Prefixes of API keys that were made elsewhere.
    pub api_key_prefixes: Vec<String>,
    /// The keys of each issuer.
    pub key_sets: Vec<IssuerKeySet>,
    /// The policy.
    pub policy: Map<String, Value>,
}

/// Knows what the settings are now.
pub trait SettingsSource: Send + Sync + 'static {
    /// Reads all parts.
    fn parts(&self) -> Answer<'_, SettingsParts>;
}

/// Settings, encoded once for all filters.
#[derive(Debug)]
pub struct EncodedSettings {
    /// Changes with the content.
    pub generation: String,
    /// A [`Settings`] as JSON.
    pub(super) json: String,
}

impl EncodedSettings {
    /// Encodes settings. Their generation is a hash, so that all sidecars of a system, and a sidecar
    /// before and after a restart, give the same name to the same content: a filter that hears a
    /// new name forgets which tokens it has verified.
    pub fn new(parts: SettingsParts) -> Self {
        let mut settings = Settings {
            generation: String::new(),
            api_key_digest_key: base64url::encode(parts.api_key_digest_key.expose()),
            api_key_prefixes: parts.api_key_prefixes,
            key_sets: parts.key_sets,
            policy: Some(parts.policy),
        };
        let content = encode(&settings);
        let hash = digest::digest(&digest::SHA256, content.as_bytes());
        settings.generation = base64url::encode(hash.as_ref().get(..16).unwrap_or_default());
        let json = encode(&settings);
        Self { generation: settings.generation, json }
    }
}

fn encode(settings: &Settings) -> String {
    // All keys are strings and it goes to memory: this cannot fail.
    serde_json::to_string(settings).unwrap_or_default()
}
