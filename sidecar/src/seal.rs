//! What is secret at rest: Fernet tokens under the store keys.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use fernet::Fernet;
use serde::{Deserialize, Serialize};
use wardgate_core::secret::Secret;
use wardgate_core::time::UnixSeconds;
use zeroize::Zeroizing;

use crate::random::{Random, RandomError};

/// Keys kept for reading: a rotation keeps a few; more are a mistake, and each costs a trial.
const MAX_KEYS: usize = 16;

/// Fernet refuses a token from more than a minute in the future. Nothing here expires, and a clock
/// that was set back must not lock the sidecar out of its own store, so tokens are opened "at the
/// end of time".
const END_OF_TIME: u64 = u64::MAX / 2;

/// The keys that protect secrets in the store. The first seals, all open.
#[derive(Clone)]
pub struct StoreKeys {
    keys: Vec<Fernet>,
}

/// A sealed secret: a Fernet token.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Sealed(String);

/// Why a text is not a list of store keys. Never shows the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParseStoreKeysError {
    /// No key at all.
    #[error("there is no key; expected one Fernet key (32 bytes as base64url) per line")]
    Empty,
    /// A line is no Fernet key.
    #[error("line {0} is not a Fernet key (32 bytes as base64url)")]
    Line(usize),
    /// More keys than a rotation can need.
    #[error("more than {MAX_KEYS} keys")]
    TooMany,
}

/// A sealed secret cannot be opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "no store key opens it: the key is missing from the store keys file, or the data is damaged"
)]
pub struct UnsealError;

impl StoreKeys {
    /// Reads one key per line; empty lines and lines that begin with `#` are skipped.
    ///
    /// # Errors
    ///
    /// [`ParseStoreKeysError`] with the line.
    pub fn parse(text: &str) -> Result<Self, ParseStoreKeysError> {
        let mut keys = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key =
                Fernet::new(line).ok_or(ParseStoreKeysError::Line(index.saturating_add(1)))?;
            keys.push(key);
        }
        match keys.len() {
            0 => Err(ParseStoreKeysError::Empty),
            1..=MAX_KEYS => Ok(Self { keys }),
            _ => Err(ParseStoreKeysError::TooMany),
        }
    }

    /// Makes the text of a new key.
    ///
    /// # Errors
    ///
    /// [`RandomError`] when the operating system gives no randomness.
    pub fn generate(random: Random) -> Result<Zeroizing<String>, RandomError> {
        let bytes = Zeroizing::new(random.bytes::<32>()?);
        Ok(Zeroizing::new(URL_SAFE.encode(bytes.as_slice())))
    }

    /// Seals `secret` for `context`, a name of what it is and whose.
    pub fn seal(&self, context: &str, secret: &Secret, now: UnixSeconds) -> Option<Sealed> {
        // The context inside the token: whoever can write the store, but has no key, could
        // otherwise put one sealed secret in the place of another.
        let mut plain = Zeroizing::new(context.as_bytes().to_vec());
        plain.push(0);
        plain.extend_from_slice(secret.expose());
        self.keys.first().map(|key| Sealed(key.encrypt_at_time(&plain, now.0)))
    }

    /// Whether the first key sealed it, so that it does not need the others.
    pub fn is_current(&self, sealed: &Sealed) -> bool {
        let first = self.keys.first();
        first.is_some_and(|key| {
            key.decrypt_at_time(&sealed.0, None, END_OF_TIME).map(Zeroizing::new).is_ok()
        })
    }

    /// Whether a key opens it, whatever it was sealed for.
    pub fn can_open(&self, sealed: &Sealed) -> bool {
        let opens = |key: &Fernet| {
            key.decrypt_at_time(&sealed.0, None, END_OF_TIME).map(Zeroizing::new).is_ok()
        };
        self.keys.iter().any(opens)
    }

    /// Whether a token may need another key than the first.
    pub fn has_older(&self) -> bool {
        self.keys.len() > 1
    }

    /// Seals under the first key what another one sealed, for the same context; `None` if the first
    /// one did.
    ///
    /// # Errors
    ///
    /// [`UnsealError`] when no key opens it.
    pub fn seal_anew(
        &self,
        sealed: &Sealed,
        now: UnixSeconds,
    ) -> Result<Option<Sealed>, UnsealError> {
        if self.is_current(sealed) {
            return Ok(None);
        }
        let plain = self.keys.iter().find_map(|key| {
            key.decrypt_at_time(&sealed.0, None, END_OF_TIME).map(Zeroizing::new).ok()
        });
        let (plain, first) = plain.zip(self.keys.first()).ok_or(UnsealError)?;
        Ok(Some(Sealed(first.encrypt_at_time(&plain, now.0))))
    }

    /// Opens what was sealed for `context`.
    ///
    /// # Errors
    ///
    /// [`UnsealError`] when no key opens it or it was sealed for something else.
    pub fn open(&self, context: &str, sealed: &Sealed) -> Result<Secret, UnsealError> {
        for key in &self.keys {
            if let Ok(plain) = key.decrypt_at_time(&sealed.0, None, END_OF_TIME) {
                let plain = Zeroizing::new(plain);
                let rest = plain.strip_prefix(context.as_bytes()).ok_or(UnsealError)?;
                let secret = rest.strip_prefix(b"\0").ok_or(UnsealError)?;
                return Ok(Secret::new(secret.to_vec()));
            }
        }
        Err(UnsealError)
    }
}

