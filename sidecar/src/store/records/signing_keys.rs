//! Signing keys, by algorithm and generation.
//!
//! The first key of an algorithm stands under its name, as in stores of before there were more; the
//! second under `ES256/2`, and so on. So of several sidecars that make the next one at once, one does.

use serde::{Deserialize, Serialize};
use wardgate_core::time::UnixSeconds;
use wardgate_core::wire::feed::{ChangeKind, LogEntry};

use crate::keys::KeyTimes;
use crate::seal::Sealed;
use crate::store::{Pages, Store, StoreError, Table, Transaction, from_json, to_json};

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
    /// Which one of its algorithm it is.
    #[serde(default = "first_generation")]
    pub generation: u64,
    /// When it begins to sign, in seconds since the epoch; since it was made when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signs_from: Option<u64>,
    /// When another one signs in its place, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retires_at: Option<u64>,
    /// When all of its tokens were revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<u64>,
}

fn first_generation() -> u64 {
    1
}

impl StoredSigningKey {
    /// The first key of its algorithm, which signs since it was made.
    pub fn first(kid: String, algorithm: String, private: Sealed, created_at: u64) -> Self {
        Self {
            kid,
            algorithm,
            private,
            created_at,
            generation: first_generation(),
            signs_from: None,
            retires_at: None,
            revoked_at: None,
        }
    }

    /// What is known of its life.
    pub fn times(&self) -> KeyTimes {
        KeyTimes {
            signs_from: UnixSeconds(self.signs_from.unwrap_or(self.created_at)),
            retires_at: self.retires_at.map(UnixSeconds),
            revoked_at: self.revoked_at.map(UnixSeconds),
        }
    }

    /// Its key in the table.
    fn place(&self) -> String {
        match self.generation {
            0 | 1 => self.algorithm.clone(),
            generation => format!("{}/{generation}", self.algorithm),
        }
    }
}

/// A signing key as it stands in the store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StandingKey {
    /// The key.
    pub key: StoredSigningKey,
    place: String,
    value: Vec<u8>,
}

impl StandingKey {
    /// Its key in the table, and its value.
    pub fn as_it_stands(&self) -> (&str, &[u8]) {
        (&self.place, &self.value)
    }
}

/// All signing keys as they stand, by algorithm and in the order that they were made in.
///
/// # Errors
///
/// [`StoreError`] when the store fails.
pub async fn standing(store: &dyn Store) -> Result<Vec<StandingKey>, StoreError> {
    let mut keys: Vec<StandingKey> = Vec::new();
    let mut pages = Pages::of(store, Table::SigningKeys);
    while let Some(entries) = pages.next().await? {
        for entry in entries {
            let key: StoredSigningKey = from_json(&entry.value)?;
            keys.push(StandingKey { key, place: entry.key, value: entry.value });
        }
    }
    keys.sort_by(|a, b| order(&a.key).cmp(&order(&b.key)));
    // A page may show an entry twice.
    keys.dedup_by(|a, b| a.place == b.place);
    Ok(keys)
}

fn order(key: &StoredSigningKey) -> (&str, u64, u64, &str) {
    (&key.algorithm, key.generation, key.created_at, &key.kid)
}

/// All signing keys, by algorithm and in the order that they were made in.
///
/// # Errors
///
/// [`StoreError`] when the store fails.
pub async fn all(store: &dyn Store) -> Result<Vec<StoredSigningKey>, StoreError> {
    Ok(standing(store).await?.into_iter().map(|standing| standing.key).collect())
}

/// The changes of a rotation: the keys `old` become what stands beside them, and `new` is added. Filters hear
/// of it in the same step. It conflicts when somebody else has changed one of them, or made the next
/// key, in between.
///
/// # Errors
///
/// [`StoreError`] when a key cannot be written.
pub fn rotation(
    old: &[(&StandingKey, StoredSigningKey)],
    new: Option<&StoredSigningKey>,
    now_milliseconds: u64,
) -> Result<Transaction, StoreError> {
    let mut transaction = Transaction::new();
    let table = Table::SigningKeys;
    for (before, after) in old {
        transaction = transaction.same(table, &*before.place, before.value.clone()).put(
            table,
            &*before.place,
            to_json(after)?,
        );
    }
    if let Some(new) = new {
        let place = new.place();
        transaction = transaction.absent(table, &*place).put(table, place, to_json(new)?);
    }
    Ok(transaction.append(settings_entry(now_milliseconds)?))
}

/// Removes a key of which no token can be good any more.
///
/// # Errors
///
/// [`StoreError::Conflict`] when somebody else was faster, others when the store fails.
pub async fn remove(
    store: &dyn Store,
    key: &StandingKey,
    now_milliseconds: u64,
) -> Result<(), StoreError> {
    let transaction = Transaction::new()
        .same(Table::SigningKeys, &*key.place, key.value.clone())
        .delete(Table::SigningKeys, &*key.place)
        .append(settings_entry(now_milliseconds)?);
    store.commit(transaction).await.map(|_| ())
}

/// Key sets are settings of filters.
fn settings_entry(at_milliseconds: u64) -> Result<Vec<u8>, StoreError> {
    to_json(&LogEntry { at_milliseconds, kind: ChangeKind::Settings })
}
