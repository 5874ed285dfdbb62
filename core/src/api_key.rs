//! API keys: `wg_<environment>_<id><secret>_<checksum>`.
//!
//! The checksum refuses typing errors and junk without a look-up, and lets secret scanners recognise
//! a leaked key. It is no defence: whoever guesses can compute it. The secret is 190 bits.

use core::fmt;

use ring::hmac;

use crate::secret::Secret;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const PREFIX: &str = "wg_";
const ID_LETTERS: usize = 12;
const SECRET_LETTERS: usize = 32;
const CHECKSUM_LETTERS: usize = 6;
/// An environment is a short word of an operator (`live`, `test`), and it stands in every key.
const MAX_ENVIRONMENT_BYTES: usize = 16;
/// The longest key that can be well-formed; anything longer is refused before it is looked at.
pub const MAX_API_KEY_BYTES: usize =
    PREFIX.len() + MAX_ENVIRONMENT_BYTES + 1 + ID_LETTERS + SECRET_LETTERS + 1 + CHECKSUM_LETTERS;
/// Random bytes that [`ApiKey::generate`] takes: one letter needs one byte below 248, and of 128
/// bytes at least 44 are, but for once in 10^60.
pub const GENERATE_RANDOM_BYTES: usize = 128;

/// An API key in clear, with right form and checksum. Whether it exists is another question.
#[derive(Clone)]
pub struct ApiKey {
    text: Secret,
    environment_bytes: usize,
}

/// Why a text is not an API key. Never shows the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParseApiKeyError {
    /// Not `wg_<environment>_<44 letters>_<6 letters>`.
    #[error("an API key has the form wg_<environment>_<id and secret>_<checksum>")]
    Form,
    /// The checksum is not that of the rest: mistyped, cut, or invented.
    #[error("the checksum of the API key is wrong")]
    Checksum,
}

/// Why an API key cannot be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum GenerateApiKeyError {
    /// The environment is not 1 to 16 of a-z and 0-9.
    #[error("an environment is 1 to 16 letters of a-z and 0-9")]
    Environment,
    /// The id is not 12 letters of base 62.
    #[error("an id is 12 letters of 0-9, A-Z and a-z")]
    Id,
    /// The random bytes did not suffice; try again with new ones.
    #[error("not enough usable random bytes")]
    Randomness,
}

impl ApiKey {
    /// Parses what a client presented.
    ///
    /// # Errors
    ///
    /// [`ParseApiKeyError`] when form or checksum are wrong.
    pub fn parse(text: &[u8]) -> Result<Self, ParseApiKeyError> {
        if text.len() > MAX_API_KEY_BYTES {
            return Err(ParseApiKeyError::Form);
        }
        let rest = text.strip_prefix(PREFIX.as_bytes()).ok_or(ParseApiKeyError::Form)?;
        let mut parts = rest.split(|byte| *byte == b'_');
        let (Some(environment), Some(body), Some(sum), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(ParseApiKeyError::Form);
        };
        let well_formed = is_environment(environment)
            && body.len() == ID_LETTERS.saturating_add(SECRET_LETTERS)
            && body.iter().all(u8::is_ascii_alphanumeric)
            && sum.len() == CHECKSUM_LETTERS;
        if !well_formed {
            return Err(ParseApiKeyError::Form);
        }
        let signed = text.len().saturating_sub(CHECKSUM_LETTERS).saturating_sub(1);
        if checksum(text.get(..signed).unwrap_or_default()).as_slice() != sum {
            return Err(ParseApiKeyError::Checksum);
        }
        Ok(Self { text: Secret::new(text.to_vec()), environment_bytes: environment.len() })
    }

    /// Makes a key for `environment` from random bytes.
    ///
    /// # Errors
    ///
    /// [`GenerateApiKeyError`] when the environment is no short word of a-z and 0-9, or too few of
    /// the random bytes are usable.
    pub fn generate(
        environment: &str,
        random: &[u8; GENERATE_RANDOM_BYTES],
    ) -> Result<Self, GenerateApiKeyError> {
        Self::with_id(environment, "", random)
    }

