//! Reads one JWK (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2).

use serde_json::{Map, Value};

use super::der;
use super::key::{Key, Material};
use super::set::KeyOrigin;
use crate::base64url;
use crate::secret::Secret;
use crate::token::Algorithm;

/// Longest `kid`; the same as in a token, so that no key has a name that no token can say.
pub const MAX_KEY_ID_BYTES: usize = crate::token::MAX_TOKEN_KEY_ID_BYTES;

/// Longest base64url text of a number: 8192 bits, the largest RSA modulus.
const MAX_NUMBER_TEXT_BYTES: usize = 1366;

/// RSA below 2048 bits can be factored by a state, and soon by others (RFC 7518 §3.3).
const MIN_RSA_BITS: usize = 2048;

/// More is not read at all: the cost of one check grows with the square of the length.
const MAX_RSA_BITS: usize = 8192;

/// Five bytes hold the 33 bits that Envoy and ring allow: larger exponents make one check as
/// slow as the sender of the key likes.
const MAX_RSA_EXPONENT_BYTES: usize = 5;

/// Most `key_ops`; eight are registered.
const MAX_KEY_OPERATIONS: usize = 16;

/// Why a key is not used.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum WhySkipped {
    /// The item of the list is not an object.
    #[error("it is not an object")]
    NotAnObject,
    /// `kty` is missing or not a string.
    #[error("`kty` is missing or not a string")]
    TypeMissing,
    /// `kty` is not one that is known here.
    #[error("`kty` is none of RSA, EC, OKP, oct")]
    TypeUnknown,
    /// `crv` is missing or not one that is known here.
    #[error("`crv` is none of P-256, P-384, P-521 (EC), Ed25519 (OKP)")]
    CurveUnknown,
    /// A private key stands where everyone can read it, or may.
    #[error("it is a private key, which must not stand in a key set; replace it, and the key")]
    PrivateKey,
    /// A symmetric key was published.
    #[error("a symmetric key must not be published; configure it as a secret")]
    SymmetricKeyFetched,
    /// The `kid` is too long or not a string.
    #[error("`kid` is not a string of at most {MAX_KEY_ID_BYTES} bytes")]
    KeyIdInvalid,
    /// The key is not for signatures.
    #[error("`use` is not `sig`")]
    UseRefused,
    /// The key is not for verification.
    #[error("`key_ops` is not a list of different strings that has `verify`")]
    OperationsRefused,
    /// `alg` is unknown here, or not one of this type of key.
    #[error("`alg` is not a signature algorithm of this type of key")]
    AlgorithmRefused,
    /// A number or coordinate is missing, no canonical base64url, or has the wrong length.
    #[error("a member of the key is missing, is not canonical base64url, or has the wrong length")]
    NumberInvalid,
    /// An RSA key of a length that is not accepted.
    #[error("an RSA key must have 2048 to 8192 bits")]
    RsaLengthRefused,
    /// An RSA key with numbers that no RSA key has.
    #[error("the RSA modulus is even, or the exponent is not an odd number from 3 to 2^33")]
    RsaNumbersRefused,
    /// The coordinates are no point that can be a key.
    #[error("the point is not on the curve, or of small order")]
    PointRefused,
    /// An HMAC secret shorter than any hash.
    #[error("an HMAC secret must have at least 32 bytes, and as many as the hash of its `alg`")]
    SecretTooShort,
}

/// Reads one key.
pub(super) fn key(value: &Value, origin: KeyOrigin) -> Result<Key, WhySkipped> {
    let members = value.as_object().ok_or(WhySkipped::NotAnObject)?;
    let kty = members.get("kty").and_then(Value::as_str).ok_or(WhySkipped::TypeMissing)?;
    refuse_private(members, kty)?;
    let id = key_id(members)?;
    require_use(members)?;
    require_operations(members)?;
    let material = match kty {
        "RSA" => rsa(members),
        "EC" => ec(members),
        "OKP" => okp(members),
        "oct" => oct(members, origin),
        _ => Err(WhySkipped::TypeUnknown),
    }?;
    let spki_der = spki_der(&material);
    let mut key = Key { id, algorithm: None, material, spki_der };
    key.algorithm = algorithm(members, &key)?;
    Ok(key)
}

