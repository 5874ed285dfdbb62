//! Which key a token may be verified with, and the proof that it was.

use core::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::claims::Claims;
use super::header::without_application;
use super::{Algorithm, SignatureCheck, SignatureVerdict, UnverifiedToken};
use crate::jwk::{Key, KeySet};
use crate::reason::Reason;
use crate::time::UnixSeconds;

/// How many keys are tried for one token. Without this, an issuer with many keys would let each
/// bad token cost as many signature checks as it has keys.
pub const MAX_KEYS_TRIED: usize = 4;

/// What is accepted from one issuer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IssuerRules {
    /// The exact `iss`, compared byte by byte (RFC 7519 §4.1.1).
    pub issuer: String,
    /// One of these must stand in `aud`. With none, every token is refused: at least one is needed.
    pub audiences: Vec<String>,
    /// The algorithms accepted from this issuer; a usual choice is [`Algorithm::DEFAULT`].
    pub algorithms: Vec<Algorithm>,
    /// The accepted `typ`, compared without case and without a leading `application/`.
    pub token_types: Vec<String>,
    /// Whether a token without `typ` is accepted. Many issuers write none; one that issues several
    /// kinds of tokens under one key (ID tokens and access tokens) should have this off.
    pub allow_absent_token_type: bool,
    /// By how much the clocks of the issuer and of this machine may differ.
    pub clock_skew_seconds: u64,
    /// Whether RSA keys of 4097 to 8192 bits are used. Off by default: one check with 8192 bits
    /// costs several times one with 4096, and each bad token would cost that.
    pub allow_rsa_above_4096_bits: bool,
}

impl IssuerRules {
    /// The rules for `issuer` with every choice at its default: [`Algorithm::DEFAULT`], the types
    /// `JWT`, `at+jwt` and none at all, 60 seconds of clock skew, RSA up to 4096 bits.
    pub fn new(issuer: String, audiences: Vec<String>) -> Self {
        Self {
            issuer,
            audiences,
            algorithms: Algorithm::DEFAULT.to_vec(),
            token_types: vec!["JWT".to_owned(), "at+jwt".to_owned()],
            allow_absent_token_type: true,
            clock_skew_seconds: 60,
            allow_rsa_above_4096_bits: false,
        }
    }

    fn accepts_type(&self, token_type: Option<&str>) -> bool {
        let Some(token_type) = token_type.map(without_application) else {
            return self.allow_absent_token_type;
        };
        let mut accepted = self.token_types.iter().map(|accepted| without_application(accepted));
        accepted.any(|accepted| accepted.eq_ignore_ascii_case(token_type))
    }

    /// Whether `key` is strong enough and made for `algorithm`.
    fn accepts_key(&self, key: &Key, algorithm: Algorithm) -> bool {
        const LARGEST_USUAL_RSA_BITS: usize = 4096;
        let is_usual = key.rsa_bits().is_none_or(|bits| bits <= LARGEST_USUAL_RSA_BITS);
        (is_usual || self.allow_rsa_above_4096_bits) && key.fits(algorithm)
    }
}

/// Proof that a key of its issuer signed a token, and that its header is acceptable.
///
/// It says nothing of time and audience: [`check_claims`] does, on every use. Cloning is cheap.
#[derive(Clone)]
pub struct VerifiedToken {
    claims: Arc<Claims>,
    key_id: Option<Arc<str>>,
}

impl VerifiedToken {
    /// All claims.
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims.all
    }

    /// The client that it was issued to: `client_id` (RFC 9068 §2.2) or, failing that, `azp`
    /// (`OpenID` Connect Core §2).
    pub fn client_id(&self) -> Option<&str> {
        let claim = |name: &str| self.claims.all.get(name).and_then(Value::as_str);
        claim("client_id").or_else(|| claim("azp"))
    }

    /// `iss`.
    pub fn issuer(&self) -> &str {
        &self.claims.issuer
    }

    /// `sub`; never empty.
    pub fn subject(&self) -> &str {
        &self.claims.subject
    }

    /// `jti`.
    pub fn token_id(&self) -> Option<&str> {
        self.claims.token_id()
    }

    /// The `kid` of the key that the signature was found good with. Not that of the header, which
    /// may be missing: whoever has stolen a key would leave it out once the key is revoked.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// `exp`.
    pub fn expires_at(&self) -> UnixSeconds {
        self.claims.expires_at
    }

    /// `nbf`.
    pub fn not_before(&self) -> Option<UnixSeconds> {
        self.claims.not_before
    }

    /// `iat`.
    pub fn issued_at(&self) -> Option<UnixSeconds> {
        self.claims.issued_at
    }

    /// At most how many bytes of memory the token holds, for caches that are bounded in bytes.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Claims>()
            .saturating_add(self.claims.issuer.len())
            .saturating_add(self.claims.subject.len())
            .saturating_add(map_bytes(&self.claims.all))
            .saturating_add(self.key_id().map_or(0, str::len))
    }
}

