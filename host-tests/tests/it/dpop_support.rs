//! Clients with keys that tokens are bound to.

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use serde_json::{Value, json};
use wardgate_core::base64url::encode;
use wardgate_core::jwk::Key;

enum Pair {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// A client's key.
pub(crate) struct ClientKey {
    pair: Pair,
    jwk: Value,
    /// Its thumbprint: `cnf.jkt` of tokens that are bound to it.
    pub(crate) thumbprint: String,
}

impl ClientKey {
    pub(crate) fn p256() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = pair.public_key().as_ref();
        let (x, y) = (encode(&point[1..33]), encode(&point[33..65]));
        Self::new(json!({"kty": "EC", "crv": "P-256", "x": x, "y": y}), Pair::P256(pair))
    }

    pub(crate) fn ed25519() -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let x = encode(pair.public_key().as_ref());
        Self::new(json!({"kty": "OKP", "crv": "Ed25519", "x": x}), Pair::Ed25519(pair))
    }

    fn new(jwk: Value, pair: Pair) -> Self {
        let thumbprint = Key::public(&jwk).unwrap().thumbprint().unwrap();
        Self { pair, jwk, thumbprint }
    }

    /// A proof with these claims and the hash of `token`.
    pub(crate) fn proof(&self, token: &str, claims: &Value) -> String {
        let algorithm = match &self.pair {
            Pair::P256(_) => "ES256",
            Pair::Ed25519(_) => "EdDSA",
        };
        let header = json!({"typ": "dpop+jwt", "alg": algorithm, "jwk": self.jwk}).to_string();
        let mut claims = claims.clone();
        let hash = digest::digest(&digest::SHA256, token.as_bytes());
        claims["ath"] = encode(hash.as_ref()).into();
        let claims = claims.to_string();
        let input = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
        let signature = match &self.pair {
            Pair::P256(pair) => {
                pair.sign(&SystemRandom::new(), input.as_bytes()).unwrap().as_ref().to_vec()
            }
            Pair::Ed25519(pair) => pair.sign(input.as_bytes()).as_ref().to_vec(),
        };
        format!("{input}.{}", encode(&signature))
    }
}
