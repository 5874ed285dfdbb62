//! The checks of RFC 9449 §4.3, and the proof that they were made.

use core::fmt;

use ring::digest;

use super::proof::{ProofClaims, UnverifiedProof};
use super::uri::HttpUri;
use super::{DpopError, Nonces};
use crate::base64url;
use crate::jwk::{Key, WhySkipped};
use crate::time::UnixSeconds;
use crate::token::{Algorithm, SignatureCheck, SignatureVerdict};

/// What is accepted where no configuration says otherwise. Without ES384 and ES512: one check costs
/// 0.5 and 1.4 milliseconds of a worker, ten times as much as with ES256.
pub const DEFAULT_ALGORITHMS: &[Algorithm] =
    &[Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256, Algorithm::Ps256];

/// The key is the client's choice, and so would be the cost of checking with it.
const MAX_RSA_BITS: usize = 4096;

/// What a proof must be about.
#[derive(Clone, Copy)]
pub struct Expected<'a> {
    /// The method of the request.
    pub method: &'a str,
    /// The addresses under which clients know what is requested; `htu` must be one of them. They
    /// come from configuration, never from `Host`: a proof that a client made for another service
    /// could be sent on to this one under the other's name.
    pub uris: &'a [HttpUri],
    /// The access token that is presented with the proof, as it came; none at a token endpoint.
    pub access_token: Option<&'a [u8]>,
    /// The thumbprint that the key must have, where it is known (`cnf.jkt`, `dpop_jkt`).
    pub thumbprint: Option<&'a str>,
    /// Accepted algorithms; symmetric ones never are, even if they stand here.
    pub algorithms: &'a [Algorithm],
    /// For how many seconds after `iat` the proof may be used.
    pub max_age_seconds: u64,
    /// By how many seconds the client's clock may be ahead.
    pub clock_skew_seconds: u64,
    /// What is demanded of its nonce.
    pub nonce: NonceRule<'a>,
    /// The wall clock.
    pub now: UnixSeconds,
}

/// What is demanded of the nonce of a proof.
#[derive(Clone, Copy, Debug)]
pub enum NonceRule<'a> {
    /// Nothing; one that is there is not looked at.
    Ignored,
    /// One that is there must be accepted.
    Optional(&'a Nonces),
    /// There must be one, and it must be accepted.
    Required(&'a Nonces),
}

/// Proof that the sender of a request has a key: everything in it was signed with it for this
/// request, just now. It does not say that the proof was not used before.
#[derive(Clone, Eq, PartialEq)]
pub struct VerifiedProof {
    thumbprint: String,
    token_id: String,
    issued_at: UnixSeconds,
    valid_until: UnixSeconds,
    nonce: Option<String>,
}

impl VerifiedProof {
    /// The thumbprint of the key (RFC 7638), which `cnf.jkt` of a bound token names.
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// `jti`: at most [`super::MAX_TOKEN_ID_BYTES`]. Unique for this key, not for all.
    pub fn token_id(&self) -> &str {
        &self.token_id
    }

    /// `iat`.
    pub fn issued_at(&self) -> UnixSeconds {
        self.issued_at
    }

    /// The last second in which the same proof would be accepted again: so long it must be
    /// remembered.
    pub fn valid_until(&self) -> UnixSeconds {
        self.valid_until
    }

    /// `nonce`, if it has one; accepted unless the rule was [`NonceRule::Ignored`].
    pub fn nonce(&self) -> Option<&str> {
        self.nonce.as_deref()
    }
}

/// Shows which key it is; the rest is the client's.
impl fmt::Debug for VerifiedProof {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("VerifiedProof")
            .field("thumbprint", &self.thumbprint)
            .field("issued_at", &self.issued_at)
            .finish_non_exhaustive()
    }
}

/// Judges the proof in a `DPoP` header, of which the caller has seen to it that there is only one.
///
/// The signature is checked last, because it costs the most: a proof that is wrong for any other
/// reason costs a few microseconds.
///
/// # Errors
///
/// [`DpopError`], the first that holds.
pub fn verify(
    proof: &[u8],
    expected: &Expected<'_>,
    checks: &dyn SignatureCheck,
) -> Result<VerifiedProof, DpopError> {
    let proof = UnverifiedProof::parse(proof, expected.algorithms)?;
    let claims = &proof.claims;
    judge_request(claims, expected)?;
    let valid_until = judge_time(claims, expected)?;
    judge_token_hash(claims, expected)?;
    let (key, thumbprint) = judge_key(&proof, expected)?;
    judge_nonce(claims, expected)?;
    if !is_signed(&proof, &key, checks) {
        return Err(DpopError::SignatureInvalid);
    }
    let UnverifiedProof { claims, .. } = proof;
    Ok(VerifiedProof {
        thumbprint,
        token_id: claims.token_id,
        issued_at: claims.issued_at,
        valid_until,
        nonce: claims.nonce,
    })
}

