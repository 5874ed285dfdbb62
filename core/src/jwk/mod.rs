//! JSON Web Keys (RFC 7517): what may verify a token, read strictly, one bad key at a time.

pub(crate) mod der;
mod key;
mod parse;
mod set;
mod thumbprint;

pub(crate) use key::Material;
pub use key::{Key, KeyType};

pub use parse::{MAX_KEY_ID_BYTES, WhySkipped};
pub use set::{KeyOrigin, KeySet, MAX_KEYS, ParseKeySetError, SkippedKey};

#[cfg(test)]
mod tests;
