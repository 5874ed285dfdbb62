//! Refreshes the tokens of a user at a provider, once.

use std::time::Duration;

use super::provider::Next;
use super::{ClearToken, FetchError, Inner, ProviderProblem, SocialVault, Tokens};
use crate::store::records::families::Standing;
use crate::store::records::social_tokens::{
    self as records, LostCause, RefreshLease, StoredSocialTokens,
};
use crate::store::{StoreError, Table, Transaction};
use crate::usage::TokenEvent;

/// How long a lease stands, in milliseconds: longer than a provider may take to answer, and than it
/// takes to write the answer down.
const LEASE_MILLISECONDS: u64 = 30_000;
/// How long a provider that has failed is not asked again for the same user, in milliseconds.
const PAUSE_MILLISECONDS: u64 = 2000;
/// How often the answer is tried to be written down: it is the only copy.
const WRITE_TRIES: u32 = 40;
/// Pause between two tries: all together shorter than a lease.
const WRITE_PAUSE: Duration = Duration::from_millis(250);

/// What whoever asks does next.
pub(super) enum Step {
    /// Something has changed.
    LookAgain,
    /// Somebody else asks the provider.
    Wait,
}

/// What can be done about tokens that must be refreshed.
#[derive(Debug, Eq, PartialEq)]
enum Plan {
    /// Nothing without the user.
    LoginNeeded,
    /// Nothing for now: the provider has just failed.
    Pause,
    /// Somebody else does it.
    Wait,
    /// The answer that somebody else waited for will not come, and the token may have been taken.
    GiveUp,
    /// Ask the provider.
    Ask,
}

fn plan(stored: &StoredSocialTokens, rotates: bool, now_milliseconds: u64) -> Plan {
    if !stored.can_refresh || stored.lost.is_some() {
        return Plan::LoginNeeded;
    }
    if stored.pause_until_milliseconds.is_some_and(|until| now_milliseconds < until) {
        return Plan::Pause;
    }
    match &stored.lease {
        Some(lease) if now_milliseconds < lease.until_milliseconds => Plan::Wait,
        // The sidecar that asked has died. A provider that takes a refresh token once would take a
        // second use of it for a theft, and end all that the user has there.
        Some(_) if rotates => Plan::GiveUp,
        Some(_) | None => Plan::Ask,
    }
}

impl SocialVault {
    /// One step towards tokens that can be handed out.
    pub(super) async fn step(
        &self,
        provider: &str,
        key: &str,
        standing: Standing<StoredSocialTokens>,
    ) -> Result<Step, FetchError> {
        let vault = &self.0;
        let known = vault.providers.get(provider).ok_or(FetchError::NotPermitted)?;
        let rotates = known.settings.rotates_refresh_tokens;
        match plan(&standing.value, rotates, vault.clock.now_milliseconds()) {
            Plan::LoginNeeded => Err(FetchError::LoginNeeded),
            Plan::Pause => Err(FetchError::Unavailable("it has just failed")),
            Plan::Wait => Ok(Step::Wait),
            Plan::GiveUp => {
                // The lease stays: should the sidecar that asked be slow and not dead, it finds that
                // the answer that it has is still wanted.
                let lost = Some(LostCause::AnswerLost);
                let given_up = StoredSocialTokens { lost, ..standing.value };
                vault.replace(key, &standing.bytes, &given_up).await?;
                Ok(Step::LookAgain)
            }
            Plan::Ask => self.take_lease_and_ask(provider, key, standing).await,
        }
    }

    async fn take_lease_and_ask(
        &self,
        provider: &str,
        key: &str,
        standing: Standing<StoredSocialTokens>,
    ) -> Result<Step, FetchError> {
        let vault = &self.0;
        let until = vault.clock.now_milliseconds().saturating_add(LEASE_MILLISECONDS);
        let holder = vault.random.text::<16>()?;
        let leased = StoredSocialTokens {
            lease: Some(RefreshLease { holder, until_milliseconds: until }),
            pause_until_milliseconds: None,
            ..standing.value
        };
        let Some(bytes) = vault.replace(key, &standing.bytes, &leased).await? else {
            return Ok(Step::LookAgain);
        };
        let (vault, provider, key) = (self.clone(), provider.to_owned(), key.to_owned());
        let leased = Standing { value: leased, bytes };
        // On its own: whoever asked may hang up, and what the provider answers must be kept.
        let task = tokio::spawn(async move { vault.0.ask(&provider, &key, leased).await });
        match task.await {
            Ok(done) => done.map(|()| Step::LookAgain),
            Err(_) => Err(FetchError::Unavailable("the sidecar stops")),
        }
    }
}

