//! Sealed secrets, by name.

use wardgate_core::secret::Secret;
use wardgate_core::time::UnixSeconds;

use crate::random::{Random, RandomError};
use crate::seal::{Sealed, StoreKeys, UnsealError};
use crate::store::{Store, StoreError, Table, from_json, to_json};

/// The key of the digests of API keys.
pub const API_KEY_DIGEST_KEY: SecretName =
    SecretName { name: "api_key_digest_key", context: "api-key-digest-key" };
/// The key of the nonces that clients put into their proofs.
pub const DPOP_NONCE_KEY: SecretName =
    SecretName { name: "dpop_nonce_key", context: "dpop_nonce_key" };
/// The key of the digests of clients' secrets.
pub const CLIENT_SECRET_DIGEST_KEY: SecretName =
    SecretName { name: "client_secret_digest_key", context: "client_secret_digest_key" };
/// The key of the digests that failed logins are counted under.
pub const LOGIN_DIGEST_KEY: SecretName =
    SecretName { name: "login_digest_key", context: "login-digest-key" };
/// The key of the tags and digests of refresh tokens.
pub const REFRESH_TOKEN_KEY: SecretName =
    SecretName { name: "refresh_token_key", context: "refresh-token-key" };

/// What a secret of the store is called.
#[derive(Clone, Copy, Debug)]
pub struct SecretName {
    /// Where it stands.
    name: &'static str,
    /// What it is sealed for.
    context: &'static str,
}

/// Why a secret of the store cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum OpenSecretError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// None of the store keys opens it.
    #[error("a secret in the store cannot be opened: {0}")]
    Unseal(#[from] UnsealError),
    /// It cannot be sealed.
    #[error("a new secret cannot be sealed")]
    Seal,
    /// The operating system gives no randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// The secret of this name, opened; whoever comes first makes it: 32 random bytes.
///
/// # Errors
///
/// [`OpenSecretError`] when the store fails or the secret does not open with the store keys.
pub async fn open_or_make(
    store: &dyn Store,
    store_keys: &StoreKeys,
    SecretName { name, context }: SecretName,
    now: UnixSeconds,
    random: Random,
) -> Result<Secret, OpenSecretError> {
    let new = Secret::new(random.bytes::<32>()?.to_vec());
    let sealed = store_keys.seal(context, &new, now).ok_or(OpenSecretError::Seal)?;
    let stands = get_or_insert(store, name, &sealed).await?;
    Ok(store_keys.open(context, &stands)?)
}

/// The secret of this name; stores `new` if there is none yet.
///
/// # Errors
///
/// [`StoreError`] when the store fails.
pub async fn get_or_insert(
    store: &dyn Store,
    name: &str,
    new: &Sealed,
) -> Result<Sealed, StoreError> {
    from_json(&super::get_or_insert(store, Table::Secrets, name, to_json(new)?).await?)
}
