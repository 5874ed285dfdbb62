//! The use of a refresh token.

use std::future::Future;

use zeroize::Zeroizing;

use super::decide::{Decision, Moment, Presented, decide};
use super::token::GenuineToken;
use super::{EndedFamily, Families, Family, RefreshToken, Refusal, TRIES, answer};
use crate::random::RandomError;
use crate::store::records::StoredFamily;
use crate::store::records::families::{self as records, Confirmation, Standing, UsedToken};
use crate::store::{StoreError, Table, Transaction};

/// Who presents a token: a client that was authenticated as clients of its kind are, and a key that
/// it has shown to have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Presenter {
    /// The client.
    pub client_id: String,
    /// The key that the new access token is to be bound to: of a `DPoP` proof that was verified, or of
    /// a certificate.
    pub shown: Option<Confirmation>,
}

/// What is granted: an answer is to be made of it.
#[derive(Debug)]
pub struct Grant {
    /// The family, as it was before this use.
    pub family: Family,
    /// The next refresh token, for the answer and for nothing else.
    pub refresh_token: RefreshToken,
    /// In how many seconds that token ends if nobody uses it.
    pub expires_in: u64,
}

/// A token was taken.
#[derive(Debug)]
pub struct Refreshed {
    /// The answer: what was made of the [`Grant`], or what was made of it the first time.
    pub answer: Zeroizing<String>,
    /// Whether the answer was given before.
    pub repeated: bool,
    /// The family.
    pub family: Family,
}

