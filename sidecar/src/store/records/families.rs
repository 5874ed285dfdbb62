//! Families of refresh tokens, by id, and which families a subject has.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use wardgate_core::time::UnixSeconds;

use crate::seal::Sealed;
use crate::store::{Store, StoreError, Table, Transaction, from_json, to_json};

/// What the keys of the lists of subjects begin with. Ids of families are base64url, which has no
/// colon.
const LIST_PREFIX: &str = "subject:";

/// A family at rest: what one login has come to, however often it was refreshed. It holds digests,
/// so nobody who reads the store has a token.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StoredFamily {
    /// Who logged in (`sub`).
    pub subject: String,
    /// The client that has the tokens (`client_id`).
    pub client_id: String,
    /// What its access tokens are for (`aud`); that of the configuration when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audiences: Vec<String>,
    /// What was granted (`scope`), words with spaces between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The key that whoever presents a token must show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Confirmation>,
    /// More claims of its access tokens, such as `auth_time` and `amr`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub claims: Map<String, Value>,
    /// Where it was begun, as whoever began it says: for lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// When it was begun, in seconds since the epoch; later than what revoked the subject before.
    pub begun_at: u64,
    /// When it was used last, in seconds since the epoch.
    pub used_at: u64,
    /// When it ends whatever is done, in seconds since the epoch.
    pub ends_at: u64,
    /// How long it lives unused, in seconds.
    pub idle_seconds: u64,
    /// How often it was used, which is the number of its current token.
    pub generation: u32,
    /// The keyed digest of the current token.
    pub digest: String,
    /// The token before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<UsedToken>,
    /// What the one before was answered with, sealed, for a client that has lost the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Sealed>,
}

/// A token that was used.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct UsedToken {
    /// Its keyed digest.
    pub digest: String,
    /// When it was used, in milliseconds since the epoch.
    pub used_at_milliseconds: u64,
    /// The key that was shown with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<Confirmation>,
}

/// A key that whoever presents a token must show, in the form of the claim `cnf` (RFC 7800 §3.1).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Confirmation {
    /// The thumbprint of a `DPoP` key (RFC 9449 §6).
    #[serde(rename = "jkt")]
    KeyThumbprint(String),
    /// The thumbprint of a certificate (RFC 8705 §3.1).
    #[serde(rename = "x5t#S256")]
    CertificateThumbprint(String),
}

impl StoredFamily {
    /// When it is over if nobody uses it again.
    pub fn over_at(&self) -> UnixSeconds {
        UnixSeconds(self.ends_at.min(self.used_at.saturating_add(self.idle_seconds)))
    }
}

/// The families of a subject.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct FamilyList {
    /// When each ends, by id, in seconds since the epoch.
    pub ends: BTreeMap<String, u64>,
}

impl FamilyList {
    /// Without those that are over.
    #[must_use]
    pub fn alive(mut self, now: UnixSeconds) -> Self {
        self.ends.retain(|_, end| *end > now.0);
        self
    }
}

/// A value and its bytes, which a transaction compares.
#[derive(Clone, Debug)]
pub struct Standing<T> {
    /// What it says.
    pub value: T,
    /// How it says it.
    pub bytes: Vec<u8>,
}

/// The family of this id.
///
/// # Errors
///
/// [`StoreError`] when the store fails.
pub async fn get(
    store: &dyn Store,
    id: &str,
) -> Result<Option<Standing<StoredFamily>>, StoreError> {
    let found = store.get(Table::Families, id).await?;
    found.map(|bytes| Ok(Standing { value: from_json(&bytes)?, bytes })).transpose()
}

/// Adds to a transaction that the family is this from now on.
///
/// # Errors
///
/// [`StoreError`] when the family cannot be written down.
pub fn put(
    transaction: Transaction,
    id: &str,
    family: &StoredFamily,
) -> Result<Transaction, StoreError> {
    Ok(transaction.put_until(Table::Families, id, to_json(family)?, Some(family.over_at())))
}

/// The families of a subject.
///
/// # Errors
///
/// [`StoreError`] when the store fails.
pub async fn list(
    store: &dyn Store,
    subject: &str,
) -> Result<Option<Standing<FamilyList>>, StoreError> {
    let found = store.get(Table::Families, &list_key(subject)).await?;
    found.map(|bytes| Ok(Standing { value: from_json(&bytes)?, bytes })).transpose()
}

/// Adds to a transaction that the families of a subject still are `before` and then `after`.
///
/// # Errors
///
/// [`StoreError`] when the list cannot be written down.
pub fn replace_list(
    transaction: Transaction,
    subject: &str,
    before: Option<&Standing<FamilyList>>,
    after: &FamilyList,
) -> Result<Transaction, StoreError> {
    let key = list_key(subject);
    let transaction = match before {
        Some(before) => transaction.same(Table::Families, &key, before.bytes.clone()),
        None => transaction.absent(Table::Families, &key),
    };
    let end = after.ends.values().max().copied().map(UnixSeconds);
    Ok(match end {
        Some(end) => transaction.put_until(Table::Families, &key, to_json(after)?, Some(end)),
        None => transaction.delete(Table::Families, &key),
    })
}

/// Some families with their ids, and the cursor for more; `None` begins. A family may appear twice.
///
/// # Errors
///
/// [`StoreError`] when the store fails.
pub async fn page(
    store: &dyn Store,
    cursor: Option<String>,
) -> Result<(Vec<(String, StoredFamily)>, Option<String>), StoreError> {
    let page = store.page(Table::Families, cursor).await?;
    let families = page.entries.into_iter().filter(|entry| !entry.key.starts_with(LIST_PREFIX));
    let families = families.map(|entry| Ok((entry.key, from_json(&entry.value)?)));
    Ok((families.collect::<Result<_, StoreError>>()?, page.next))
}

fn list_key(subject: &str) -> String {
    format!("{LIST_PREFIX}{subject}")
}
