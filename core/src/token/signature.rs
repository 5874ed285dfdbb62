//! Signatures: the interface, and the implementation without a host.

use ring::hmac;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey,
};

use super::Algorithm;
use crate::jwk::{Key, Material, der};

/// What a signature check found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SignatureVerdict {
    /// The key made the signature over exactly this input.
    Valid,
    /// Anything else.
    Invalid,
}

/// Something that can check signatures: the host, or [`SoftwareSignatures`].
pub trait SignatureCheck {
    /// Checks `signature`, as it stands in the JWS (raw `r ‖ s` for ES*), over `signing_input`.
    ///
    /// An algorithm that does not fit the key is [`SignatureVerdict::Invalid`].
    fn check(
        &self,
        algorithm: Algorithm,
        key: &Key,
        signing_input: &[u8],
        signature: &[u8],
    ) -> SignatureVerdict;
}

/// Checks every algorithm in this process: ring for RSA, P-256, P-384 and HMAC; ed25519-dalek for
/// `EdDSA`; p521 for ES512.
#[derive(Clone, Copy, Debug, Default)]
pub struct SoftwareSignatures;

impl SignatureCheck for SoftwareSignatures {
    fn check(
        &self,
        algorithm: Algorithm,
        key: &Key,
        signing_input: &[u8],
        signature: &[u8],
    ) -> SignatureVerdict {
        // The last fence against a key used for what it was not made for.
        if key.fits(algorithm) && is_valid(algorithm, key.material(), signing_input, signature) {
            SignatureVerdict::Valid
        } else {
            SignatureVerdict::Invalid
        }
    }
}

fn is_valid(algorithm: Algorithm, material: &Material, input: &[u8], signature: &[u8]) -> bool {
    match material {
        Material::Rsa { modulus, exponent, .. } => {
            let key = RsaPublicKeyComponents { n: modulus, e: exponent };
            rsa_parameters(algorithm)
                .is_some_and(|parameters| key.verify(parameters, input, signature).is_ok())
        }
        Material::P256 { point } => {
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(input, signature).is_ok()
        }
        Material::P384 { point } => {
            UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).verify(input, signature).is_ok()
        }
        Material::P521 { key } => {
            use p521::ecdsa::signature::Verifier as _;
            p521::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(input, &signature).is_ok())
        }
        // Strict: refuses keys and commitments of small order, with which one signature is valid
        // for many messages.
        Material::Ed25519 { key } => ed25519_dalek::Signature::from_slice(signature)
            .is_ok_and(|signature| key.verify_strict(input, &signature).is_ok()),
        // Compared in constant time by ring.
        Material::Hmac { secret } => hmac_algorithm(algorithm).is_some_and(|hash| {
            hmac::verify(&hmac::Key::new(hash, secret.expose()), input, signature).is_ok()
        }),
    }
}

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    match algorithm {
        Algorithm::Rs256 => Some(&RSA_PKCS1_2048_8192_SHA256),
        Algorithm::Rs384 => Some(&RSA_PKCS1_2048_8192_SHA384),
        Algorithm::Rs512 => Some(&RSA_PKCS1_2048_8192_SHA512),
        Algorithm::Ps256 => Some(&RSA_PSS_2048_8192_SHA256),
        Algorithm::Ps384 => Some(&RSA_PSS_2048_8192_SHA384),
        Algorithm::Ps512 => Some(&RSA_PSS_2048_8192_SHA512),
        Algorithm::Es256
        | Algorithm::Es384
        | Algorithm::Es512
        | Algorithm::EdDsa
        | Algorithm::Hs256
        | Algorithm::Hs384
        | Algorithm::Hs512 => None,
    }
}

fn hmac_algorithm(algorithm: Algorithm) -> Option<hmac::Algorithm> {
    match algorithm {
        Algorithm::Hs256 => Some(hmac::HMAC_SHA256),
        Algorithm::Hs384 => Some(hmac::HMAC_SHA384),
        Algorithm::Hs512 => Some(hmac::HMAC_SHA512),
        Algorithm::Rs256
        | Algorithm::Rs384
        | Algorithm::Rs512
        | Algorithm::Ps256
        | Algorithm::Ps384
        | Algorithm::Ps512
        | Algorithm::Es256
        | Algorithm::Es384
        | Algorithm::Es512
        | Algorithm::EdDsa => None,
    }
}

/// The raw ECDSA signature `r ‖ s` of a JWS (RFC 7518 §3.4) as the ASN.1 DER that Envoy takes.
///
/// `None` unless it has the length of P-256, P-384 or P-521, or when `r` or `s` is zero, which is
/// never valid (the "psychic signature", CVE-2022-21449).
pub fn ecdsa_der(raw: &[u8]) -> Option<Vec<u8>> {
    if !matches!(raw.len(), 64 | 96 | 132) {
        return None;
    }
    let (r, s) = raw.split_at_checked(raw.len() / 2)?;
    let is_zero = |number: &[u8]| number.iter().all(|byte| *byte == 0);
    if is_zero(r) || is_zero(s) {
        return None;
    }
    Some(der::sequence(&[&der::unsigned_integer(r), &der::unsigned_integer(s)]))
}