/// Why a token was not taken.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError<E> {
    /// It is not accepted: `invalid_grant`.
    #[error(transparent)]
    Refused(Refusal),
    /// Its family has ended because of it: `invalid_grant`, and [`Families::report`] is due.
    #[error("the login has ended: {}", .0.cause.word())]
    Ended(Box<EndedFamily>),
    /// No answer could be made: the family is as it was.
    #[error("no answer was made")]
    Mint(E),
    /// The store failed, or does not come to rest. The client may ask again at once: whatever became
    /// of the change, the grace covers it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The answer that is due cannot be sealed or opened: a store key is missing.
    #[error("the last answer cannot be sealed or opened")]
    Seal,
    /// The operating system gives no randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl Families {
    /// Uses a token: the next one takes its place, or it is answered as before. `mint` makes the
    /// answer; it is called again when somebody else was faster, and what it made before is then
    /// given to nobody. It must not change anything.
    ///
    /// # Errors
    ///
    /// [`RefreshError`] when the token is not accepted, or something fails.
    pub async fn refresh<E, F, Minted>(
        &self,
        token: &str,
        presenter: &Presenter,
        mint: F,
    ) -> Result<Refreshed, RefreshError<E>>
    where
        F: Fn(Grant) -> Minted,
        Minted: Future<Output = Result<Zeroizing<String>, E>>,
    {
        let result = match self.key.read(token) {
            Some(token) => self.use_token(&token, presenter, mint).await,
            None => Err(self.refused(Refusal::NotGenuine, presenter, None)),
        };
        match &result {
            Ok(Refreshed { repeated: true, .. }) => {
                self.metrics.families.repeated.inc();
            }
            Ok(refreshed) => {
                self.metrics.families.refreshed.inc();
                self.count_refreshed(&refreshed.family.stored);
            }
            Err(_) => {}
        }
        result
    }

    async fn use_token<E, F, Minted>(
        &self,
        token: &GenuineToken,
        presenter: &Presenter,
        mint: F,
    ) -> Result<Refreshed, RefreshError<E>>
    where
        F: Fn(Grant) -> Minted,
        Minted: Future<Output = Result<Zeroizing<String>, E>>,
    {
        for _ in 0..TRIES {
            let Some(standing) = records::get(&*self.store, &token.family).await? else {
                return Err(self.refused(Refusal::Ended, presenter, None));
            };
            let around = self.around_family(&token.family, &standing.value).await?;
            if around.covers(standing.value.begun_at) {
                return Err(self.refused(Refusal::Revoked, presenter, Some(&standing.value)));
            }
            let family = || Family { id: token.family.clone(), stored: standing.value.clone() };
            match self.judge(&standing.value, token, presenter) {
                Decision::Refuse(refusal) => {
                    return Err(self.refused(refusal, presenter, Some(&standing.value)));
                }
                Decision::Repeat => {
                    let answer = self.last_answer(&standing.value, token);
                    let answer = answer.ok_or(RefreshError::Seal)?;
                    return Ok(Refreshed { answer, repeated: true, family: family() });
                }
                Decision::End(cause) => {
                    if let Some(ended) = self.try_end(&standing, &token.family, cause, None).await?
                    {
                        return Err(RefreshError::Ended(Box::new(ended)));
                    }
                }
                Decision::Rotate => {
                    let next = self.next(&standing.value, token)?;
                    let grant = Grant {
                        family: family(),
                        refresh_token: next.text(),
                        expires_in: self.expires_in(&standing.value),
                    };
                    let answer = mint(grant).await.map_err(RefreshError::Mint)?;
                    let stored = self.rotated(&standing.value, token, presenter, &next, &answer);
                    let stored = stored.ok_or(RefreshError::Seal)?;
                    if self.replaced(standing, token, &stored, around).await? {
                        let family = Family { id: token.family.clone(), stored };
                        return Ok(Refreshed { answer, repeated: false, family });
                    }
                }
            }
            // Somebody was faster: what they did decides now.
        }
        Err(StoreError::Changed.into())
    }

    fn judge(
        &self,
        family: &StoredFamily,
        token: &GenuineToken,
        presenter: &Presenter,
    ) -> Decision {
        let shown = Presented {
            generation: token.generation,
            digest: &token.digest,
            client_id: &presenter.client_id,
            shown: presenter.shown.as_ref(),
        };
        let moment = Moment {
            now_milliseconds: self.clock.now_milliseconds(),
            grace_milliseconds: self.settings.grace_seconds.0.saturating_mul(1000),
        };
        decide(family, shown, moment)
    }

    fn last_answer(
        &self,
        family: &StoredFamily,
        token: &GenuineToken,
    ) -> Option<Zeroizing<String>> {
        answer::open(&self.store_keys, token, family.answer.as_ref()?)
    }

    fn next(
        &self,
        family: &StoredFamily,
        token: &GenuineToken,
    ) -> Result<GenuineToken, RandomError> {
        // The decision has seen that there is a number left.
        let number = family.generation.saturating_add(1);
        self.key.make(&token.family_id, number, self.random)
    }

    /// How long the next token lives unused, in seconds.
    fn expires_in(&self, family: &StoredFamily) -> u64 {
        let left = family.ends_at.saturating_sub(self.clock.now().0);
        left.min(family.idle_seconds)
    }

    /// The family after a use.
    fn rotated(
        &self,
        family: &StoredFamily,
        used: &GenuineToken,
        presenter: &Presenter,
        next: &GenuineToken,
        answer: &str,
    ) -> Option<StoredFamily> {
        let now = self.clock.now();
        let sealed = answer::seal(&self.store_keys, used, answer, now, self.random)?;
        Some(StoredFamily {
            used_at: now.0.max(family.used_at),
            generation: next.generation,
            digest: next.digest.clone(),
            previous: Some(UsedToken {
                digest: used.digest.clone(),
                used_at_milliseconds: self.clock.now_milliseconds(),
                shown: presenter.shown.clone(),
            }),
            answer: Some(sealed),
            ..family.clone()
        })
    }

    /// Puts the family after a use in the place of the one before; whether nobody was faster.
    async fn replaced(
        &self,
        before: Standing<StoredFamily>,
        token: &GenuineToken,
        after: &StoredFamily,
        around: super::revoked::Around,
    ) -> Result<bool, StoreError> {
        let id = &token.family;
        let transaction = Transaction::new().same(Table::Families, id, before.bytes);
        let transaction = records::put(around.unchanged(transaction), id, after)?;
        match self.store.commit(transaction).await {
            Ok(_) => Ok(true),
            Err(StoreError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
