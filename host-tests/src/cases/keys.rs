//! The keys of the cases, generated once per process.

use std::collections::BTreeMap;
use std::sync::Mutex;

use anyhow::{Result, anyhow, bail};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaKeyPair,
};
use serde_json::{Value, json};
use wardgate_core::api_key::ApiKey;
use wardgate_core::base64url;
use wardgate_core::secret::Secret;
use wardgate_core::wire::ApiKeyRecord;

use super::file::{CaseFile, generate_api_key};

/// The key of the digests of API keys in all fixtures.
pub const DIGEST_KEY: [u8; 32] = *b"the digest key of all test cases";

/// Names of the keys. Those with `stranger` stand in no key set.
const RSA: [&str; 3] = ["rsa-1", "rsa-2", "rsa-stranger"];
const EC: [(&str, &str); 6] = [
    ("p256-1", "P-256"),
    ("p256-2", "P-256"),
    ("p256-stranger", "P-256"),
    ("p384-1", "P-384"),
    ("p521-1", "P-521"),
    ("p521-stranger", "P-521"),
];
const ED25519: [&str; 2] = ["ed25519-1", "ed25519-stranger"];
const HMAC: [&str; 2] = ["hmac-1", "hmac-stranger"];
/// The variable that policies name in `hmac_secret_env`; it holds the key `hmac-1`.
const HMAC_SECRET_ENV: &str = "WARDGATE_CASES_HMAC_SECRET";

/// Key pairs by name, and API keys by file and name.
pub struct Keys {
    rsa: BTreeMap<&'static str, RsaKeyPair>,
    /// PKCS #8, because aws-lc-rs ties a key pair to one form of signature.
    ec: BTreeMap<&'static str, (&'static str, Vec<u8>)>,
    ed25519: BTreeMap<&'static str, Ed25519KeyPair>,
    hmac: BTreeMap<&'static str, Vec<u8>>,
    made: Mutex<BTreeMap<(String, String), ApiKey>>,
    random: SystemRandom,
}

/// An API key of a case file: the key in clear for clients, the record for the sidecar's part.
#[derive(Clone, Debug)]
pub struct ApiKeyFixture {
    /// The key in clear.
    pub key: ApiKey,
    /// What the sidecar answers when it is asked for its id.
    pub record: ApiKeyRecord,
}

impl Keys {
    /// Generates all keys. Takes about a second: once per process is enough.
    ///
    /// # Errors
    ///
    /// When the operating system has no randomness.
    pub fn generate() -> Result<Self> {
        let mut keys = Self {
            rsa: BTreeMap::new(),
            ec: BTreeMap::new(),
            ed25519: BTreeMap::new(),
            hmac: BTreeMap::new(),
            made: Mutex::default(),
            random: SystemRandom::new(),
        };
        for name in RSA {
            keys.rsa.insert(name, RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?);
        }
        for (name, curve) in EC {
            let pair = EcdsaKeyPair::generate(ec_algorithm(curve, true)?).map_err(failed)?;
            let pkcs8 = pair.to_pkcs8v1().map_err(failed)?;
            keys.ec.insert(name, (curve, pkcs8.as_ref().to_vec()));
        }
        for name in ED25519 {
            keys.ed25519.insert(name, Ed25519KeyPair::generate().map_err(failed)?);
        }
        for name in HMAC {
            let mut secret = vec![0; 64];
            aws_lc_rs::rand::fill(&mut secret).map_err(failed)?;
            keys.hmac.insert(name, secret);
        }
        Ok(keys)
    }