fn judge_request(claims: &ProofClaims, expected: &Expected<'_>) -> Result<(), DpopError> {
    // Methods are case-sensitive (RFC 9110 §9.1).
    if claims.method != expected.method {
        return Err(DpopError::MethodMismatch);
    }
    let uri = HttpUri::parse(&claims.uri).map_err(|_| DpopError::UriMismatch)?;
    if expected.uris.contains(&uri) { Ok(()) } else { Err(DpopError::UriMismatch) }
}

/// Returns the last second in which the proof is accepted.
fn judge_time(claims: &ProofClaims, expected: &Expected<'_>) -> Result<UnixSeconds, DpopError> {
    let latest = expected.now.plus(expected.clock_skew_seconds);
    let begins = claims.not_before.map_or(claims.issued_at, |time| time.max(claims.issued_at));
    if begins > latest {
        return Err(DpopError::IssuedInFuture);
    }
    // `exp` is the first second in which it is not valid any more.
    let valid_until = claims.issued_at.plus(expected.max_age_seconds);
    let valid_until = claims.expires_at.map_or(valid_until, |time| valid_until.min(time.minus(1)));
    if expected.now > valid_until { Err(DpopError::TooOld) } else { Ok(valid_until) }
}

/// Without `ath`, whoever gets at one proof and one token of a client could use them together.
fn judge_token_hash(claims: &ProofClaims, expected: &Expected<'_>) -> Result<(), DpopError> {
    let Some(token) = expected.access_token else { return Ok(()) };
    let hash = digest::digest(&digest::SHA256, token);
    let is_right = claims.token_hash.as_deref() == Some(&base64url::encode(hash.as_ref()));
    if is_right { Ok(()) } else { Err(DpopError::TokenHashMismatch) }
}

fn judge_key(
    proof: &UnverifiedProof<'_>,
    expected: &Expected<'_>,
) -> Result<(Key, String), DpopError> {
    // A point on P-521 takes up to a millisecond to read, and only ES512 needs one.
    let is_p521 = proof.jwk.get("crv").is_some_and(|curve| curve == "P-521");
    if is_p521 && proof.algorithm != Algorithm::Es512 {
        return Err(DpopError::AlgorithmRefused);
    }
    let key = Key::public(&proof.jwk).map_err(DpopError::KeyRefused)?;
    if key.rsa_bits().is_some_and(|bits| bits > MAX_RSA_BITS) {
        return Err(DpopError::KeyTooLong);
    }
    if !key.fits(proof.algorithm) {
        return Err(DpopError::AlgorithmRefused);
    }
    let thumbprint = key.thumbprint().ok_or(DpopError::KeyRefused(WhySkipped::TypeUnknown))?;
    match expected.thumbprint {
        Some(only) if only != thumbprint => Err(DpopError::KeyMismatch),
        Some(_) | None => Ok((key, thumbprint)),
    }
}

fn judge_nonce(claims: &ProofClaims, expected: &Expected<'_>) -> Result<(), DpopError> {
    let (nonces, is_required) = match expected.nonce {
        NonceRule::Ignored => return Ok(()),
        NonceRule::Optional(nonces) => (nonces, false),
        NonceRule::Required(nonces) => (nonces, true),
    };
    match &claims.nonce {
        Some(nonce) if nonces.accepts(nonce, expected.now) => Ok(()),
        Some(_) => Err(DpopError::NonceRefused),
        None if is_required => Err(DpopError::NonceMissing),
        None => Ok(()),
    }
}

fn is_signed(proof: &UnverifiedProof<'_>, key: &Key, checks: &dyn SignatureCheck) -> bool {
    // Checked here so that every implementation sees only signatures of the one right length.
    key.signature_bytes(proof.algorithm) == Some(proof.signature.len())
        && match checks.check(proof.algorithm, key, proof.signing_input, &proof.signature) {
            SignatureVerdict::Valid => true,
            SignatureVerdict::Invalid => false,
        }
}