impl std::fmt::Debug for StoreKeys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "StoreKeys({} keys)", self.keys.len())
    }
}

#[cfg(test)]
mod tests {
    use super::{END_OF_TIME, Fernet, ParseStoreKeysError, StoreKeys, URL_SAFE, UnsealError};
    use crate::random::Random;
    use base64::Engine as _;
    use serde_json::Value;
    use wardgate_core::secret::Secret;
    use wardgate_core::time::UnixSeconds;

    fn key() -> String {
        StoreKeys::generate(Random::system()).unwrap().to_string()
    }

    #[test]
    fn what_was_sealed_opens_after_a_rotation_and_with_the_clock_set_back() {
        let (old, new) = (key(), key());
        let before = StoreKeys::parse(&old).unwrap();
        let secret = Secret::new(b"s".to_vec());
        let sealed = before.seal("digest-key", &secret, UnixSeconds(u64::from(u32::MAX))).unwrap();
        let after = StoreKeys::parse(&format!("# new\n{new}\n\n{old}\n")).unwrap();
        assert_eq!(after.open("digest-key", &sealed).as_ref(), Ok(&secret));
        assert!(before.is_current(&sealed) && !after.is_current(&sealed));
        assert!(after.is_current(&after.seal("digest-key", &secret, UnixSeconds(1)).unwrap()));
        assert_eq!(StoreKeys::parse(&new).unwrap().open("digest-key", &sealed), Err(UnsealError));
    }

    #[test]
    fn what_is_sealed_anew_needs_the_first_key_alone_and_keeps_its_context() {
        let (old, new) = (key(), key());
        let secret = Secret::new(b"s".to_vec());
        let sealed = StoreKeys::parse(&old).unwrap().seal("a", &secret, UnixSeconds(1)).unwrap();
        let both = StoreKeys::parse(&format!("{new}\n{old}")).unwrap();
        assert!(both.has_older());
        let anew = both.seal_anew(&sealed, UnixSeconds(2)).unwrap().unwrap();
        let only = StoreKeys::parse(&new).unwrap();
        assert!(!only.has_older());
        assert_eq!(only.open("a", &anew), Ok(secret));
        assert_eq!(only.open("b", &anew), Err(UnsealError));
        assert_eq!(both.seal_anew(&anew, UnixSeconds(3)), Ok(None));
        assert_eq!(only.seal_anew(&sealed, UnixSeconds(3)), Err(UnsealError));
    }

