//! Opening the users of a store.

use std::sync::Arc;

use super::hash::MakeHashError;
use super::{AccountSettings, Accounts, HashPool, LoginGuard};
use crate::audit::AuditSink;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::random::Random;
use crate::seal::StoreKeys;
use crate::store::Store;
use crate::store::records::secrets::{self, OpenSecretError};

/// What users stand on.
pub struct AccountGround {
    /// Where they are kept.
    pub store: Arc<dyn Store>,
    /// What seals the hashes of their passwords.
    pub store_keys: StoreKeys,
    /// The `iss` of their tokens.
    pub issuer: String,
    /// What time it is.
    pub clock: Clock,
    /// Where randomness comes from.
    pub random: Random,
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
    /// Where it is recorded; nothing where no sidecar runs.
    pub audit: Option<Arc<AuditSink>>,
}

/// Why users cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenAccountsError {
    /// The secret that failed logins are counted under cannot be had.
    #[error(transparent)]
    Secret(#[from] OpenSecretError),
    /// No hash can be made.
    #[error(transparent)]
    Hash(#[from] MakeHashError),
}

impl Accounts {
    /// Reads the secret of the store that failed logins are counted under; at the first start it is
    /// made.
    ///
    /// # Errors
    ///
    /// [`OpenAccountsError`] when the store fails or its secret does not open with the store keys.
    pub async fn open(
        ground: AccountGround,
        settings: AccountSettings,
    ) -> Result<Self, OpenAccountsError> {
        let AccountGround { store, store_keys, issuer, clock, random, metrics, audit } = ground;
        let name = secrets::LOGIN_DIGEST_KEY;
        let key = secrets::open_or_make(&*store, &store_keys, name, clock.now(), random).await?;
        let parameters = settings.parameters;
        let pool = HashPool::new(settings.at_once, settings.waiting, parameters.memory_kib());
        Ok(Self {
            dummy: Arc::new(parameters.dummy(random)?),
            guard: LoginGuard::new(&key, settings.limits),
            rules: Arc::new(settings.rules),
            keep_seconds: settings.keep_seconds,
            social_providers: settings.social_providers,
            pool,
            parameters,
            store,
            store_keys,
            issuer,
            clock,
            random,
            metrics,
            audit,
        })
    }
}
