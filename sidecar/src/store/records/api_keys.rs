//! API keys, by id and by name. Every change that filters must hear of is in the log.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wardgate_core::feed::Fingerprint;
use wardgate_core::wire::feed::{ChangeKind, LogEntry};
use wardgate_core::wire::{ApiKeyRecord, ApiKeyState};

use crate::seal::Sealed;
use crate::store::{Store, StoreError, Table, Transaction, failed, from_json, to_json};

/// An API key at rest.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StoredApiKey {
    /// What filters get.
    pub record: ApiKeyRecord,
    /// When the key was made, in seconds since the epoch.
    pub created_at: u64,
    /// What filters do not need.
    #[serde(default, skip_serializing_if = "ApiKeyDetails::is_empty")]
    pub details: ApiKeyDetails,
}

/// What is kept of an API key for its owner and for the sidecar itself.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct ApiKeyDetails {
    /// The last letters of the newest secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_four: Option<String>,
    /// What the key is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What the owner keeps with it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Where it comes from, if it was made elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imported: Option<ImportedApiKey>,
    /// How often it gets a new secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationSchedule>,
    /// The newest secret, until its owner collects it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitingSecret>,
    /// When the secret last changed, in seconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotated_at: Option<u64>,
    /// How many secrets it had before this one.
    #[serde(skip_serializing_if = "is_zero")]
    pub rotations: u64,
    /// When it was revoked, in seconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<u64>,
    /// The last warning of its end: so many seconds before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warned_before: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl ApiKeyDetails {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A key that was made elsewhere.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ImportedApiKey {
    /// What such keys begin with.
    pub prefix: String,
    /// What its record is found by.
    pub fingerprint: Fingerprint,
}

/// How often a key gets a new secret.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RotationSchedule {
    /// So often, in seconds.
    pub every_seconds: u64,
    /// How long the old secret works after the new one was collected, in seconds.
    pub grace_seconds: u64,
    /// When the next one is due, in seconds since the epoch.
    pub next_at: u64,
}

/// A secret that waits for its owner.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct WaitingSecret {
    /// The whole key, sealed.
    pub sealed: Sealed,
    /// When it was made, in seconds since the epoch.
    pub made_at: u64,
    /// How long the old one works once this one is collected, in seconds.
    pub grace_seconds: u64,
}

impl StoredApiKey {
    /// What filters find the record by.
    pub fn fingerprint(&self) -> Fingerprint {
        let imported = self.details.imported.as_ref();
        imported.map_or_else(|| Fingerprint::of_api_key(&self.record.id), |it| it.fingerprint)
    }

    fn change(&self, at_milliseconds: u64) -> Result<Vec<u8>, StoreError> {
        let record = Box::new(self.record.clone());
        let kind = ChangeKind::ApiKey { fingerprint: self.fingerprint(), record };
        to_json(&LogEntry { at_milliseconds, kind })
    }
}

/// The record of the API key with this id.
///
/// # Errors
///
/// [`StoreError`] when the store fails.
pub async fn get(store: &dyn Store, id: &str) -> Result<Option<StoredApiKey>, StoreError> {
    let found = lookup(store, Table::ApiKeys, id).await?;
    found.map(|found| from_json(&found)).transpose()
}

/// The id of the API key with this name that is not revoked.
///
/// # Errors
///
/// [`StoreError`] when the store fails.
pub async fn id_of_name(store: &dyn Store, name: &str) -> Result<Option<String>, StoreError> {
    let found = lookup(store, Table::ApiKeyNames, name).await?;
    found.map(|id| String::from_utf8(id).map_err(failed)).transpose()
}

/// Names and ids come from requests; none is empty, and none is longer than a key may be.
async fn lookup(store: &dyn Store, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    if key.is_empty() || key.len() > crate::store::MAX_KEY_BYTES {
        return Ok(None);
    }
    store.get(table, key).await
}

/// Some API keys, and the cursor for more; `None` begins. A key may appear twice.
///
/// # Errors
///
/// [`StoreError`] when the store fails.
pub async fn page(
    store: &dyn Store,
    cursor: Option<String>,
) -> Result<(Vec<StoredApiKey>, Option<String>), StoreError> {
    let page = store.page(Table::ApiKeys, cursor).await?;
    let keys = page.entries.iter().map(|entry| from_json(&entry.value));
    Ok((keys.collect::<Result<_, _>>()?, page.next))
}

/// Adds to a transaction that there is this key, which is not revoked, and that its name is its own:
/// two checks (name, id), two writes, one entry of the log.
///
/// # Errors
///
/// [`StoreError`] when the key cannot be written down.
pub fn add_to(
    transaction: Transaction,
    key: &StoredApiKey,
    at_milliseconds: u64,
) -> Result<Transaction, StoreError> {
    let (id, name) = (key.record.id.as_str(), key.record.name.as_str());
    Ok(transaction
        .absent(Table::ApiKeyNames, name)
        .absent(Table::ApiKeys, id)
        .put(Table::ApiKeyNames, name, id)
        .put(Table::ApiKeys, id, to_json(key)?)
        .append(key.change(at_milliseconds)?))
}

/// Adds an API key that is not revoked. Its name must not belong to another such key: bindings and
/// audit events go by the name.
///
/// # Errors
///
/// [`StoreError::NameTaken`], [`StoreError::IdTaken`], or the store fails.
pub async fn insert_at(
    store: &dyn Store,
    key: &StoredApiKey,
    at_milliseconds: u64,
) -> Result<(), StoreError> {
    match store.commit(add_to(Transaction::new(), key, at_milliseconds)?).await {
        Ok(_) => Ok(()),
        Err(StoreError::Conflict { check: 0 }) => Err(StoreError::NameTaken),
        Err(StoreError::Conflict { .. }) => Err(StoreError::IdTaken),
        Err(error) => Err(error),
    }
}