/// The `kid` for a report: only a proper one, so that nothing else of the key gets there.
pub(super) fn key_id_to_report(value: &Value) -> Option<String> {
    value.as_object().and_then(|members| key_id(members).ok()).flatten()
}

/// A private key in a key set is a leak. It is not used, so that the leak does not go unnoticed.
fn refuse_private(members: &Map<String, Value>, kty: &str) -> Result<(), WhySkipped> {
    const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
    if kty != "oct" && PRIVATE.iter().any(|name| members.contains_key(*name)) {
        return Err(WhySkipped::PrivateKey);
    }
    Ok(())
}

fn key_id(members: &Map<String, Value>) -> Result<Option<String>, WhySkipped> {
    match members.get("kid") {
        None => Ok(None),
        Some(Value::String(id)) if id.len() <= MAX_KEY_ID_BYTES => Ok(Some(id.clone())),
        Some(_) => Err(WhySkipped::KeyIdInvalid),
    }
}

fn require_use(members: &Map<String, Value>) -> Result<(), WhySkipped> {
    match members.get("use") {
        None => Ok(()),
        Some(purpose) if purpose == "sig" => Ok(()),
        Some(_) => Err(WhySkipped::UseRefused),
    }
}

fn require_operations(members: &Map<String, Value>) -> Result<(), WhySkipped> {
    let Some(operations) = members.get("key_ops") else { return Ok(()) };
    let operations = operations.as_array().ok_or(WhySkipped::OperationsRefused)?;
    let is_proper = operations.len() <= MAX_KEY_OPERATIONS
        && operations.iter().all(Value::is_string)
        && operations.iter().any(|operation| operation == "verify")
        // RFC 7517 §4.3: duplicate values must not be present.
        && !operations.iter().enumerate().any(|(index, operation)| {
            operations.iter().skip(index.saturating_add(1)).any(|later| later == operation)
        });
    if is_proper { Ok(()) } else { Err(WhySkipped::OperationsRefused) }
}

fn algorithm(members: &Map<String, Value>, key: &Key) -> Result<Option<Algorithm>, WhySkipped> {
    let Some(name) = members.get("alg") else { return Ok(None) };
    let algorithm = name
        .as_str()
        .and_then(Algorithm::from_word)
        .filter(|algorithm| key.signature_bytes(*algorithm).is_some())
        .ok_or(WhySkipped::AlgorithmRefused)?;
    // Only a secret can be of the right type and yet not fit.
    if key.fits(algorithm) { Ok(Some(algorithm)) } else { Err(WhySkipped::SecretTooShort) }
}

fn number(members: &Map<String, Value>, name: &str) -> Result<Vec<u8>, WhySkipped> {
    members
        .get(name)
        .and_then(Value::as_str)
        .filter(|text| text.len() <= MAX_NUMBER_TEXT_BYTES)
        .and_then(|text| base64url::decode(text.as_bytes()))
        .ok_or(WhySkipped::NumberInvalid)
}

fn rsa(members: &Map<String, Value>) -> Result<Material, WhySkipped> {
    let modulus = number(members, "n")?;
    let exponent = number(members, "e")?;
    let starts_with_zero = |number: &[u8]| number.first().is_none_or(|first| *first == 0);
    // RFC 7518 §2: the shortest form, so that one key has one text.
    if starts_with_zero(&modulus) || starts_with_zero(&exponent) {
        return Err(WhySkipped::NumberInvalid);
    }
    let unused = modulus.first().map_or(0, |first| first.leading_zeros() as usize);
    let bits = modulus.len().saturating_mul(8).saturating_sub(unused);
    if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
        return Err(WhySkipped::RsaLengthRefused);
    }
    if !is_odd(&modulus) || !is_acceptable_exponent(&exponent) {
        return Err(WhySkipped::RsaNumbersRefused);
    }
    Ok(Material::Rsa { modulus, exponent, bits })
}

