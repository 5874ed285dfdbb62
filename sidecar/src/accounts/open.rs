//! Opening the users of a store.

use std::sync::Arc;

use wardgate_core::secret::Secret;

use super::hash::MakeHashError;
use super::{AccountSettings, Accounts, HashPool, LoginGuard};
use crate::audit::AuditSink;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::random::{Random, RandomError};
use crate::seal::{StoreKeys, UnsealError};
use crate::store::records::secrets;
use crate::store::{Store, StoreError};

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
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A secret of the store does not open.
    #[error("a secret in the store cannot be opened: {0}")]
    Unseal(#[from] UnsealError),
    /// A secret cannot be sealed.
    #[error("a new secret cannot be sealed")]
    Seal,
    /// No hash can be made.
    #[error(transparent)]
    Hash(#[from] MakeHashError),
    /// The operating system gives no randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
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
        let context = "login-digest-key";
        let new = Secret::new(random.bytes::<32>()?.to_vec());
        let sealed = store_keys.seal(context, &new, clock.now()).ok_or(OpenAccountsError::Seal)?;
        let stands = secrets::get_or_insert(&*store, secrets::LOGIN_DIGEST_KEY, &sealed).await?;
        let key = store_keys.open(context, &stands)?;
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
