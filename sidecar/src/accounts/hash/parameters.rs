//! What new hashes are made with.

use zeroize::Zeroizing;

use super::{HashError, PasswordHash, Scheme, argon2, bcrypt};
use crate::random::{Random, RandomError};

/// The longest password that bcrypt takes whole. It ignores what is beyond: a new password that is
/// longer is refused, or all that begin alike would be one.
pub(in crate::accounts) const MAX_BCRYPT_BYTES: usize = 72;

/// How new hashes are made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HashParameters {
    /// argon2id (RFC 9106).
    Argon2id {
        /// Memory in KiB.
        memory_kib: u32,
        /// Passes over it.
        passes: u32,
        /// Lanes, which are computed one after the other.
        lanes: u32,
    },
    /// bcrypt.
    Bcrypt {
        /// Rounds, as a power of two.
        cost: u32,
    },
}

/// Why there is no new hash.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MakeHashError {
    /// It could not be computed.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// There is no salt.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl HashParameters {
    /// Hashes a new password. Takes as long as the parameters say.
    ///
    /// # Errors
    ///
    /// [`MakeHashError`] when there is no randomness or no memory.
    pub fn make(self, password: &[u8], random: Random) -> Result<PasswordHash, MakeHashError> {
        let salt = random.bytes::<16>()?;
        let text: Zeroizing<String> = match self {
            Self::Argon2id { memory_kib, passes, lanes } => {
                argon2::make(password, &salt, (memory_kib, passes, lanes))?
            }
            Self::Bcrypt { cost } => bcrypt::make(password, salt, cost)?,
        };
        PasswordHash::parse(&text).map_err(|_| MakeHashError::Hash(HashError))
    }

    /// A hash of no password, which costs what one of these costs: what is verified for a user that
    /// does not exist.
    ///
    /// # Errors
    ///
    /// [`MakeHashError`] when there is no randomness.
    pub fn dummy(self, random: Random) -> Result<PasswordHash, MakeHashError> {
        let (salt, digest) = (random.bytes::<16>()?, random.bytes::<32>()?);
        let text = match self {
            Self::Argon2id { memory_kib, passes, lanes } => {
                argon2::text(&salt, &digest, (memory_kib, passes, lanes))
            }
            Self::Bcrypt { cost } => bcrypt::text(salt, digest, cost),
        };
        PasswordHash::parse(&text).map_err(|_| MakeHashError::Hash(HashError))
    }

    /// The memory that one hash takes, in KiB.
    pub fn memory_kib(self) -> u32 {
        match self {
            Self::Argon2id { memory_kib, .. } => memory_kib,
            Self::Bcrypt { .. } => 4,
        }
    }

    /// Whether a password that was hashed otherwise should be hashed with these. Never to something
    /// weaker: argon2id stays where bcrypt is the choice, and more memory where less is.
    pub fn are_better_than(self, hash: &PasswordHash, password_bytes: usize) -> bool {
        match (self, &hash.scheme) {
            (Self::Argon2id { memory_kib, passes, .. }, Scheme::Argon2(hash)) => {
                !hash.reaches(memory_kib, passes)
            }
            (Self::Argon2id { .. }, _) => true,
            (Self::Bcrypt { cost }, Scheme::Bcrypt(hash)) => {
                hash.cost() < cost && password_bytes <= MAX_BCRYPT_BYTES
            }
            (Self::Bcrypt { .. }, Scheme::Pbkdf2(_)) => password_bytes <= MAX_BCRYPT_BYTES,
            (
                Self::Bcrypt { .. },
                Scheme::Argon2(_) | Scheme::BcryptSha256(_) | Scheme::Scrypt(_),
            ) => false,
        }
    }
}
