//! A proof as it is written (RFC 9449 §4.2): read in the one way that it can be read.

use serde_json::{Map, Value};

use super::DpopError;
use crate::base64url;
use crate::json;
use crate::time::UnixSeconds;
use crate::token::{Algorithm, MAX_SIGNATURE_BYTES, Parts, numeric_date};

/// Longest proof. One with ES256 has about 500 bytes, one with an RSA key of 4096 bits under 2500.
pub const MAX_PROOF_BYTES: usize = 4096;

/// Longest `jti`. 16 random bytes do (RFC 9449 §4.2); UUIDs have 36 letters.
pub const MAX_TOKEN_ID_BYTES: usize = 256;

/// Longest `nonce`. Ours have 22 letters.
pub const MAX_NONCE_BYTES: usize = 256;

/// A proof of the right form. Nothing in it can be relied on: anyone can write one.
pub(super) struct UnverifiedProof<'a> {
    pub(super) signing_input: &'a [u8],
    pub(super) signature: Vec<u8>,
    pub(super) algorithm: Algorithm,
    pub(super) jwk: Value,
    pub(super) claims: ProofClaims,
}

/// The claims of a proof; their types are right.
pub(super) struct ProofClaims {
    pub(super) token_id: String,
    pub(super) method: String,
    pub(super) uri: String,
    pub(super) issued_at: UnixSeconds,
    pub(super) expires_at: Option<UnixSeconds>,
    pub(super) not_before: Option<UnixSeconds>,
    pub(super) token_hash: Option<String>,
    pub(super) nonce: Option<String>,
}

impl<'a> UnverifiedProof<'a> {
    /// Reads a proof, and refuses what its header alone gives away.
    pub(super) fn parse(compact: &'a [u8], algorithms: &[Algorithm]) -> Result<Self, DpopError> {
        if compact.len() > MAX_PROOF_BYTES {
            return Err(DpopError::Oversize);
        }
        let parts = Parts::of(compact).ok_or(DpopError::Malformed)?;
        let mut header = object(parts.header)?;
        let algorithm = judge_header(&header, algorithms)?;
        let jwk = header.get_mut("jwk").map(Value::take).unwrap_or_default();
        let signature = base64url::decode(parts.signature).ok_or(DpopError::Malformed)?;
        if signature.len() > MAX_SIGNATURE_BYTES {
            return Err(DpopError::Oversize);
        }
        let claims = ProofClaims::read(object(parts.payload)?)?;
        Ok(Self { signing_input: parts.signing_input, signature, algorithm, jwk, claims })
    }
}

impl ProofClaims {
    fn read(mut all: Map<String, Value>) -> Result<Self, DpopError> {
        // Fractions are rounded to the side on which the proof is valid for less time.
        let date = |name, whole: fn(f64) -> f64| {
            numeric_date(&all, name, whole).map_err(|_| DpopError::ClaimInvalid)
        };
        let issued_at = date("iat", f64::floor)?.ok_or(DpopError::ClaimInvalid)?;
        let expires_at = date("exp", f64::floor)?;
        let not_before = date("nbf", f64::ceil)?;
        Ok(Self {
            token_id: required(&mut all, "jti", MAX_TOKEN_ID_BYTES)?,
            method: required(&mut all, "htm", MAX_PROOF_BYTES)?,
            uri: required(&mut all, "htu", MAX_PROOF_BYTES)?,
            issued_at,
            expires_at,
            not_before,
            token_hash: text(&mut all, "ath", MAX_PROOF_BYTES)?,
            nonce: text(&mut all, "nonce", MAX_NONCE_BYTES)?,
        })
    }
}

fn object(part: &[u8]) -> Result<Map<String, Value>, DpopError> {
    let decoded = base64url::decode(part).ok_or(DpopError::Malformed)?;
    match json::parse_strict(&decoded) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) | Err(_) => Err(DpopError::Malformed),
    }
}

fn judge_header(
    header: &Map<String, Value>,
    algorithms: &[Algorithm],
) -> Result<Algorithm, DpopError> {
    // The key is `jwk`. A second one would be an invitation to check with the other, and a URL of one
    // would let the client aim our requests. No extension is understood (RFC 7515 §4.1.11), and
    // `b64` changes what is signed.
    const REFUSED: [&str; 7] = ["jku", "x5u", "x5c", "crit", "b64", "zip", "enc"];
    let word = |name| header.get(name).and_then(Value::as_str);
    // Exactly this: any other JWT that the same key has signed, say an assertion to log in with,
    // must not pass for a proof (RFC 8725 §3.11).
    if word("typ") != Some("dpop+jwt") {
        return Err(DpopError::TypeRefused);
    }
    if REFUSED.iter().any(|name| header.contains_key(*name)) {
        return Err(DpopError::HeaderRefused);
    }
    // With `none` or a secret that stands in the proof, everybody could prove everything. Neither
    // can be allowed by configuration: the type of the key would refuse a secret all the same.
    word("alg")
        .and_then(Algorithm::from_word)
        .filter(|algorithm| algorithm.hmac_secret_bytes().is_none())
        .filter(|algorithm| algorithms.contains(algorithm))
        .ok_or(DpopError::AlgorithmRefused)
}

fn text(
    all: &mut Map<String, Value>,
    name: &str,
    limit_bytes: usize,
) -> Result<Option<String>, DpopError> {
    match all.get_mut(name).map(Value::take) {
        None => Ok(None),
        Some(Value::String(text)) if text.len() <= limit_bytes => Ok(Some(text)),
        Some(_) => Err(DpopError::ClaimInvalid),
    }
}

fn required(
    all: &mut Map<String, Value>,
    name: &str,
    limit_bytes: usize,
) -> Result<String, DpopError> {
    text(all, name, limit_bytes)?.filter(|text| !text.is_empty()).ok_or(DpopError::ClaimInvalid)
}
