//! Demonstrating Proof of Possession ([RFC 9449]): a client proves with each request that it has the
//! key that its token is bound to, so that a token alone is worth nothing to who steals it.
//!
//! [`verify`] judges one proof by everything that stands in it and returns a [`VerifiedProof`]. What
//! needs memory is the caller's: that a proof is not used twice (its thumbprint and its token id
//! together, until [`VerifiedProof::valid_until`]), and that there is only one `DPoP` header.
//!
//! [RFC 9449]: https://www.rfc-editor.org/rfc/rfc9449

mod error;
mod nonce;
mod proof;
mod uri;
mod verify;

pub use error::DpopError;
pub use nonce::{NONCE_PERIOD_SECONDS, Nonces};
pub use proof::{MAX_NONCE_BYTES, MAX_PROOF_BYTES, MAX_TOKEN_ID_BYTES};
pub use uri::{HttpUri, Origin, ParseUriError};
pub use verify::{DEFAULT_ALGORITHMS, Expected, NonceRule, VerifiedProof, verify};

#[cfg(test)]
pub(crate) mod tests;
