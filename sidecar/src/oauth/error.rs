//! Errors of the OAuth endpoints (RFC 6749 §5.2), by the codes of the RFCs.

use crate::accounts::{PasswordProblem, words};
use crate::families::EndedFamily;
use crate::store::StoreError;

/// Why a client gets no token. What a client is told never depends on what it does not know: an
/// unknown client and a wrong secret are one answer.
#[derive(Debug, thiserror::Error)]
pub enum OAuthError {
    /// A parameter is missing, wrong or repeated (RFC 6749 §5.2); of an exchange also: a token is
    /// none of ours (RFC 8693 §2.2.2).
    #[error("{0}")]
    InvalidRequest(&'static str),
    /// The client did not show who it is.
    #[error("client authentication failed")]
    InvalidClient(ClientRefusal),
    /// The grant is over, revoked, or another client's.
    #[error("{0}")]
    InvalidGrant(&'static str),
    /// A refresh token was presented that ended its login: it is to be reported.
    #[error("the refresh token was used before: the login has ended")]
    LoginEnded(Box<EndedFamily>),
    /// The new password of a user will not do: everything that is wrong with it. Told to whoever has
    /// shown the old one.
    #[error("{}", words(.0))]
    PasswordRefused(Vec<PasswordProblem>),
    /// The client may not use this grant or endpoint.
    #[error("{0}")]
    UnauthorizedClient(&'static str),
    /// There is no such grant here.
    #[error("this grant type is not supported")]
    UnsupportedGrantType,
    /// More scopes are asked for than there are.
    #[error("{0}")]
    InvalidScope(&'static str),
    /// Something is asked for that the token may not be for (RFC 8707 §2, RFC 8693 §2.2.2).
    #[error("{0}")]
    InvalidTarget(&'static str),
    /// The client does not have the key that it says (RFC 9449 §5).
    #[error("{0}")]
    InvalidDpopProof(String),
    /// The proof needs the nonce that comes with the answer (RFC 9449 §8).
    #[error("the proof needs the nonce of `DPoP-Nonce`")]
    UseDpopNonce,
    /// The address failed too often; it may come back after so many seconds.
    #[error("too many failures from this address; try again later")]
    TooManyFailures(u64),
    /// There is too much work; it may come back after so many seconds.
    #[error("too much is asked at once; try again later")]
    Busy(u64),
    /// Something failed inside; the client is not told what.
    #[error("the sidecar failed; its log says why")]
    Server(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why a client is not believed: for the audit log, never for the client.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ClientRefusal {
    /// Whom it calls itself, cut to what a name may be long.
    pub client_id: Option<String>,
    /// Why, in a word.
    pub reason: &'static str,
}

impl OAuthError {
    /// The `error` of the answer.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidRequest(_) | Self::PasswordRefused(_) => "invalid_request",
            Self::InvalidClient(_) => "invalid_client",
            Self::InvalidGrant(_) | Self::LoginEnded(_) => "invalid_grant",
            Self::UnauthorizedClient(_) => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope(_) => "invalid_scope",
            Self::InvalidTarget(_) => "invalid_target",
            Self::InvalidDpopProof(_) => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::TooManyFailures(_) | Self::Busy(_) => "temporarily_unavailable",
            Self::Server(_) => "server_error",
        }
    }

    /// The same as the `reason` of a problem (RFC 9457).
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "invalid-request",
            Self::PasswordRefused(_) => "password-refused",
            Self::InvalidClient(_) => "invalid-client",
            Self::InvalidGrant(_) | Self::LoginEnded(_) => "invalid-grant",
            Self::UnauthorizedClient(_) => "unauthorized-client",
            Self::UnsupportedGrantType => "unsupported-grant-type",
            Self::InvalidScope(_) => "invalid-scope",
            Self::InvalidTarget(_) => "invalid-target",
            Self::InvalidDpopProof(_) => "invalid-dpop-proof",
            Self::UseDpopNonce => "use-dpop-nonce",
            Self::TooManyFailures(_) | Self::Busy(_) => "temporarily-unavailable",
            Self::Server(_) => "internal-error",
        }
    }

    /// The HTTP status of the answer.
    pub fn status(&self) -> u16 {
        match self {
            Self::InvalidRequest(_)
            | Self::InvalidGrant(_)
            | Self::LoginEnded(_)
            | Self::PasswordRefused(_)
            | Self::UnauthorizedClient(_)
            | Self::UnsupportedGrantType
            | Self::InvalidScope(_)
            | Self::InvalidTarget(_)
            | Self::InvalidDpopProof(_)
            | Self::UseDpopNonce => 400,
            Self::InvalidClient(_) => 401,
            Self::TooManyFailures(_) => 429,
            Self::Busy(_) => 503,
            Self::Server(_) => 500,
        }
    }

    /// After how many seconds it is worth while to come back.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Self::TooManyFailures(seconds) | Self::Busy(seconds) => Some(*seconds),
            Self::InvalidRequest(_)
            | Self::InvalidClient(_)
            | Self::InvalidGrant(_)
            | Self::LoginEnded(_)
            | Self::PasswordRefused(_)
            | Self::UnauthorizedClient(_)
            | Self::UnsupportedGrantType
            | Self::InvalidScope(_)
            | Self::InvalidTarget(_)
            | Self::InvalidDpopProof(_)
            | Self::UseDpopNonce
            | Self::Server(_) => None,
        }
    }

    /// Something failed inside.
    pub(super) fn server(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Server(Box::new(error))
    }
}

impl From<StoreError> for OAuthError {
    fn from(error: StoreError) -> Self {
        Self::server(error)
    }
}
