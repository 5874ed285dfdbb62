//! Logging in with name and password.
//!
//! Whoever tries learns one of three things: in, not in, or later. Not in is the same answer after
//! the same work whether there is no such user, the user is disabled or has no password, or the
//! password is wrong; a hash is computed each time.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::guard::{Wait, Who};
use super::pool::HashPermit;
use super::report::{Outcome, Told};
use super::{
    AccountError, Accounts, HashError, Password, PasswordHash, PasswordProblem, User, UserName,
    UserState,
};
use crate::store::records::StoredUser;
use crate::store::records::users;
use crate::store::{StoreError, Transaction};

/// Longest text that is looked at as a name: a longer one is no user's.
const MAX_NAME_BYTES: usize = 1024;
/// After how many seconds to come again when too much is being hashed.
const BUSY_SECONDS: u64 = 2;

/// An attempt to log in.
#[derive(Clone, Debug)]
pub struct LoginAttempt {
    /// The name as it was typed.
    pub name: String,
    /// The password.
    pub password: Password,
    /// Where it comes from, if that is known.
    pub address: Option<IpAddr>,
}

/// A change of the password by its user.
#[derive(Clone, Debug)]
pub struct ChangePassword {
    /// Name and old password.
    pub attempt: LoginAttempt,
    /// The new one.
    pub new: Password,
}

/// Why nobody was logged in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The name or the password is wrong, or the user may not log in: which of these is not told.
    #[error("the name or the password is wrong")]
    WrongCredentials,
    /// Too many failures.
    #[error("too many failed logins; try again in {retry_after_seconds} s")]
    Throttled {
        /// For `Retry-After`, with 429.
        retry_after_seconds: u64,
    },
    /// Too many logins at once.
    #[error("too many logins at once; try again in {retry_after_seconds} s")]
    Busy {
        /// For `Retry-After`, with 503.
        retry_after_seconds: u64,
    },
    /// The new password will not do: everything that is wrong with it. Only after the old one was
    /// right.
    #[error("{}", super::words(.0))]
    NewPassword(Vec<PasswordProblem>),
    /// Something failed inside.
    #[error(transparent)]
    Failed(Box<AccountError>),
}

impl From<AccountError> for LoginError {
    fn from(error: AccountError) -> Self {
        if let AccountError::Password(problems) = error {
            return Self::NewPassword(problems);
        }
        // Busy too: so many at once count for one name that none of them gets its turn.
        let busy =
            matches!(error, AccountError::Busy(_) | AccountError::Store(StoreError::Changed));
        if busy {
            return Self::Busy { retry_after_seconds: BUSY_SECONDS };
        }
        Self::Failed(Box::new(error))
    }
}

impl From<StoreError> for LoginError {
    fn from(error: StoreError) -> Self {
        AccountError::Store(error).into()
    }
}

impl From<HashError> for LoginError {
    fn from(error: HashError) -> Self {
        AccountError::Hash(error).into()
    }
}

/// What an attempt is compared with.
struct Candidate {
    /// The user of the name, whether or not they may log in.
    user: Option<StoredUser>,
    hash: Arc<PasswordHash>,
    /// Why it cannot succeed, whatever the password is.
    hopeless: Option<Outcome>,
}

impl Accounts {
    /// Logs a user in. The answer is in the audit log when it returns.
    ///
    /// # Errors
    ///
    /// [`LoginError`]: the credentials are wrong, it is not the time, or something failed.
    pub async fn login(&self, attempt: LoginAttempt) -> Result<User, LoginError> {
        let user = self.authenticate(&attempt).await?;
        self.wait_for_tokens(&user).await;
        Ok(User::of(user))
    }

    /// Changes the password of the user who knows the old one, and ends what was issued. It counts
    /// as a login: the old password could be guessed here as well.
    ///
    /// # Errors
    ///
    /// [`LoginError`] as of [`Self::login`], or the new password will not do.
    pub async fn change_password(&self, asked: ChangePassword) -> Result<User, LoginError> {
        let before = self.authenticate(&asked.attempt).await?;
        // The attack: somebody else knows the password. Who is told to change it and gives the same
        // one has done nothing about that, and believes that it is done.
        if asked.new.expose() == asked.attempt.password.expose() {
            return Err(LoginError::NewPassword(vec![PasswordProblem::Unchanged]));
        }
        let changed = self.replace_password(&before, asked.new).await?;
        // Somebody else changed it meanwhile: the old one is wrong by now.
        changed.ok_or(LoginError::WrongCredentials)
    }

    async fn authenticate(&self, attempt: &LoginAttempt) -> Result<StoredUser, LoginError> {
        if !attempt.password.is_possible() || attempt.name.len() > MAX_NAME_BYTES {
            self.metrics.accounts.login("malformed");
            return Err(LoginError::WrongCredentials);
        }
        let name = UserName::parse(&attempt.name).ok();
        // What is no name counts as it stands.
        let compared = name.as_ref().map_or(attempt.name.as_str(), UserName::folded);
        let who = self.guard.who(compared, attempt.address);
        let told = Told { name: compared, address: attempt.address };
        // A first look, so that who must wait takes no place in the queue.
        if let Err(wait) = self.guard.look(&*self.store, &who, self.clock.now()).await? {
            return Err(self.throttled(&told, &who, wait).await?);
        }
        let candidate = self.candidate(name.as_ref()).await?;
        let permit = self.permit(&candidate.hash).await?;
        let reserved = match self.guard.reserve(&*self.store, &who, self.clock.now()).await? {
            Ok(reserved) => reserved,
            Err(wait) => return Err(self.throttled(&told, &who, wait).await?),
        };
        let (hash, password) = (Arc::clone(&candidate.hash), attempt.password.clone());
        let right = permit.run(move || hash.verify(password.expose().as_bytes())).await??;
        self.metrics.accounts.hashed("verify", candidate.hash.kind());
        let (user, outcome) = self.judged(candidate.user, candidate.hopeless, right).await?;
        if let Some(user) = user.as_ref().filter(|_| outcome == Outcome::Success) {
            let cleared = self.guard.succeeded(&*self.store, &reserved, self.clock.now()).await;
            if let Err(error) = cleared {
                // The attempt goes on counting as a failure, which does little harm.
                tracing::warn!(%error, "a login could not be taken back from the failures");
            }
            self.improve(user, &candidate.hash, &attempt.password, &permit).await;
        }
        self.record_login(&told, user.as_ref(), outcome).await;
        user.filter(|_| outcome == Outcome::Success).ok_or(LoginError::WrongCredentials)
    }

