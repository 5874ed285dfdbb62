//! The sidecar's own signing keys: JSON Web Keys (RFC 7517, RFC 8037) named by their thumbprint
//! (RFC 7638).

mod life;
mod ring;

use aws_lc_rs::digest;
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use base64::Engine as _;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value, json};
use wardgate_core::base64url;
use wardgate_core::secret::Secret;
use wardgate_core::section;
use wardgate_core::time::UnixSeconds;
use zeroize::Zeroizing;

pub use life::{
    Due, JWKS_MAX_AGE_SECONDS, KeyState, KeyTimes, MAX_TOKEN_LIFETIME_SECONDS, RETIRED_SECONDS,
    Schedule, due, signer,
};
pub use ring::{HeldKey, SigningKeys};

section! {
    /// An algorithm that the sidecar signs with.
    pub enum SigningAlgorithm = "signing_algorithm" {
        /// ECDSA on P-256 with SHA-256.
        Es256 = "ES256",
        /// EdDSA on Ed25519.
        EdDsa = "EdDSA",
        /// RSA with PKCS #1 v1.5 padding and SHA-256, 2048 bits.
        Rs256 = "RS256",
    }
}

/// A private key that signs tokens, with its public half.
pub struct SigningKey {
    algorithm: SigningAlgorithm,
    kid: String,
    created_at: UnixSeconds,
    jwk: Map<String, Value>,
    private: EncodingKey,
}

/// Why a signing key cannot be made or used. Never shows the key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SigningKeyError {
    /// The library could not make a key.
    #[error("a signing key could not be generated")]
    Generate,
    /// The stored bytes are no key of the algorithm.
    #[error("the stored signing key is damaged")]
    Damaged,
    /// There is no key for the algorithm.
    #[error("there is no signing key for {}; add it to `issuer.algorithms`", .0.word())]
    Missing(SigningAlgorithm),
    /// The library could not sign.
    #[error("the token could not be signed")]
    Sign,
}

/// Generates a private key, PKCS #8 (RFC 5958).
///
/// # Errors
///
/// [`SigningKeyError::Generate`] when the library fails.
pub fn generate(algorithm: SigningAlgorithm) -> Result<Secret, SigningKeyError> {
    let failed = |_| SigningKeyError::Generate;
    let pkcs8 = match algorithm {
        SigningAlgorithm::Es256 => {
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .map_err(failed)?
                .as_ref()
                .to_vec()
        }
        SigningAlgorithm::EdDsa => {
            Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(failed)?.as_ref().to_vec()
        }
        SigningAlgorithm::Rs256 => {
            let pair = rsa::KeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
            let der: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
            der.as_ref().to_vec()
        }
    };
    Ok(Secret::new(pkcs8))
}

impl SigningKey {
    /// Reads a PKCS #8 private key.
    ///
    /// # Errors
    ///
    /// [`SigningKeyError::Damaged`] when it is no key of `algorithm`.
    pub fn from_pkcs8(
        algorithm: SigningAlgorithm,
        pkcs8: &Secret,
        created_at: UnixSeconds,
    ) -> Result<Self, SigningKeyError> {
        let public = public_members(algorithm, pkcs8).ok_or(SigningKeyError::Damaged)?;
        let kid = thumbprint(&public);
        let mut jwk = public;
        jwk.insert("alg".to_owned(), algorithm.word().into());
        jwk.insert("use".to_owned(), "sig".into());
        jwk.insert("kid".to_owned(), kid.clone().into());
        let private = match algorithm {
            SigningAlgorithm::Es256 => EncodingKey::from_ec_der(pkcs8.expose()),
            SigningAlgorithm::EdDsa => EncodingKey::from_ed_der(pkcs8.expose()),
            SigningAlgorithm::Rs256 => {
                // The DER door of the library takes PKCS #1 only; its PEM door unwraps PKCS #8.
                let pem = Zeroizing::new(pem_of(pkcs8));
                EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(|_| SigningKeyError::Damaged)?
            }
        };
        Ok(Self { algorithm, kid, created_at, jwk, private })
    }

    /// The algorithm that the key signs with.
    pub fn algorithm(&self) -> SigningAlgorithm {
        self.algorithm
    }

    /// The thumbprint that names the key.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// When the key was made.
    pub fn created_at(&self) -> UnixSeconds {
        self.created_at
    }

    /// The public half (RFC 7517 §4).
    pub fn jwk(&self) -> &Map<String, Value> {
        &self.jwk
    }