fn is_odd(number: &[u8]) -> bool {
    number.last().is_some_and(|last| last & 1 == 1)
}

/// With the exponent 1, every message is its own signature.
fn is_acceptable_exponent(exponent: &[u8]) -> bool {
    let value = exponent.iter().fold(0_u64, |value, byte| (value << 8) | u64::from(*byte));
    exponent.len() <= MAX_RSA_EXPONENT_BYTES && is_odd(exponent) && (3..1 << 33).contains(&value)
}

fn ec(members: &Map<String, Value>) -> Result<Material, WhySkipped> {
    let curve = members.get("crv").and_then(Value::as_str).ok_or(WhySkipped::CurveUnknown)?;
    match curve {
        "P-256" => Ok(Material::P256 { point: point(members, 32)? }),
        "P-384" => Ok(Material::P384 { point: point(members, 48)? }),
        "P-521" => p521::ecdsa::VerifyingKey::from_sec1_bytes(&point(members, 66)?)
            .map(|key| Material::P521 { key: Box::new(key) })
            .map_err(|_| WhySkipped::PointRefused),
        _ => Err(WhySkipped::CurveUnknown),
    }
}

/// The uncompressed point (SEC 1 §2.3.3) of `x` and `y`, each of full length (RFC 7518 §6.2.1.2).
/// That it lies on the curve is checked by what verifies with it, each time.
fn point(members: &Map<String, Value>, coordinate_bytes: usize) -> Result<Vec<u8>, WhySkipped> {
    let x = number(members, "x")?;
    let y = number(members, "y")?;
    if x.len() != coordinate_bytes || y.len() != coordinate_bytes {
        return Err(WhySkipped::NumberInvalid);
    }
    Ok([&[4], x.as_slice(), y.as_slice()].concat())
}

fn okp(members: &Map<String, Value>) -> Result<Material, WhySkipped> {
    if members.get("crv").is_none_or(|curve| curve != "Ed25519") {
        return Err(WhySkipped::CurveUnknown);
    }
    let bytes = number(members, "x")?.try_into().map_err(|_| WhySkipped::NumberInvalid)?;
    ed25519_dalek::VerifyingKey::from_bytes(&bytes)
        .ok()
        // With a key of small order, one signature is valid for every message.
        .filter(|key| !key.is_weak())
        .map(|key| Material::Ed25519 { key: Box::new(key) })
        .ok_or(WhySkipped::PointRefused)
}

fn oct(members: &Map<String, Value>, origin: KeyOrigin) -> Result<Material, WhySkipped> {
    match origin {
        KeyOrigin::Fetched => Err(WhySkipped::SymmetricKeyFetched),
        KeyOrigin::Configured => {
            let secret = Secret::new(number(members, "k")?);
            let least = Algorithm::Hs256.hmac_secret_bytes().unwrap_or(usize::MAX);
            if secret.expose().len() < least {
                return Err(WhySkipped::SecretTooShort);
            }
            Ok(Material::Hmac { secret })
        }
    }
}

fn spki_der(material: &Material) -> Option<Vec<u8>> {
    let info = der::subject_public_key_info;
    match material {
        Material::Rsa { modulus, exponent, .. } => {
            Some(info(der::RSA_ENCRYPTION, &der::rsa_public_key(modulus, exponent)))
        }
        Material::P256 { point } => Some(info(der::EC_P256, point)),
        Material::P384 { point } => Some(info(der::EC_P384, point)),
        Material::P521 { key } => Some(info(der::EC_P521, key.to_sec1_point(false).as_bytes())),
        Material::Ed25519 { .. } | Material::Hmac { .. } => None,
    }
}
