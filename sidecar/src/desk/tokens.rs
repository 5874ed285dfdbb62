//! Access tokens (RFC 9068) of the sidecar's own issuer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use wardgate_core::time::UnixSeconds;

use super::Desk;
use crate::keys::{MAX_TOKEN_LIFETIME_SECONDS, SigningAlgorithm, SigningKeyError};
use crate::random::RandomError;

/// An access token lives minutes; a day is a mistake that nobody can take back.
const MAX_LIFETIME_SECONDS: i64 = MAX_TOKEN_LIFETIME_SECONDS.cast_signed();
/// The claims that the desk sets itself.
const OWN_CLAIMS: &[&str] =
    &["iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope", "roles"];
/// Longest subject, client id and audience.
const MAX_TEXT_BYTES: usize = 1024;

/// What is asked for a token.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// The `sub`.
    #[schemars(length(min = 1, max = 1024))]
    pub subject: String,
    /// The `aud`; the `issuer.audiences` of the configuration when empty.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// The algorithm; the first of `issuer.algorithms` when missing.
    #[serde(default)]
    pub algorithm: Option<String>,
    /// Seconds from now to `exp`; negative for a token that has expired, to test with.
    #[serde(default)]
    #[schemars(range(min = -86_400, max = 86_400))]
    pub expires_in_seconds: Option<i64>,
    /// The `roles`.
    #[serde(default)]
    pub roles: Vec<String>,
    /// The `scope`, words with spaces between them.
    #[serde(default)]
    pub scope: Option<String>,
    /// The `client_id`.
    #[serde(default)]
    pub client_id: Option<String>,
    /// More claims.
    #[serde(default)]
    pub claims: Map<String, Value>,
}

/// A token and what an operator wants to know about it.
#[derive(Deserialize, JsonSchema, Serialize)]
pub struct IssuedToken {
    /// The token.
    pub access_token: String,
    /// Always `Bearer`.
    pub token_type: String,
    /// Seconds until it expires.
    pub expires_in: i64,
    /// The `jti`, which names the token in audit events.
    pub jti: String,
    /// The key that signed.
    pub algorithm: String,
}

/// Why no token was issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueTokenError {
    /// Something of what was asked is wrong.
    #[error("{0}")]
    Invalid(&'static str),
    /// There is no key, or it does not sign.
    #[error(transparent)]
    SigningKey(#[from] SigningKeyError),
    /// The operating system gives no randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl Desk {
    /// Issues an access token.
    ///
    /// # Errors
    ///
    /// [`IssueTokenError`] when the request is wrong or there is no key for it.
    pub fn issue_token(&self, asked: TokenRequest) -> Result<IssuedToken, IssueTokenError> {
        let algorithm = self.algorithm(asked.algorithm.as_deref())?;
        let default = i64::try_from(self.issuer.access_token_lifetime_seconds.0).unwrap_or(300);
        let expires_in = asked.expires_in_seconds.unwrap_or(default);
        if !(-MAX_LIFETIME_SECONDS..=MAX_LIFETIME_SECONDS).contains(&expires_in) {
            return Err(IssueTokenError::Invalid("`expires_in_seconds` is at most a day"));
        }
        let jti = self.random.text::<16>()?;
        let now = self.clock.now();
        let claims = self.claims(asked, expires_in, &jti, now)?;
        // RFC 9068 §2.1: the type keeps an access token from being taken for another kind of JWT.
        let access_token = self.signing_keys().sign(algorithm, "at+jwt", &claims, now)?;
        self.count_issued(&claims);
        Ok(IssuedToken {
            access_token,
            token_type: "Bearer".to_owned(),
            expires_in,
            jti,
            algorithm: algorithm.word().to_owned(),
        })
    }

    fn algorithm(&self, asked: Option<&str>) -> Result<SigningAlgorithm, IssueTokenError> {
        match asked {
            Some(word) => SigningAlgorithm::from_word(word)
                .ok_or(IssueTokenError::Invalid("`algorithm` is not ES256, EdDSA or RS256")),
            None => self
                .issuer
                .algorithms
                .first()
                .copied()
                .ok_or(IssueTokenError::Invalid("`issuer.algorithms` is empty")),
        }
    }

    fn claims(
        &self,
        asked: TokenRequest,
        expires_in: i64,
        jti: &str,
        now: UnixSeconds,
    ) -> Result<Map<String, Value>, IssueTokenError> {
        if asked.claims.keys().any(|name| OWN_CLAIMS.contains(&name.as_str())) {
            return Err(IssueTokenError::Invalid(
                "`claims` cannot set iss, sub, aud, exp, iat, jti, client_id, scope or roles",
            ));
        }
        let default = || self.issuer.audiences.iter().map(|audience| audience.0.clone()).collect();
        let audiences: Vec<String> =
            if asked.audiences.is_empty() { default() } else { asked.audiences };
        let client_id = asked.client_id.unwrap_or_else(|| "wardgate-cli".to_owned());
        let texts = audiences.iter().chain([&asked.subject, &client_id]);
        if texts.into_iter().any(|text| text.is_empty() || text.len() > MAX_TEXT_BYTES) {
            return Err(IssueTokenError::Invalid(
                "subject, audience and client id are 1 to 1024 bytes",
            ));
        }
        let audience = match audiences.as_slice() {
            [] => return Err(IssueTokenError::Invalid("no audience is given or configured")),
            [one] => Value::from(one.clone()),
            several => Value::from(several),
        };
        let now = i64::try_from(now.0).unwrap_or(i64::MAX);
        let expires_at = now.saturating_add(expires_in);
        let mut claims = Map::new();
        claims.insert("iss".to_owned(), self.issuer.issuer.0.clone().into());
        claims.insert("sub".to_owned(), asked.subject.into());
        claims.insert("aud".to_owned(), audience);
        claims.insert("exp".to_owned(), expires_at.into());
        // A token that has expired was issued before that.
        claims.insert("iat".to_owned(), now.min(expires_at.saturating_sub(1)).into());
        claims.insert("jti".to_owned(), jti.into());
        claims.insert("client_id".to_owned(), client_id.into());
        if let Some(scope) = asked.scope {
            claims.insert("scope".to_owned(), scope.into());
        }
        if !asked.roles.is_empty() {
            claims.insert("roles".to_owned(), asked.roles.into());
        }
        claims.extend(asked.claims);
        Ok(claims)
    }
}
