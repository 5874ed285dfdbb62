//! The registry of clients.

mod view;

use std::sync::Arc;

use aws_lc_rs::hmac;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use wardgate_core::base64url;
use wardgate_core::feed::RevocationTarget;
use wardgate_core::time::UnixSeconds;

pub use view::{ClientList, ClientSecretView, ClientView, CreatedClient};

use super::check;
use super::client::ClientMetadata;
use crate::clock::Clock;
use crate::desk::{Desk, RevokeError, RevokeRequest, RevokeTarget};
use crate::random::{Random, RandomError};
use crate::seal::StoreKeys;
use crate::store::records::secrets::{self, OpenSecretError};
use crate::store::records::{StoredClient, StoredClientSecret, clients};
use crate::store::{Store, StoreError};

/// How long the old secret works after a rotation when nothing else is asked.
const DEFAULT_GRACE_SECONDS: u64 = 86_400;
/// The longest grace: with a longer one two secrets work for good.
const MAX_GRACE_SECONDS: u64 = 31 * 86_400;
/// Secrets that a client has at most: the one in use, and the one before while it is replaced.
const MAX_SECRETS: usize = 2;
/// Longest secret that is compared; ours have 43 letters.
const MAX_SECRET_BYTES: usize = 256;

/// The registry.
pub struct Clients {
    store: Arc<dyn Store>,
    digest_key: hmac::Key,
    clock: Clock,
    random: Random,
}

/// What is asked for a new secret.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RotateClientSecret {
    /// How long the old secret goes on working, in seconds; a day when missing.
    #[schemars(range(max = 2_678_400))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_seconds: Option<u64>,
}

