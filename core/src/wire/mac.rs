//! Authentication of the internal interface: HMAC-SHA-256 (RFC 2104) with a nonce, both ways.
//!
//! The secret is never sent, so a squatter on the port learns nothing; and an answer without the
//! right MAC is never read, because Envoy itself makes up 503 and 504 when the sidecar is away.

use ring::hmac;

use crate::base64url;
use crate::secret::Secret;
use crate::time::UnixSeconds;

/// The header that carries the MAC in both directions.
pub const MAC_HEADER: &str = "x-wardgate-mac";
/// Bytes of a nonce: enough that none comes twice by chance.
pub const NONCE_BYTES: usize = 16;
/// The feed secret has at least the bytes of the hash (RFC 2104 §3).
pub const MIN_SECRET_BYTES: usize = 32;
/// Longest header that can be well-formed.
const MAX_HEADER_BYTES: usize = 256;

const REQUEST_CONTEXT: &[u8] = b"wardgate internal request v1";
const ANSWER_CONTEXT: &[u8] = b"wardgate internal answer v1";

/// Ties an answer to its question; each is used once.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Nonce(pub [u8; NONCE_BYTES]);

/// What a request consists of.
#[derive(Clone, Copy, Debug)]
pub struct RequestParts<'a> {
    /// The method, upper case.
    pub method: &'a str,
    /// Path and query as on the wire.
    pub path: &'a str,
    /// The body, empty if there is none.
    pub body: &'a [u8],
}

/// Why a message is not believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MacError {
    /// The header is missing or not of this form.
    #[error("the {MAC_HEADER} header is missing or malformed")]
    Header,
    /// The clocks differ by more than the window, or the message is old.
    #[error("the time of the message is outside the window; compare the clocks of both machines")]
    Time,
    /// The MAC is wrong: another secret, or the message was changed.
    #[error("the MAC does not match; compare the feed secret on both sides")]
    Mismatch,
}

/// Makes the header of a request.
pub fn sign_request(
    secret: &Secret,
    request: RequestParts<'_>,
    now: UnixSeconds,
    nonce: Nonce,
) -> String {
    let tag = request_context(secret, request, now, nonce).sign();
    format!(
        "v1,t={},n={},m={}",
        now.0,
        base64url::encode(&nonce.0),
        base64url::encode(tag.as_ref())
    )
}

/// Checks the header of a request and returns its nonce, which the caller must not accept again
/// within `window_seconds`: a recorded message played again would otherwise pass.
///
/// # Errors
///
/// [`MacError`] when the header is malformed, the time more than `window_seconds` away from `now`,
/// or the MAC wrong.
pub fn verify_request(
    secret: &Secret,
    request: RequestParts<'_>,
    header: &[u8],
    now: UnixSeconds,
    window_seconds: u64,
) -> Result<Nonce, MacError> {
    let mut fields = fields(header)?;
    let time = UnixSeconds(field(&mut fields, "t=")?.parse().map_err(|_| MacError::Header)?);
    let nonce = Nonce(decode(field(&mut fields, "n=")?)?);
    let mac: [u8; 32] = decode(field(&mut fields, "m=")?)?;
    if fields.next().is_some() {
        return Err(MacError::Header);
    }
    // The MAC first: whoever does not know the secret learns nothing about our clock.
    request_context(secret, request, time, nonce).verify(&mac)?;
    if time.0.abs_diff(now.0) > window_seconds {
        return Err(MacError::Time);
    }
    Ok(nonce)
}

/// Makes the header of the answer to the request with this nonce.
pub fn sign_answer(secret: &Secret, nonce: Nonce, status: u16, body: &[u8]) -> String {
    let tag = answer_context(secret, nonce, status, body).sign();
    format!("v1,m={}", base64url::encode(tag.as_ref()))
}

/// Checks the header of the answer to the request with this nonce.
///
/// # Errors
///
/// [`MacError`] when the header is missing or malformed, or the MAC wrong.
pub fn verify_answer(
    secret: &Secret,
    nonce: Nonce,
    status: u16,
    body: &[u8],
    header: &[u8],
) -> Result<(), MacError> {
    let mut fields = fields(header)?;
    let mac: [u8; 32] = decode(field(&mut fields, "m=")?)?;
    if fields.next().is_some() {
        return Err(MacError::Header);
    }
    answer_context(secret, nonce, status, body).verify(&mac)
}

fn request_context(
    secret: &Secret,
    request: RequestParts<'_>,
    time: UnixSeconds,
    nonce: Nonce,
) -> Message {
    Message::new(secret, REQUEST_CONTEXT)
        .part(request.method.as_bytes())
        .part(request.path.as_bytes())
        .part(&time.0.to_be_bytes())
        .part(&nonce.0)
        .part(request.body)
}

fn answer_context(secret: &Secret, nonce: Nonce, status: u16, body: &[u8]) -> Message {
    Message::new(secret, ANSWER_CONTEXT).part(&nonce.0).part(&status.to_be_bytes()).part(body)
}

/// A message under the MAC. Each part is preceded by its length, so that no two lists of parts make
/// the same bytes.
struct Message {
    key: hmac::Key,
    bytes: Vec<u8>,
}

impl Message {
    fn new(secret: &Secret, context: &[u8]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
        Self { key, bytes: Vec::new() }.part(context)
    }

    fn part(mut self, part: &[u8]) -> Self {
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(part);
        self
    }

    fn sign(self) -> hmac::Tag {
        hmac::sign(&self.key, &self.bytes)
    }

    fn verify(self, mac: &[u8]) -> Result<(), MacError> {
        hmac::verify(&self.key, &self.bytes, mac).map_err(|_| MacError::Mismatch)
    }
}

fn fields(header: &[u8]) -> Result<core::str::Split<'_, char>, MacError> {
    let text = core::str::from_utf8(header).map_err(|_| MacError::Header)?;
    let mut fields = text.split(',');
    if header.len() > MAX_HEADER_BYTES || fields.next() != Some("v1") {
        return Err(MacError::Header);
    }
    Ok(fields)
}

fn field<'a>(fields: &mut core::str::Split<'a, char>, name: &str) -> Result<&'a str, MacError> {
    fields.next().and_then(|field| field.strip_prefix(name)).ok_or(MacError::Header)
}

fn decode<const BYTES: usize>(text: &str) -> Result<[u8; BYTES], MacError> {
    base64url::decode(text.as_bytes())
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(MacError::Header)
}

#[cfg(test)]
mod tests;
