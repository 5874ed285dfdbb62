//! Why a proof is refused.

use crate::jwk::WhySkipped;

/// Why a proof is refused. Shows nothing of the proof, so it may be told and logged.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum DpopError {
    /// The proof is longer than [`super::MAX_PROOF_BYTES`], or a part of it than its own limit.
    #[error("the proof is too long")]
    Oversize,
    /// It is not three parts of canonical base64url with two JSON objects without repeated names.
    #[error("the proof is not a JWS in compact form")]
    Malformed,
    /// `typ` is not `dpop+jwt`.
    #[error("the typ of the proof is not dpop+jwt")]
    TypeRefused,
    /// `alg` is `none`, symmetric, unknown or not accepted.
    #[error("the alg of the proof is not accepted")]
    AlgorithmRefused,
    /// The header names a second key, or has an extension that is not understood.
    #[error("the header of the proof has a member that is not accepted")]
    HeaderRefused,
    /// `jwk` is missing, or no public key that is accepted.
    #[error("the jwk of the proof is not accepted: {0}")]
    KeyRefused(WhySkipped),
    /// `jwk` is an RSA key of more than 4096 bits.
    #[error("the jwk of the proof is longer than 4096 bits")]
    KeyTooLong,
    /// `jti`, `htm`, `htu` or `iat` is missing or has the wrong type or length.
    #[error("a claim of the proof is missing or has the wrong type")]
    ClaimInvalid,
    /// `htm` is not the method of the request.
    #[error("the htm of the proof is not the method of the request")]
    MethodMismatch,
    /// `htu` is not the address of the request.
    #[error("the htu of the proof is not the address of the request")]
    UriMismatch,
    /// `iat` is too long ago, or `exp` has passed.
    #[error("the proof is too old")]
    TooOld,
    /// `iat` or `nbf` is in the future.
    #[error("the proof was made in the future; check the clock")]
    IssuedInFuture,
    /// `ath` is missing, or not the hash of the access token.
    #[error("the ath of the proof is not the hash of the access token")]
    TokenHashMismatch,
    /// The key is not the one that is expected.
    #[error("the proof was made with another key than the token is bound to")]
    KeyMismatch,
    /// The signature is not one of the `jwk` over this proof.
    #[error("the signature of the proof is not valid")]
    SignatureInvalid,
    /// A nonce is required, and there is none.
    #[error("the proof needs a nonce")]
    NonceMissing,
    /// The nonce is unknown or too old.
    #[error("the nonce of the proof is not accepted any more")]
    NonceRefused,
}

impl DpopError {
    /// Whether the client needs to do no more than to try again with the nonce that it is given
    /// (RFC 9449 §8, §9).
    pub const fn wants_nonce(self) -> bool {
        match self {
            Self::NonceMissing | Self::NonceRefused => true,
            Self::Oversize
            | Self::Malformed
            | Self::TypeRefused
            | Self::AlgorithmRefused
            | Self::HeaderRefused
            | Self::KeyRefused(_)
            | Self::KeyTooLong
            | Self::ClaimInvalid
            | Self::MethodMismatch
            | Self::UriMismatch
            | Self::TooOld
            | Self::IssuedInFuture
            | Self::TokenHashMismatch
            | Self::KeyMismatch
            | Self::SignatureInvalid => false,
        }
    }

    /// The `error` of an OAuth answer or challenge (RFC 9449 §5, §7.1, §8).
    pub const fn oauth_error(self) -> &'static str {
        if self.wants_nonce() { "use_dpop_nonce" } else { "invalid_dpop_proof" }
    }
}
