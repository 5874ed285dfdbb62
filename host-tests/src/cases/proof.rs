//! Bound tokens and proofs of possession (RFC 9449) as a case describes them.

use anyhow::{Result, anyhow};
use aws_lc_rs::digest;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use wardgate_core::base64url;
use wardgate_core::jwk::Key;

use super::file::{Case, CaseFile};
use super::keys::Keys;
use super::mint::{self, TokenSpec, change, mint, usual_algorithm};

/// A token after `DPoP`, and a proof.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DpopSpec {
    /// The token.
    #[serde(default = "mint::usual")]
    jwt: TokenSpec,
    /// Name of the key that it is bound to, unless its claims have a `cnf`.
    #[serde(default = "client_key")]
    bound_to: Option<String>,
    /// What stands before the token.
    #[serde(default = "dpop")]
    scheme: String,
    /// The proof.
    #[serde(default = "usual")]
    proof: Option<ProofSpec>,
}

/// A proof, described.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProofSpec {
    /// Name of the key that signs, and stands in it.
    #[serde(default = "client_key_name")]
    key: String,
    /// The algorithm; by default the usual one of the key.
    #[serde(default)]
    algorithm: Option<String>,
    /// Claims beside or in place of the usual ones; `null` leaves one out.
    #[serde(default)]
    claims: Map<String, Value>,
    /// Header members beside or in place of the usual ones; `null` leaves one out.
    #[serde(default)]
    header: Map<String, Value>,
    /// `iat` in seconds from now.
    #[serde(default)]
    issued_in: i64,
    /// What to spoil.
    #[serde(default)]
    mutate: Option<Mutation>,
}

/// What is spoiled in a proof that is otherwise right.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Mutation {
    /// One bit of the signature is another.
    FlipSignature,
    /// The `jti` is another than was signed.
    ChangePayload,
}

/// A request that proofs are made for.
pub(super) struct About<'a> {
    pub(super) file: &'a CaseFile,
    pub(super) case: &'a Case,
    pub(super) keys: &'a Keys,
    pub(super) now: u64,
}

type Headers = Vec<(&'static str, String)>;

/// The headers of a bound token and its proof.
pub(super) fn headers(spec: &DpopSpec, about: &About<'_>) -> Result<Headers> {
    let mut token = spec.jwt.clone();
    if let Some(key) = &spec.bound_to {
        token.bind(&json!({"jkt": thumbprint(about.keys, key)?}));
    }
    let token = mint(&token, about.file, about.keys, about.now)?;
    let mut headers = vec![("authorization", format!("{} {token}", spec.scheme))];
    if let Some(described) = &spec.proof {
        headers.push(("dpop", proof(described, Some(&token), about)?));
    }
    Ok(headers)
}

/// A proof for the request of the case; with a token, for that one.
pub(super) fn proof(spec: &ProofSpec, token: Option<&str>, about: &About<'_>) -> Result<String> {
    let algorithm = match &spec.algorithm {
        Some(algorithm) => algorithm,
        None => usual_algorithm(&spec.key)?,
    };
    let jwk = about.keys.public_jwk(&spec.key)?;
    let mut header = json!({"typ": "dpop+jwt", "alg": algorithm, "jwk": jwk});
    change(&mut header, &spec.header);
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| anyhow!("no randomness"))?;
    let request = &about.case.request;
    let mut claims = json!({
        "jti": base64url::encode(&random),
        "htm": request.method,
        "htu": format!("https://{}{}", request.host, request.path),
        "iat": about.now.saturating_add_signed(spec.issued_in),
    });
    if let (Some(token), Some(claims)) = (token, claims.as_object_mut()) {
        let hash = digest::digest(&digest::SHA256, token.as_bytes());
        claims.insert("ath".to_owned(), base64url::encode(hash.as_ref()).into());
    }
    change(&mut claims, &spec.claims);
    let encoded = |value: &Value| base64url::encode(value.to_string().as_bytes());
    let header = encoded(&header);
    let mut input = format!("{header}.{}", encoded(&claims));
    let mut signature = about.keys.sign(&spec.key, algorithm, input.as_bytes(), false)?;
    match spec.mutate {
        None => {}
        Some(Mutation::FlipSignature) => {
            let middle = signature.len() / 2;
            if let Some(byte) = signature.get_mut(middle) {
                *byte ^= 1;
            }
        }
        Some(Mutation::ChangePayload) => {
            change(&mut claims, &Map::from_iter([("jti".to_owned(), json!("another"))]));
            input = format!("{header}.{}", encoded(&claims));
        }
    }
    Ok(format!("{input}.{}", base64url::encode(&signature)))
}

fn thumbprint(keys: &Keys, name: &str) -> Result<String> {
    let key = Key::public(&keys.public_jwk(name)?)?;
    key.thumbprint().ok_or_else(|| anyhow!("no thumbprint of `{name}`"))
}

fn usual() -> Option<ProofSpec> {
    serde_json::from_value(json!({})).ok()
}

fn client_key_name() -> String {
    "p256-2".to_owned()
}

#[expect(clippy::unnecessary_wraps, reason = "serde wants the type of the field")]
fn client_key() -> Option<String> {
    Some(client_key_name())
}

fn dpop() -> String {
    "DPoP".to_owned()
}
