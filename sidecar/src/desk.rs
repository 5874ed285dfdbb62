//! What the sidecar does for filters and operators, whoever asks and by whichever way: the admin
//! listener and the command line without a running sidecar use the same functions.

mod api_keys;
mod inspect;
pub(crate) mod revocations;
mod signing_keys;
mod tokens;
mod usage;

use std::sync::Arc;

use wardgate_core::secret::Secret;

pub use api_keys::{
    ApiKeyAction, ApiKeyError, ApiKeyFilter, ApiKeyList, ApiKeyView, CreateApiKey, CreatedApiKey,
    ImportApiKey, ImportApiKeys, ImportProblem, Imported, KeyNotice, MAX_IMPORT_BATCH,
    RotateApiKey, Swept, UpdateApiKey,
};
pub use inspect::{
    InspectToken, JwtInspection, Signature, TokenInspection, Verdict, inspect_refresh_token,
};
pub use revocations::{
    BatchRevocation, MAX_REVOKE_BATCH, RevocationList, RevocationView, RevokeBatch, RevokeError,
    RevokeProblem, RevokeRequest, RevokeTarget, Revoked, RevokedBatch, revocation_of_line,
};
use signing_keys::KeyRing;
pub use signing_keys::{
    KeyEvent, RotateKeysError, RotateSigningKeys, RotatedSigningKeys, SigningKeyList,
    SigningKeyView, SigningKeysError,
};
pub use tokens::{IssueTokenError, IssuedToken, TokenRequest};

use crate::clock::Clock;
use crate::config::{ApiKeysSection, IssuerSection, SigningKeysSection};
use crate::random::Random;
use crate::seal::StoreKeys;
use crate::store::records::secrets::{self, OpenSecretError};
use crate::store::{Store, StoreStat};
use crate::usage::UsageRecorder;

/// Store, keys and settings behind every answer.
pub struct Desk {
    clock: Clock,
    random: Random,
    store: Arc<dyn Store>,
    keys: KeyRing,
    digest_key: Secret,
    issuer: IssuerSection,
    api_keys: ApiKeysSection,
    store_keys: StoreKeys,
    usage: Option<Arc<UsageRecorder>>,
}

/// Why the desk cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenDeskError {
    /// The key of the digests of API keys cannot be had.
    #[error(transparent)]
    Secret(#[from] OpenSecretError),
    /// A signing key cannot be made or read.
    #[error(transparent)]
    SigningKeys(#[from] SigningKeysError),
}

impl Desk {
    /// Reads the secrets of the store; at the first start they are made.
    ///
    /// # Errors
    ///
    /// [`OpenDeskError`] when the store fails or its secrets do not open with the store keys.
    pub async fn open(
        store: Arc<dyn Store>,
        store_keys: &StoreKeys,
        issuer: IssuerSection,
        clock: Clock,
        random: Random,
    ) -> Result<Self, OpenDeskError> {
        let (name, now) = (secrets::API_KEY_DIGEST_KEY, clock.now());
        let digest_key = secrets::open_or_make(&*store, store_keys, name, now, random).await?;
        let keys = KeyRing::new(SigningKeysSection::default().schedule());
        let (api_keys, store_keys) = (ApiKeysSection::default(), store_keys.clone());
        let desk = Self {
            clock,
            random,
            store,
            keys,
            digest_key,
            issuer,
            api_keys,
            store_keys,
            usage: None,
        };
        desk.make_first_signing_keys().await?;
        desk.refresh_signing_keys().await?;
        Ok(desk)
    }

    /// With these settings for the life of API keys.
    pub fn with_api_keys(self, api_keys: ApiKeysSection) -> Self {
        Self { api_keys, ..self }
    }

    /// With these settings for the life of signing keys.
    pub fn with_signing_keys(mut self, signing_keys: &SigningKeysSection) -> Self {
        self.keys.schedule = signing_keys.schedule();
        self
    }

    /// The store behind it.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The key of the digests of API keys.
    pub fn digest_key(&self) -> &Secret {
        &self.digest_key
    }

    /// How much is in the store and what it runs on.
    ///
    /// # Errors
    ///
    /// [`ApiKeyError::Store`] when the store fails.
    pub async fn store_stat(&self) -> Result<StoreStat, ApiKeyError> {
        Ok(self.store.stat().await?)
    }
}

#[cfg(test)]
mod tests;