/// Puts `after` in the place of `before`, if the record still is `before`; id and name stay. The log
/// hears of it if filters must.
///
/// # Errors
///
/// [`StoreError::Changed`] if it is not, or the store fails.
pub async fn replace_at(
    store: &dyn Store,
    before: &StoredApiKey,
    after: &StoredApiKey,
    at_milliseconds: u64,
) -> Result<(), StoreError> {
    let (id, name) = (before.record.id.as_str(), before.record.name.as_str());
    if (after.record.id.as_str(), after.record.name.as_str()) != (id, name) {
        return Err(StoreError::Changed);
    }
    let stands = standing(store, before).await?;
    let mut transaction = Transaction::new().same(Table::ApiKeys, id, stands);
    transaction = transaction.put(Table::ApiKeys, id, to_json(after)?);
    if after.record != before.record {
        transaction = transaction.append(after.change(at_milliseconds)?);
    }
    if after.record.state == ApiKeyState::Revoked {
        transaction = free_name(store, before, transaction).await?;
    }
    commit(store, transaction).await
}

/// Forgets an API key, if it still is this.
///
/// # Errors
///
/// [`StoreError::Changed`] if it is not, or the store fails.
pub async fn remove(
    store: &dyn Store,
    before: &StoredApiKey,
    at_milliseconds: u64,
) -> Result<(), StoreError> {
    let id = before.record.id.as_str();
    let stands = standing(store, before).await?;
    let kind = ChangeKind::ApiKeyGone { fingerprint: before.fingerprint() };
    let transaction = Transaction::new()
        .same(Table::ApiKeys, id, stands)
        .delete(Table::ApiKeys, id)
        .append(to_json(&LogEntry { at_milliseconds, kind })?);
    let transaction = free_name(store, before, transaction).await?;
    commit(store, transaction).await
}

/// The bytes of a record that still is `before`. A transaction compares bytes; what they mean is
/// compared here, so that a record which another version has written can be changed.
async fn standing(store: &dyn Store, before: &StoredApiKey) -> Result<Vec<u8>, StoreError> {
    let stands = store.get(Table::ApiKeys, &before.record.id).await?.ok_or(StoreError::Changed)?;
    let same = from_json::<StoredApiKey>(&stands)? == *before;
    if same { Ok(stands) } else { Err(StoreError::Changed) }
}

/// The name of a key that has come to its end may be given again.
async fn free_name(
    store: &dyn Store,
    key: &StoredApiKey,
    transaction: Transaction,
) -> Result<Transaction, StoreError> {
    let (id, name) = (key.record.id.as_str(), key.record.name.as_str());
    if id_of_name(store, name).await?.as_deref() != Some(id) {
        return Ok(transaction);
    }
    Ok(transaction.same(Table::ApiKeyNames, name, id).delete(Table::ApiKeyNames, name))
}

async fn commit(store: &dyn Store, transaction: Transaction) -> Result<(), StoreError> {
    match store.commit(transaction).await {
        Ok(_) => Ok(()),
        Err(StoreError::Conflict { .. }) => Err(StoreError::Changed),
        Err(error) => Err(error),
    }
}

/// As [`insert_at`], at the beginning of time: for tests of stores.
#[cfg(test)]
pub(crate) async fn insert(store: &dyn Store, key: &StoredApiKey) -> Result<(), StoreError> {
    insert_at(store, key, 0).await
}

/// As [`replace_at`], at the beginning of time: for tests of stores.
#[cfg(test)]
pub(crate) async fn replace(
    store: &dyn Store,
    before: &StoredApiKey,
    after: &StoredApiKey,
) -> Result<(), StoreError> {
    replace_at(store, before, after, 0).await
}

/// All API keys, by id: for tests, a store may hold a million.
#[cfg(test)]
pub(crate) async fn all(store: &dyn Store) -> Result<Vec<StoredApiKey>, StoreError> {
    let (mut keys, mut cursor) = (BTreeMap::new(), None);
    loop {
        let (some, next) = page(store, cursor).await?;
        keys.extend(some.into_iter().map(|key| (key.record.id.clone(), key)));
        cursor = next;
        if cursor.is_none() {
            return Ok(keys.into_values().collect());
        }
    }
}

/// The document that names the prefixes of imported keys.
const PREFIXES: &str = "api_key_prefixes";

/// The prefixes of imported keys.
///
/// # Errors
///
/// [`StoreError`] when the store fails.
pub async fn prefixes(store: &dyn Store) -> Result<Vec<String>, StoreError> {
    let found = store.get(Table::Documents, PREFIXES).await?;
    found.map_or(Ok(Vec::new()), |found| from_json(&found))
}

/// Sets the prefixes of imported keys, if they still are `before`. Filters hear of it.
///
/// # Errors
///
/// [`StoreError::Changed`] if they are not, or the store fails.
pub async fn set_prefixes(
    store: &dyn Store,
    before: &[String],
    after: &[String],
    at_milliseconds: u64,
) -> Result<(), StoreError> {
    let transaction = match store.get(Table::Documents, PREFIXES).await? {
        Some(stands) if from_json::<Vec<String>>(&stands)? != before => {
            return Err(StoreError::Changed);
        }
        Some(stands) => Transaction::new().same(Table::Documents, PREFIXES, stands),
        None if before.is_empty() => Transaction::new().absent(Table::Documents, PREFIXES),
        None => return Err(StoreError::Changed),
    };
    let entry = LogEntry { at_milliseconds, kind: ChangeKind::Settings };
    let transaction = transaction.put(Table::Documents, PREFIXES, to_json(&after)?);
    commit(store, transaction.append(to_json(&entry)?)).await
}
