//! What the sidecar does for filters and operators, whoever asks and by whichever way: the admin
//! listener and the command line without a running sidecar use the same functions.

mod api_keys;
pub(crate) mod revocations;
mod tokens;
mod usage;

use std::sync::Arc;

use wardgate_core::secret::Secret;
use wardgate_core::time::UnixSeconds;
use wardgate_core::wire::IssuerKeySet;

pub use api_keys::{
    ApiKeyAction, ApiKeyError, ApiKeyFilter, ApiKeyList, ApiKeyView, CreateApiKey, CreatedApiKey,
    ImportApiKey, ImportApiKeys, ImportProblem, Imported, KeyNotice, MAX_IMPORT_BATCH,
    RotateApiKey, Swept, UpdateApiKey,
};
pub use revocations::{
    RevocationList, RevocationView, RevokeError, RevokeRequest, RevokeTarget, Revoked,
};
pub use tokens::{IssueTokenError, IssuedToken, SigningKeyList, SigningKeyView, TokenRequest};

use crate::clock::Clock;
use crate::config::{ApiKeysSection, IssuerSection};
use crate::keys::{SigningAlgorithm, SigningKey, SigningKeyError, SigningKeys, generate};
use crate::random::{Random, RandomError};
use crate::seal::{StoreKeys, UnsealError};
use crate::store::records::{StoredSigningKey, secrets, signing_keys as stored_signing_keys};
use crate::store::{Store, StoreError, StoreStat};
use crate::usage::UsageRecorder;

/// Store, keys and settings behind every answer.
pub struct Desk {
    clock: Clock,
    random: Random,
    store: Arc<dyn Store>,
    keys: SigningKeys,
    digest_key: Secret,
    issuer: IssuerSection,
    api_keys: ApiKeysSection,
    store_keys: StoreKeys,
    usage: Option<Arc<UsageRecorder>>,
}

/// Why the desk cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenDeskError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A secret of the store does not open.
    #[error("a secret in the store cannot be opened: {0}")]
    Unseal(#[from] UnsealError),
    /// A secret cannot be sealed.
    #[error("a new secret cannot be sealed")]
    Seal,
    /// A signing key cannot be made or read.
    #[error(transparent)]
    SigningKey(#[from] SigningKeyError),
    /// The operating system gives no randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
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
        let context = "api-key-digest-key";
        let new = Secret::new(random.bytes::<32>()?.to_vec());
        let sealed = store_keys.seal(context, &new, clock.now()).ok_or(OpenDeskError::Seal)?;
        let stands = secrets::get_or_insert(&*store, secrets::API_KEY_DIGEST_KEY, &sealed).await?;
        let digest_key = store_keys.open(context, &stands)?;
        let keys = signing_keys(&*store, store_keys, &issuer, &clock).await?;
        let (api_keys, store_keys) = (ApiKeysSection::default(), store_keys.clone());
        Ok(Self {
            clock,
            random,
            store,
            keys,
            digest_key,
            issuer,
            api_keys,
            store_keys,
            usage: None,
        })
    }

    /// With these settings for the life of API keys.
    pub fn with_api_keys(self, api_keys: ApiKeysSection) -> Self {
        Self { api_keys, ..self }
    }

    /// The store behind it.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The public keys.
    pub fn signing_keys(&self) -> &SigningKeys {
        &self.keys
    }

    /// The key of the digests of API keys.
    pub fn digest_key(&self) -> &Secret {
        &self.digest_key
    }

    /// The keys of the tokens that are issued here.
    pub fn own_key_set(&self) -> IssuerKeySet {
        IssuerKeySet { issuer: self.issuer.issuer.0.clone(), jwks: self.keys.jwks() }
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

/// Opens the signing keys and makes those that the configuration wants and the store lacks.
async fn signing_keys(
    store: &dyn Store,
    store_keys: &StoreKeys,
    issuer: &IssuerSection,
    clock: &Clock,
) -> Result<SigningKeys, OpenDeskError> {
    let known = stored_signing_keys::all(store).await?;
    let mut keys: Vec<SigningKey> = Vec::new();
    for algorithm in &issuer.algorithms {
        if keys.iter().any(|key| key.algorithm() == *algorithm) {
            continue;
        }
        let stands = known.iter().find(|key| key.algorithm == algorithm.word());
        let stored = if let Some(stored) = stands {
            stored.clone()
        } else {
            let new = new_signing_key(*algorithm, store_keys, clock)?;
            stored_signing_keys::get_or_insert(store, &new).await?
        };
        let context = seal_context(&stored.kid);
        let pkcs8 = store_keys.open(&context, &stored.private)?;
        keys.push(SigningKey::from_pkcs8(*algorithm, &pkcs8, UnixSeconds(stored.created_at))?);
    }
    Ok(SigningKeys::new(keys))
}

fn new_signing_key(
    algorithm: SigningAlgorithm,
    store_keys: &StoreKeys,
    clock: &Clock,
) -> Result<StoredSigningKey, OpenDeskError> {
    let pkcs8 = generate(algorithm)?;
    let now = clock.now();
    let key = SigningKey::from_pkcs8(algorithm, &pkcs8, now)?;
    let sealed = store_keys.seal(&seal_context(key.kid()), &pkcs8, now);
    Ok(StoredSigningKey {
        kid: key.kid().to_owned(),
        algorithm: algorithm.word().to_owned(),
        private: sealed.ok_or(OpenDeskError::Seal)?,
        created_at: now.0,
    })
}

fn seal_context(kid: &str) -> String {
    format!("signing-key {kid}")
}

#[cfg(test)]
mod tests;
