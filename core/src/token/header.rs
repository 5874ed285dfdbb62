//! The JOSE header of a token (RFC 7515 §4): what is read, what is refused, what is ignored.

use serde_json::{Map, Value};

use super::Algorithm;
use crate::json;
use crate::reason::Reason;

/// Longest header, decoded. Real ones have 40 to 200 bytes; what makes them long are certificates
/// and keys, which are refused anyway.
pub const MAX_HEADER_BYTES: usize = 2 * 1024;

/// Longest `kid`. Thumbprints have 43 bytes, URLs of keys seldom over 200.
pub const MAX_TOKEN_KEY_ID_BYTES: usize = 256;

/// Longest `typ`. The longest registered media types of tokens have about 60 bytes.
pub const MAX_TOKEN_TYPE_BYTES: usize = 128;

/// What the rest of the crate needs of a header.
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    pub(super) token_type: Option<String>,
}

impl Header {
    /// Reads a decoded header. Members that are not named here are ignored, as RFC 7515 §4 demands.
    pub(super) fn parse(text: &[u8]) -> Result<Self, Reason> {
        if text.len() > MAX_HEADER_BYTES {
            return Err(Reason::TokenOversize);
        }
        let Ok(Value::Object(mut members)) = json::parse_strict(text) else {
            return Err(Reason::TokenMalformed);
        };
        let algorithm = algorithm(&members)?;
        refuse_members(&members)?;
        for name in ["x5t", "x5t#S256"] {
            take_text(&mut members, name, usize::MAX)?;
        }
        if let Some(content_type) = take_text(&mut members, "cty", usize::MAX)? {
            // A nested token would be forwarded unread: its claims were never looked at (RFC 7519 §5.2).
            if without_application(&content_type).eq_ignore_ascii_case("jwt") {
                return Err(Reason::TokenMalformed);
            }
        }
        Ok(Self {
            algorithm,
            key_id: take_text(&mut members, "kid", MAX_TOKEN_KEY_ID_BYTES)?,
            token_type: take_text(&mut members, "typ", MAX_TOKEN_TYPE_BYTES)?,
        })
    }
}

fn algorithm(members: &Map<String, Value>) -> Result<Algorithm, Reason> {
    let name = members.get("alg").and_then(Value::as_str).ok_or(Reason::TokenMalformed)?;
    // `none` in any spelling is as unknown as any other word: an unsigned token is nobody's
    // (RFC 8725 §3.2).
    Algorithm::from_word(name).ok_or(Reason::TokenAlgorithmRefused)
}

fn refuse_members(members: &Map<String, Value>) -> Result<(), Reason> {
    for name in members.keys() {
        match name.as_str() {
            // A key in the token is the attacker's key; a URL of one lets the attacker aim our
            // requests as well (RFC 8725 §3.10, CVE-2018-0114).
            "jwk" | "jku" | "x5u" | "x5c" => return Err(Reason::TokenKeyEmbedded),
            // No extension is understood, so none may be critical (RFC 7515 §4.1.11). `b64: false`
            // changes what the signature covers (RFC 7797 §3), whether `crit` says so or not.
            "crit" | "b64" => return Err(Reason::TokenCriticalHeader),
            // Those of an encrypted token; `zip` would also let a small token become a large one.
            "zip" | "enc" => return Err(Reason::TokenMalformed),
            _ => {}
        }
    }
    Ok(())
}

/// Takes the member `name`, which must be a string if it is present.
fn take_text(
    members: &mut Map<String, Value>,
    name: &str,
    limit_bytes: usize,
) -> Result<Option<String>, Reason> {
    match members.get_mut(name).map(Value::take) {
        None => Ok(None),
        Some(Value::String(text)) if text.len() <= limit_bytes => Ok(Some(text)),
        Some(_) => Err(Reason::TokenMalformed),
    }
}

/// A media type without the `application/` that may be left out when no other `/` follows
/// (RFC 7515 §4.1.9).
pub(super) fn without_application(media_type: &str) -> &str {
    const PREFIX: &str = "application/";
    match media_type.split_at_checked(PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) && !rest.contains('/') => rest,
        Some(_) | None => media_type,
    }
}
