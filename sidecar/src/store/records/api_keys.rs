//! API keys, by id and by name. Every change of one is in the log.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wardgate_core::wire::{ApiKeyRecord, ApiKeyState};

use super::Change;
use crate::store::{Pages, Store, StoreError, Table, Transaction, failed, from_json, to_json};

/// An API key at rest.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StoredApiKey {
    /// What filters get.
    pub record: ApiKeyRecord,
    /// When the key was made, in seconds since the epoch.
    pub created_at: u64,
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

/// Names and ids come from requests; none is empty.
async fn lookup(store: &dyn Store, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    if key.is_empty() { Ok(None) } else { store.get(table, key).await }
}

/// All API keys, by id.
///
/// # Errors
///
/// [`StoreError`] when the store fails.
pub async fn all(store: &dyn Store) -> Result<Vec<StoredApiKey>, StoreError> {
    let mut keys = BTreeMap::new();
    let mut pages = Pages::of(store, Table::ApiKeys);
    while let Some(entries) = pages.next().await? {
        for entry in entries {
            keys.insert(entry.key, from_json(&entry.value)?);
        }
    }
    Ok(keys.into_values().collect())
}

/// Adds an API key that is not revoked. Its name must not belong to another such key: bindings and
/// audit events go by the name.
///
/// # Errors
///
/// [`StoreError::NameTaken`], [`StoreError::IdTaken`], or the store fails.
pub async fn insert(store: &dyn Store, key: &StoredApiKey) -> Result<(), StoreError> {
    let (id, name) = (key.record.id.as_str(), key.record.name.as_str());
    let value = to_json(key)?;
    let transaction = Transaction::new()
        .absent(Table::ApiKeyNames, name)
        .absent(Table::ApiKeys, id)
        .put(Table::ApiKeyNames, name, id)
        .append(Change::put(Table::ApiKeys, id, &value, None).encode())
        .put(Table::ApiKeys, id, value);
    match store.commit(transaction).await {
        Ok(_) => Ok(()),
        Err(StoreError::Conflict { check: 0 }) => Err(StoreError::NameTaken),
        Err(StoreError::Conflict { .. }) => Err(StoreError::IdTaken),
        Err(error) => Err(error),
    }
}

/// Puts `after` in the place of `before`, if the record still is `before`; id and name stay.
///
/// # Errors
///
/// [`StoreError::Changed`] if it is not, or the store fails.
pub async fn replace(
    store: &dyn Store,
    before: &StoredApiKey,
    after: &StoredApiKey,
) -> Result<(), StoreError> {
    let (id, name) = (before.record.id.as_str(), before.record.name.as_str());
    if (after.record.id.as_str(), after.record.name.as_str()) != (id, name) {
        return Err(StoreError::Changed);
    }
    // A transaction compares bytes; what they mean is compared here, so that a record which another
    // version has written, with its members in another order, can be changed.
    let stands = store.get(Table::ApiKeys, id).await?.ok_or(StoreError::Changed)?;
    if from_json::<StoredApiKey>(&stands)? != *before {
        return Err(StoreError::Changed);
    }
    let value = to_json(after)?;
    let mut transaction = Transaction::new()
        .same(Table::ApiKeys, id, stands)
        .append(Change::put(Table::ApiKeys, id, &value, None).encode())
        .put(Table::ApiKeys, id, value);
    let freed = after.record.state == ApiKeyState::Revoked
        && id_of_name(store, name).await?.as_deref() == Some(id);
    if freed {
        transaction =
            transaction.same(Table::ApiKeyNames, name, id).delete(Table::ApiKeyNames, name);
    }
    match store.commit(transaction).await {
        Ok(_) => Ok(()),
        Err(StoreError::Conflict { .. }) => Err(StoreError::Changed),
        Err(error) => Err(error),
    }
}
