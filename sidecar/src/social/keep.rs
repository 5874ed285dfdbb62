//! What comes into the vault and leaves it for good.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::clear::MAX_TOKEN_BYTES;
use super::{ClearToken, SocialState, SocialVault, Tokens};
use crate::store::records::social_tokens::{self as records, LostCause, StoredSocialTokens};
use crate::store::{StoreError, Table, Transaction};
use crate::usage::TokenEvent;

/// How often tokens are looked at anew that somebody changes while they are deleted.
const TRIES: usize = 8;
/// Longest scope.
const MAX_SCOPE_BYTES: usize = 4096;
/// Longest life that a provider may give an access token, in seconds: a hundred years.
const MAX_SECONDS: u64 = 3_155_760_000;

/// Tokens as a provider has given them to a user.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeepSocialTokens {
    /// The access token.
    pub access_token: ClearToken,
    /// The refresh token, if there is one.
    #[serde(default)]
    pub refresh_token: Option<ClearToken>,
    /// In how many seconds the access token ends; unknown if missing.
    #[serde(default)]
    #[schemars(range(max = 3_155_760_000_u64))]
    pub expires_in: Option<u64>,
    /// What was granted.
    #[serde(default)]
    #[schemars(length(max = 4096))]
    pub scope: Option<String>,
}

/// What there is of a user's tokens at a provider: never the tokens.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct SocialTokensView {
    /// The provider.
    pub provider: String,
    /// Whether they can be used.
    pub state: SocialState,
    /// What was granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// When the access token ends, in seconds since the epoch; unknown if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// Whether there is a refresh token.
    pub can_refresh: bool,
    /// When they were stored, in seconds since the epoch.
    pub stored_at: u64,
    /// When they were last refreshed, in seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refreshed_at: Option<u64>,
}

/// What there is of a user's tokens.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct SocialTokensList {
    /// By provider.
    pub social_tokens: Vec<SocialTokensView>,
}

