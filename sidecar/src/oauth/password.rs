//! A user who changes their password at a first-party application.

use super::login::refused;
use super::metadata::PASSWORD_PATH;
use super::{OAuthError, OAuthRequest, TokenService};
use crate::accounts::{ChangePassword, LoginAttempt, Password};

/// What is asked for a change of a password. How the client authenticates stands in the form.
#[derive(Clone, Debug)]
pub struct PasswordRequest {
    /// The client.
    pub request: OAuthRequest,
    /// The name of the user.
    pub name: String,
    /// The password that the user has.
    pub old_password: Password,
    /// The one that the user wants.
    pub new_password: Password,
}

impl TokenService {
    /// Changes the password of a user who knows it, and ends everything that the user was issued:
    /// whoever else knows it may be logged in with it. No tokens are given: the user logs in anew.
    ///
    /// The attack: to guess at this address what can be guessed at the login only slowly. So an
    /// attempt is a login in all but its end: of the same clients, counted and delayed by the same
    /// counters, as long in its work and with the same answer for a name that nobody has. What is
    /// wrong with the new password is told only to whoever has shown the old one.
    ///
    /// # Errors
    ///
    /// [`OAuthError`] with what the application is told.
    pub async fn change_password(&self, asked: PasswordRequest) -> Result<(), OAuthError> {
        let PasswordRequest { request, name, old_password, new_password } = asked;
        let client = self.first_party(&request).await?;
        // As at the login: of a client without a secret it asks for a header that no page of another
        // origin can send unasked.
        self.confirmation(&client, &request, PASSWORD_PATH).await?;
        let attempt = LoginAttempt { name, password: old_password, address: request.address };
        let change = ChangePassword { attempt, new: new_password };
        self.accounts.change_password(change).await.map(|_| ()).map_err(refused)
    }
}
