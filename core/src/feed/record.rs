//! What records say.

use serde::{Deserialize, Serialize};

use super::Fingerprint;
use crate::api_key::ApiKeyDigest;
use crate::time::UnixSeconds;
use crate::wire::{ApiKeyRecord, ApiKeyState, PreviousApiKey, RateLimitRecord};

/// What can be revoked.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum RevocationTarget {
    /// The token with this `jti`.
    Token {
        /// The `iss` of the token.
        issuer: String,
        /// The `jti` of the token.
        token_id: String,
    },
    /// The token with this signing input: for tokens without a `jti`.
    TokenDigest {
        /// SHA-256 of the signing input (RFC 7515 §5.1), base64url. Not of the whole token: an
        /// ECDSA signature can be changed by anyone into another valid one.
        digest: String,
    },
    /// All tokens of this session.
    Session {
        /// The `iss` of the tokens.
        issuer: String,
        /// The `sid` of the tokens.
        session: String,
    },
    /// All tokens of this subject that were issued until some moment.
    Subject {
        /// The `iss` of the tokens.
        issuer: String,
        /// The `sub` of the tokens.
        subject: String,
    },
    /// All tokens of this client that were issued until some moment.
    Client {
        /// The `iss` of the tokens.
        issuer: String,
        /// The `client_id` or `azp` of the tokens.
        client_id: String,
    },
    /// All tokens signed with this key.
    SigningKey {
        /// The `iss` of the tokens.
        issuer: String,
        /// The `kid` of the key.
        key_id: String,
    },
}

impl RevocationTarget {
    /// The fingerprint that the record is found by.
    pub fn fingerprint(&self) -> Fingerprint {
        match self {
            Self::Token { issuer, token_id } => Self::of("token", issuer, token_id),
            Self::TokenDigest { digest } => Fingerprint::of("token_digest", &[digest.as_bytes()]),
            Self::Session { issuer, session } => Self::of("session", issuer, session),
            Self::Subject { issuer, subject } => Self::of("subject", issuer, subject),
            Self::Client { issuer, client_id } => Self::of("client", issuer, client_id),
            Self::SigningKey { issuer, key_id } => Self::of("signing_key", issuer, key_id),
        }
    }

    fn of(kind: &str, issuer: &str, name: &str) -> Fingerprint {
        Fingerprint::of(kind, &[issuer.as_bytes(), name.as_bytes()])
    }
}

/// A revocation, as filters have it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Revocation {
    /// The fingerprint of the target.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub fingerprint: Fingerprint,
    /// Only tokens issued until then, inclusive, are revoked; all if missing. In seconds since the
    /// epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_until: Option<u64>,
    /// When nothing that it could match is alive any more, in seconds since the epoch: the record is
    /// then removed.
    pub until: u64,
}

impl Revocation {
    /// Bytes of the content.
    const CONTENT_BYTES: usize = 16;

    /// The content of the record.
    pub fn content(&self) -> [u8; Self::CONTENT_BYTES] {
        let issued_until = self.issued_until.unwrap_or(u64::MAX).to_be_bytes();
        let mut content = [0; Self::CONTENT_BYTES];
        let bytes = issued_until.into_iter().chain(self.until.to_be_bytes());
        for (to, from) in content.iter_mut().zip(bytes) {
            *to = from;
        }
        content
    }

    /// Reads the content of the record of this fingerprint.
    pub fn from_content(fingerprint: Fingerprint, content: &[u8]) -> Option<Self> {
        let (issued_until, rest) = content.split_first_chunk()?;
        let issued_until = u64::from_be_bytes(*issued_until);
        let until = u64::from_be_bytes(rest.try_into().ok()?);
        let issued_until = (issued_until != u64::MAX).then_some(issued_until);
        Some(Self { fingerprint, issued_until, until })
    }

    /// Whether a token issued then is revoked. One that does not say when counts as old: whoever
    /// leaves out `iat` must not escape 'log out everywhere'.
    pub fn matches(&self, issued_at: Option<UnixSeconds>) -> bool {
        match (self.issued_until, issued_at) {
            (Some(until), Some(issued_at)) => issued_at.0 <= until,
            (None, _) | (_, None) => true,
        }
    }
}

/// The form of the content of an API key's record.
const API_KEY_VERSION: u8 = 1;

/// Why the content of a record cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the record of an API key cannot be read or written")]
pub struct DecodeRecordError;

