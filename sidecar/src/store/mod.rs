//! The store: what must survive a restart.
//!
//! One trait, so that every store behaves alike; the same conformance tests run against each.
//! A method that changes something returns after the change is on disk: what the sidecar
//! acknowledges must survive `kill -9`. Nothing here is secret in clear: keys of clients are keyed
//! digests, own keys are sealed.

use std::future::Future;
use std::pin::Pin;

use serde::{Deserialize, Serialize};
use wardgate_core::wire::ApiKeyRecord;

use crate::seal::Sealed;

mod embedded;

#[cfg(test)]
mod conformance;

pub use embedded::{Embedded, OpenStoreError};

/// What a method of the store returns. Boxed, so that the store is chosen by configuration.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Keeps records. Methods with a condition check it and write in one step, also between several
/// sidecars on one store.
pub trait Store: Send + Sync + 'static {
    /// The record of the API key with this id.
    fn api_key<'a>(&'a self, id: &'a str) -> Answer<'a, Option<StoredApiKey>>;

    /// The id of the API key with this name that is not revoked.
    fn api_key_named<'a>(&'a self, name: &'a str) -> Answer<'a, Option<String>>;

    /// All API keys, by id.
    fn api_keys(&self) -> Answer<'_, Vec<StoredApiKey>>;

    /// Grows with every change of any API key.
    fn api_key_revision(&self) -> Answer<'_, u64>;

    /// Adds an API key. Its name must not belong to another key that is not revoked: bindings and
    /// audit events go by the name.
    fn insert_api_key<'a>(&'a self, key: &'a StoredApiKey) -> Answer<'a, ()>;

    /// Puts `after` in the place of `before`, if the record still is `before`; id and name stay.
    fn replace_api_key<'a>(
        &'a self,
        before: &'a StoredApiKey,
        after: &'a StoredApiKey,
    ) -> Answer<'a, ()>;

    /// The key of the digests of API keys; stores `new` if there is none yet.
    fn digest_key_or_insert<'a>(&'a self, new: &'a Sealed) -> Answer<'a, Sealed>;

    /// All signing keys, the oldest first.
    fn signing_keys(&self) -> Answer<'_, Vec<StoredSigningKey>>;

    /// Adds a signing key, unless there is one of its algorithm; returns the one that stands.
    fn signing_key_or_insert<'a>(
        &'a self,
        new: &'a StoredSigningKey,
    ) -> Answer<'a, StoredSigningKey>;
}

/// An API key at rest.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StoredApiKey {
    /// What filters get.
    pub record: ApiKeyRecord,
    /// When the key was made, in seconds since the epoch.
    pub created_at: u64,
}

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

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another key, not revoked, has the name.
    #[error("another API key has this name")]
    NameTaken,
    /// A key with this id exists.
    #[error("an API key with this id exists")]
    IdTaken,
    /// Somebody else changed the record in between.
    #[error("the record was changed by somebody else in between")]
    Changed,
    /// The store itself failed.
    #[error("the store failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}
