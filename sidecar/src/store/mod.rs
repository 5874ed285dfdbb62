//! The store: what must survive a restart.
//!
//! One trait, so that every store behaves alike; the same conformance tests run against each.
//! A method that changes something returns after the change is on disk: what the sidecar
//! acknowledges must survive `kill -9`. Nothing here is secret in clear: keys of clients are keyed
//! digests, own keys are sealed.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wardgate_core::wire::ApiKeyRecord;

use crate::seal::Sealed;

mod embedded;
pub mod migrate;
mod open;
mod redis;

#[cfg(test)]
mod conformance;

pub use embedded::Embedded;
pub use open::{OpenProblem, OpenStoreError, open};
pub use redis::Redis;

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

    /// Grows with every change of any API key. A store that can lose changes which it has shown
    /// (a failover) must not come back to a number: a filter would not drop what it knows.
    fn api_key_revision(&self) -> Answer<'_, u64>;

    /// Adds an API key that is not revoked. Its name must not belong to another such key: bindings
    /// and audit events go by the name.
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

    /// Some entries of a table as they are at rest, and the cursor for more; `None` begins. Over
    /// all pages every entry that stands throughout appears at least once.
    fn page(&self, table: Table, cursor: Option<String>) -> Answer<'_, Page>;

    /// Adds entries as they are at rest: all, or none when one exists with another value.
    fn add_entries(&self, table: Table, entries: Vec<Entry>) -> Answer<'_, ()>;

    /// Sees to it that the revision is `floor` at least, and another than it was.
    fn raise_api_key_revision(&self, floor: u64) -> Answer<'_, ()>;

    /// What is in the store and what it runs on.
    fn stat(&self) -> Answer<'_, StoreStat>;
}

/// What a store consists of, besides its numbers.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Table {
    /// Name to sealed secret.
    Secrets,
    /// Algorithm to signing key.
    SigningKeys,
    /// Id to API key.
    ApiKeys,
    /// Name to id, of API keys that are not revoked.
    ApiKeyNames,
}

impl Table {
    /// All tables. A copy is made in this order: names come last, so that in a copy that was
    /// broken off no name leads nowhere.
    pub const ALL: [Self; 4] = [Self::Secrets, Self::SigningKeys, Self::ApiKeys, Self::ApiKeyNames];

    /// The name of the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Secrets => "secrets",
            Self::SigningKeys => "signing_keys",
            Self::ApiKeys => "api_keys",
            Self::ApiKeyNames => "api_key_names",
        }
    }
}

/// A key of a table and its value.
pub type Entry = (String, Vec<u8>);

/// Some entries of a table.
#[derive(Debug)]
pub struct Page {
    /// The entries.
    pub entries: Vec<Entry>,
    /// Where the next page begins, if there may be one.
    pub next: Option<String>,
}

/// What is in a store and what it runs on.
#[derive(Debug, Deserialize, Serialize)]
pub struct StoreStat {
    /// `embedded` or `redis`.
    pub kind: String,
    /// Entries of each table.
    pub records: BTreeMap<String, u64>,
    /// The revision of the API keys.
    pub api_key_revision: u64,
    /// What else there is to say, by name.
    pub details: BTreeMap<String, String>,
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
    #[error("the store failed: {0}")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(failed)
}

fn to_json(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(failed)
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Failed(Box::new(error))
}
