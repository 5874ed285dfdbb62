//! Sealed secrets, by name.

use crate::seal::Sealed;
use crate::store::{Store, StoreError, Table, from_json, to_json};

/// The key of the digests of API keys.
pub const API_KEY_DIGEST_KEY: &str = "api_key_digest_key";
/// The key of the nonces that clients put into their proofs.
pub const DPOP_NONCE_KEY: &str = "dpop_nonce_key";
/// The key of the digests of clients' secrets.
pub const CLIENT_SECRET_DIGEST_KEY: &str = "client_secret_digest_key";

/// The key of the digests that failed logins are counted under.
pub const LOGIN_DIGEST_KEY: &str = "login_digest_key";

/// The key of the tags and digests of refresh tokens.
pub const REFRESH_TOKEN_KEY: &str = "refresh_token_key";

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