    /// Signs `claims` as a compact JWS of type `typ`.
    ///
    /// # Errors
    ///
    /// [`SigningKeyError::Sign`] when the library fails.
    pub fn sign(&self, typ: &str, claims: &Map<String, Value>) -> Result<String, SigningKeyError> {
        let mut header = Header::new(match self.algorithm {
            SigningAlgorithm::Es256 => Algorithm::ES256,
            SigningAlgorithm::EdDsa => Algorithm::EdDSA,
            SigningAlgorithm::Rs256 => Algorithm::RS256,
        });
        header.typ = Some(typ.to_owned());
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.private).map_err(|_| SigningKeyError::Sign)
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "SigningKey({} {})", self.algorithm.word(), self.kid)
    }
}

/// The required public members of the key, in the order of RFC 7638 §3.2.
fn public_members(algorithm: SigningAlgorithm, pkcs8: &Secret) -> Option<Map<String, Value>> {
    let members = match algorithm {
        SigningAlgorithm::Es256 => {
            let pair =
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.expose()).ok()?;
            // An uncompressed point: 4, then x and y of 32 bytes (SEC 1 §2.3.3).
            let point = pair.public_key().as_ref();
            let (x, y) = (point.get(1..33)?, point.get(33..65)?);
            json!({"crv": "P-256", "kty": "EC", "x": base64url::encode(x), "y": base64url::encode(y)})
        }
        SigningAlgorithm::EdDsa => {
            let pair = Ed25519KeyPair::from_pkcs8(pkcs8.expose()).ok()?;
            let x = base64url::encode(pair.public_key().as_ref());
            json!({"crv": "Ed25519", "kty": "OKP", "x": x})
        }
        SigningAlgorithm::Rs256 => {
            let pair = rsa::KeyPair::from_pkcs8(pkcs8.expose()).ok()?;
            let public = pair.public_key();
            let e = public.exponent().big_endian_without_leading_zero();
            let n = public.modulus().big_endian_without_leading_zero();
            json!({"e": base64url::encode(e), "kty": "RSA", "n": base64url::encode(n)})
        }
    };
    members.as_object().cloned()
}

/// SHA-256 over the required members without white space (RFC 7638 §3).
fn thumbprint(members: &Map<String, Value>) -> String {
    let text = serde_json::to_vec(members).unwrap_or_default();
    base64url::encode(digest::digest(&digest::SHA256, &text).as_ref())
}

fn pem_of(pkcs8: &Secret) -> String {
    let text = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(pkcs8.expose()));
    let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(core::str::from_utf8(line).unwrap_or_default());
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use super::{SigningAlgorithm, SigningKey, SigningKeyError, generate, thumbprint};
    use jsonwebtoken::{DecodingKey, Validation};
    use serde_json::{Map, Value, json};
    use wardgate_core::secret::Secret;
    use wardgate_core::time::UnixSeconds;

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn a_thumbprint_is_that_of_the_example_of_the_rfc() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let members = object(&json!({"e": "AQAB", "kty": "RSA", "n": n}));
        assert_eq!(thumbprint(&members), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn each_algorithm_signs_what_its_public_key_verifies() {
        for algorithm in SigningAlgorithm::ALL {
            let pkcs8 = generate(*algorithm).unwrap();
            let key = SigningKey::from_pkcs8(*algorithm, &pkcs8, UnixSeconds(1)).unwrap();
            let claims = object(&json!({"sub": "42", "exp": 4_000_000_000_u64}));
            let token = key.sign("at+jwt", &claims).unwrap();
            let jwk = serde_json::from_value(Value::Object(key.jwk().clone())).unwrap();
            let mut validation = Validation::new(algorithm.word().parse().unwrap());
            validation.validate_aud = false;
            let read = jsonwebtoken::decode::<Map<String, Value>>(
                &token,
                &DecodingKey::from_jwk(&jwk).unwrap(),
                &validation,
            )
            .unwrap();
            assert_eq!(read.claims, claims);
            assert_eq!(read.header.kid.as_deref(), key.jwk()["kid"].as_str());
            assert_eq!(read.header.typ.as_deref(), Some("at+jwt"));
        }
    }

    #[test]
    fn a_key_of_another_kind_is_refused() {
        let pkcs8 = generate(SigningAlgorithm::EdDsa).unwrap();
        for (algorithm, bytes) in
            [(SigningAlgorithm::Es256, pkcs8), (SigningAlgorithm::Rs256, Secret::new(vec![1, 2]))]
        {
            let read = SigningKey::from_pkcs8(algorithm, &bytes, UnixSeconds(1));
            assert_eq!(read.err(), Some(SigningKeyError::Damaged));
        }
    }

    #[test]
    fn a_dump_shows_no_private_key() {
        let pkcs8 = generate(SigningAlgorithm::Es256).unwrap();
        let key = SigningKey::from_pkcs8(SigningAlgorithm::Es256, &pkcs8, UnixSeconds(1)).unwrap();
        assert_eq!(format!("{key:?}"), format!("SigningKey(ES256 {})", key.kid()));
    }
}
