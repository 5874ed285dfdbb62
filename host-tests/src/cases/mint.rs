//! Tokens as a case describes them, right or wrong in one way.

use anyhow::{Result, anyhow, bail};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use wardgate_core::base64url;

use super::file::CaseFile;
use super::keys::{Keys, sign_hmac};

/// A token, described.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenSpec {
    /// Name of the issuer in the policy; gives `iss` and, with its first audience, `aud`.
    #[serde(default = "corp")]
    issuer: String,
    /// Name of the key that signs.
    #[serde(default = "rsa")]
    key: String,
    /// The algorithm; by default the usual one of the key.
    #[serde(default)]
    algorithm: Option<String>,
    /// Claims beside or in place of the usual ones; `null` leaves one out.
    #[serde(default)]
    claims: Map<String, Value>,
    /// Header members beside or in place of `alg` and `kid`; `null` leaves one out.
    #[serde(default)]
    header: Map<String, Value>,
    /// `exp`, `nbf` and `iat` in seconds from now.
    #[serde(default = "five_minutes")]
    expires_in: i64,
    #[serde(default)]
    not_before_in: Option<i64>,
    #[serde(default)]
    issued_in: i64,
    /// Letters to add to the claims, to make the token long.
    #[serde(default)]
    padding: usize,
    /// What to spoil.
    #[serde(default)]
    mutate: Option<Mutation>,
}

/// What is spoiled in a token that is otherwise right.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Mutation {
    /// One bit of the signature is another.
    FlipSignature,
    /// The signature is empty.
    NoSignature,
    /// The signature is one byte short.
    CutSignature,
    /// The signature is all zero (CVE-2022-21449).
    ZeroSignature,
    /// An ECDSA signature in DER.
    DerSignature,
    /// Bits that must be zero in the last letter are not.
    OddLastLetter,
    /// `alg` is `none`, and the signature is empty.
    AlgNone,
    /// The public key, as PEM, is used as an HMAC secret, and `alg` is HS256.
    PublicKeyAsSecret,
    /// The subject is changed after signing.
    ChangePayload,
    /// A claim stands twice.
    RepeatClaim,
    /// A header member stands twice.
    RepeatHeader,
    /// The payload is padded with `=`.
    PadPayload,
    /// A fourth part.
    ExtraPart,
    /// Header and payload only.
    TwoParts,
    /// The payload is no JSON.
    PayloadNoJson,
    /// The payload is a JSON list.
    PayloadList,
    /// `null` stands for the signature's letters.
    Junk,
}

impl TokenSpec {
    /// Adds what the token is bound to, unless its claims say so themselves.
    pub(super) fn bind(&mut self, confirmation: &Value) {
        self.claims.entry("cnf").or_insert_with(|| confirmation.clone());
    }
}

/// A token with nothing special.
pub(super) fn usual() -> TokenSpec {
    TokenSpec {
        issuer: corp(),
        key: rsa(),
        algorithm: None,
        claims: Map::new(),
        header: Map::new(),
        expires_in: five_minutes(),
        not_before_in: None,
        issued_in: 0,
        padding: 0,
        mutate: None,
    }
}

/// Makes the token.
pub(super) fn mint(spec: &TokenSpec, file: &CaseFile, keys: &Keys, now: u64) -> Result<String> {
    let algorithm = match (&spec.algorithm, spec.mutate) {
        (_, Some(Mutation::AlgNone)) => "none",
        (_, Some(Mutation::PublicKeyAsSecret)) => "HS256",
        (Some(algorithm), _) => algorithm,
        (None, _) => usual_algorithm(&spec.key)?,
    };
    let mut header = json!({"alg": algorithm, "kid": spec.key});
    change(&mut header, &spec.header);
    let mut claims = claims(spec, file, now)?;
    change(&mut claims, &spec.claims);
    let mut header = header.to_string();
    let mut payload = claims.to_string();
    match spec.mutate {
        Some(Mutation::RepeatHeader) => header = repeated(&header, "\"alg\":\"none\""),
        Some(Mutation::RepeatClaim) => payload = repeated(&payload, "\"sub\":\"root\""),
        Some(Mutation::PayloadNoJson) => payload = String::from("{\"sub\":"),
        Some(Mutation::PayloadList) => payload = String::from("[]"),
        _ => {}
    }
    let mut encoded_payload = base64url::encode(payload.as_bytes());
    if spec.mutate == Some(Mutation::PadPayload) {
        encoded_payload.push('=');
    }
    let input = format!("{}.{encoded_payload}", base64url::encode(header.as_bytes()));
    let signature = signature(spec, keys, algorithm, &input)?;
    Ok(assemble(spec.mutate, &input, &payload, &signature))
}

