//! Hashes of passwords: those that are made here, and those that come from elsewhere.
//!
//! A hash is a text that says how it was made. What is read here is bounded: whoever can import a
//! hash, or change one in the store, must not make a login cost gigabytes or minutes.

mod argon2;
mod bcrypt;
mod derived;
mod fields;
mod memory;
mod parameters;

use std::fmt;

use zeroize::Zeroizing;

pub(super) use self::argon2::MAX_WORK_KIB;
pub(super) use parameters::MAX_BCRYPT_BYTES;
pub use parameters::{HashParameters, MakeHashError};

use self::argon2::Argon2Hash;
use self::bcrypt::{BcryptHash, BcryptSha256Hash};
use self::derived::{Pbkdf2Hash, ScryptHash};

/// Longest text of a hash: the longest of those that are read has some 250 letters.
const MAX_HASH_BYTES: usize = 512;
/// The least bytes of a digest. A cut one would be met by chance: of 4 bytes, by one password in
/// four thousand million, which is what a stolen table is searched for in seconds.
const MIN_DIGEST_BYTES: usize = 16;
/// The most bytes of a digest and of a salt.
const MAX_PART_BYTES: usize = 128;
/// The most memory of one hash, in KiB: two and a half times what passlib's default takes.
const MAX_MEMORY_KIB: u32 = 256 * 1024;

/// Why a text is not a hash that is taken. Never shows the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParseHashError {
    /// None of the kinds that are read.
    #[error(
        "the hash is of no kind that is read: $2a$, $2b$, $2y$, $argon2id$, $argon2i$, $argon2d$, \
         $bcrypt-sha256$, $pbkdf2-sha256$, $pbkdf2-sha512$, $scrypt$"
    )]
    Kind,
    /// Of a kind that is read, and not in its form.
    #[error("the hash has not the form of its kind")]
    Form,
    /// It would cost too much to verify.
    #[error("the hash costs too much: {0}")]
    Cost(&'static str),
    /// Salt or digest are too short or too long.
    #[error(
        "the digest of the hash has not 16 to 128 bytes, or its salt has none or more than 128"
    )]
    Length,
}

/// A hash could not be computed: no memory, or a parameter that its library refuses.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a password hash could not be computed")]
pub struct HashError;

/// The hash of a password, read and within bounds.
pub struct PasswordHash {
    scheme: Scheme,
    text: Zeroizing<String>,
}

enum Scheme {
    Argon2(Argon2Hash),
    Bcrypt(BcryptHash),
    BcryptSha256(BcryptSha256Hash),
    Pbkdf2(Pbkdf2Hash),
    Scrypt(ScryptHash),
}

impl PasswordHash {
    /// Reads a hash.
    ///
    /// # Errors
    ///
    /// [`ParseHashError`] when it is of no known kind, malformed, or beyond the bounds.
    pub fn parse(text: &str) -> Result<Self, ParseHashError> {
        if text.len() > MAX_HASH_BYTES {
            return Err(ParseHashError::Form);
        }
        let kind = text.strip_prefix('$').and_then(|rest| rest.split('$').next());
        let scheme = match kind.ok_or(ParseHashError::Kind)? {
            "2a" | "2b" | "2y" => Scheme::Bcrypt(BcryptHash::parse(text)?),
            "argon2id" | "argon2i" | "argon2d" => Scheme::Argon2(Argon2Hash::parse(text)?),
            "bcrypt-sha256" => Scheme::BcryptSha256(BcryptSha256Hash::parse(text)?),
            "pbkdf2-sha256" | "pbkdf2-sha512" => Scheme::Pbkdf2(Pbkdf2Hash::parse(text)?),
            "scrypt" => Scheme::Scrypt(ScryptHash::parse(text)?),
            _ => return Err(ParseHashError::Kind),
        };
        Ok(Self { scheme, text: Zeroizing::new(text.to_owned()) })
    }

    /// Whether it is the hash of this password. Takes as long as the hash costs.
    ///
    /// # Errors
    ///
    /// [`HashError`] when it cannot be computed.
    pub fn verify(&self, password: &[u8]) -> Result<bool, HashError> {
        match &self.scheme {
            Scheme::Argon2(hash) => hash.verify(password),
            Scheme::Bcrypt(hash) => hash.verify(password),
            Scheme::BcryptSha256(hash) => hash.verify(password),
            Scheme::Pbkdf2(hash) => Ok(hash.verify(password)),
            Scheme::Scrypt(hash) => hash.verify(password),
        }
    }

    /// The name of its kind.
    pub fn kind(&self) -> &'static str {
        match &self.scheme {
            Scheme::Argon2(hash) => hash.kind(),
            Scheme::Bcrypt(_) => "bcrypt",
            Scheme::BcryptSha256(_) => "bcrypt-sha256",
            Scheme::Pbkdf2(hash) => hash.kind(),
            Scheme::Scrypt(_) => "scrypt",
        }
    }

    /// The memory that it takes to verify, in KiB.
    pub fn memory_kib(&self) -> u32 {
        match &self.scheme {
            Scheme::Argon2(hash) => hash.memory_kib(),
            Scheme::Scrypt(hash) => hash.memory_kib(),
            // Four kilobytes of Blowfish, some hundred bytes of SHA-2.
            Scheme::Bcrypt(_) | Scheme::BcryptSha256(_) | Scheme::Pbkdf2(_) => 4,
        }
    }

    /// The text, to be kept sealed.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// What it costs, without what it was made of: a text by which two hashes of one cost are alike.
    pub fn cost(&self) -> String {
        match &self.scheme {
            Scheme::Argon2(hash) => hash.cost(),
            Scheme::Bcrypt(hash) => format!("bcrypt {}", hash.cost()),
            Scheme::BcryptSha256(hash) => format!("bcrypt-sha256 {}", hash.cost()),
            Scheme::Pbkdf2(hash) => hash.cost(),
            Scheme::Scrypt(hash) => hash.cost(),
        }
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PasswordHash({})", self.kind())
    }
}

#[cfg(test)]
mod tests;
