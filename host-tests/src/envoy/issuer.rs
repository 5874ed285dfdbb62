//! An issuer of tokens for tests: it has a key of each kind and signs whatever it is told to.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow};
use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair,
    },
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// The algorithms that the demo and the benches compare.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Algorithm {
    /// RSA with PKCS#1 v1.5 and SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Rs256, Self::Es256, Self::EdDsa];

    /// The `alg` of a token, and in lower case the `kid` of the key.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// Signs tokens.
pub struct Issuer {
    name: String,
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
    random: SystemRandom,
}

impl Issuer {
    /// Generates the keys of an issuer with this `iss`.
    ///
    /// # Errors
    ///
    /// When no key can be generated.
    pub fn generate(issuer: &str) -> Result<Self> {
        Ok(Self {
            name: issuer.to_owned(),
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?,
            p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?,
            ed25519: Ed25519KeyPair::generate().map_err(failed)?,
            random: SystemRandom::new(),
        })
    }

    /// The `iss` of its tokens.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its public keys (RFC 7517 §5).
    pub fn jwks(&self) -> Value {
        let rsa = self.rsa.public_key();
        let (n, e) = (rsa.modulus(), rsa.exponent());
        // SEC 1 §2.3.3: 0x04, then both coordinates of 32 bytes.
        let point = self.p256.public_key().as_ref();
        let (x, y) = point.get(1..).unwrap_or_default().split_at_checked(32).unwrap_or_default();
        json!({"keys": [
            {"kty": "RSA", "kid": "RS256", "alg": "RS256", "use": "sig",
             "n": base64url(n.big_endian_without_leading_zero()),
             "e": base64url(e.big_endian_without_leading_zero())},
            {"kty": "EC", "kid": "ES256", "alg": "ES256", "use": "sig", "crv": "P-256",
             "x": base64url(x), "y": base64url(y)},
            {"kty": "OKP", "kid": "EdDSA", "alg": "EdDSA", "use": "sig", "crv": "Ed25519",
             "x": base64url(self.ed25519.public_key().as_ref())},
        ]})
    }

    /// The claims of a token of an hour for the audience `api`; `more` adds and replaces.
    pub fn claims(&self, subject: &str, more: &Value) -> Value {
        let now = now();
        let mut claims = json!({
            "iss": self.name, "aud": "api", "sub": subject,
            "iat": now, "exp": now.saturating_add(3600),
        });
        if let (Some(claims), Some(more)) = (claims.as_object_mut(), more.as_object()) {
            claims.extend(more.clone());
        }
        claims
    }

    /// A token with [`Self::claims`].
    ///
    /// # Errors
    ///
    /// When signing fails.
    pub fn token(&self, algorithm: Algorithm, subject: &str, more: &Value) -> Result<String> {
        self.sign(algorithm, &self.claims(subject, more))
    }

    /// A token with exactly these claims.
    ///
    /// # Errors
    ///
    /// When signing fails.
    pub fn sign(&self, algorithm: Algorithm, claims: &Value) -> Result<String> {
        let header = json!({"alg": algorithm.name(), "typ": "JWT", "kid": algorithm.name()});
        let input = signing_input(&header, claims);
        let signature = match algorithm {
            Algorithm::Rs256 => {
                let mut signature = vec![0; self.rsa.public_modulus_len()];
                let padding = &aws_lc_rs::signature::RSA_PKCS1_SHA256;
                self.rsa
                    .sign(padding, &self.random, input.as_bytes(), &mut signature)
                    .map_err(failed)?;
                signature
            }
            Algorithm::Es256 => {
                self.p256.sign(&self.random, input.as_bytes()).map_err(failed)?.as_ref().to_vec()
            }
            Algorithm::EdDsa => self.ed25519.sign(input.as_bytes()).as_ref().to_vec(),
        };
        Ok(format!("{input}.{}", base64url(&signature)))
    }
}

/// Header and claims as the signature covers them (RFC 7515 §5.1).
pub fn signing_input(header: &Value, claims: &Value) -> String {
    let (header, claims) = (header.to_string(), claims.to_string());
    format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()))
}

/// Base64url without padding.
pub fn base64url(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Seconds since the epoch.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

fn failed<E>(_: E) -> anyhow::Error {
    anyhow!("aws-lc cannot make a key or signature")
}
