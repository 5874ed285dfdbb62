//! OAuth clients, by id.

use serde::{Deserialize, Serialize};

use crate::oauth::ClientMetadata;
use crate::store::{Store, StoreError, Table, Transaction, from_json, to_json};

/// A client at rest.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StoredClient {
    /// Its id.
    pub client_id: String,
    /// What is registered of it.
    pub metadata: ClientMetadata,
    /// Digests of its secrets, the newest first; two at most.
    #[serde(default)]
    pub secrets: Vec<StoredClientSecret>,
    /// When it was made, in seconds since the epoch.
    pub created_at: u64,
}

/// A secret of a client, as a keyed digest.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StoredClientSecret {
    /// HMAC-SHA256 over client and secret, base64url.
    pub digest: String,
    /// When it was made, in seconds since the epoch.
    pub created_at: u64,
    /// When it stops working, in seconds since the epoch; never when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
}

/// The client of this id.
///
/// # Errors
///
/// [`StoreError`] when the store fails.
pub async fn get(store: &dyn Store, client_id: &str) -> Result<Option<StoredClient>, StoreError> {
    if client_id.is_empty() || client_id.len() > crate::store::MAX_KEY_BYTES {
        return Ok(None);
    }
    store.get(Table::Clients, client_id).await?.map(|value| from_json(&value)).transpose()
}

/// Some clients, and the cursor for more; `None` begins. A client may appear twice.
///
/// # Errors
///
/// [`StoreError`] when the store fails.
pub async fn page(
    store: &dyn Store,
    cursor: Option<String>,
) -> Result<(Vec<StoredClient>, Option<String>), StoreError> {
    let page = store.page(Table::Clients, cursor).await?;
    let clients = page.entries.iter().map(|entry| from_json(&entry.value));
    Ok((clients.collect::<Result<_, _>>()?, page.next))
}

/// Adds a client.
///
/// # Errors
///
/// [`StoreError::Conflict`] when a client or a user has the id, or the store fails.
pub async fn insert(store: &dyn Store, client: &StoredClient) -> Result<(), StoreError> {
    let id = client.client_id.as_str();
    // The `sub` of a client's own token is its id (RFC 9068 §5): a user of the same id would be the
    // same subject to everyone who reads it.
    let transaction = Transaction::new().absent(Table::Clients, id).absent(Table::Users, id).put(
        Table::Clients,
        id,
        to_json(client)?,
    );
    store.commit(transaction).await.map(|_| ())
}

/// Puts `after` in the place of `before`, if the record still is `before`.
///
/// # Errors
///
/// [`StoreError::Changed`] if it is not, or the store fails.
pub async fn replace(
    store: &dyn Store,
    before: &StoredClient,
    after: &StoredClient,
) -> Result<(), StoreError> {
    let (id, stands) = (before.client_id.as_str(), standing(store, before).await?);
    let transaction = Transaction::new().same(Table::Clients, id, stands).put(
        Table::Clients,
        id,
        to_json(after)?,
    );
    commit(store, transaction).await
}

/// Forgets a client, if it still is this.
///
/// # Errors
///
/// [`StoreError::Changed`] if it is not, or the store fails.
pub async fn remove(store: &dyn Store, before: &StoredClient) -> Result<(), StoreError> {
    let (id, stands) = (before.client_id.as_str(), standing(store, before).await?);
    let transaction = Transaction::new().same(Table::Clients, id, stands);
    commit(store, transaction.delete(Table::Clients, id)).await
}

/// The bytes of a record that still is `before`; what they mean is compared, so that a record which
/// another version has written can be changed.
async fn standing(store: &dyn Store, before: &StoredClient) -> Result<Vec<u8>, StoreError> {
    let stands = store.get(Table::Clients, &before.client_id).await?;
    let stands = stands.ok_or(StoreError::Changed)?;
    let same = from_json::<StoredClient>(&stands)? == *before;
    if same { Ok(stands) } else { Err(StoreError::Changed) }
}

async fn commit(store: &dyn Store, transaction: Transaction) -> Result<(), StoreError> {
    match store.commit(transaction).await {
        Ok(_) => Ok(()),
        Err(StoreError::Conflict { .. }) => Err(StoreError::Changed),
        Err(error) => Err(error),
    }
}