    /// The user of a name and the hash to compare with. For whoever cannot log in it is a hash that
    /// nothing matches, which costs what a new one costs.
    async fn candidate(&self, name: Option<&UserName>) -> Result<Candidate, LoginError> {
        let found = match name {
            Some(name) => users::by_name(&*self.store, name.folded()).await?,
            None => None,
        };
        let hopeless = |user, outcome| Candidate {
            user,
            hash: Arc::clone(&self.dummy),
            hopeless: Some(outcome),
        };
        let Some(user) = found.map(|found| found.user) else {
            return Ok(hopeless(None, Outcome::UserUnknown));
        };
        match self.hash_of(&user)? {
            None => Ok(hopeless(Some(user), Outcome::PasswordMissing)),
            Some(hash) => {
                let disabled = user.state == UserState::Disabled;
                let hopeless = disabled.then_some(Outcome::UserDisabled);
                Ok(Candidate { user: Some(user), hash: Arc::new(hash), hopeless })
            }
        }
    }

    async fn permit(&self, hash: &PasswordHash) -> Result<Arc<HashPermit>, LoginError> {
        // For the new hash too, if there will be one.
        let kib = hash.memory_kib().max(self.parameters.memory_kib());
        self.pool.enter(kib).await.map_err(|busy| {
            self.metrics.accounts.login("busy");
            AccountError::Busy(busy).into()
        })
    }

    /// What came of it; the user as they are now.
    pub(super) async fn judged(
        &self,
        user: Option<StoredUser>,
        hopeless: Option<Outcome>,
        right: bool,
    ) -> Result<(Option<StoredUser>, Outcome), LoginError> {
        let Some(user) = user else { return Ok((None, Outcome::UserUnknown)) };
        if let Some(outcome) = hopeless {
            return Ok((Some(user), outcome));
        }
        if !right {
            return Ok((Some(user), Outcome::PasswordWrong));
        }
        // The attack: the user changes a password that was stolen, and while a login with the old
        // one is still being hashed, which takes long, everything that was issued is ended. What is
        // issued after that must not be issued.
        let now = users::get(&*self.store, &user.id).await?.map(|found| found.user);
        let Some(now) = now else { return Ok((Some(user), Outcome::UserUnknown)) };
        let outcome = match now.state {
            UserState::Disabled => Outcome::UserDisabled,
            UserState::Active if !now.has_same_password(&user) => Outcome::PasswordWrong,
            UserState::Active => Outcome::Success,
        };
        Ok((Some(now), outcome))
    }

    /// Hashes the password anew if that is better than how it is hashed. Nothing depends on it.
    async fn improve(
        &self,
        user: &StoredUser,
        hash: &PasswordHash,
        password: &Password,
        permit: &Arc<HashPermit>,
    ) {
        if !self.parameters.are_better_than(hash, password.expose().len()) {
            return;
        }
        if let Err(error) = self.hash_anew(user, password.clone(), permit).await {
            tracing::warn!(%error, id = %user.id, "a password could not be hashed anew");
        }
    }

    async fn hash_anew(
        &self,
        user: &StoredUser,
        password: Password,
        permit: &Arc<HashPermit>,
    ) -> Result<(), AccountError> {
        let (parameters, random) = (self.parameters, self.random);
        let made = permit.run(move || parameters.make(password.expose().as_bytes(), random));
        let hash = made.await??;
        self.metrics.accounts.hashed("improve", hash.kind());
        let sealed = self.seal(&user.id, &hash)?;
        let Some(found) = users::get(&*self.store, &user.id).await? else { return Ok(()) };
        let mut after = found.user.clone();
        match &mut after.password {
            Some(stands) if found.user.has_same_password(user) => stands.sealed = sealed,
            Some(_) | None => return Ok(()),
        }
        match self.store.commit(users::replace_in(Transaction::new(), &found, &after)?).await {
            // Changed by somebody meanwhile: the next login tries again.
            Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// What the answer to somebody is who must wait.
    async fn throttled(
        &self,
        told: &Told<'_>,
        who: &Who,
        wait: Wait,
    ) -> Result<LoginError, LoginError> {
        self.metrics.accounts.login("throttled");
        if self.guard.tell(&*self.store, who, wait).await? {
            let user = users::by_name(&*self.store, told.name).await?.map(|found| found.user);
            self.record_throttled(told, user.as_ref(), wait).await;
        }
        Ok(LoginError::Throttled { retry_after_seconds: wait.seconds })
    }

    /// Waits until tokens are accepted again, for the rest of a second at most: everything that was
    /// issued in the second of a log-out is ended, also what comes after it.
    async fn wait_for_tokens(&self, user: &StoredUser) {
        let from = user.tokens_not_before.saturating_mul(1000);
        let left = from.saturating_sub(self.clock.now_milliseconds()).min(1000);
        if left > 0 {
            tokio::time::sleep(Duration::from_millis(left)).await;
        }
    }
}
