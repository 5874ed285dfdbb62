//! JSON Web Tokens: strict parsing (RFC 7515, RFC 7519), signatures (RFC 7518, RFC 8037), claims.
//!
//! A token passes three states, each a type of its own:
//! [`UnverifiedToken`] (well-formed, says nothing yet) → [`verify`] → [`VerifiedToken`] (signed by a
//! key of its issuer) → [`check_claims`], which is repeated on every request because time goes on.

mod algorithm;
mod claims;
mod compact;
mod header;
mod signature;
mod verify;

pub use algorithm::Algorithm;
pub(crate) use claims::numeric_date;
pub(crate) use compact::Parts;

pub use claims::{MAX_ISSUER_BYTES, MAX_NUMERIC_DATE, MAX_SUBJECT_BYTES, MAX_TOKEN_ID_BYTES};
pub use compact::{MAX_SIGNATURE_BYTES, UnverifiedToken};
pub use header::{MAX_HEADER_BYTES, MAX_TOKEN_KEY_ID_BYTES, MAX_TOKEN_TYPE_BYTES};
pub use signature::{SignatureCheck, SignatureVerdict, SoftwareSignatures, ecdsa_der};
pub use verify::{IssuerRules, MAX_KEYS_TRIED, VerifiedToken, check_claims, verify};

#[cfg(test)]
mod tests;
