//! The keys of the test, made once by the oracle's own library.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
    RsaPublicKeyComponents,
};
use aws_lc_rs::{hmac, rand};
use jsonwebtoken::{Algorithm as OracleAlgorithm, DecodingKey};
use serde_json::{Value, json};
use wardgate_core::base64url;
use wardgate_core::jwk::{KeyOrigin, KeySet};
use wardgate_core::token::Algorithm;

pub(crate) const KEY_ID: &str = "key-1";

/// How many signers there are.
pub(crate) const SIGNERS: usize = 6;

/// Algorithms accepted by one issuer, by their names on both sides.
type Allowed = &'static [(Algorithm, OracleAlgorithm)];

const RSA: Allowed =
    &[(Algorithm::Rs256, OracleAlgorithm::RS256), (Algorithm::Ps256, OracleAlgorithm::PS256)];
const EC: Allowed =
    &[(Algorithm::Es256, OracleAlgorithm::ES256), (Algorithm::Es384, OracleAlgorithm::ES384)];
const ED: Allowed = &[(Algorithm::EdDsa, OracleAlgorithm::EdDSA)];
const HMAC: Allowed =
    &[(Algorithm::Hs256, OracleAlgorithm::HS256), (Algorithm::Hs384, OracleAlgorithm::HS384)];

enum Private {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Hmac { allowed: Box<hmac::Key>, unlisted: Box<hmac::Key> },
}

/// One issuer with one key.
pub(crate) struct Signer {
    pub(crate) algorithm: Algorithm,
    pub(crate) allowed: Allowed,
    pub(crate) keys: KeySet,
    pub(crate) oracle: DecodingKey,
    /// An algorithm of the key that the issuer does not allow, if there is one.
    pub(crate) unlisted: Option<Algorithm>,
    /// The public key as an attacker has it; for HMAC, nothing that helps.
    pub(crate) public: Vec<u8>,
    private: Private,
}

impl Signer {
    pub(crate) fn sign(&self, input: &[u8]) -> Vec<u8> {
        match &self.private {
            Private::Rsa(pair, padding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*padding, &SystemRandom::new(), input, &mut signature).unwrap();
                signature
            }
            Private::Ec(pair) => pair.sign(&SystemRandom::new(), input).unwrap().as_ref().to_vec(),
            Private::Ed(pair) => pair.sign(input).as_ref().to_vec(),
            Private::Hmac { allowed, .. } => hmac::sign(allowed, input).as_ref().to_vec(),
        }
    }

    /// A right signature by the `unlisted` algorithm.
    pub(crate) fn sign_unlisted(&self, input: &[u8]) -> Vec<u8> {
        match &self.private {
            Private::Rsa(pair, _) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA512, &SystemRandom::new(), input, &mut signature).unwrap();
                signature
            }
            Private::Hmac { unlisted, .. } => hmac::sign(unlisted, input).as_ref().to_vec(),
            Private::Ec(_) | Private::Ed(_) => self.sign(input),
        }
    }
}

/// All signers, and one that nobody trusts for each.
pub(crate) struct Signers {
    pub(crate) all: Vec<Signer>,
    pub(crate) strangers: Vec<Signer>,
}

impl Signers {
    pub(crate) fn generate() -> Self {
        let make = || {
            vec![
                rsa(Algorithm::Rs256, &RSA_PKCS1_SHA256),
                rsa(Algorithm::Ps256, &RSA_PSS_SHA256),
                ec(Algorithm::Es256),
                ec(Algorithm::Es384),
                ed(),
                secret(),
            ]
        };
        let signers = Self { all: make(), strangers: make() };
        assert_eq!(signers.all.len(), SIGNERS);
        signers
    }
}

fn key_set(mut jwk: Value) -> KeySet {
    jwk["kid"] = KEY_ID.into();
    let set = json!({"keys": [jwk]});
    let (keys, skipped) = KeySet::parse(set.as_object().unwrap(), KeyOrigin::Configured).unwrap();
    assert_eq!(skipped, []);
    keys
}

fn rsa(algorithm: Algorithm, padding: &'static dyn RsaEncoding) -> Signer {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let parts = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
    let (n, e) = (base64url::encode(&parts.n), base64url::encode(&parts.e));
    let keys = key_set(json!({"kty": "RSA", "n": n, "e": e}));
    Signer {
        algorithm,
        allowed: RSA,
        unlisted: Some(Algorithm::Rs512),
        oracle: DecodingKey::from_rsa_components(&n, &e).unwrap(),
        public: keys.iter().next().unwrap().spki_der().unwrap().to_vec(),
        keys,
        private: Private::Rsa(pair, padding),
    }
}

fn ec(algorithm: Algorithm) -> Signer {
    let (kind, curve) = if algorithm == Algorithm::Es256 {
        (&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256")
    } else {
        (&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384")
    };
    let pair = EcdsaKeyPair::generate(kind).unwrap();
    let point = pair.public_key().as_ref();
    let (x, y) = point[1..].split_at(point.len() / 2);
    let (x, y) = (base64url::encode(x), base64url::encode(y));
    let keys = key_set(json!({"kty": "EC", "crv": curve, "x": x, "y": y}));
    Signer {
        algorithm,
        allowed: EC,
        unlisted: None,
        oracle: DecodingKey::from_ec_components(&x, &y).unwrap(),
        public: keys.iter().next().unwrap().spki_der().unwrap().to_vec(),
        keys,
        private: Private::Ec(pair),
    }
}

fn ed() -> Signer {
    let pair = Ed25519KeyPair::generate().unwrap();
    let x = base64url::encode(pair.public_key().as_ref());
    Signer {
        algorithm: Algorithm::EdDsa,
        allowed: ED,
        unlisted: None,
        keys: key_set(json!({"kty": "OKP", "crv": "Ed25519", "x": x})),
        oracle: DecodingKey::from_ed_components(&x).unwrap(),
        public: pair.public_key().as_ref().to_vec(),
        private: Private::Ed(pair),
    }
}

fn secret() -> Signer {
    let mut bytes = [0; 64];
    rand::fill(&mut bytes).unwrap();
    Signer {
        algorithm: Algorithm::Hs256,
        allowed: HMAC,
        unlisted: Some(Algorithm::Hs512),
        keys: key_set(json!({"kty": "oct", "k": base64url::encode(&bytes)})),
        oracle: DecodingKey::from_secret(&bytes),
        public: Vec::new(),
        private: Private::Hmac {
            allowed: Box::new(hmac::Key::new(hmac::HMAC_SHA256, &bytes)),
            unlisted: Box::new(hmac::Key::new(hmac::HMAC_SHA512, &bytes)),
        },
    }
}
