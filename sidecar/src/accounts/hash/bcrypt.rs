//! bcrypt, plain (`$2b$12$…`) and after SHA-256 as passlib has it (`$bcrypt-sha256$…`).

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{HashError, ParseHashError, fields};

/// The most rounds, as a power of two: some two seconds.
const MAX_COST: u32 = 15;
/// The least that the algorithm takes.
const MIN_COST: u32 = 4;
/// Letters of a salt.
const SALT_LETTERS: usize = 22;

/// A hash as everyone has them. `$2a$`, `$2b$` and `$2y$` differ in errors of old implementations
/// only; `$2x$` is such an error, and refused.
pub(super) struct BcryptHash {
    text: Zeroizing<String>,
    cost: u32,
}

impl BcryptHash {
    pub(super) fn parse(text: &str) -> Result<Self, ParseHashError> {
        let [_, cost, _] = fields::fields::<3>(text)?;
        let cost = check_cost(cost)?;
        let text = Zeroizing::new(text.to_owned());
        // The library would say at a login that the hash is malformed; now is the better time.
        text.parse::<bcrypt::HashParts>().map_err(|_| ParseHashError::Form)?;
        Ok(Self { text, cost })
    }

    /// A password beyond 72 bytes was cut when the hash was made, by whatever made it, and so it is
    /// here. New hashes are not made of such a password.
    pub(super) fn verify(&self, password: &[u8]) -> Result<bool, HashError> {
        bcrypt::verify(password, &self.text).map_err(|_| HashError)
    }

    pub(super) fn cost(&self) -> u32 {
        self.cost
    }
}

/// passlib's `bcrypt_sha256`: bcrypt of a digest, so that no password is too long.
pub(super) struct BcryptSha256Hash {
    inner: BcryptHash,
    /// Version 2 keys the digest with the salt, so that an SHA-256 that leaked elsewhere is no
    /// password here. Version 1 does not.
    key: Option<String>,
}

impl BcryptSha256Hash {
    pub(super) fn parse(text: &str) -> Result<Self, ParseHashError> {
        let [_, costs, salt, digest] = fields::fields::<4>(text)?;
        if salt.len() != SALT_LETTERS {
            return Err(ParseHashError::Form);
        }
        let (parts, key) = match costs.strip_prefix("v=2,t=") {
            Some(rest) => (rest.split_once(",r="), Some(salt.to_owned())),
            None => (costs.split_once(','), None),
        };
        let (variant, cost) = parts.ok_or(ParseHashError::Form)?;
        if !matches!(variant, "2a" | "2b" | "2y") {
            return Err(ParseHashError::Form);
        }
        let cost = fields::decimal(cost)?;
        let plain = Zeroizing::new(format!("${variant}${cost:02}${salt}{digest}"));
        Ok(Self { inner: BcryptHash::parse(&plain)?, key })
    }

    pub(super) fn verify(&self, password: &[u8]) -> Result<bool, HashError> {
        let digested = match &self.key {
            Some(salt) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, salt.as_bytes());
                Zeroizing::new(STANDARD.encode(hmac::sign(&key, password)))
            }
            None => Zeroizing::new(STANDARD.encode(digest::digest(&digest::SHA256, password))),
        };
        self.inner.verify(digested.as_bytes())
    }

    pub(super) fn cost(&self) -> u32 {
        self.inner.cost
    }
}

/// Two digits, as everyone writes them.
fn check_cost(text: &str) -> Result<u32, ParseHashError> {
    let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    let cost = text.parse::<u32>().ok().filter(|_| digits).ok_or(ParseHashError::Form)?;
    match cost {
        0..MIN_COST => Err(ParseHashError::Form),
        MIN_COST..=MAX_COST => Ok(cost),
        _ => Err(ParseHashError::Cost("bcrypt beyond 15")),
    }
}

/// A new hash. The password has at most 72 bytes, which its maker has checked.
pub(super) fn make(
    password: &[u8],
    salt: [u8; 16],
    cost: u32,
) -> Result<Zeroizing<String>, HashError> {
    let parts = bcrypt::hash_with_salt(password, cost, salt).map_err(|_| HashError)?;
    Ok(Zeroizing::new(parts.to_string()))
}

/// A hash in text, of a digest that was not computed; of 32 bytes 23 are used.
pub(super) fn text(salt: [u8; 16], digest: [u8; 32], cost: u32) -> Zeroizing<String> {
    let digest = digest.first_chunk::<23>().map_or(String::new(), |it| bcrypt::BASE_64.encode(it));
    Zeroizing::new(format!("$2b${cost:02}${}{digest}", bcrypt::BASE_64.encode(salt)))
}
