//! The keys that tokens are signed with, in every form that a judge wants.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
    RsaPublicKeyComponents,
};
use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jsonwebtoken::{Algorithm as Theirs, DecodingKey};
use serde_json::{Value, json};
use wardgate_core::base64url;
use wardgate_core::jwk::{KeyOrigin, KeySet};
use wardgate_core::token::Algorithm;

pub(super) const KEY_ID: &str = "key-1";

/// What stands before the 32 bytes of an Ed25519 key in its DER `SubjectPublicKeyInfo` (RFC 8410 §4).
const ED25519_SPKI: &[u8] =
    &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// How many signers there are.
pub(super) const SIGNERS: usize = 6;

/// Algorithms accepted by one issuer, by their names on both sides.
type Allowed = &'static [(Algorithm, Theirs)];

const RSA: Allowed = &[(Algorithm::Rs256, Theirs::RS256), (Algorithm::Ps256, Theirs::PS256)];
const EC: Allowed = &[(Algorithm::Es256, Theirs::ES256), (Algorithm::Es384, Theirs::ES384)];
const ED: Allowed = &[(Algorithm::EdDsa, Theirs::EdDSA)];
const HMAC: Allowed = &[(Algorithm::Hs256, Theirs::HS256), (Algorithm::Hs384, Theirs::HS384)];

enum Private {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Hmac { allowed: Box<hmac::Key>, unlisted: Box<hmac::Key> },
}

/// One issuer with one key.
pub(super) struct Signer {
    pub(super) algorithm: Algorithm,
    pub(super) allowed: Allowed,
    pub(super) keys: KeySet,
    /// For the crate jsonwebtoken.
    pub(super) theirs: DecodingKey,
    /// For `PyJWT` and jwcrypto.
    pub(super) jwk: Value,
    /// For `PyJWT` too; none for HMAC.
    pub(super) pem: Option<String>,
    /// An algorithm of the key that the issuer does not allow, if there is one.
    pub(super) unlisted: Option<Algorithm>,
    /// The public key as an attacker has it; for HMAC, nothing that helps.
    pub(super) public: Vec<u8>,
    private: Private,
}

impl Signer {
    pub(super) fn sign(&self, input: &[u8]) -> Vec<u8> {
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
    pub(super) fn sign_unlisted(&self, input: &[u8]) -> Vec<u8> {
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
pub(super) struct Signers {
    pub(super) all: Vec<Signer>,
    pub(super) strangers: Vec<Signer>,
}

impl Signers {
    pub(super) fn generate() -> Self {
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

/// The set of one key, and the key with its `kid`.
fn key_set(mut jwk: Value) -> (KeySet, Value) {
    jwk["kid"] = KEY_ID.into();
    let set = json!({"keys": [jwk]});
    let (keys, skipped) = KeySet::parse(set.as_object().unwrap(), KeyOrigin::Configured).unwrap();
    assert_eq!(skipped, []);
    (keys, jwk)
}

fn spki_der(keys: &KeySet) -> Vec<u8> {
    keys.iter().next().unwrap().spki_der().unwrap().to_vec()
}

/// A public key as PEM (RFC 7468 §13).
fn pem(spki_der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(spki_der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    let (begin, end) = ("-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----");
    format!("{begin}\n{}\n{end}\n", lines.join("\n"))
}

fn rsa(algorithm: Algorithm, padding: &'static dyn RsaEncoding) -> Signer {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let parts = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
    let (n, e) = (base64url::encode(&parts.n), base64url::encode(&parts.e));
    let (keys, jwk) = key_set(json!({"kty": "RSA", "n": n, "e": e}));
    let public = spki_der(&keys);
    Signer {
        algorithm,
        allowed: RSA,
        unlisted: Some(Algorithm::Rs512),
        theirs: DecodingKey::from_rsa_components(&n, &e).unwrap(),
        pem: Some(pem(&public)),
        public,
        keys,
        jwk,
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
    let (keys, jwk) = key_set(json!({"kty": "EC", "crv": curve, "x": x, "y": y}));
    let public = spki_der(&keys);
    Signer {
        algorithm,
        allowed: EC,
        unlisted: None,
        theirs: DecodingKey::from_ec_components(&x, &y).unwrap(),
        pem: Some(pem(&public)),
        public,
        keys,
        jwk,
        private: Private::Ec(pair),
    }
}

fn ed() -> Signer {
    let pair = Ed25519KeyPair::generate().unwrap();
    let public = pair.public_key().as_ref().to_vec();
    let x = base64url::encode(&public);
    let (keys, jwk) = key_set(json!({"kty": "OKP", "crv": "Ed25519", "x": x}));
    Signer {
        algorithm: Algorithm::EdDsa,
        allowed: ED,
        unlisted: None,
        keys,
        theirs: DecodingKey::from_ed_components(&x).unwrap(),
        jwk,
        pem: Some(pem(&[ED25519_SPKI, public.as_slice()].concat())),
        public,
        private: Private::Ed(pair),
    }
}

fn secret() -> Signer {
    let mut bytes = [0; 64];
    rand::fill(&mut bytes).unwrap();
    let (keys, jwk) = key_set(json!({"kty": "oct", "k": base64url::encode(&bytes)}));
    Signer {
        algorithm: Algorithm::Hs256,
        allowed: HMAC,
        unlisted: Some(Algorithm::Hs512),
        keys,
        theirs: DecodingKey::from_secret(&bytes),
        jwk,
        pem: None,
        public: Vec::new(),
        private: Private::Hmac {
            allowed: Box::new(hmac::Key::new(hmac::HMAC_SHA256, &bytes)),
            unlisted: Box::new(hmac::Key::new(hmac::HMAC_SHA512, &bytes)),
        },
    }
}
