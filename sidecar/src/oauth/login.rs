//! A user who logs in at a first-party application, with name and password.

use serde_json::{Map, Value, json};

use super::issue::{Confirmation, TokenAnswer, scope};
use super::metadata::LOGIN_PATH;
use super::scopes::Scopes;
use super::session::{Pair, may_log_in};
use super::{AuthenticatedClient, Event, GrantType, OAuthError, OAuthRequest, TokenService};
use crate::accounts::{LoginAttempt, LoginError, Password, User};
use crate::families::{BeginError, Begun, NewFamily};
use crate::store::records::users;
use crate::store::{Check, StoreError, Table};

/// How often a login is looked at anew when the record of its user changes meanwhile.
const TRIES: usize = 8;
/// In how many seconds to come again after that.
const BUSY_SECONDS: u64 = 1;
/// Longest name of a device: it is kept with the login, for lists.
const MAX_DEVICE_BYTES: usize = 256;

/// What a login is told that came too late.
const GONE: OAuthError = OAuthError::InvalidGrant("the name or the password is wrong");

/// What is asked for a login. The parameters of the client and of the tokens stand in the form.
#[derive(Clone, Debug)]
pub struct LoginRequest {
    /// The client, and what it asks for.
    pub request: OAuthRequest,
    /// The name of the user.
    pub name: String,
    /// The password of the user.
    pub password: Password,
    /// Where the user is, for lists of logins.
    pub device: Option<String>,
}

/// What a login is to be, as far as the client decides.
struct Wanted {
    audiences: Vec<String>,
    scope: Scopes,
    confirmation: Confirmation,
    device: Option<String>,
}

impl TokenService {
    /// Logs a user in. The client and all that it asks for are judged before the password is looked
    /// at: a hash costs more than all of it.
    ///
    /// # Errors
    ///
    /// [`OAuthError`] with what the application is told.
    pub async fn login(&self, asked: LoginRequest) -> Result<TokenAnswer, OAuthError> {
        let LoginRequest { request, name, password, device } = asked;
        let client = self.first_party(&request).await?;
        if device.as_ref().is_some_and(|device| device.len() > MAX_DEVICE_BYTES) {
            return Err(OAuthError::InvalidRequest("`device` is longer than 256 bytes"));
        }
        let wanted = Wanted {
            audiences: self.audiences(&client, &request)?,
            scope: scope(&client, &request)?,
            confirmation: self.confirmation(&client, &request, LOGIN_PATH).await?,
            device,
        };
        let attempt = LoginAttempt { name, password, address: request.address };
        let user = self.accounts.login(attempt).await.map_err(refused)?;
        let claims = Map::from_iter([
            ("auth_time".to_owned(), self.clock.now().0.into()),
            ("amr".to_owned(), json!(["pwd"])),
        ]);
        let begun = if client.metadata().may_use(GrantType::RefreshToken) {
            Some(self.begin(&client, &user, &wanted, &claims).await?)
        } else {
            None
        };
        let body = self.pair(Pair {
            client: &client,
            user: &user,
            family: begun.as_ref().map(|begun| &begun.family),
            refresh_token: begun.as_ref().map(|begun| begun.refresh_token.as_str()),
            refresh_expires_in: begun.as_ref().map(|begun| self.unused_for(begun)),
            audiences: wanted.audiences,
            scope: wanted.scope,
            claims: &claims,
            confirmation: &wanted.confirmation,
        })?;
        if begun.is_none() {
            // After it was signed, so that what is revoked from now on is revoked after its `iat`. A
            // family has looked as it began.
            self.still(&user).await?;
        }
        let session = begun.map(|begun| begun.family.id);
        let event = Event::new("session-begun")
            .with("issuer", self.issuer.issuer.0.as_str())
            .with("subject", user.id.as_str())
            .with("client_id", client.id())
            .with("session", session);
        Ok(TokenAnswer { body, event: Some(event) })
    }

    /// The client of a request, if it may ask users for their passwords.
    ///
    /// # Errors
    ///
    /// [`OAuthError`] when the client is not who it says or may not.
    pub(super) async fn first_party(
        &self,
        request: &OAuthRequest,
    ) -> Result<AuthenticatedClient, OAuthError> {
        let client = self.authenticate(request).await?;
        if !client.metadata().first_party {
            return Err(OAuthError::UnauthorizedClient("the client may not ask for passwords"));
        }
        Ok(client)
    }

    /// Begins a family, if the user still is as the password was compared with: somebody who was
    /// disabled or logged out in between gets nothing.
    async fn begin(
        &self,
        client: &AuthenticatedClient,
        user: &User,
        wanted: &Wanted,
        claims: &Map<String, Value>,
    ) -> Result<Begun, OAuthError> {
        for _ in 0..TRIES {
            let record = self.still(user).await?;
            let stands =
                Check { table: Table::Users, key: user.id.clone(), expected: Some(record) };
            let metadata = client.metadata();
            let new = NewFamily {
                subject: user.id.clone(),
                client_id: client.id().to_owned(),
                audiences: wanted.audiences.clone(),
                scope: wanted.scope.text(),
                // Clients that can keep a secret show it with each refresh; the others have only
                // their key.
                binding: wanted.confirmation.shown().filter(|_| metadata.is_public()),
                claims: claims.clone(),
                device: wanted.device.clone(),
                lifetime_seconds: metadata.refresh_token_lifetime_seconds,
                idle_seconds: metadata.refresh_token_idle_seconds,
                unless_changed: vec![stands],
            };
            match self.families.begin(new).await {
                Ok(begun) => return Ok(begun),
                Err(BeginError::Changed) => {}
                Err(BeginError::Revoked) => return Err(GONE),
                Err(BeginError::Store(StoreError::Changed)) => break,
                Err(BeginError::Store(error)) => return Err(error.into()),
                Err(error @ BeginError::Random(_)) => return Err(OAuthError::server(error)),
            }
        }
        Err(OAuthError::Busy(BUSY_SECONDS))
    }

    /// The record of the user, who still may log in, and of whom nothing that was issued has ended
    /// since.
    async fn still(&self, user: &User) -> Result<Vec<u8>, OAuthError> {
        let found = users::get(&**self.desk.store(), &user.id).await?.ok_or(GONE)?;
        let now = User::of(found.user);
        let is_same = may_log_in(&now) && now.tokens_not_before == user.tokens_not_before;
        if is_same { Ok(found.bytes) } else { Err(GONE) }
    }

    /// For how many seconds a login may stay unused from now on.
    fn unused_for(&self, begun: &Begun) -> u64 {
        begun.family.stored.over_at().0.saturating_sub(self.clock.now().0)
    }
}

/// What an application is told of a login, or a change of a password, that failed.
pub(super) fn refused(error: LoginError) -> OAuthError {
    match error {
        LoginError::WrongCredentials => {
            OAuthError::InvalidGrant("the name or the password is wrong")
        }
        LoginError::Throttled { retry_after_seconds } => {
            OAuthError::TooManyFailures(retry_after_seconds)
        }
        LoginError::Busy { retry_after_seconds } => OAuthError::Busy(retry_after_seconds),
        LoginError::NewPassword(problems) => OAuthError::PasswordRefused(problems),
        error @ LoginError::Failed(_) => OAuthError::server(error),
    }
}
