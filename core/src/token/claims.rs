//! The claims of a token (RFC 7519 §4.1): their types when it is parsed, their values on every use.

use serde_json::{Map, Value};

use super::IssuerRules;
use crate::json;
use crate::reason::Reason;
use crate::time::UnixSeconds;

/// Longest `iss`: the longest URL that every server accepts.
pub const MAX_ISSUER_BYTES: usize = 2048;

/// Longest `sub`. OIDC allows 255 bytes; SPIFFE ids, which are subjects too, 2048.
pub const MAX_SUBJECT_BYTES: usize = 2048;

/// Longest `jti`. It becomes a key of the revocation table; UUIDs have 36 bytes.
pub const MAX_TOKEN_ID_BYTES: usize = 512;

/// The last second of the year 9999. A later `exp` is a mistake, most often milliseconds, and would
/// make a token that lives for ever.
pub const MAX_NUMERIC_DATE: u64 = 253_402_300_799;

/// Claims whose types are right; nothing is said of their values.
pub(super) struct Claims {
    pub(super) all: Map<String, Value>,
    pub(super) issuer: Box<str>,
    pub(super) subject: Box<str>,
    pub(super) expires_at: UnixSeconds,
    pub(super) not_before: Option<UnixSeconds>,
    pub(super) issued_at: Option<UnixSeconds>,
}

impl Claims {
    /// Reads a decoded payload.
    pub(super) fn parse(text: &[u8]) -> Result<Self, Reason> {
        let Ok(Value::Object(all)) = json::parse_strict(text) else {
            return Err(Reason::TokenMalformed);
        };
        require_audience(&all)?;
        text_within(&all, "jti", MAX_TOKEN_ID_BYTES)?;
        Ok(Self {
            issuer: required_text(&all, "iss", MAX_ISSUER_BYTES)?.into(),
            subject: required_text(&all, "sub", MAX_SUBJECT_BYTES)?.into(),
            // Fractions are rounded to the side on which the token is valid for less time.
            expires_at: numeric_date(&all, "exp", f64::floor)?.ok_or(Reason::TokenClaimInvalid)?,
            not_before: numeric_date(&all, "nbf", f64::ceil)?,
            issued_at: numeric_date(&all, "iat", f64::ceil)?,
            all,
        })
    }

    pub(super) fn token_id(&self) -> Option<&str> {
        self.all.get("jti").and_then(Value::as_str)
    }

    /// Judges the claims at the time `now`.
    pub(super) fn check(&self, rules: &IssuerRules, now: UnixSeconds) -> Result<(), Reason> {
        if *self.issuer != *rules.issuer {
            return Err(Reason::TokenIssuerUnknown);
        }
        // With no audience configured nothing matches: a token for another service would pass as
        // one for this (RFC 8725 §3.9).
        if !self.is_for_any_of(&rules.audiences) {
            return Err(Reason::TokenAudienceMismatch);
        }
        let skew = rules.clock_skew_seconds;
        if now >= self.expires_at.plus(skew) {
            return Err(Reason::TokenExpired);
        }
        let latest = now.plus(skew);
        if self.not_before.is_some_and(|not_before| not_before > latest) {
            return Err(Reason::TokenNotYetValid);
        }
        if self.issued_at.is_some_and(|issued_at| issued_at > latest) {
            return Err(Reason::TokenIssuedInFuture);
        }
        Ok(())
    }

    fn is_for_any_of(&self, accepted: &[String]) -> bool {
        let is_accepted = |audience: &Value| {
            audience.as_str().is_some_and(|audience| accepted.iter().any(|one| one == audience))
        };
        match self.all.get("aud") {
            Some(Value::Array(audiences)) => audiences.iter().any(is_accepted),
            Some(audience) => is_accepted(audience),
            None => false,
        }
    }
}

/// `aud` must be a string or a list of strings (RFC 7519 §4.1.3).
fn require_audience(all: &Map<String, Value>) -> Result<(), Reason> {
    match all.get("aud") {
        Some(Value::String(_)) => Ok(()),
        Some(Value::Array(audiences)) if audiences.iter().all(Value::is_string) => Ok(()),
        Some(_) | None => Err(Reason::TokenClaimInvalid),
    }
}

fn text_within<'a>(
    all: &'a Map<String, Value>,
    name: &str,
    limit_bytes: usize,
) -> Result<Option<&'a str>, Reason> {
    match all.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if text.len() <= limit_bytes => Ok(Some(text)),
        Some(_) => Err(Reason::TokenClaimInvalid),
    }
}

fn required_text<'a>(
    all: &'a Map<String, Value>,
    name: &str,
    limit_bytes: usize,
) -> Result<&'a str, Reason> {
    text_within(all, name, limit_bytes)?
        .filter(|text| !text.is_empty())
        .ok_or(Reason::TokenClaimInvalid)
}

/// Reads a `NumericDate` (RFC 7519 §2): a number from 0 to [`MAX_NUMERIC_DATE`].
pub(crate) fn numeric_date(
    all: &Map<String, Value>,
    name: &str,
    whole: fn(f64) -> f64,
) -> Result<Option<UnixSeconds>, Reason> {
    let Some(value) = all.get(name) else { return Ok(None) };
    let fraction = || value.as_f64().filter(|seconds| *seconds >= 0.0);
    let seconds = value.as_u64().or_else(|| whole_seconds(whole(fraction()?)));
    match seconds {
        Some(seconds) if seconds <= MAX_NUMERIC_DATE => Ok(Some(UnixSeconds(seconds))),
        Some(_) | None => Err(Reason::TokenClaimInvalid),
    }
}

/// A whole, rounded number as an integer. The number came from JSON, so it is finite.
fn whole_seconds(rounded: f64) -> Option<u64> {
    #[expect(clippy::cast_precision_loss, reason = "the limit is below 2^53 and thus exact")]
    let is_within = (0.0..=MAX_NUMERIC_DATE as f64).contains(&rounded);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within the limits just checked the conversion is exact"
    )]
    is_within.then_some(rounded as u64)
}