/// Why tokens are not kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The configuration has no such provider.
    #[error("no such provider is configured")]
    UnknownProvider,
    /// There is no such user.
    #[error("there is no such user")]
    UnknownUser,
    /// Something of what was sent is wrong. Never says what: it may be a token.
    #[error("{0}")]
    Invalid(&'static str),
    /// The tokens cannot be sealed.
    #[error("the tokens cannot be sealed")]
    Seal,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SocialVault {
    /// Keeps the tokens of a user at a provider, instead of those that were there.
    ///
    /// # Errors
    ///
    /// [`KeepError`] when something of it is wrong or the store fails.
    pub async fn keep(
        &self,
        user: &str,
        provider: &str,
        tokens: KeepSocialTokens,
    ) -> Result<SocialTokensView, KeepError> {
        let vault = &*self.0;
        if !vault.providers.contains_key(provider) {
            return Err(KeepError::UnknownProvider);
        }
        check(&tokens)?;
        let standing = vault.store.get(Table::Users, user).await?.ok_or(KeepError::UnknownUser)?;
        let (key, now) = (records::key(user, provider), vault.clock.now());
        let KeepSocialTokens { access_token, refresh_token, expires_in, scope } = tokens;
        let can_refresh = refresh_token.is_some();
        let sealed = vault.seal(&key, &Tokens { access_token, refresh_token });
        let stored = StoredSocialTokens {
            sealed: sealed.ok_or(KeepError::Seal)?,
            expires_at: expires_in.map(|seconds| now.plus(seconds).0),
            scope,
            can_refresh,
            stored_at: now.0,
            refreshed_at: None,
            lease: None,
            lost: None,
            pause_until_milliseconds: None,
        };
        let value = serde_json::to_vec(&stored).map_err(|_| KeepError::Seal)?;
        // Of a user that is there when they are stored: what is kept of one that was deleted in
        // between would never be removed.
        let transaction = Transaction::new().same(Table::Users, user, standing).put(
            Table::SocialTokens,
            key,
            value,
        );
        match vault.store.commit(transaction).await {
            Ok(_) => {
                vault.count(user, TokenEvent::Issued);
                Ok(view(provider, stored, now.0))
            }
            Err(StoreError::Conflict { .. }) => Err(StoreError::Changed.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// What there is of a user's tokens, at the providers of the configuration.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn list(&self, user: &str) -> Result<SocialTokensList, StoreError> {
        let now = self.0.clock.now().0;
        let mut social_tokens = Vec::new();
        for provider in self.0.providers.keys() {
            let found = records::get(&*self.0.store, &records::key(user, provider)).await?;
            social_tokens.extend(found.map(|found| view(provider, found.value, now)));
        }
        Ok(SocialTokensList { social_tokens })
    }

    /// Forgets the tokens of a user at a provider, also one that the configuration has no more;
    /// whether there were any.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn forget(&self, user: &str, provider: &str) -> Result<bool, StoreError> {
        let key = records::key(user, provider);
        for _ in 0..TRIES {
            let Some(stands) = self.0.store.get(Table::SocialTokens, &key).await? else {
                return Ok(false);
            };
            if self.delete(Transaction::new(), vec![(key.clone(), stands)]).await? {
                return Ok(true);
            }
        }
        Err(StoreError::Changed)
    }

    /// Forgets the tokens of a user at all providers of the configuration, in one step; what there
    /// was.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn forget_all(&self, user: &str) -> Result<SocialTokensList, StoreError> {
        let now = self.0.clock.now().0;
        for _ in 0..TRIES {
            let (mut social_tokens, mut found) = (Vec::new(), Vec::new());
            let mut transaction = Transaction::new();
            for provider in self.0.providers.keys() {
                let key = records::key(user, provider);
                let Some(stands) = records::get(&*self.0.store, &key).await? else {
                    transaction = transaction.absent(Table::SocialTokens, key);
                    continue;
                };
                social_tokens.push(view(provider, stands.value, now));
                found.push((key, stands.bytes));
            }
            if found.is_empty() || self.delete(transaction, found).await? {
                return Ok(SocialTokensList { social_tokens });
            }
        }
        Err(StoreError::Changed)
    }

    /// Deletes these if they still are what was found, so that what is told is what is gone; whether
    /// they were.
    async fn delete(
        &self,
        transaction: Transaction,
        found: Vec<(String, Vec<u8>)>,
    ) -> Result<bool, StoreError> {
        let transaction = found.into_iter().fold(transaction, |transaction, (key, stands)| {
            transaction
                .same(Table::SocialTokens, key.clone(), stands)
                .delete(Table::SocialTokens, key)
        });
        match self.0.store.commit(transaction).await {
            Ok(_) => Ok(true),
            Err(StoreError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn check(tokens: &KeepSocialTokens) -> Result<(), KeepError> {
    let right = |token: &str| (1..=MAX_TOKEN_BYTES).contains(&token.len());
    let refresh_token = tokens.refresh_token.as_ref();
    if !right(&tokens.access_token) || refresh_token.is_some_and(|token| !right(token)) {
        return Err(KeepError::Invalid("a token has 1 to 16384 bytes"));
    }
    if tokens.scope.as_ref().is_some_and(|scope| scope.len() > MAX_SCOPE_BYTES) {
        return Err(KeepError::Invalid("`scope` has 4096 bytes at most"));
    }
    if tokens.expires_in.is_some_and(|seconds| seconds > MAX_SECONDS) {
        return Err(KeepError::Invalid("`expires_in` is a hundred years at most"));
    }
    Ok(())
}

fn view(provider: &str, stored: StoredSocialTokens, now: u64) -> SocialTokensView {
    let is_over = stored.expires_at.is_some_and(|end| end <= now);
    let is_lost = stored.lost.is_some_and(|cause| match cause {
        LostCause::Refused | LostCause::AnswerLost => true,
    });
    let is_usable = !is_over || (stored.can_refresh && !is_lost);
    SocialTokensView {
        provider: provider.to_owned(),
        state: if is_usable { SocialState::Usable } else { SocialState::LoginNeeded },
        scope: stored.scope,
        expires_at: stored.expires_at,
        can_refresh: stored.can_refresh,
        stored_at: stored.stored_at,
        refreshed_at: stored.refreshed_at,
    }
}
