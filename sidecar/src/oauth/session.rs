//! The pair of tokens that a login has, when it is made and at each refresh.

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::issue::{Confirmation, Issue, TokenBody};
use super::scopes::Scopes;
use super::{AuthenticatedClient, OAuthError, TokenService};
use crate::accounts::{User, UserState};
use crate::families::Family;

/// What a pair is made of.
pub(super) struct Pair<'a> {
    pub(super) client: &'a AuthenticatedClient,
    pub(super) user: &'a User,
    /// The login; nothing for a client that gets no refresh tokens.
    pub(super) family: Option<&'a Family>,
    pub(super) refresh_token: Option<&'a str>,
    /// When the refresh token ends if nobody uses it, in seconds from now.
    pub(super) refresh_expires_in: Option<u64>,
    pub(super) audiences: Vec<String>,
    pub(super) scope: Scopes,
    /// More claims, such as `auth_time` and `amr`.
    pub(super) claims: &'a Map<String, Value>,
    pub(super) confirmation: &'a Confirmation,
}

impl TokenService {
    /// Makes the access token of a pair, and the answer with both.
    pub(super) fn pair(&self, pair: Pair<'_>) -> Result<Zeroizing<String>, OAuthError> {
        let mut claims = pair.claims.clone();
        let session = pair.family.map(|family| family.id.as_str());
        if let Some(session) = session {
            claims.insert("sid".to_owned(), session.into());
        }
        if !pair.user.groups.is_empty() {
            claims.insert("groups".to_owned(), pair.user.groups.clone().into());
        }
        let issued = self.issue(Issue {
            subject: &pair.user.id,
            client: pair.client,
            audiences: pair.audiences,
            scope: &pair.scope,
            roles: pair.user.roles.clone(),
            claims,
            lifetime_seconds: self.access_lifetime(pair.client),
            confirmation: pair.confirmation,
        })?;
        let body = TokenBody {
            access_token: &issued.access_token,
            token_type: pair.confirmation.token_type(),
            expires_in: issued.expires_in,
            refresh_token: pair.refresh_token,
            refresh_token_expires_in: pair.refresh_expires_in,
            scope: pair.scope.text(),
            session,
            ..TokenBody::default()
        };
        body.text()
    }
}

/// Whether a user may have tokens at all.
pub(super) fn may_log_in(user: &User) -> bool {
    match user.state {
        UserState::Active => true,
        UserState::Disabled => false,
    }
}
