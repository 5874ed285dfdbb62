//! Clients with keys that tokens are bound to (RFC 9449).

use anyhow::{Context as _, Result, anyhow};
use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use serde_json::{Map, Value, json};
use wardgate_core::base64url::encode;
use wardgate_core::jwk::Key;

enum Pair {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// A client's key.
pub struct ClientKey {
    pair: Pair,
    jwk: Value,
    /// Its thumbprint: `cnf.jkt` of tokens that are bound to it.
    pub thumbprint: String,
}

impl ClientKey {
    /// A new one on P-256, which signs with ES256.
    ///
    /// # Errors
    ///
    /// When none can be made.
    pub fn p256() -> Result<Self> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        // SEC 1: an octet that says that it is not compressed, and two coordinates.
        let coordinates = pair.public_key().as_ref().get(1..).context("an empty public key")?;
        let (x, y) = coordinates.split_at_checked(32).context("a short public key")?;
        let jwk = json!({"kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y)});
        Self::new(jwk, Pair::P256(pair))
    }

    /// A new one on Ed25519.
    ///
    /// # Errors
    ///
    /// When none can be made.
    pub fn ed25519() -> Result<Self> {
        let pair = Ed25519KeyPair::generate()?;
        let x = encode(pair.public_key().as_ref());
        Self::new(json!({"kty": "OKP", "crv": "Ed25519", "x": x}), Pair::Ed25519(pair))
    }

    fn new(jwk: Value, pair: Pair) -> Result<Self> {
        let thumbprint = Key::public(&jwk)?.thumbprint().context("a key without thumbprint")?;
        Ok(Self { pair, jwk, thumbprint })
    }

    /// A proof with these claims and the hash of the token, if it goes with one.
    ///
    /// # Errors
    ///
    /// When nothing can be signed.
    pub fn proof(&self, token: Option<&str>, mut claims: Map<String, Value>) -> Result<String> {
        let algorithm = match &self.pair {
            Pair::P256(_) => "ES256",
            Pair::Ed25519(_) => "EdDSA",
        };
        let header = json!({"typ": "dpop+jwt", "alg": algorithm, "jwk": self.jwk}).to_string();
        if let Some(token) = token {
            let hash = digest::digest(&digest::SHA256, token.as_bytes());
            claims.insert("ath".to_owned(), encode(hash.as_ref()).into());
        }
        let claims = Value::Object(claims).to_string();
        let input = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
        let signature = match &self.pair {
            Pair::P256(pair) => pair
                .sign(&SystemRandom::new(), input.as_bytes())
                .map_err(|_| anyhow!("no signature"))?
                .as_ref()
                .to_vec(),
            Pair::Ed25519(pair) => pair.sign(input.as_bytes()).as_ref().to_vec(),
        };
        Ok(format!("{input}.{}", encode(&signature)))
    }
}
