//! Users: who they are, their passwords, and how they log in.

mod change;
mod check;
mod create;
mod guard;
mod hash;
mod import;
mod leaked;
mod list;
mod login;
mod name;
mod open;
mod password;
mod pool;
mod report;
mod settings;
mod strength;
mod user;

use std::sync::Arc;

use zeroize::Zeroizing;

pub use change::UpdateUser;
pub use create::CreateUser;
pub use guard::LoginLimits;
pub use hash::{HashError, HashParameters, MakeHashError, ParseHashError, PasswordHash};
pub use import::{ImportUser, ImportUsers, ImportedUsers, MAX_IMPORT_BATCH, UserImportProblem};
pub use leaked::{LeakedError, LeakedPasswords};
pub use list::{UserFilter, UserList};
pub use login::{ChangePassword, LoginAttempt, LoginError};
pub use name::{NameProblem, UserName};
pub use open::{AccountGround, OpenAccountsError};
pub use password::{MAX_PASSWORD_BYTES, Password};
pub use pool::Busy;
pub use settings::{AccountSettings, AccountSettingsError};
pub use strength::{PasswordProblem, PasswordRules};
pub use user::{PasswordView, User};

pub use crate::store::records::users::UserState;

use self::guard::LoginGuard;
use self::pool::HashPool;
use crate::audit::AuditSink;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::random::{Random, RandomError};
use crate::seal::{Sealed, StoreKeys, UnsealError};
use crate::store::records::StoredUser;
use crate::store::records::users::{self, FoundUser};
use crate::store::{Store, StoreError};

/// How often a change is tried again that somebody else's change got in the way of.
const MAX_TRIES: usize = 16;

/// The users of a store.
pub struct Accounts {
    store: Arc<dyn Store>,
    store_keys: StoreKeys,
    issuer: String,
    clock: Clock,
    random: Random,
    metrics: Arc<Metrics>,
    /// Nothing where no sidecar runs: a command that opens the store itself.
    audit: Option<Arc<AuditSink>>,
    pool: HashPool,
    parameters: HashParameters,
    rules: Arc<PasswordRules>,
    guard: LoginGuard,
    /// How long a revocation stands, in seconds.
    keep_seconds: u64,
    /// The providers at which users have tokens, which go with the user.
    social_providers: Vec<String>,
    /// What is verified for a user that does not exist.
    dummy: Arc<PasswordHash>,
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// Something of what was asked is wrong: everything that is.
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
    /// The new password will not do: everything that is wrong with it.
    #[error("{}", words(.0))]
    Password(Vec<PasswordProblem>),
    /// There is no user of this name or id.
    #[error("there is no user of this name or id")]
    Unknown,
    /// Another user has the name, or it is the id of one.
    #[error("another user has this name, or this name is the id of another user")]
    NameTaken,
    /// A user or a client has the id, or it is the name of a user.
    #[error("a user or a client has this id, or this id is the name of another user")]
    IdTaken,
    /// Too much is being hashed.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The list of leaked passwords cannot be read.
    #[error(transparent)]
    Leaked(#[from] LeakedError),
    /// A hash could not be computed.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The hash cannot be sealed.
    #[error("the hash of a password cannot be sealed")]
    Seal,
    /// A hash in the store does not open.
    #[error("the hash of a password: {0}")]
    Unseal(#[from] UnsealError),
    /// A hash in the store is none.
    #[error("the hash of a password in the store cannot be read: {0}")]
    StoredHash(#[from] ParseHashError),
    /// The store failed or refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The operating system gives no randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl From<MakeHashError> for AccountError {
    fn from(error: MakeHashError) -> Self {
        match error {
            MakeHashError::Hash(error) => Self::Hash(error),
            MakeHashError::Random(error) => Self::Random(error),
        }
    }
}

/// All problems of a password, in words.
pub(crate) fn words(problems: &[PasswordProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Accounts {
    /// The user with this id.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn user(&self, id: &str) -> Result<Option<User>, StoreError> {
        Ok(users::get(&*self.store, id).await?.map(|found| User::of(found.user)))
    }

    /// The user with this id, or of this name.
    ///
    /// # Errors
    ///
    /// [`AccountError::Unknown`], or the store fails.
    pub async fn show(&self, name_or_id: &str) -> Result<User, AccountError> {
        self.find(name_or_id).await.map(|found| User::of(found.user))
    }

    async fn find(&self, name_or_id: &str) -> Result<FoundUser, AccountError> {
        find(&*self.store, name_or_id).await
    }

    /// Hashes a new password, if it will do.
    async fn new_hash(
        &self,
        password: Password,
        about: Vec<String>,
    ) -> Result<PasswordHash, AccountError> {
        let (parameters, random) = (self.parameters, self.random);
        let rules = Arc::clone(&self.rules);
        let permit = self.pool.enter(parameters.memory_kib()).await?;
        let hash = permit.run(move || {
            let about: Vec<&str> = about.iter().map(String::as_str).collect();
            let problems = rules.problems(&password, &about)?;
            if !problems.is_empty() {
                return Err(AccountError::Password(problems));
            }
            Ok(parameters.make(password.expose().as_bytes(), random)?)
        });
        let hash = hash.await??;
        self.metrics.accounts.hashed("set", hash.kind());
        Ok(hash)
    }

    /// Seals a hash for its user.
    fn seal(&self, id: &str, hash: &PasswordHash) -> Result<Sealed, AccountError> {
        let text = wardgate_core::secret::Secret::new(hash.expose().as_bytes().to_vec());
        let sealed = self.store_keys.seal(&seal_context(id), &text, self.clock.now());
        sealed.ok_or(AccountError::Seal)
    }

    /// The hash of a user's password, if there is one.
    fn hash_of(&self, user: &StoredUser) -> Result<Option<PasswordHash>, AccountError> {
        let Some(password) = &user.password else { return Ok(None) };
        let opened = self.store_keys.open(&seal_context(&user.id), &password.sealed)?;
        let text = Zeroizing::new(String::from_utf8_lossy(opened.expose()).into_owned());
        Ok(Some(PasswordHash::parse(&text)?))
    }
}

/// The user of a store with this id, or of this name.
///
/// # Errors
///
/// [`AccountError::Unknown`], or the store fails.
pub(crate) async fn find(store: &dyn Store, name_or_id: &str) -> Result<FoundUser, AccountError> {
    if let Some(found) = users::get(store, name_or_id).await? {
        return Ok(found);
    }
    let name = UserName::parse(name_or_id).map_err(|_| AccountError::Unknown)?;
    let found = users::by_name(store, name.folded()).await?;
    found.ok_or(AccountError::Unknown)
}

/// With the id in it: whoever can write the store, but has no key, could otherwise put the hash of a
/// password that they know in the place of another's.
fn seal_context(id: &str) -> String {
    format!("password {id}")
}

/// What is known of a user: whoever guesses a password begins with it.
fn about(name: &str, email: Option<&str>) -> Vec<String> {
    let parts = |text: &str| {
        let parts = text.split(|letter: char| !letter.is_alphanumeric());
        parts.filter(|part| part.chars().count() > 2).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut about = vec![name.to_owned()];
    about.extend(parts(name));
    if let Some(email) = email {
        about.push(email.to_owned());
        about.extend(parts(email));
    }
    about
}

#[cfg(test)]
pub(crate) mod tests;