impl Inner {
    /// Asks the provider and writes down what it says.
    async fn ask(
        &self,
        provider: &str,
        key: &str,
        leased: Standing<StoredSocialTokens>,
    ) -> Result<(), FetchError> {
        let provider = self.providers.get(provider).ok_or(FetchError::NotPermitted)?;
        let tokens = self.open(key, &leased.value.sealed).ok_or(FetchError::Seal)?;
        let refresh_token = tokens.refresh_token.ok_or(FetchError::LoginNeeded)?;
        let answer = provider.refresh(&refresh_token).await;
        let is_refreshed = answer.is_ok();
        let stored = match answer {
            Ok(next) => self.refreshed(key, &leased.value, next, refresh_token)?,
            Err(problem) => {
                tracing::warn!(%problem, "the tokens of a user at a provider cannot be refreshed");
                self.failed(&leased.value, &problem, provider.settings.rotates_refresh_tokens)
            }
        };
        self.write(key, leased, &stored).await?;
        if is_refreshed {
            self.count(records::user_of(key), TokenEvent::Refreshed);
        }
        Ok(())
    }

    /// The tokens after a provider has given no others.
    fn failed(
        &self,
        leased: &StoredSocialTokens,
        problem: &ProviderProblem,
        rotates: bool,
    ) -> StoredSocialTokens {
        let pause_until = self.clock.now_milliseconds().saturating_add(PAUSE_MILLISECONDS);
        let lost = match problem {
            ProviderProblem::Refused => Some(LostCause::Refused),
            ProviderProblem::Unknown(_) if rotates => Some(LostCause::AnswerLost),
            ProviderProblem::Unknown(_) | ProviderProblem::NotDone(_) => None,
        };
        let pause_until_milliseconds = lost.is_none().then_some(pause_until);
        StoredSocialTokens { lease: None, lost, pause_until_milliseconds, ..leased.clone() }
    }

    fn refreshed(
        &self,
        key: &str,
        before: &StoredSocialTokens,
        next: Next,
        used: ClearToken,
    ) -> Result<StoredSocialTokens, FetchError> {
        let now = self.clock.now();
        // A provider that gives no new refresh token means that the old one goes on (RFC 6749 §6).
        let refresh_token = Some(next.refresh_token.unwrap_or(used));
        let tokens = Tokens { access_token: next.access_token, refresh_token };
        Ok(StoredSocialTokens {
            sealed: self.seal(key, &tokens).ok_or(FetchError::Seal)?,
            expires_at: next.expires_in.map(|seconds| now.plus(seconds).0),
            scope: next.scope.or_else(|| before.scope.clone()),
            refreshed_at: Some(now.0),
            lease: None,
            pause_until_milliseconds: None,
            ..before.clone()
        })
    }

    /// Writes down what the provider said, unless other tokens were stored meanwhile: those are newer.
    /// A store that is away for a moment must not cost the only copy of a token.
    async fn write(
        &self,
        key: &str,
        mut leased: Standing<StoredSocialTokens>,
        after: &StoredSocialTokens,
    ) -> Result<(), FetchError> {
        let mut tried = 0_u32;
        loop {
            tried = tried.saturating_add(1);
            let written = match self.replace(key, &leased.bytes, after).await {
                Ok(Some(_)) => return Ok(()),
                // It may have been sealed anew, or given up, under the same lease.
                Ok(None) => match records::get(&*self.store, key).await {
                    Ok(Some(standing)) if standing.value.lease == leased.value.lease => {
                        leased = standing;
                        continue;
                    }
                    Ok(_) => return Ok(()),
                    Err(error) => error,
                },
                // Nobody knows whether it was written; if it was, something else stands there now.
                Err(error) => error,
            };
            if tried >= WRITE_TRIES {
                tracing::error!(error = %written, "refreshed tokens of a user are lost");
                return Err(written.into());
            }
            tracing::warn!(error = %written, "refreshed tokens cannot be stored yet");
            tokio::time::sleep(WRITE_PAUSE).await;
        }
    }

    /// Puts `after` in the place of `before`; its bytes, or `None` if there is something else.
    async fn replace(
        &self,
        key: &str,
        before: &[u8],
        after: &StoredSocialTokens,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let bytes = serde_json::to_vec(after).map_err(|error| StoreError::Failed(error.into()))?;
        let transaction = Transaction::new().same(Table::SocialTokens, key, before).put(
            Table::SocialTokens,
            key,
            bytes.clone(),
        );
        match self.store.commit(transaction).await {
            Ok(_) => Ok(Some(bytes)),
            Err(StoreError::Conflict { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