/// Why a client was not made, shown or changed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// All that is wrong with what was asked.
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
    /// There is none of this id.
    #[error("there is no client of this id")]
    Unknown,
    /// A client or a user has the id.
    #[error("a client or a user has this id")]
    IdTaken,
    /// It authenticates without a secret.
    #[error("the client has no secret: see its `token_endpoint_auth_method`")]
    NoSecret,
    /// Its tokens were not revoked, so it was not removed.
    #[error(transparent)]
    Revoke(#[from] RevokeError),
    /// The operating system gives no randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Clients {
    /// Reads the key of the digests; at the first start it is made.
    ///
    /// # Errors
    ///
    /// [`OpenSecretError`] when the store fails or the key does not open.
    pub async fn open(
        store: Arc<dyn Store>,
        store_keys: &StoreKeys,
        clock: Clock,
        random: Random,
    ) -> Result<Self, OpenSecretError> {
        let name = secrets::CLIENT_SECRET_DIGEST_KEY;
        let key = secrets::open_or_make(&*store, store_keys, name, clock.now(), random).await?;
        let digest_key = hmac::Key::new(hmac::HMAC_SHA256, key.expose());
        Ok(Self { store, digest_key, clock, random })
    }

    /// Makes a client of these members: `client_id`, if it is to be chosen, and [`ClientMetadata`].
    ///
    /// # Errors
    ///
    /// [`ClientError`] when something of it is wrong, the id is taken or the store fails.
    pub async fn create(
        &self,
        mut asked: Map<String, Value>,
    ) -> Result<CreatedClient, ClientError> {
        let client_id = match asked.remove("client_id") {
            None | Some(Value::Null) => format!("cli_{}", self.random.text::<16>()?),
            Some(Value::String(id)) if check::is_client_id(&id) => id,
            Some(_) => {
                let problem = "`client_id` is not 1 to 128 letters, digits and `_.:~-`, beginning \
                               with a letter or digit";
                return Err(ClientError::Invalid(vec![problem.to_owned()]));
            }
        };
        let metadata = read(asked)?;
        let now = self.clock.now();
        let secret = self.new_secret(&client_id, &metadata, now)?;
        let (client_secret, stored) = secret.unzip();
        let client = StoredClient {
            client_id,
            metadata,
            secrets: stored.into_iter().collect(),
            created_at: now.0,
        };
        match clients::insert(&*self.store, &client).await {
            Err(StoreError::Conflict { .. }) => return Err(ClientError::IdTaken),
            other => other?,
        }
        tracing::info!(client = %client.client_id, "client created");
        Ok(CreatedClient { client_secret, view: ClientView::of(client) })
    }

    /// The client of this id, if there is one.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn find(&self, client_id: &str) -> Result<Option<StoredClient>, StoreError> {
        clients::get(&*self.store, client_id).await
    }

    /// The client of this id, as an operator sees it.
    ///
    /// # Errors
    ///
    /// [`ClientError`] when there is none or the store fails.
    pub async fn show(&self, client_id: &str) -> Result<ClientView, ClientError> {
        self.require(client_id).await.map(ClientView::of)
    }

    /// A page of the clients; `None` begins. A client may appear twice.
    ///
    /// # Errors
    ///
    /// [`ClientError::Store`] when the store fails.
    pub async fn list(&self, cursor: Option<String>) -> Result<ClientList, ClientError> {
        let (page, next) = clients::page(&*self.store, cursor).await?;
        Ok(ClientList { clients: page.into_iter().map(ClientView::of).collect(), next })
    }

    /// Changes what is registered: members stand in the place of those that are, `null` takes one
    /// away (RFC 7396).
    ///
    /// # Errors
    ///
    /// [`ClientError`] when the client would be wrong, there is none, or the store fails.
    pub async fn update(
        &self,
        client_id: &str,
        patch: Map<String, Value>,
    ) -> Result<ClientView, ClientError> {
        let before = self.require(client_id).await?;
        let whole = serde_json::to_value(&before.metadata).unwrap_or_default();
        let mut whole = whole.as_object().cloned().unwrap_or_default();
        for (name, value) in patch {
            if value.is_null() {
                whole.shift_remove(&name);
            } else {
                whole.insert(name, value);
            }
        }
        let mut after = StoredClient { metadata: read(whole)?, ..before.clone() };
        if !after.metadata.token_endpoint_auth_method.has_secret() {
            // A secret that is not used any more is one that nobody watches.
            after.secrets.clear();
        }
        clients::replace(&*self.store, &before, &after).await?;
        tracing::info!(client = client_id, "client changed");
        Ok(ClientView::of(after))
    }

    /// Gives a client a new secret; the one before works for the grace, and none beside it.
    ///
    /// # Errors
    ///
    /// [`ClientError`] when it has none, there is no such client, or the store fails.
    pub async fn rotate_secret(
        &self,
        client_id: &str,
        asked: &RotateClientSecret,
    ) -> Result<CreatedClient, ClientError> {
        let grace = asked.grace_seconds.unwrap_or(DEFAULT_GRACE_SECONDS);
        if grace > MAX_GRACE_SECONDS {
            let problem = "`grace_seconds` is at most 2678400 (31 days)".to_owned();
            return Err(ClientError::Invalid(vec![problem]));
        }
        let before = self.require(client_id).await?;
        let now = self.clock.now();
        let new = self.new_secret(client_id, &before.metadata, now)?;
        let (secret, stored) = new.ok_or(ClientError::NoSecret)?;
        let mut after = before.clone();
        after.secrets.retain(|old| old.works_at(now));
        after.secrets.insert(0, stored);
        after.secrets.truncate(MAX_SECRETS);
        for old in after.secrets.iter_mut().skip(1) {
            let end = now.plus(grace).0;
            old.expires_at = Some(old.expires_at.map_or(end, |earlier| earlier.min(end)));
        }
        after.secrets.retain(|secret| secret.works_at(now));
        clients::replace(&*self.store, &before, &after).await?;
        tracing::info!(client = client_id, "client has a new secret");
        Ok(CreatedClient { client_secret: Some(secret), view: ClientView::of(after) })
    }

    /// Forgets a client and revokes all its tokens.
    ///
    /// First it gets nothing any more, then what it has is revoked, then it is forgotten: whatever
    /// breaks off in between leaves a client without working tokens or one that can be deleted again,
    /// and never tokens of a client that nobody can name.
    ///
    /// # Errors
    ///
    /// [`ClientError`] when there is none or the store fails; it is safe to try again.
    pub async fn delete(
        &self,
        client_id: &str,
        desk: &Desk,
        keep_seconds: u64,
    ) -> Result<(), ClientError> {
        let mut client = self.require(client_id).await?;
        if !client.metadata.disabled {
            let mut disabled = client.clone();
            disabled.metadata.disabled = true;
            clients::replace(&*self.store, &client, &disabled).await?;
            client = disabled;
        }
        let issuer = desk.own_key_set().issuer;
        let target = RevocationTarget::Client { issuer, client_id: client_id.to_owned() };
        let asked = RevokeRequest {
            target: RevokeTarget::Named(target),
            reason: Some("the client was deleted".to_owned()),
            by: None,
            until: None,
            issued_until: None,
        };
        desk.revoke(asked, keep_seconds).await?;
        clients::remove(&*self.store, &client).await?;
        tracing::info!(client = client_id, "client deleted");
        Ok(())
    }

    /// Whether a secret is one of the client's. It takes the same work whether there is such a client
    /// or not, so that nobody learns who is registered.
    pub(super) fn has_secret(&self, client: Option<&StoredClient>, id: &str, secret: &str) -> bool {
        let now = self.clock.now();
        let mut matches = 0_u8;
        for index in 0..MAX_SECRETS {
            let stored = client.and_then(|client| client.secrets.get(index));
            let digest = stored.and_then(|stored| base64url::decode(stored.digest.as_bytes()));
            let digest = digest.unwrap_or_else(|| vec![0; 32]);
            let same = secret.len() <= MAX_SECRET_BYTES
                && hmac::verify(&self.digest_key, &digest_input(id, secret), &digest).is_ok();
            matches |= u8::from(same & stored.is_some_and(|stored| stored.works_at(now)));
        }
        matches != 0
    }

    async fn require(&self, client_id: &str) -> Result<StoredClient, ClientError> {
        self.find(client_id).await?.ok_or(ClientError::Unknown)
    }

    /// A new secret and what is kept of it, if the client has one at all.
    fn new_secret(
        &self,
        client_id: &str,
        metadata: &ClientMetadata,
        now: UnixSeconds,
    ) -> Result<Option<(String, StoredClientSecret)>, RandomError> {
        if !metadata.token_endpoint_auth_method.has_secret() {
            return Ok(None);
        }
        // 256 bits: a plain keyed digest is enough, nobody finds it by trying.
        let secret = self.random.text::<32>()?;
        let digest = hmac::sign(&self.digest_key, &digest_input(client_id, &secret));
        let digest = base64url::encode(digest.as_ref());
        let stored = StoredClientSecret { digest, created_at: now.0, expires_at: None };
        Ok(Some((secret, stored)))
    }
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Clients")
    }
}

impl StoredClientSecret {
    fn works_at(&self, now: UnixSeconds) -> bool {
        self.expires_at.is_none_or(|end| now.0 < end)
    }
}

/// What the digest of a secret is made of. The client is in it, so that a record that was copied to
/// another client's place does not bring its secret along.
fn digest_input(client_id: &str, secret: &str) -> zeroize::Zeroizing<Vec<u8>> {
    zeroize::Zeroizing::new([client_id.as_bytes(), b"\0", secret.as_bytes()].concat())
}

fn read(members: Map<String, Value>) -> Result<ClientMetadata, ClientError> {
    // The error names the member and never shows its value: serde quotes what it did not expect,
    // which for these types is a word and no secret.
    let read = serde_json::from_value::<ClientMetadata>(Value::Object(members));
    let mut metadata = read.map_err(|error| ClientError::Invalid(vec![error.to_string()]))?;
    metadata.complete();
    match check::problems(&metadata) {
        problems if problems.is_empty() => Ok(metadata),
        problems => Err(ClientError::Invalid(problems)),
    }
}

#[cfg(test)]
mod tests;
