//! A client that signs a token to show who it is: `private_key_jwt` (RFC 7523 §2.2, §3).

use serde_json::{Map, Value};
use wardgate_core::jwk::{KeyOrigin, KeySet};
use wardgate_core::time::UnixSeconds;
use wardgate_core::token::{
    Algorithm, IssuerRules, SoftwareSignatures, UnverifiedToken, check_claims, verify,
};

/// Longest assertion.
const MAX_ASSERTION_BYTES: usize = 16 * 1024;
/// How far an assertion may reach into the future. Its id is remembered for that long, and whoever
/// steals one that lives for a year would only have to wait until nobody remembers.
const MAX_LIFETIME_SECONDS: u64 = 3600;
/// By how much the clock of a client may differ.
const CLOCK_SKEW_SECONDS: u64 = 60;

/// An assertion that its client has signed, and that must be marked as used.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct VerifiedAssertion {
    /// Its `jti`.
    pub(super) token_id: String,
    /// Until when it would be taken.
    pub(super) until: UnixSeconds,
}

/// The client that an assertion names; good only to find its keys.
pub(super) fn unverified_client(assertion: &str) -> Option<String> {
    let token = UnverifiedToken::parse(assertion.as_bytes(), MAX_ASSERTION_BYTES).ok()?;
    Some(token.unverified_issuer().to_owned())
}

/// Judges an assertion: signed by a key of the client, about the client, for one of `audiences` and
/// for nobody else, not over, with an id.
///
/// # Errors
///
/// Why not, for the audit log.
pub(super) fn judge(
    assertion: &str,
    client_id: &str,
    jwks: &Map<String, Value>,
    audiences: &[String],
    now: UnixSeconds,
) -> Result<VerifiedAssertion, &'static str> {
    let token = UnverifiedToken::parse(assertion.as_bytes(), MAX_ASSERTION_BYTES)
        .map_err(|_| "assertion-malformed")?;
    let (keys, _) = KeySet::parse(jwks, KeyOrigin::Fetched).map_err(|_| "assertion-keys")?;
    let rules = IssuerRules {
        // Not the default list: a public key must never be taken for a shared secret.
        algorithms: Algorithm::DEFAULT.to_vec(),
        token_types: vec!["JWT".to_owned(), "client-authentication+jwt".to_owned()],
        clock_skew_seconds: CLOCK_SKEW_SECONDS,
        ..IssuerRules::new(client_id.to_owned(), audiences.to_vec())
    };
    let token =
        verify(&token, &rules, &keys, &SoftwareSignatures).map_err(|_| "assertion-refused")?;
    check_claims(&token, &rules, now).map_err(|_| "assertion-claims")?;
    if token.subject() != client_id {
        return Err("assertion-subject");
    }
    // One that is for somebody else as well could be sent here by them.
    if !is_for_these_alone(token.claims().get("aud"), audiences) {
        return Err("assertion-audience");
    }
    let until = token.expires_at().plus(CLOCK_SKEW_SECONDS);
    if until > now.plus(MAX_LIFETIME_SECONDS.saturating_add(CLOCK_SKEW_SECONDS)) {
        return Err("assertion-lives-too-long");
    }
    let token_id = token.token_id().filter(|id| !id.is_empty()).ok_or("assertion-id-missing")?;
    Ok(VerifiedAssertion { token_id: token_id.to_owned(), until })
}

fn is_for_these_alone(audience: Option<&Value>, audiences: &[String]) -> bool {
    let is_ours = |value: &Value| {
        value.as_str().is_some_and(|value| audiences.iter().any(|audience| audience == value))
    };
    match audience {
        Some(Value::Array(values)) => !values.is_empty() && values.iter().all(is_ours),
        Some(value) => is_ours(value),
        None => false,
    }
}

#[cfg(test)]
mod tests;
