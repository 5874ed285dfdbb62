//! The life of an API key: made, disabled for a while, revoked for ever.

use serde::{Deserialize, Serialize};
use wardgate_core::api_key::{ApiKey, GenerateApiKeyError};
use wardgate_core::wire::{ApiKeyRecord, ApiKeyState};

use super::Desk;
use crate::random::RandomError;
use crate::store::StoreError;
use crate::store::records::{StoredApiKey, api_keys};

/// Longest name of a key, and of each role and scope.
const MAX_NAME_BYTES: usize = 128;
/// Letters of an id.
const ID_LETTERS: usize = 12;
/// Roles or scopes of one key; the record travels to every filter that sees the key.
const MAX_LIST: usize = 100;

/// What is asked for a new API key.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CreateApiKey {
    /// The name that bindings (`api_key:NAME`) and audit events use.
    pub name: String,
    /// The environment that stands in the key.
    pub environment: String,
    /// Issuer of the owner.
    #[serde(default)]
    pub issuer: Option<String>,
    /// Subject of the owner.
    #[serde(default)]
    pub subject: Option<String>,
    /// The roles of the key.
    #[serde(default)]
    pub roles: Vec<String>,
    /// The scopes that restrict the key; nothing restricts when missing.
    #[serde(default)]
    pub scopes: Option<Vec<String>>,
    /// How long the key works; for ever when missing.
    #[serde(default)]
    pub expires_in_seconds: Option<u64>,
}

/// A new key: the only time that it is seen.
#[derive(Deserialize, Serialize)]
pub struct CreatedApiKey {
    /// The key in clear.
    pub api_key: String,
    /// What is kept of it.
    #[serde(flatten)]
    pub view: ApiKeyView,
}

/// An API key as an operator sees it: without digest.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ApiKeyView {
    /// The public id.
    pub id: String,
    /// The name.
    pub name: String,
    /// The environment.
    pub environment: String,
    /// Issuer of the owner.
    pub issuer: Option<String>,
    /// Subject of the owner.
    pub subject: Option<String>,
    /// The roles.
    pub roles: Vec<String>,
    /// The scopes; `null` restricts nothing.
    pub scopes: Option<Vec<String>>,
    /// When the key stops working, in seconds since the epoch.
    pub expires_at: Option<u64>,
    /// Whether it works.
    pub state: ApiKeyState,
    /// When it was made, in seconds since the epoch.
    pub created_at: u64,
}

/// All API keys.
#[derive(Debug, Deserialize, Serialize)]
pub struct ApiKeyList {
    /// By id.
    pub api_keys: Vec<ApiKeyView>,
}

/// What happens to a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ApiKeyAction {
    /// It stops working for the time being.
    Disable,
    /// It works again.
    Enable,
    /// It never works again.
    Revoke,
}

/// Why the desk did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ApiKeyError {
    /// Something of what was asked is wrong.
    #[error("{0}")]
    Invalid(&'static str),
    /// There is no key of this name or id.
    #[error("there is no API key of this name or id")]
    Unknown,
    /// A revoked key stays revoked.
    #[error("the API key is revoked, for ever")]
    Revoked,
    /// The store failed or refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The operating system gives no randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl From<StoredApiKey> for ApiKeyView {
    fn from(stored: StoredApiKey) -> Self {
        let StoredApiKey { record, created_at } = stored;
        Self {
            id: record.id,
            name: record.name,
            environment: record.environment,
            issuer: record.issuer,
            subject: record.subject,
            roles: record.roles,
            scopes: record.scopes,
            expires_at: record.expires_at,
            state: record.state,
            created_at,
        }
    }
}

impl Desk {
    /// Makes an API key.
    ///
    /// # Errors
    ///
    /// [`ApiKeyError`] when the request is wrong, the name is taken or the store fails.
    pub async fn create_api_key(&self, asked: CreateApiKey) -> Result<CreatedApiKey, ApiKeyError> {
        check(&asked)?;
        let key = self.new_key(&asked.environment)?;
        let now = self.clock.now();
        let stored = StoredApiKey {
            record: ApiKeyRecord {
                id: key.id().to_owned(),
                environment: asked.environment,
                name: asked.name,
                digest: key.digest(&self.digest_key).text(),
                issuer: asked.issuer,
                subject: asked.subject,
                roles: asked.roles,
                scopes: asked.scopes,
                expires_at: asked.expires_in_seconds.map(|seconds| now.plus(seconds).0),
                state: ApiKeyState::Active,
                previous: None,
                networks: Vec::new(),
                rate_limit: None,
            },
            created_at: now.0,
        };
        api_keys::insert(&*self.store, &stored).await?;
        tracing::info!(id = %stored.record.id, name = %stored.record.name, "API key created");
        Ok(CreatedApiKey { api_key: key.expose().to_owned(), view: stored.into() })
    }

    fn new_key(&self, environment: &str) -> Result<ApiKey, ApiKeyError> {
        // Fails for want of usable random bytes once in 10^60; the second try is for good manners.
        for _ in 0..2 {
            match ApiKey::generate(environment, &self.random.bytes()?) {
                Ok(key) => return Ok(key),
                Err(GenerateApiKeyError::Environment) => {
                    return Err(ApiKeyError::Invalid(
                        "`environment` is not 1 to 16 of a-z and 0-9",
                    ));
                }
                Err(GenerateApiKeyError::Randomness) => {}
            }
        }
        Err(ApiKeyError::Random(RandomError))
    }