    /// The environment that the gate needs: names and values.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let secret = self.hmac.get("hmac-1").map(|secret| base64url::encode(secret));
        vec![(HMAC_SECRET_ENV, secret.unwrap_or_default())]
    }

    /// The JWK Set that a list describes: names of keys, or `{key, …}` with members to add, and to
    /// leave out where they are `null`.
    pub(super) fn jwks(&self, described: &Value) -> Result<Value> {
        let list = described.as_array().ok_or_else(|| anyhow!("`generated` is a list"))?;
        let keys: Result<Vec<Value>> = list.iter().map(|item| self.jwk(item)).collect();
        Ok(json!({"keys": keys?}))
    }

    fn jwk(&self, described: &Value) -> Result<Value> {
        let name = described.get("key").unwrap_or(described).as_str().unwrap_or_default();
        let mut jwk = self.public_jwk(name)?;
        let members = jwk.as_object_mut().ok_or_else(|| anyhow!("no object"))?;
        members.insert("kid".to_owned(), name.into());
        members.insert("use".to_owned(), "sig".into());
        let changes = described.as_object().into_iter().flatten();
        for (member, value) in changes.filter(|(member, _)| *member != "key") {
            if value.is_null() {
                members.remove(member);
            } else {
                members.insert(member.clone(), value.clone());
            }
        }
        Ok(jwk)
    }

    pub(super) fn public_jwk(&self, name: &str) -> Result<Value> {
        if let Some(pair) = self.rsa.get(name) {
            let public = pair.public_key();
            let (n, e) = (public.modulus(), public.exponent());
            return Ok(json!({
                "kty": "RSA",
                "n": base64url::encode(n.big_endian_without_leading_zero()),
                "e": base64url::encode(e.big_endian_without_leading_zero()),
            }));
        }
        if let Some((curve, _)) = self.ec.get(name) {
            let pair = self.ec_pair(name, true)?;
            // SEC 1 §2.3.3: 0x04, then both coordinates in full length.
            let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
            let (x, y) = point.split_at(point.len() / 2);
            let (x, y) = (base64url::encode(x), base64url::encode(y));
            return Ok(json!({"kty": "EC", "crv": curve, "x": x, "y": y}));
        }
        if let Some(pair) = self.ed25519.get(name) {
            let x = base64url::encode(pair.public_key().as_ref());
            return Ok(json!({"kty": "OKP", "crv": "Ed25519", "x": x}));
        }
        bail!("no public key `{name}`")
    }

    /// The public key as a PEM text, as an attacker would use it for a secret.
    pub(super) fn public_pem(&self, name: &str) -> Result<String> {
        let pair = self.rsa.get(name).ok_or_else(|| anyhow!("no RSA key `{name}`"))?;
        let der = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).map_err(failed)?;
        let text = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, der.as_ref());
        let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
        for line in text.as_bytes().chunks(64) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem.push_str("-----END PUBLIC KEY-----\n");
        Ok(pem)
    }

    /// The signature of a JWS (RFC 7518 §3) by a named key. ES* as DER if `der` (which is wrong).
    pub(super) fn sign(
        &self,
        name: &str,
        algorithm: &str,
        text: &[u8],
        der: bool,
    ) -> Result<Vec<u8>> {
        if let Some(secret) = self.hmac.get(name) {
            return sign_hmac(secret, algorithm, text);
        }
        if let Some(pair) = self.ed25519.get(name) {
            return Ok(pair.sign(text).as_ref().to_vec());
        }
        if self.ec.contains_key(name) {
            let pair = self.ec_pair(name, !der)?;
            return Ok(pair.sign(&self.random, text).map_err(failed)?.as_ref().to_vec());
        }
        let pair = self.rsa.get(name).ok_or_else(|| anyhow!("no key `{name}`"))?;
        let padding: &'static dyn signature::RsaEncoding = match algorithm {
            "RS256" => &signature::RSA_PKCS1_SHA256,
            "RS384" => &signature::RSA_PKCS1_SHA384,
            "RS512" => &signature::RSA_PKCS1_SHA512,
            "PS256" => &signature::RSA_PSS_SHA256,
            "PS384" => &signature::RSA_PSS_SHA384,
            "PS512" => &signature::RSA_PSS_SHA512,
            _ => bail!("RSA has no `{algorithm}`"),
        };
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(padding, &self.random, text, &mut signature).map_err(failed)?;
        Ok(signature)
    }

    fn ec_pair(&self, name: &str, fixed: bool) -> Result<EcdsaKeyPair> {
        let (curve, pkcs8) = self.ec.get(name).ok_or_else(|| anyhow!("no EC key `{name}`"))?;
        EcdsaKeyPair::from_pkcs8(ec_algorithm(curve, fixed)?, pkcs8).map_err(failed)
    }

    /// The API keys that exist in a file, made at the first call and the same ever after.
    ///
    /// # Errors
    ///
    /// When the operating system has no randomness.
    pub fn api_keys(&self, file: &CaseFile, now_seconds: u64) -> Result<Vec<ApiKeyFixture>> {
        let make = |(name, spec): (&String, &super::ApiKeySpec)| {
            let key = self.api_key(&file.name, name)?;
            let record = ApiKeyRecord {
                id: key.id().to_owned(),
                environment: key.environment().to_owned(),
                name: name.clone(),
                digest: key.digest(&Secret::new(DIGEST_KEY.to_vec())).text(),
                issuer: spec.issuer.clone(),
                subject: spec.subject.clone(),
                roles: spec.roles.clone(),
                scopes: spec.scopes.clone(),
                expires_at: spec.expires_in.map(|after| now_seconds.saturating_add_signed(after)),
                state: spec.state,
                previous: None,
                networks: Vec::new(),
                rate_limit: spec.rate_limit,
            };
            Ok(ApiKeyFixture { key, record })
        };
        file.api_keys.iter().map(make).collect()
    }

    /// The API key of this name in a file, whether a record of it exists or not.
    pub(super) fn api_key(&self, file: &str, name: &str) -> Result<ApiKey> {
        let mut made = self.made.lock().map_err(|_| anyhow!("another test panicked"))?;
        let place = (file.to_owned(), name.to_owned());
        if let Some(key) = made.get(&place) {
            return Ok(key.clone());
        }
        let key = generate_api_key()?;
        made.insert(place, key.clone());
        Ok(key)
    }
}

pub(super) fn sign_hmac(secret: &[u8], algorithm: &str, text: &[u8]) -> Result<Vec<u8>> {
    let hash = match algorithm {
        "HS256" => hmac::HMAC_SHA256,
        "HS384" => hmac::HMAC_SHA384,
        "HS512" => hmac::HMAC_SHA512,
        _ => bail!("HMAC has no `{algorithm}`"),
    };
    Ok(hmac::sign(&hmac::Key::new(hash, secret), text).as_ref().to_vec())
}

fn ec_algorithm(curve: &str, fixed: bool) -> Result<&'static EcdsaSigningAlgorithm> {
    Ok(match (curve, fixed) {
        ("P-256", true) => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        ("P-256", false) => &signature::ECDSA_P256_SHA256_ASN1_SIGNING,
        ("P-384", true) => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
        ("P-384", false) => &signature::ECDSA_P384_SHA384_ASN1_SIGNING,
        ("P-521", true) => &signature::ECDSA_P521_SHA512_FIXED_SIGNING,
        ("P-521", false) => &signature::ECDSA_P521_SHA512_ASN1_SIGNING,
        _ => bail!("no curve `{curve}`"),
    })
}

fn failed(error: impl std::fmt::Debug) -> anyhow::Error {
    anyhow!("aws-lc-rs: {error:?}")
}
