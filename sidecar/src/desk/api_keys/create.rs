//! Making an API key.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wardgate_core::api_key::{ApiKey, GenerateApiKeyError};
use wardgate_core::wire::{ApiKeyRecord, ApiKeyState, RateLimitRecord};

use super::view::{ApiKeyView, CreatedApiKey};
use super::{ApiKeyError, check, rotate};
use crate::desk::Desk;
use crate::random::RandomError;
use crate::store::records::api_keys::ApiKeyDetails;
use crate::store::records::{StoredApiKey, api_keys};
use crate::usage::TokenEvent;

/// What is asked for a new API key.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CreateApiKey {
    /// The name that bindings (`api_key:NAME`) and audit events use.
    #[schemars(regex(pattern = "^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$"))]
    pub name: String,
    /// The environment that stands in the key.
    #[schemars(regex(pattern = "^[a-z0-9]{1,16}$"))]
    pub environment: String,
    /// Issuer of the owner.
    #[serde(default)]
    #[schemars(length(min = 1, max = 1024))]
    pub issuer: Option<String>,
    /// Subject of the owner.
    #[serde(default)]
    #[schemars(length(min = 1, max = 1024))]
    pub subject: Option<String>,
    /// The roles of the key.
    #[serde(default)]
    #[schemars(length(max = 100), inner(regex(pattern = "^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$")))]
    pub roles: Vec<String>,
    /// The scopes that restrict the key; nothing restricts when missing.
    #[serde(default)]
    pub scopes: Option<Vec<String>>,
    /// How long the key works; for ever when missing.
    #[serde(default)]
    #[schemars(range(min = 1, max = 3_162_240_000_u64))]
    pub expires_in_seconds: Option<u64>,
    /// The networks that it may be used from; any if empty.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub networks: Vec<String>,
    /// How often it may be used.
    #[serde(default)]
    pub rate_limit: Option<RateLimitRecord>,
    /// What the owner keeps with it.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// What the key is for.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,
    /// How often it gets a new secret by itself, in seconds; never when missing.
    #[serde(default)]
    #[schemars(range(min = 3600, max = 3_162_240_000_u64))]
    pub rotate_every_seconds: Option<u64>,
    /// How long the old secret then works after the new one was collected, in seconds.
    #[serde(default)]
    #[schemars(range(max = 2_678_400))]
    pub grace_seconds: Option<u64>,
}

impl Desk {
    /// Makes an API key.
    ///
    /// # Errors
    ///
    /// [`ApiKeyError`] when the request is wrong, the name is taken or the store fails.
    pub async fn create_api_key(&self, asked: CreateApiKey) -> Result<CreatedApiKey, ApiKeyError> {
        check::name(&asked.name)?;
        check::notes(asked.description.as_deref(), &asked.metadata)?;
        let now = self.clock.now();
        let expires = asked.expires_in_seconds.map(check::lifetime).transpose()?;
        let rotation =
            rotate::schedule(asked.rotate_every_seconds, asked.grace_seconds, &self.api_keys, now)?;
        let key = self.random_key(&asked.environment, None)?;
        let stored = StoredApiKey {
            record: ApiKeyRecord {
                id: key.id().to_owned(),
                environment: asked.environment,
                name: asked.name,
                digest: key.digest(&self.digest_key).text(),
                issuer: asked.issuer,
                subject: asked.subject,
                roles: asked.roles,
                scopes: asked.scopes,
                expires_at: expires.map(|seconds| now.plus(seconds).0),
                state: ApiKeyState::Active,
                previous: None,
                networks: asked.networks,
                rate_limit: asked.rate_limit,
            },
            created_at: now.0,
            details: ApiKeyDetails {
                last_four: Some(key.last_four().to_owned()),
                description: asked.description.filter(|text| !text.is_empty()),
                metadata: asked.metadata,
                rotation,
                ..ApiKeyDetails::default()
            },
        };
        check::record(&stored.record)?;
        api_keys::insert_at(&*self.store, &stored, self.clock.now_milliseconds()).await?;
        self.count_api_key(&stored.record, TokenEvent::Issued);
        tracing::info!(id = %stored.record.id, name = %stored.record.name, "API key created");
        Ok(CreatedApiKey { api_key: key.expose().to_owned(), view: ApiKeyView::of(stored, now) })
    }

    /// A key with a new secret; of this id, or of a new one.
    pub(super) fn random_key(
        &self,
        environment: &str,
        id: Option<&str>,
    ) -> Result<ApiKey, ApiKeyError> {
        // Fails for want of usable random bytes once in 10^60; the second try is for good manners.
        for _ in 0..2 {
            let random = self.random.bytes()?;
            let made = match id {
                Some(id) => ApiKey::generate_for(environment, id, &random),
                None => ApiKey::generate(environment, &random),
            };
            match made {
                Ok(key) => return Ok(key),
                Err(GenerateApiKeyError::Environment) => {
                    return Err(ApiKeyError::Invalid(
                        "`environment` is not 1 to 16 of a-z and 0-9",
                    ));
                }
                // What is stored under another kind of id was not made here.
                Err(GenerateApiKeyError::Id) => return Err(ApiKeyError::ImportedKey),
                Err(GenerateApiKeyError::Randomness) => {}
            }
        }
        Err(ApiKeyError::Random(RandomError))
    }
}
