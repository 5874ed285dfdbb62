//! The keys of one issuer (RFC 7517 §5).

use core::{fmt, iter, slice};

use serde_json::{Map, Value};

use super::key::{Key, Material};
use super::parse::{self, WhySkipped};
use crate::secret::Secret;

/// Most keys in one set. Issuers that rotate have 2 to 10; the reading of a key costs up to a
/// millisecond (a point on P-521), and a worker stands still meanwhile.
pub const MAX_KEYS: usize = 64;

/// Where a key set comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyOrigin {
    /// Written by the operator; may hold symmetric keys.
    Configured,
    /// Published by the issuer. A symmetric key in it is refused: whoever can read it, and that is
    /// everyone, could sign with it.
    Fetched,
}

/// The keys of one issuer. Sets of different issuers are never mixed.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

/// A key of a set that is not used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SkippedKey {
    /// Its place in the set, from 0.
    pub index: usize,
    /// Its `kid`, if it has a proper one.
    pub key_id: Option<String>,
    /// Why it is not used.
    pub why: WhySkipped,
}

impl fmt::Display for SkippedKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key_id {
            Some(id) => write!(formatter, "key {} (`{id}`) is not used: {}", self.index, self.why),
            None => write!(formatter, "key {} is not used: {}", self.index, self.why),
        }
    }
}

/// Why a text is no key set at all.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParseKeySetError {
    /// There is no member `keys`.
    #[error("the key set has no member `keys`")]
    KeysMissing,
    /// `keys` is something else than a list.
    #[error("`keys` of the key set is not a list")]
    KeysNotAList,
    /// There are too many keys.
    #[error("the key set has {found} keys; the limit is {MAX_KEYS}")]
    TooManyKeys {
        /// How many there are.
        found: usize,
    },
}

impl KeySet {
    /// Reads a JWK Set. Keys that cannot be used are left out and reported, so that one key of a
    /// kind not known here does not disable the others (RFC 7517 §5). Keys with the same `kid` all
    /// stay.
    ///
    /// # Errors
    ///
    /// [`ParseKeySetError`] when it is not a key set or has over [`MAX_KEYS`] keys.
    pub fn parse(
        set: &Map<String, Value>,
        origin: KeyOrigin,
    ) -> Result<(Self, Vec<SkippedKey>), ParseKeySetError> {
        let members = set.get("keys").ok_or(ParseKeySetError::KeysMissing)?;
        let members = members.as_array().ok_or(ParseKeySetError::KeysNotAList)?;
        if members.len() > MAX_KEYS {
            return Err(ParseKeySetError::TooManyKeys { found: members.len() });
        }
        let mut keys = Vec::with_capacity(members.len());
        let mut skipped = Vec::new();
        for (index, member) in members.iter().enumerate() {
            match parse::key(member, origin) {
                Ok(key) => keys.push(key),
                Err(why) => {
                    skipped.push(SkippedKey {
                        index,
                        key_id: parse::key_id_to_report(member),
                        why,
                    });
                }
            }
        }
        Ok((Self { keys }, skipped))
    }

    /// The set of one HMAC secret, for HS256, HS384 and HS512 as far as it is long enough. The key
    /// has no `kid`, so it is used for tokens without one.
    pub fn from_hmac_secret(secret: Secret) -> Self {
        let material = Material::Hmac { secret };
        Self { keys: vec![Key { id: None, algorithm: None, material, spki_der: None }] }
    }

    /// The keys of both sets, which must be of one issuer.
    #[must_use]
    pub fn merged(mut self, other: Self) -> Self {
        self.keys.extend(other.keys);
        self
    }

    /// How many usable keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no usable key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// All keys, in order.
    pub fn iter(&self) -> slice::Iter<'_, Key> {
        self.keys.iter()
    }

    /// The keys with exactly this `kid`; all keys when the token names none.
    pub fn named<'a>(&'a self, id: Option<&'a str>) -> impl Iterator<Item = &'a Key> {
        let mut keys = self.keys.iter();
        iter::from_fn(move || keys.find(|key| id.is_none() || key.key_id() == id))
    }
}

impl<'a> IntoIterator for &'a KeySet {
    type Item = &'a Key;
    type IntoIter = slice::Iter<'a, Key>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
