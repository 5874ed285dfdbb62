//! From a case to the bytes of its request.

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use wardgate_core::api_key::ApiKey;

use super::file::{Case, CaseFile, bytes, generate_api_key};
use super::keys::Keys;
use super::mint::{TokenSpec, mint};
use super::proof::{self, About, DpopSpec, ProofSpec};

/// A request, ready to be sent.
#[derive(Clone, Debug)]
pub struct BuiltRequest {
    /// The method.
    pub method: String,
    /// The `:authority`.
    pub host: String,
    /// The `:path`.
    pub path: Vec<u8>,
    /// Names and values in order, credentials first.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A credential, described.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Credential {
    /// A token in `authorization`, after `Bearer`.
    Jwt(TokenSpec),
    /// A token after another text than `Bearer` and a space.
    JwtAfter { prefix: String, jwt: TokenSpec },
    /// A bound token in `authorization`, and a proof in `dpop`.
    Dpop(Box<DpopSpec>),
    /// A proof in `dpop`, for no token.
    Proof(ProofSpec),
    /// A key in `x-api-key`.
    ApiKey(ApiKeySpec),
}

/// An API key, described.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ApiKeySpec {
    /// Its name in the file's `api_keys`.
    #[serde(default)]
    name: String,
    #[serde(default)]
    variant: Variant,
}

/// What is wrong with an API key.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Variant {
    /// Nothing.
    #[default]
    Good,
    /// The checksum is wrong.
    BadChecksum,
    /// Well-formed, but nobody made it.
    Unknown,
    /// The id of one that exists, with another secret and the right checksum.
    WrongSecret,
    /// In upper case.
    UpperCase,
}

/// Builds the request of a case.
///
/// # Errors
///
/// When the case describes something that does not exist.
pub fn build_request(
    file: &CaseFile,
    case: &Case,
    keys: &Keys,
    now_seconds: u64,
) -> Result<BuiltRequest> {
    let about = About { file, case, keys, now: now_seconds };
    let mut headers = Vec::new();
    for described in &case.credentials {
        let credential: Credential = serde_json::from_value(described.clone())?;
        let described = credential_headers(credential, &about).context(case.name.clone())?;
        headers.extend(described.into_iter().map(|(name, value)| (name.into(), value.into())));
    }
    for (name, value) in &case.request.headers {
        headers.push((bytes(name)?, bytes(value)?));
    }
    Ok(BuiltRequest {
        method: case.request.method.clone(),
        host: case.request.host.clone(),
        path: bytes(&case.request.path)?,
        headers,
    })
}

fn credential_headers(
    credential: Credential,
    about: &About<'_>,
) -> Result<Vec<(&'static str, String)>> {
    let About { file, keys, now, .. } = *about;
    Ok(match credential {
        Credential::Jwt(token) => {
            vec![("authorization", format!("Bearer {}", mint(&token, file, keys, now)?))]
        }
        Credential::JwtAfter { prefix, jwt } => {
            vec![("authorization", format!("{prefix}{}", mint(&jwt, file, keys, now)?))]
        }
        Credential::Dpop(spec) => proof::headers(&spec, about)?,
        Credential::Proof(spec) => vec![("dpop", proof::proof(&spec, None, about)?)],
        Credential::ApiKey(spec) => vec![("x-api-key", api_key(&spec, file, keys)?)],
    })
}

fn api_key(spec: &ApiKeySpec, file: &CaseFile, keys: &Keys) -> Result<String> {
    if spec.variant == Variant::Unknown {
        return Ok(generate_api_key()?.expose().to_owned());
    }
    if !file.api_keys.contains_key(&spec.name) {
        bail!("no API key `{}`", spec.name);
    }
    let key = keys.api_key(&file.name, &spec.name)?;
    let text = key.expose().to_owned();
    Ok(match spec.variant {
        Variant::Good | Variant::Unknown => text,
        Variant::BadChecksum => with_other_last_letter(&text),
        Variant::UpperCase => text.to_ascii_uppercase(),
        Variant::WrongSecret => wrong_secret(&key)?,
    })
}

fn with_other_last_letter(text: &str) -> String {
    let mut text = text.to_owned();
    let last = text.pop();
    text.push(if last == Some('0') { '1' } else { '0' });
    text
}

/// The id of `key` and the secret of another, with the right checksum.
fn wrong_secret(key: &ApiKey) -> Result<String> {
    let other = generate_api_key()?;
    let end = |key: &ApiKey| key.expose().find(key.id()).map(|start| start.saturating_add(12));
    let (Some(own), Some(foreign)) = (end(key), end(&other)) else { bail!("no id") };
    let head = key.expose().get(..own).unwrap_or_default();
    let secret = other.expose().get(foreign..foreign.saturating_add(32)).unwrap_or_default();
    let text = format!("{head}{secret}");
    Ok(format!("{text}_{}", checksum(text.as_bytes())))
}

/// CRC-32/ISO-HDLC as six digits of base 62, written a second time: a mistake of the core's own
/// would show.
fn checksum(text: &[u8]) -> String {
    const ALPHABET: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut register = u32::MAX;
    for byte in text {
        register ^= u32::from(*byte);
        for _ in 0..8 {
            let bit = register & 1;
            register >>= 1;
            if bit == 1 {
                register ^= 0xedb8_8320;
            }
        }
    }
    let mut rest = !register;
    let mut digits = Vec::new();
    for _ in 0..6 {
        let digit = usize::try_from(rest % 62).unwrap_or_default();
        digits.extend(ALPHABET.chars().nth(digit));
        rest /= 62;
    }
    digits.iter().rev().collect()
}