    /// All API keys.
    ///
    /// # Errors
    ///
    /// [`ApiKeyError`] when the store fails.
    pub async fn api_keys(&self) -> Result<ApiKeyList, ApiKeyError> {
        let keys = api_keys::all(&*self.store).await?;
        Ok(ApiKeyList { api_keys: keys.into_iter().map(ApiKeyView::from).collect() })
    }

    /// The API key of this id, or of this name and not revoked.
    ///
    /// # Errors
    ///
    /// [`ApiKeyError`] when there is none or the store fails.
    pub async fn api_key(&self, name_or_id: &str) -> Result<ApiKeyView, ApiKeyError> {
        self.find(name_or_id).await.map(ApiKeyView::from)
    }

    async fn find(&self, name_or_id: &str) -> Result<StoredApiKey, ApiKeyError> {
        // The id first: a key named like the id of another must not be the one that is revoked.
        if let Some(found) = api_keys::get(&*self.store, name_or_id).await? {
            return Ok(found);
        }
        let id = api_keys::id_of_name(&*self.store, name_or_id).await?;
        let id = id.ok_or(ApiKeyError::Unknown)?;
        api_keys::get(&*self.store, &id).await?.ok_or(ApiKeyError::Unknown)
    }

    /// Changes the state of an API key. Doing again what is done is no error.
    ///
    /// # Errors
    ///
    /// [`ApiKeyError`] when there is no such key, it is revoked, or the store fails.
    pub async fn change_api_key(
        &self,
        name_or_id: &str,
        action: ApiKeyAction,
    ) -> Result<ApiKeyView, ApiKeyError> {
        let before = self.find(name_or_id).await?;
        let state = next_state(before.record.state, action)?;
        if state == before.record.state {
            return Ok(before.into());
        }
        let mut after = before.clone();
        after.record.state = state;
        api_keys::replace(&*self.store, &before, &after).await?;
        tracing::info!(id = %after.record.id, name = %after.record.name, ?action, "API key changed");
        Ok(after.into())
    }
}

fn next_state(state: ApiKeyState, action: ApiKeyAction) -> Result<ApiKeyState, ApiKeyError> {
    match (state, action) {
        (_, ApiKeyAction::Revoke) => Ok(ApiKeyState::Revoked),
        (ApiKeyState::Revoked, ApiKeyAction::Disable | ApiKeyAction::Enable) => {
            Err(ApiKeyError::Revoked)
        }
        (ApiKeyState::Active | ApiKeyState::Disabled, ApiKeyAction::Disable) => {
            Ok(ApiKeyState::Disabled)
        }
        (ApiKeyState::Active | ApiKeyState::Disabled, ApiKeyAction::Enable) => {
            Ok(ApiKeyState::Active)
        }
    }
}

fn check(asked: &CreateApiKey) -> Result<(), ApiKeyError> {
    if !is_name(&asked.name) {
        return Err(ApiKeyError::Invalid(
            "`name` is not 1 to 128 letters, digits and `_.:-`, beginning with a letter or digit",
        ));
    }
    // An id that is made later could be this name, and commands take either.
    if is_like_id(&asked.name) {
        return Err(ApiKeyError::Invalid(
            "`name` has the form of an id (12 letters and digits); use another length or a `-`",
        ));
    }
    if !asked.roles.iter().all(|role| is_name(role)) {
        return Err(ApiKeyError::Invalid("each of `roles` is a name as it stands in the policy"));
    }
    let right = |scope: &String| {
        (1..=MAX_NAME_BYTES).contains(&scope.len())
            && scope.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
    };
    if !asked.scopes.iter().flatten().all(right) {
        return Err(ApiKeyError::Invalid("each of `scopes` is 1 to 128 letters, digits and signs"));
    }
    if asked.roles.len() > MAX_LIST || asked.scopes.as_ref().is_some_and(|it| it.len() > MAX_LIST) {
        return Err(ApiKeyError::Invalid("more than 100 `roles` or `scopes`"));
    }
    // A subject means nothing without its issuer, and the other way round.
    if asked.issuer.is_some() != asked.subject.is_some() {
        return Err(ApiKeyError::Invalid("`issuer` and `subject` go together"));
    }
    let owner = asked.issuer.iter().chain(&asked.subject);
    if owner.into_iter().any(|text| text.is_empty() || text.len() > 1024) {
        return Err(ApiKeyError::Invalid("`issuer` and `subject` are 1 to 1024 bytes"));
    }
    if asked.expires_in_seconds == Some(0) {
        return Err(ApiKeyError::Invalid("`expires_in_seconds` is at least 1"));
    }
    Ok(())
}

/// Whether it could be the id of a key.
fn is_like_id(text: &str) -> bool {
    text.len() == ID_LETTERS && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// As names of the policy: they stand in header lists and in bindings.
fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME_BYTES
        && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'-'))
}
