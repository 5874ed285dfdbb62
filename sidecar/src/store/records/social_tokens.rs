//! The tokens that users have at providers, by user and provider.

use serde::{Deserialize, Serialize};

use super::families::Standing;
use crate::seal::Sealed;
use crate::store::{Store, StoreError, Table, Transaction, from_json};

/// The tokens of a user at a provider, at rest.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StoredSocialTokens {
    /// Access token and refresh token, sealed.
    pub sealed: Sealed,
    /// When the access token ends, in seconds since the epoch; unknown if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// What was granted, as the provider says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Whether there is a refresh token.
    pub can_refresh: bool,
    /// When the user last gave consent and the tokens were stored, in seconds since the epoch.
    pub stored_at: u64,
    /// When they were last refreshed, in seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refreshed_at: Option<u64>,
    /// Who refreshes them now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<RefreshLease>,
    /// Why they cannot be refreshed any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<LostCause>,
    /// Until when the provider is not asked again after a failure, in milliseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_until_milliseconds: Option<u64>,
}

/// One sidecar asks the provider; the others wait. It is written before the provider is asked, so
/// what it says of the refresh token is 'may have been taken'.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RefreshLease {
    /// A random name of the one that asks.
    pub holder: String,
    /// When the others need not wait any more, in milliseconds since the epoch.
    pub until_milliseconds: u64,
}

/// Why tokens cannot be refreshed any more: the user must log in at the provider again.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LostCause {
    /// The provider refuses the refresh token: it is over, used, or was taken back.
    Refused,
    /// The provider may have taken the refresh token, and its answer was lost.
    AnswerLost,
}

/// The key of the tokens of a user at a provider. Names of providers have no slash.
pub fn key(user: &str, provider: &str) -> String {
    format!("{user}/{provider}")
}

/// The user of a key.
pub fn user_of(key: &str) -> &str {
    key.rsplit_once('/').map_or(key, |(user, _)| user)
}

/// Adds to a transaction that the tokens of a user at these providers are forgotten: of one that is
/// deleted.
pub fn forget_all(transaction: Transaction, user: &str, providers: &[String]) -> Transaction {
    let keys = providers.iter().map(|provider| key(user, provider));
    keys.fold(transaction, |transaction, key| transaction.delete(Table::SocialTokens, key))
}

/// The tokens of a user at a provider.
///
/// # Errors
///
/// [`StoreError`] when the store fails.
pub async fn get(
    store: &dyn Store,
    key: &str,
) -> Result<Option<Standing<StoredSocialTokens>>, StoreError> {
    let found = store.get(Table::SocialTokens, key).await?;
    found.map(|bytes| Ok(Standing { value: from_json(&bytes)?, bytes })).transpose()
}