fn claims(spec: &TokenSpec, file: &CaseFile, now: u64) -> Result<Value> {
    let issuer = file.issuer(&spec.issuer)?;
    let after = |seconds: i64| now.saturating_add_signed(seconds);
    let mut claims = json!({
        "iss": issuer.get("issuer"),
        "aud": issuer.pointer("/audiences/0"),
        "sub": "alice",
        "iat": after(spec.issued_in),
        "exp": after(spec.expires_in),
    });
    let members = claims.as_object_mut().ok_or_else(|| anyhow!("no object"))?;
    if let Some(seconds) = spec.not_before_in {
        members.insert("nbf".to_owned(), after(seconds).into());
    }
    if spec.padding > 0 {
        members.insert("padding".to_owned(), "x".repeat(spec.padding).into());
    }
    Ok(claims)
}

fn signature(spec: &TokenSpec, keys: &Keys, algorithm: &str, input: &str) -> Result<Vec<u8>> {
    match spec.mutate {
        Some(Mutation::AlgNone | Mutation::NoSignature) => return Ok(Vec::new()),
        Some(Mutation::PublicKeyAsSecret) => {
            return sign_hmac(keys.public_pem(&spec.key)?.as_bytes(), algorithm, input.as_bytes());
        }
        _ => {}
    }
    let der = spec.mutate == Some(Mutation::DerSignature);
    let mut signature = keys.sign(&spec.key, algorithm, input.as_bytes(), der)?;
    match spec.mutate {
        Some(Mutation::FlipSignature) => {
            let middle = signature.len() / 2;
            if let Some(byte) = signature.get_mut(middle) {
                *byte ^= 1;
            }
        }
        Some(Mutation::CutSignature) => {
            signature.pop();
        }
        Some(Mutation::ZeroSignature) => signature.fill(0),
        _ => {}
    }
    Ok(signature)
}

fn assemble(mutation: Option<Mutation>, input: &str, payload: &str, signature: &[u8]) -> String {
    let mut encoded = base64url::encode(signature);
    match mutation {
        Some(Mutation::TwoParts) => return input.to_owned(),
        Some(Mutation::ExtraPart) => encoded.push_str(".e30"),
        Some(Mutation::Junk) => encoded = String::from("!null!"),
        Some(Mutation::OddLastLetter) => encoded = with_odd_last_letter(&encoded),
        Some(Mutation::ChangePayload) => {
            let header = input.split('.').next().unwrap_or_default();
            let payload = payload.replace("\"alice\"", "\"admin\"");
            return format!("{header}.{}.{encoded}", base64url::encode(payload.as_bytes()));
        }
        _ => {}
    }
    format!("{input}.{encoded}")
}

/// The same bytes for a lax decoder, another text: the next letter differs in a bit that is unused
/// when the number of bytes is no multiple of three.
fn with_odd_last_letter(encoded: &str) -> String {
    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = encoded.to_owned();
    let next = text.pop().and_then(|last| LETTERS.find(last)).map(|index| index ^ 1);
    text.extend(next.and_then(|index| LETTERS.chars().nth(index)));
    text
}

/// Adds and replaces members; `null` removes them.
pub(super) fn change(object: &mut Value, changes: &Map<String, Value>) {
    let Some(members) = object.as_object_mut() else { return };
    for (name, value) in changes {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
}

/// The object with one more member at its end.
fn repeated(object: &str, member: &str) -> String {
    format!("{},{member}}}", object.trim_end_matches('}'))
}

pub(super) fn usual_algorithm(key: &str) -> Result<&'static str> {
    Ok(match key.split('-').next() {
        Some("rsa") => "RS256",
        Some("p256") => "ES256",
        Some("p384") => "ES384",
        Some("p521") => "ES512",
        Some("ed25519") => "EdDSA",
        Some("hmac") => "HS256",
        _ => bail!("no key `{key}`"),
    })
}

fn corp() -> String {
    "corp".to_owned()
}

fn rsa() -> String {
    "rsa-1".to_owned()
}

const fn five_minutes() -> i64 {
    300
}