    /// Makes another key of the same id, for a rotation: the secret is new, the id stays.
    ///
    /// # Errors
    ///
    /// [`GenerateApiKeyError`] as of [`Self::generate`], or when the id is none.
    pub fn generate_for(
        environment: &str,
        id: &str,
        random: &[u8; GENERATE_RANDOM_BYTES],
    ) -> Result<Self, GenerateApiKeyError> {
        if id.len() != ID_LETTERS || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(GenerateApiKeyError::Id);
        }
        Self::with_id(environment, id, random)
    }

    /// `id` is a whole id, or empty for a random one.
    fn with_id(
        environment: &str,
        id: &str,
        random: &[u8; GENERATE_RANDOM_BYTES],
    ) -> Result<Self, GenerateApiKeyError> {
        if !is_environment(environment.as_bytes()) {
            return Err(GenerateApiKeyError::Environment);
        }
        let mut text = format!("{PREFIX}{environment}_{id}").into_bytes();
        // Bytes from 248 on are skipped: 256 is no multiple of 62, and some letters would be likelier.
        let letters = random.iter().copied().filter(|byte| *byte < 248).filter_map(letter_of);
        let missing = ID_LETTERS.saturating_add(SECRET_LETTERS).saturating_sub(id.len());
        text.extend(letters.take(missing));
        let sum = checksum(&text);
        text.push(b'_');
        text.extend(sum);
        Self::parse(&text).map_err(|_| GenerateApiKeyError::Randomness)
    }

    /// The public part: names the key in records, logs and look-ups.
    pub fn id(&self) -> &str {
        let start = PREFIX.len().saturating_add(self.environment_bytes).saturating_add(1);
        let id = self.text.expose().get(start..start.saturating_add(ID_LETTERS));
        // Letters by construction, so always UTF-8.
        core::str::from_utf8(id.unwrap_or_default()).unwrap_or_default()
    }

    /// The environment that the key was made for.
    pub fn environment(&self) -> &str {
        let end = PREFIX.len().saturating_add(self.environment_bytes);
        let environment = self.text.expose().get(PREFIX.len()..end);
        core::str::from_utf8(environment.unwrap_or_default()).unwrap_or_default()
    }

    /// The last four letters of the secret, for a person who has several keys. They are 24 of its
    /// 190 bits; the rest is as hard to guess as ever.
    pub fn last_four(&self) -> &str {
        let end = self.text.expose().len().saturating_sub(CHECKSUM_LETTERS).saturating_sub(1);
        let letters = self.text.expose().get(end.saturating_sub(4)..end);
        core::str::from_utf8(letters.unwrap_or_default()).unwrap_or_default()
    }

    /// Lends the key in clear: for its owner, once.
    pub fn expose(&self) -> &str {
        core::str::from_utf8(self.text.expose()).unwrap_or_default()
    }

    /// What is stored in place of the key: HMAC-SHA-256 of all of it under `digest_key`.
    pub fn digest(&self, digest_key: &Secret) -> ApiKeyDigest {
        ApiKeyDigest::keyed(self.text.expose(), digest_key)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ApiKey({}…)", self.id())
    }
}

/// The keyed digest of an API key; compares in constant time.
#[derive(Clone, Copy, Debug)]
pub struct ApiKeyDigest([u8; 32]);

impl ApiKeyDigest {
    /// What is stored of a key that was made elsewhere: HMAC-SHA-256 of its SHA-256 under
    /// `digest_key`. Whoever reads the store does not even learn the SHA-256, which the system that
    /// the key came from may take for the key itself.
    pub fn of_imported(sha256: &[u8; 32], digest_key: &Secret) -> Self {
        Self::keyed(sha256, digest_key)
    }

    fn keyed(bytes: &[u8], digest_key: &Secret) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, digest_key.expose());
        let tag = hmac::sign(&key, bytes);
        let mut digest = [0; 32];
        for (to, from) in digest.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        Self(digest)
    }

    /// Reads the base64url text of a digest.
    pub fn parse(text: &str) -> Option<Self> {
        crate::base64url::decode(text.as_bytes())?.try_into().ok().map(Self)
    }

    /// The digest of these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes of the digest.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The base64url text of the digest.
    pub fn text(&self) -> String {
        crate::base64url::encode(&self.0)
    }
}

impl PartialEq for ApiKeyDigest {
    fn eq(&self, other: &Self) -> bool {
        subtle::ConstantTimeEq::ct_eq(&self.0[..], &other.0[..]).into()
    }
}

impl Eq for ApiKeyDigest {}

fn is_environment(text: &[u8]) -> bool {
    (1..=MAX_ENVIRONMENT_BYTES).contains(&text.len())
        && text.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

fn letter_of(byte: u8) -> Option<u8> {
    ALPHABET.get(usize::from(byte % 62)).copied()
}

/// CRC-32/ISO-HDLC of `text` as six digits of base 62, the most significant first.
fn checksum(text: &[u8]) -> [u8; CHECKSUM_LETTERS] {
    let mut rest = crc32fast::hash(text);
    let mut digits = [b'0'; CHECKSUM_LETTERS];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET.get(usize::try_from(rest % 62).unwrap_or(0)).copied().unwrap_or(b'0');
        rest /= 62;
    }
    digits
}

#[cfg(test)]
mod tests;
