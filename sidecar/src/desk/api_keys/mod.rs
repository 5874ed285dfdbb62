//! The life of an API key: made or imported, changed, rotated, disabled for a while, revoked for ever,
//! forgotten.

mod check;
mod create;
mod import;
mod list;
mod rotate;
mod sweep;
mod update;
mod view;

use wardgate_core::time::UnixSeconds;
use wardgate_core::wire::ApiKeyState;

use super::Desk;
use crate::random::RandomError;
use crate::seal::UnsealError;
use crate::store::StoreError;
use crate::store::records::{StoredApiKey, api_keys};

pub use create::CreateApiKey;
pub use import::{ImportApiKey, ImportApiKeys, ImportProblem, Imported, MAX_IMPORT_BATCH};
pub use list::{ApiKeyFilter, ApiKeyList};
pub use rotate::RotateApiKey;
pub use sweep::{KeyNotice, Swept};
pub use update::UpdateApiKey;
pub use view::{ApiKeyView, CreatedApiKey};

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
    /// The old secret still works.
    #[error(
        "the secret before this one still works, until {0} (seconds since the epoch): a rotation \
         would stop it at once; wait, or say that the newest one is lost, or give no grace"
    )]
    RotationUnderWay(u64),
    /// A key that was made elsewhere has no secret of ours.
    #[error("the API key was imported: it cannot be rotated here; create a new one")]
    ImportedKey,
    /// There is nothing to collect.
    #[error("no new secret waits for its owner")]
    NothingWaits,
    /// The waiting secret cannot be sealed or opened.
    #[error("the waiting secret: {0}")]
    Unseal(#[from] UnsealError),
    /// The store failed or refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The operating system gives no randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// How often a change is tried again that somebody else's change got in the way of.
const MAX_TRIES: usize = 16;

impl Desk {
    /// The API key of this id, or of this name and not revoked.
    ///
    /// # Errors
    ///
    /// [`ApiKeyError`] when there is none or the store fails.
    pub async fn api_key(&self, name_or_id: &str) -> Result<ApiKeyView, ApiKeyError> {
        let now = self.clock.now();
        self.find(name_or_id).await.map(|found| ApiKeyView::of(found, now))
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
        self.edit(name_or_id, |key, now| {
            key.record.state = next_state(key.record.state, action)?;
            if action == ApiKeyAction::Revoke {
                key.details.revoked_at.get_or_insert(now.0);
                // Nobody may come for it any more.
                key.details.waiting = None;
            }
            Ok(())
        })
        .await
    }

    /// Changes the key of this name or id, again if somebody else changed it meanwhile. A change
    /// that changes nothing writes nothing.
    async fn edit(
        &self,
        name_or_id: &str,
        change: impl Fn(&mut StoredApiKey, UnixSeconds) -> Result<(), ApiKeyError>,
    ) -> Result<ApiKeyView, ApiKeyError> {
        let mut id: Option<String> = None;
        for _ in 0..MAX_TRIES {
            let before = match &id {
                Some(id) => self.by_id(id).await?,
                None => self.find(name_or_id).await?,
            };
            let now = self.clock.now();
            let mut after = before.clone();
            change(&mut after, now)?;
            if after == before {
                return Ok(ApiKeyView::of(before, now));
            }
            match self.replace(&before, &after).await {
                Ok(()) => {
                    let record = &after.record;
                    tracing::info!(id = %record.id, name = %record.name, state = ?record.state, "API key changed");
                    return Ok(ApiKeyView::of(after, now));
                }
                // The same key again, whoever has its name by now.
                Err(StoreError::Changed) => id = Some(before.record.id),
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Changed.into())
    }

    async fn by_id(&self, id: &str) -> Result<StoredApiKey, ApiKeyError> {
        api_keys::get(&*self.store, id).await?.ok_or(ApiKeyError::Unknown)
    }

    async fn replace(&self, before: &StoredApiKey, after: &StoredApiKey) -> Result<(), StoreError> {
        api_keys::replace_at(&*self.store, before, after, self.clock.now_milliseconds()).await
    }

    /// The prefixes of keys that were made elsewhere.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn api_key_prefixes(&self) -> Result<Vec<String>, StoreError> {
        api_keys::prefixes(&*self.store).await
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

#[cfg(test)]
mod tests;