/// The content of an API key's record.
///
/// # Errors
///
/// [`DecodeRecordError`] when the digest is none or a text is too long to be written.
pub fn encode_api_key(record: &ApiKeyRecord) -> Result<Vec<u8>, DecodeRecordError> {
    let mut writer = Writer(vec![API_KEY_VERSION]);
    writer.text(&record.id)?;
    writer.text(&record.environment)?;
    writer.text(&record.name)?;
    writer.digest(&record.digest)?;
    writer.0.push(match record.state {
        ApiKeyState::Active => 0,
        ApiKeyState::Disabled => 1,
        ApiKeyState::Revoked => 2,
    });
    writer.optional(record.expires_at.as_ref(), |writer, at| {
        writer.number(*at);
        Ok(())
    })?;
    writer.optional(record.issuer.as_ref(), |writer, text| writer.text(text))?;
    writer.optional(record.subject.as_ref(), |writer, text| writer.text(text))?;
    writer.list(&record.roles)?;
    writer.optional(record.scopes.as_ref(), |writer, list| writer.list(list))?;
    writer.optional(record.previous.as_ref(), |writer, previous| {
        writer.digest(&previous.digest)?;
        writer.number(previous.until);
        Ok(())
    })?;
    writer.list(&record.networks)?;
    writer.optional(record.rate_limit.as_ref(), |writer, limit| {
        writer.number(limit.requests);
        writer.number(limit.period_seconds);
        Ok(())
    })?;
    if writer.0.len() > super::bucket::MAX_CONTENT_BYTES {
        return Err(DecodeRecordError);
    }
    Ok(writer.0)
}

/// Reads the content of an API key's record.
///
/// # Errors
///
/// [`DecodeRecordError`] when it is of another version or cut.
pub fn decode_api_key(content: &[u8]) -> Result<ApiKeyRecord, DecodeRecordError> {
    read_api_key(Reader(content))
}

fn read_api_key(mut reader: Reader<'_>) -> Result<ApiKeyRecord, DecodeRecordError> {
    if reader.byte()? != API_KEY_VERSION {
        return Err(DecodeRecordError);
    }
    let record = ApiKeyRecord {
        id: reader.text()?,
        environment: reader.text()?,
        name: reader.text()?,
        digest: reader.digest()?,
        state: match reader.byte()? {
            0 => ApiKeyState::Active,
            1 => ApiKeyState::Disabled,
            2 => ApiKeyState::Revoked,
            _ => return Err(DecodeRecordError),
        },
        expires_at: reader.optional(Reader::number)?,
        issuer: reader.optional(Reader::text)?,
        subject: reader.optional(Reader::text)?,
        roles: reader.list()?,
        scopes: reader.optional(Reader::list)?,
        previous: reader.optional(|reader| {
            Ok(PreviousApiKey { digest: reader.digest()?, until: reader.number()? })
        })?,
        networks: reader.list()?,
        rate_limit: reader.optional(|reader| {
            let requests = reader.number()?;
            Ok(RateLimitRecord { requests, period_seconds: reader.number()? })
        })?,
    };
    if reader.0.is_empty() { Ok(record) } else { Err(DecodeRecordError) }
}

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_be_bytes());
    }

    fn text(&mut self, text: &str) -> Result<(), DecodeRecordError> {
        let length = u16::try_from(text.len()).map_err(|_| DecodeRecordError)?;
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn digest(&mut self, text: &str) -> Result<(), DecodeRecordError> {
        let digest = ApiKeyDigest::parse(text).ok_or(DecodeRecordError)?;
        self.0.extend_from_slice(digest.bytes());
        Ok(())
    }

    fn list(&mut self, list: &[String]) -> Result<(), DecodeRecordError> {
        let length = u16::try_from(list.len()).map_err(|_| DecodeRecordError)?;
        self.0.extend_from_slice(&length.to_be_bytes());
        list.iter().try_for_each(|text| self.text(text))
    }

    fn optional<T>(
        &mut self,
        value: Option<&T>,
        write: impl FnOnce(&mut Self, &T) -> Result<(), DecodeRecordError>,
    ) -> Result<(), DecodeRecordError> {
        self.0.push(u8::from(value.is_some()));
        value.map_or(Ok(()), |value| write(self, value))
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn chunk<const BYTES: usize>(&mut self) -> Result<[u8; BYTES], DecodeRecordError> {
        let (chunk, rest) = self.0.split_first_chunk().ok_or(DecodeRecordError)?;
        self.0 = rest;
        Ok(*chunk)
    }

    fn byte(&mut self) -> Result<u8, DecodeRecordError> {
        self.chunk::<1>().map(|[byte]| byte)
    }

    fn length(&mut self) -> Result<usize, DecodeRecordError> {
        self.chunk().map(|length| usize::from(u16::from_be_bytes(length)))
    }

    fn number(&mut self) -> Result<u64, DecodeRecordError> {
        self.chunk().map(u64::from_be_bytes)
    }

    fn text(&mut self) -> Result<String, DecodeRecordError> {
        let length = self.length()?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(DecodeRecordError)?;
        self.0 = rest;
        core::str::from_utf8(text).map(str::to_owned).map_err(|_| DecodeRecordError)
    }

    fn digest(&mut self) -> Result<String, DecodeRecordError> {
        self.chunk().map(|digest| ApiKeyDigest::from_bytes(digest).text())
    }

    fn list(&mut self) -> Result<Vec<String>, DecodeRecordError> {
        let length = self.length()?;
        // Grown as texts are read: a length alone must not make anyone reserve memory.
        (0..length).map(|_| self.text()).collect()
    }

    fn optional<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeRecordError>,
    ) -> Result<Option<T>, DecodeRecordError> {
        match self.byte()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(DecodeRecordError),
        }
    }
}
