//! One key, ready for use.

use core::fmt;

use serde_json::Value;

use super::KeyOrigin;
use super::parse::{self, WhySkipped};
use crate::secret::Secret;
use crate::token::Algorithm;

/// What kind of key it is: `kty` with `crv` (RFC 7518 §6, RFC 8037 §2).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum KeyType {
    /// `RSA`.
    Rsa,
    /// `EC` on `P-256`.
    EcP256,
    /// `EC` on `P-384`.
    EcP384,
    /// `EC` on `P-521`.
    EcP521,
    /// `OKP` on `Ed25519`.
    Ed25519,
    /// `oct`.
    Hmac,
}

/// The key itself, in the form that its implementation wants.
#[derive(Clone)]
pub(crate) enum Material {
    /// Big-endian numbers without leading zeros.
    Rsa { modulus: Vec<u8>, exponent: Vec<u8>, bits: usize },
    /// The uncompressed point.
    P256 { point: Vec<u8> },
    /// The uncompressed point.
    P384 { point: Vec<u8> },
    /// A point already found to be on the curve.
    P521 { key: Box<p521::ecdsa::VerifyingKey> },
    /// A point already found to be on the curve and not of small order.
    Ed25519 { key: Box<ed25519_dalek::VerifyingKey> },
    /// The shared secret.
    Hmac { secret: Secret },
}

/// A key that may verify signatures.
#[derive(Clone)]
pub struct Key {
    pub(super) id: Option<String>,
    pub(super) algorithm: Option<Algorithm>,
    pub(super) material: Material,
    pub(super) spki_der: Option<Vec<u8>>,
}

impl Key {
    /// Reads one public key, as somebody shows it who is not trusted yet: a private member or a
    /// shared secret is refused like anything else that is no public key for signatures.
    ///
    /// # Errors
    ///
    /// [`WhySkipped`].
    pub fn public(jwk: &Value) -> Result<Self, WhySkipped> {
        parse::key(jwk, KeyOrigin::Fetched)
    }

    /// The `kid`.
    pub fn key_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The one algorithm that the key is restricted to, if its `alg` says so.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.algorithm
    }

    /// The kind of key.
    pub fn key_type(&self) -> KeyType {
        match &self.material {
            Material::Rsa { .. } => KeyType::Rsa,
            Material::P256 { .. } => KeyType::EcP256,
            Material::P384 { .. } => KeyType::EcP384,
            Material::P521 { .. } => KeyType::EcP521,
            Material::Ed25519 { .. } => KeyType::Ed25519,
            Material::Hmac { .. } => KeyType::Hmac,
        }
    }

    /// The length of an RSA modulus in bits; `None` for other keys.
    pub fn rsa_bits(&self) -> Option<usize> {
        match &self.material {
            Material::Rsa { bits, .. } => Some(*bits),
            Material::P256 { .. }
            | Material::P384 { .. }
            | Material::P521 { .. }
            | Material::Ed25519 { .. }
            | Material::Hmac { .. } => None,
        }
    }

    /// The key as DER `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7), for RSA and EC keys.
    pub fn spki_der(&self) -> Option<&[u8]> {
        self.spki_der.as_deref()
    }

    /// Whether the key may verify signatures of `algorithm`: by its type, its `alg`, and the length
    /// of an HMAC secret. `use` and `key_ops` were looked at when the key was read.
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        self.signature_bytes(algorithm).is_some()
            && self.algorithm.is_none_or(|only| only == algorithm)
            && self.has_enough_secret(algorithm)
    }

    /// A secret shorter than the hash is guessed faster than the hash is broken (RFC 7518 §3.2).
    fn has_enough_secret(&self, algorithm: Algorithm) -> bool {
        match (&self.material, algorithm.hmac_secret_bytes()) {
            (Material::Hmac { secret }, Some(least)) => secret.expose().len() >= least,
            (Material::Hmac { .. }, None) => false,
            (_, least) => least.is_none(),
        }
    }

    /// The one length of signatures of `algorithm` by this key; `None` when its type is another.
    ///
    /// RSA: that of the modulus (RFC 8017 §8.2.2). ECDSA: two numbers of the curve's size (RFC 7518
    /// §3.4). This is the only table of which type of key goes with which algorithm.
    pub(crate) fn signature_bytes(&self, algorithm: Algorithm) -> Option<usize> {
        match (algorithm, &self.material) {
            (
                Algorithm::Rs256
                | Algorithm::Rs384
                | Algorithm::Rs512
                | Algorithm::Ps256
                | Algorithm::Ps384
                | Algorithm::Ps512,
                Material::Rsa { modulus, .. },
            ) => Some(modulus.len()),
            (Algorithm::Es256, Material::P256 { .. })
            | (Algorithm::EdDsa, Material::Ed25519 { .. }) => Some(64),
            (Algorithm::Es384, Material::P384 { .. }) => Some(96),
            (Algorithm::Es512, Material::P521 { .. }) => Some(132),
            (Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512, Material::Hmac { .. }) => {
                algorithm.hmac_secret_bytes()
            }
            _ => None,
        }
    }

    pub(crate) fn material(&self) -> &Material {
        &self.material
    }
}

/// Shows which key it is, not what it is: an HMAC key is a secret.
impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Key")
            .field("key_type", &self.key_type())
            .field("key_id", &self.id)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}
