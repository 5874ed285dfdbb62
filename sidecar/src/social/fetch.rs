//! Hands out the access token of a user at a provider.

use std::time::Duration;

use wardgate_core::time::UnixSeconds;

use super::refresh::Step;
use super::{ClearToken, Inner, SocialVault, Tokens};
use crate::random::RandomError;
use crate::store::StoreError;
use crate::store::records::social_tokens::{self as records, StoredSocialTokens};

/// An access token that ends sooner than this is refreshed, in seconds: whoever gets it has the time
/// to use it.
const MARGIN_SECONDS: u64 = 60;
/// How long whoever finds that others are asking waits for them.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// Pause between two looks at what they have got.
const PAUSE: Duration = Duration::from_millis(50);

/// An access token of a user at a provider.
#[derive(Debug)]
pub struct SocialToken {
    /// The token, in clear: goes to whoever asked and nowhere else.
    pub access_token: ClearToken,
    /// When it ends; unknown if missing.
    pub expires_at: Option<UnixSeconds>,
    /// What was granted.
    pub scope: Option<String>,
}

/// Why no token is handed out.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The configuration does not let this client have tokens of this provider, or has no such
    /// provider: whoever may not have them is not told which there are.
    #[error("this client may not have tokens of this provider")]
    NotPermitted,
    /// The user has no tokens there.
    #[error("the user has no tokens at this provider")]
    Unknown,
    /// The tokens are over, and there are no others to be had without the user.
    #[error("the user must log in at the provider again")]
    LoginNeeded,
    /// The provider does not answer, or not in time. It may later.
    #[error("the provider gives no token now: {0}")]
    Unavailable(&'static str),
    /// The event could not be written to the audit log, so nothing was handed out.
    #[error("the audit log cannot be written")]
    NotAudited,
    /// The tokens cannot be sealed or opened: a store key is missing.
    #[error("the tokens cannot be sealed or opened")]
    Seal,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The operating system gives no randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl SocialVault {
    /// Whether a client may have tokens of a provider.
    pub fn permits(&self, provider: &str, client_id: &str) -> bool {
        let provider = self.0.providers.get(provider);
        provider.is_some_and(|it| it.settings.clients.iter().any(|client| client == client_id))
    }

    /// The access token of a user at a provider, for a client that was authenticated. It is refreshed
    /// if it is about to end; who asks meanwhile waits for that. Use [`super::hand_out`], which writes
    /// it down.
    ///
    /// # Errors
    ///
    /// [`FetchError`] when it may not be handed out, or there is none.
    pub(super) async fn fetch(
        &self,
        user: &str,
        provider: &str,
        client_id: &str,
    ) -> Result<SocialToken, FetchError> {
        if !self.permits(provider, client_id) {
            return Err(FetchError::NotPermitted);
        }
        let key = records::key(user, provider);
        let deadline = tokio::time::Instant::now().checked_add(LONGEST_WAIT);
        let deadline = deadline.ok_or(FetchError::Unknown)?;
        loop {
            let standing = records::get(&*self.0.store, &key).await?;
            let standing = standing.ok_or(FetchError::Unknown)?;
            if let Some(token) = self.0.fresh(&key, &standing.value)? {
                return Ok(token);
            }
            match self.step(provider, &key, standing).await? {
                Step::LookAgain => {}
                Step::Wait => {
                    if tokio::time::Instant::now() >= deadline {
                        return Err(FetchError::Unavailable("others have been asking it for long"));
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

impl Inner {
    /// The token, if it is handed out as it stands.
    fn fresh(
        &self,
        key: &str,
        stored: &StoredSocialTokens,
    ) -> Result<Option<SocialToken>, FetchError> {
        let now = self.clock.now();
        let lives_for =
            |seconds: u64| stored.expires_at.is_none_or(|end| end > now.plus(seconds).0);
        // Where no other is to be had, or not now, the one that still lives is better than none.
        let waits = stored.pause_until_milliseconds;
        let is_paused = waits.is_some_and(|until| self.clock.now_milliseconds() < until);
        let is_last = !stored.can_refresh || stored.lost.is_some() || is_paused;
        if !lives_for(if is_last { 0 } else { MARGIN_SECONDS }) {
            return Ok(None);
        }
        let Tokens { access_token, .. } = self.open(key, &stored.sealed).ok_or(FetchError::Seal)?;
        let expires_at = stored.expires_at.map(UnixSeconds);
        Ok(Some(SocialToken { access_token, expires_at, scope: stored.scope.clone() }))
    }
}

impl FetchError {
    /// The word for the audit log and for clients.
    pub fn word(&self) -> &'static str {
        match self {
            Self::NotPermitted => "not-permitted",
            Self::Unknown => "unknown",
            Self::LoginNeeded => "login-needed",
            Self::Unavailable(_) => "unavailable",
            Self::NotAudited | Self::Seal | Self::Store(_) | Self::Random(_) => "internal-error",
        }
    }
}
