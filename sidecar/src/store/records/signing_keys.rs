//! Signing keys, by algorithm.

use serde::{Deserialize, Serialize};

use crate::seal::Sealed;
use crate::store::{Pages, Store, StoreError, Table, from_json, to_json};

/// A signing key at rest.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StoredSigningKey {
    /// The thumbprint.
    pub kid: String,
    /// The algorithm, as `alg` names it.
    pub algorithm: String,
    /// The sealed PKCS #8 private key.
    pub private: Sealed,
    /// When the key was made, in seconds since the epoch.
    pub created_at: u64,
}

/// All signing keys, the oldest first.
///
/// # Errors
///
/// [`StoreError`] when the store fails.
pub async fn all(store: &dyn Store) -> Result<Vec<StoredSigningKey>, StoreError> {
    let mut keys: Vec<StoredSigningKey> = Vec::new();
    let mut pages = Pages::of(store, Table::SigningKeys);
    while let Some(entries) = pages.next().await? {
        for entry in entries {
            keys.push(from_json(&entry.value)?);
        }
    }
    keys.sort_by(|a, b| (a.created_at, &a.kid).cmp(&(b.created_at, &b.kid)));
    // A page may show an entry twice.
    keys.dedup_by(|a, b| a.kid == b.kid);
    Ok(keys)
}

/// Adds a signing key, unless there is one of its algorithm; returns the one that stands.
///
/// # Errors
///
/// [`StoreError`] when the store fails.
pub async fn get_or_insert(
    store: &dyn Store,
    new: &StoredSigningKey,
) -> Result<StoredSigningKey, StoreError> {
    let (key, value) = (&new.algorithm, to_json(new)?);
    from_json(&super::get_or_insert(store, Table::SigningKeys, key, value).await?)
}