/// Shows no claim: they are personal data, and a log is not the place for them.
impl fmt::Debug for VerifiedToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("VerifiedToken(…)")
    }
}

/// What one place of a map costs: the entry, its hash, its index.
const MAP_PLACE_BYTES: usize = size_of::<(String, Value)>() + 3 * size_of::<usize>();

/// Counts the places that a map has, used or not: at least four, and up to twice its members,
/// because it grows by doubling. A bound that counted less could be exceeded at will.
fn map_bytes(members: &Map<String, Value>) -> usize {
    if members.is_empty() {
        return 0;
    }
    let places = members.len().saturating_mul(2).max(4);
    members.iter().fold(places.saturating_mul(MAP_PLACE_BYTES), |sum, (name, member)| {
        sum.saturating_add(name.capacity()).saturating_add(value_bytes(member))
    })
}

/// What `value` holds outside of itself. The depth is bounded by the parser.
fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.capacity(),
        Value::Array(items) => {
            items.iter().fold(items.capacity().saturating_mul(size_of::<Value>()), |sum, item| {
                sum.saturating_add(value_bytes(item))
            })
        }
        Value::Object(members) => map_bytes(members),
    }
}

/// Verifies the header and the signature of `token` with the keys of its issuer.
///
/// The answer depends on nothing but the arguments, so it may be cached as long as rules and keys
/// stay the same, except [`Reason::TokenKeyUnknown`]: the next key set may have the key.
///
/// # Errors
///
/// [`Reason::TokenIssuerUnknown`] when the rules are another issuer's,
/// [`Reason::TokenTypeRefused`], [`Reason::TokenAlgorithmRefused`], [`Reason::TokenKeyUnknown`] when
/// no key has the `kid` and fits the algorithm, [`Reason::TokenSignatureInvalid`].
pub fn verify(
    token: &UnverifiedToken<'_>,
    rules: &IssuerRules,
    keys: &KeySet,
    checks: &dyn SignatureCheck,
) -> Result<VerifiedToken, Reason> {
    // Keys of one issuer must never vouch for another: the caller chose the rules by `iss`, and
    // this makes sure that it did.
    if token.unverified_issuer() != rules.issuer {
        return Err(Reason::TokenIssuerUnknown);
    }
    // An ID token presented as an access token (RFC 8725 §3.11).
    if !rules.accepts_type(token.header.token_type.as_deref()) {
        return Err(Reason::TokenTypeRefused);
    }
    let algorithm = token.algorithm();
    if !rules.algorithms.contains(&algorithm) {
        return Err(Reason::TokenAlgorithmRefused);
    }
    // The key decides what it may be used for, never the token alone: an RSA public key is no HMAC
    // secret, whatever `alg` says (RFC 8725 §2.1).
    let mut candidates = keys
        .named(token.key_id())
        .filter(|key| rules.accepts_key(key, algorithm))
        .take(MAX_KEYS_TRIED)
        .peekable();
    if candidates.peek().is_none() {
        return Err(Reason::TokenKeyUnknown);
    }
    let key = candidates.find(|key| is_signed_by(token, key, checks));
    let key = key.ok_or(Reason::TokenSignatureInvalid)?;
    let key_id = key.key_id().map(Arc::from);
    Ok(VerifiedToken { claims: Arc::clone(&token.claims), key_id })
}

fn is_signed_by(token: &UnverifiedToken<'_>, key: &Key, checks: &dyn SignatureCheck) -> bool {
    // Checked here so that every implementation sees only signatures of the one right length.
    key.signature_bytes(token.algorithm()) == Some(token.signature().len())
        && match checks.check(token.algorithm(), key, token.signing_input(), token.signature()) {
            SignatureVerdict::Valid => true,
            SignatureVerdict::Invalid => false,
        }
}

/// Judges issuer, audience and times of `token` at `now`; on every request, hit or miss.
///
/// # Errors
///
/// [`Reason::TokenIssuerUnknown`], [`Reason::TokenAudienceMismatch`], [`Reason::TokenExpired`],
/// [`Reason::TokenNotYetValid`], [`Reason::TokenIssuedInFuture`], the first that holds.
pub fn check_claims(
    token: &VerifiedToken,
    rules: &IssuerRules,
    now: UnixSeconds,
) -> Result<(), Reason> {
    token.claims.check(rules, now)
}
