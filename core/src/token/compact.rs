//! The compact serialization of a JWS (RFC 7515 §7.1), read in the one way that it can be read.

use core::fmt;
use std::sync::Arc;

use super::Algorithm;
use super::claims::Claims;
use super::header::Header;
use crate::base64url;
use crate::reason::Reason;
use crate::time::UnixSeconds;

/// Longest signature, decoded: RSA with 8192 bits, the largest key that is accepted at all.
pub const MAX_SIGNATURE_BYTES: usize = 1024;

/// The parts of a compact serialization, still encoded.
pub(crate) struct Parts<'a> {
    pub(crate) header: &'a [u8],
    pub(crate) payload: &'a [u8],
    pub(crate) signature: &'a [u8],
    /// Header and payload as they came, with the dot between them.
    pub(crate) signing_input: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Exactly three: five are an encrypted token, and text after the third would not be signed.
    pub(crate) fn of(compact: &'a [u8]) -> Option<Self> {
        let mut parts = compact.split(|byte| *byte == b'.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let end = compact.len().checked_sub(signature.len().saturating_add(1))?;
        Some(Self { header, payload, signature, signing_input: compact.get(..end)? })
    }
}

/// A token of the right form. Nothing in it can be relied on: anyone can write one.
pub struct UnverifiedToken<'a> {
    signing_input: &'a [u8],
    signature: Vec<u8>,
    pub(super) header: Header,
    /// Shared, so that a verified token does not copy what is already read.
    pub(super) claims: Arc<Claims>,
}

impl<'a> UnverifiedToken<'a> {
    /// Reads a token of at most `limit_bytes`.
    ///
    /// # Errors
    ///
    /// - [`Reason::TokenOversize`] for a token, header or signature over its limit;
    /// - [`Reason::TokenMalformed`] unless there are three parts in canonical base64url, the first
    ///   two JSON objects without repeated names, and the header has the right types;
    /// - [`Reason::TokenAlgorithmRefused`], [`Reason::TokenKeyEmbedded`],
    ///   [`Reason::TokenCriticalHeader`] for what a header must not have;
    /// - [`Reason::TokenClaimInvalid`] when `iss`, `sub`, `aud` or `exp` is missing, or a registered
    ///   claim has the wrong type.
    pub fn parse(compact: &'a [u8], limit_bytes: usize) -> Result<Self, Reason> {
        if compact.len() > limit_bytes {
            return Err(Reason::TokenOversize);
        }
        let parts = Parts::of(compact).ok_or(Reason::TokenMalformed)?;
        let header = Header::parse(&decode(parts.header)?)?;
        let signature = decode(parts.signature)?;
        if signature.len() > MAX_SIGNATURE_BYTES {
            return Err(Reason::TokenOversize);
        }
        let claims = Arc::new(Claims::parse(&decode(parts.payload)?)?);
        Ok(Self { signing_input: parts.signing_input, signature, header, claims })
    }

    /// The algorithm that the token claims to be signed with.
    pub fn algorithm(&self) -> Algorithm {
        self.header.algorithm
    }

    /// The `kid` of the header.
    pub fn key_id(&self) -> Option<&str> {
        self.header.key_id.as_deref()
    }

    /// The `iss` that the token claims; good only to choose the rules to verify it by.
    pub fn unverified_issuer(&self) -> &str {
        &self.claims.issuer
    }

    /// The `jti` that the token claims.
    pub fn unverified_token_id(&self) -> Option<&str> {
        self.claims.token_id()
    }

    /// The `exp` that the token claims.
    pub fn unverified_expires_at(&self) -> UnixSeconds {
        self.claims.expires_at
    }

    /// What the signature covers: header and payload as they came, with the dot between them.
    pub fn signing_input(&self) -> &'a [u8] {
        self.signing_input
    }

    /// The signature, decoded.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }
}

/// Says nothing of the token: who reads a log could use it.
impl fmt::Debug for UnverifiedToken<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("UnverifiedToken(…)")
    }
}

fn decode(part: &[u8]) -> Result<Vec<u8>, Reason> {
    base64url::decode(part).ok_or(Reason::TokenMalformed)
}
