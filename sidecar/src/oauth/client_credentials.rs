//! A client's own token (RFC 6749 §4.4).

use serde_json::Map;

use super::issue::{Issue, TokenAnswer, TokenBody, scope};
use super::metadata::TOKEN_PATH;
use super::{AuthenticatedClient, OAuthError, OAuthRequest, TokenService};

impl TokenService {
    /// Gives a client its own token. There is no refresh token: the client can always ask again.
    pub(super) async fn client_credentials(
        &self,
        client: &AuthenticatedClient,
        request: &OAuthRequest,
    ) -> Result<TokenAnswer, OAuthError> {
        let confirmation = self.confirmation(client, request, TOKEN_PATH).await?;
        let scope = scope(client, request)?;
        let issued = self.issue(Issue {
            // RFC 9068 §2.2: there is no user, so the client is the subject.
            subject: client.id(),
            client,
            audiences: self.audiences(client, request)?,
            scope: &scope,
            roles: client.metadata().roles.clone(),
            claims: Map::new(),
            lifetime_seconds: self.access_lifetime(client),
            confirmation: &confirmation,
        })?;
        let body = TokenBody {
            access_token: &issued.access_token,
            token_type: confirmation.token_type(),
            expires_in: issued.expires_in,
            scope: scope.text(),
            ..TokenBody::default()
        };
        Ok(TokenAnswer { body: body.text()?, event: None })
    }
}
