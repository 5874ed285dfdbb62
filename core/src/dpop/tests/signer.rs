//! Keys that prove possession, in tests.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
    RsaPublicKeyComponents,
};
use serde_json::{Value, json};

use crate::base64url;
use crate::jwk::Key;
use crate::token::Algorithm;

enum Private {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

/// A client's key.
pub(crate) struct Signer {
    pub(crate) algorithm: Algorithm,
    pub(crate) jwk: Value,
    pub(crate) thumbprint: String,
    private: Private,
}

impl Signer {
    /// One of each kind.
    pub(crate) fn all() -> Vec<Self> {
        vec![
            Self::p256(),
            Self::ec(Algorithm::Es384),
            Self::ed25519(),
            Self::rsa(Algorithm::Rs256, &RSA_PKCS1_SHA256, KeySize::Rsa2048),
            Self::rsa(Algorithm::Ps256, &RSA_PSS_SHA256, KeySize::Rsa2048),
        ]
    }

    pub(crate) fn p256() -> Self {
        Self::ec(Algorithm::Es256)
    }

    fn ec(algorithm: Algorithm) -> Self {
        let (signing, curve) = match algorithm {
            Algorithm::Es384 => (&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"),
            _ => (&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"),
        };
        let pair = EcdsaKeyPair::generate(signing).unwrap();
        let point = pair.public_key().as_ref();
        let (x, y) = point[1..].split_at(point.len() / 2);
        let (x, y) = (base64url::encode(x), base64url::encode(y));
        let jwk = json!({"kty": "EC", "crv": curve, "x": x, "y": y});
        Self::new(algorithm, jwk, Private::Ec(pair))
    }

    pub(crate) fn ed25519() -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let x = base64url::encode(pair.public_key().as_ref());
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
        Self::new(Algorithm::EdDsa, jwk, Private::Ed(pair))
    }

    pub(crate) fn rsa(
        algorithm: Algorithm,
        padding: &'static dyn RsaEncoding,
        size: KeySize,
    ) -> Self {
        let pair = RsaKeyPair::generate(size).unwrap();
        let parts = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        let (n, e) = (base64url::encode(&parts.n), base64url::encode(&parts.e));
        let jwk = json!({"kty": "RSA", "n": n, "e": e});
        Self::new(algorithm, jwk, Private::Rsa(pair, padding))
    }

    fn new(algorithm: Algorithm, jwk: Value, private: Private) -> Self {
        let thumbprint = Key::public(&jwk).unwrap().thumbprint().unwrap();
        Self { algorithm, jwk, thumbprint, private }
    }

    pub(crate) fn sign(&self, input: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.private {
            Private::Rsa(pair, padding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*padding, &random, input, &mut signature).unwrap();
                signature
            }
            Private::Ec(pair) => pair.sign(&random, input).unwrap().as_ref().to_vec(),
            Private::Ed(pair) => pair.sign(input).as_ref().to_vec(),
        }
    }

    /// The usual header.
    pub(crate) fn header(&self) -> Value {
        json!({"typ": "dpop+jwt", "alg": self.algorithm.word(), "jwk": self.jwk})
    }

    /// A proof with these claims.
    pub(crate) fn proof(&self, claims: &Value) -> String {
        self.jws(&self.header().to_string(), &claims.to_string())
    }

    /// A JWS of these texts, whatever they are.
    pub(crate) fn jws(&self, header: &str, payload: &str) -> String {
        let (header, payload) = (header.as_bytes(), payload.as_bytes());
        let input = format!("{}.{}", base64url::encode(header), base64url::encode(payload));
        format!("{input}.{}", base64url::encode(&self.sign(input.as_bytes())))
    }
}
