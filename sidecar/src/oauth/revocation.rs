//! A client that ends its tokens (RFC 7009).

use wardgate_core::feed::RevocationTarget;
use wardgate_core::token::VerifiedToken;

use super::own_tokens::OwnToken;
use super::{OAuthError, OAuthRequest, TokenService};
use crate::desk::{RevokeError, RevokeRequest, RevokeTarget, Revoked};
use crate::families::{EndCause, EndedFamily, Refusal};

/// A gate takes a token for so long after its end.
const MAX_SKEW_SECONDS: u64 = 300;

const OTHERS: OAuthError = OAuthError::UnauthorizedClient("the token was issued to another client");

/// What a revocation has come to.
#[derive(Debug)]
pub enum TokenEnded {
    /// Nothing: there was nothing to end.
    Nothing,
    /// An access token is revoked.
    Token(Revoked),
    /// The login of a refresh token has ended.
    Login(Box<EndedFamily>),
}

impl TokenService {
    /// Answers the revocation endpoint: what has ended, if anything has. A token that is none, or
    /// over, is as good as revoked (RFC 7009 §2.2).
    ///
    /// # Errors
    ///
    /// [`OAuthError`] when the client is not who it says, or the token is another's.
    pub async fn revoke(&self, request: &OAuthRequest) -> Result<TokenEnded, OAuthError> {
        let client = self.authenticate(request).await?;
        // `token_type_hint` is only a hint: what a token is, is seen from the token.
        let token = request.form.require("token", "`token` is missing")?;
        match self.families.end_by_token(token, client.id(), EndCause::Returned).await? {
            Ok(ended) => {
                return Ok(ended.map_or(TokenEnded::Nothing, |it| TokenEnded::Login(Box::new(it))));
            }
            Err(Refusal::OtherClient) => return Err(OTHERS),
            // It is no refresh token.
            Err(
                Refusal::NotGenuine
                | Refusal::Ended
                | Refusal::OtherKey
                | Refusal::Over
                | Refusal::Idle
                | Refusal::Revoked,
            ) => {}
        }
        match self.own_tokens.read(&self.desk, token, self.clock.now()).await? {
            OwnToken::Active(token) => {
                own(&token, client.id())?;
                self.revoke_access_token(&token, client.id()).await.map(TokenEnded::Token)
            }
            OwnToken::Ended(token) => own(&token, client.id()).map(|()| TokenEnded::Nothing),
            OwnToken::Foreign => Ok(TokenEnded::Nothing),
        }
    }

    async fn revoke_access_token(
        &self,
        token: &VerifiedToken,
        client_id: &str,
    ) -> Result<Revoked, OAuthError> {
        let issuer = token.issuer().to_owned();
        let token_id = token.token_id().unwrap_or_default().to_owned();
        let asked = RevokeRequest {
            target: RevokeTarget::Named(RevocationTarget::Token { issuer, token_id }),
            reason: None,
            by: Some(format!("client {client_id}")),
            until: Some(token.expires_at().plus(MAX_SKEW_SECONDS).0),
            issued_until: None,
        };
        let revoked = self.desk.revoke(asked, self.revocation_keep_seconds).await;
        revoked.map_err(|error| match error {
            RevokeError::Store(error) => error.into(),
            error @ (RevokeError::Invalid(_) | RevokeError::ApiKey(_)) => OAuthError::server(error),
        })
    }
}

/// A client ends its own tokens: whoever finds another's could otherwise log its users out.
fn own(token: &VerifiedToken, client_id: &str) -> Result<(), OAuthError> {
    let issued_to = token.claims().get("client_id").and_then(serde_json::Value::as_str);
    if issued_to == Some(client_id) {
        return Ok(());
    }
    Err(OTHERS)
}