    #[test]
    fn a_secret_does_not_open_in_the_place_of_another() {
        let keys = StoreKeys::parse(&key()).unwrap();
        let sealed = keys.seal("a", &Secret::new(b"s".to_vec()), UnixSeconds(1)).unwrap();
        assert_eq!(keys.open("b", &sealed), Err(UnsealError));
    }

    #[test]
    fn a_bad_line_is_named_and_not_shown() {
        let error = StoreKeys::parse(&format!("{}\nhunter2\n", key())).err();
        assert_eq!(error, Some(ParseStoreKeysError::Line(2)));
        assert_eq!(StoreKeys::parse("# nothing\n").err(), Some(ParseStoreKeysError::Empty));
    }

    /// The vectors of the Fernet specification, if their directory is given.
    fn vectors(file: &str) -> Vec<Value> {
        let Ok(directory) = std::env::var("WARDGATE_FERNET_VECTORS") else {
            eprintln!("!!! WARDGATE_FERNET_VECTORS is not set: {file} WAS NOT CHECKED");
            return Vec::new();
        };
        let text = std::fs::read(std::path::Path::new(&directory).join(file)).unwrap();
        let vectors: Vec<Value> = serde_json::from_slice(&text).unwrap();
        assert!(!vectors.is_empty(), "{file}");
        vectors
    }

    /// Seconds since the epoch; all vectors are of one morning.
    #[expect(clippy::arithmetic_side_effects, reason = "small numbers")]
    fn time(vector: &Value) -> u64 {
        let text = vector["now"].as_str().unwrap();
        let text = text.strip_prefix("1985-10-26T").unwrap().strip_suffix("-07:00").unwrap();
        let parts: Vec<u64> = text.split(':').map(|part| part.parse().unwrap()).collect();
        [499_158_000, parts[0] * 3600, parts[1] * 60, parts[2]].iter().sum()
    }

    fn text<'a>(vector: &'a Value, name: &str) -> &'a str {
        vector[name].as_str().unwrap()
    }

    #[test]
    fn tokens_are_made_as_the_specification_says() {
        for vector in vectors("generate.json") {
            let key = Fernet::new(text(&vector, "secret")).unwrap();
            let given = URL_SAFE.decode(text(&vector, "token")).unwrap();
            let made = key.encrypt_at_time(text(&vector, "src").as_bytes(), time(&vector));
            let made = URL_SAFE.decode(made).unwrap();
            // Version, time and length agree; the initialisation vector is random in ours.
            assert_eq!((&made[..9], made.len()), (&given[..9], given.len()));
            let iv: Vec<u8> = serde_json::from_value(vector["iv"].clone()).unwrap();
            assert_eq!(&given[9..25], iv);
            let opened = key.decrypt_at_time(text(&vector, "token"), None, END_OF_TIME);
            assert_eq!(opened.unwrap(), text(&vector, "src").as_bytes());
        }
    }

    #[test]
    fn tokens_are_opened_as_the_specification_says() {
        for vector in vectors("verify.json") {
            let key = Fernet::new(text(&vector, "secret")).unwrap();
            let ttl = vector["ttl_sec"].as_u64();
            let opened = key.decrypt_at_time(text(&vector, "token"), ttl, time(&vector));
            assert_eq!(opened.unwrap(), text(&vector, "src").as_bytes());
        }
    }

    #[test]
    fn what_the_specification_calls_invalid_is_refused() {
        for vector in vectors("invalid.json") {
            let key = Fernet::new(text(&vector, "secret")).unwrap();
            let ttl = vector["ttl_sec"].as_u64();
            let opened = key.decrypt_at_time(text(&vector, "token"), ttl, time(&vector));
            assert!(opened.is_err(), "{}", text(&vector, "desc"));
        }
    }
}
