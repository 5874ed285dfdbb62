//! Token exchange (RFC 8693): reads what is asked, has it decided, and makes the token.

use serde_json::Value;

use super::exchange::{Exchanged, TokenFacts, Wish, decide};
use super::issue::{Issue, TokenAnswer, TokenBody, asked_audiences, asked_scope};
use super::metadata::TOKEN_PATH;
use super::own_tokens::OwnToken;
use super::{AuthenticatedClient, Event, OAuthError, OAuthRequest, TokenService};
use crate::desk::IssuedToken;

/// The types of token that are taken: an access token is one of ours, and one of ours is a JWT.
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

impl TokenService {
    pub(super) async fn token_exchange(
        &self,
        client: &AuthenticatedClient,
        request: &OAuthRequest,
    ) -> Result<TokenAnswer, OAuthError> {
        let permission = client.metadata().may_exchange.as_ref();
        let permission = permission
            .ok_or(OAuthError::UnauthorizedClient("the client may exchange no tokens"))?;
        requested_type(request)?;
        let confirmation = self.confirmation(client, request, TOKEN_PATH).await?;
        let subject = self.presented(request, "subject_token", "subject_token_type").await?;
        let subject = subject.ok_or(OAuthError::InvalidRequest("`subject_token` is missing"))?;
        let actor = self.presented(request, "actor_token", "actor_token_type").await?;
        let exchanged = decide(&Wish {
            client_id: client.id(),
            permission,
            subject: &subject,
            actor: actor.as_ref(),
            audiences: asked_audiences(request),
            scope: asked_scope(request)?,
            lifetime_seconds: self.access_lifetime(client),
            is_bound: confirmation.is_bound(),
            issuer: &self.issuer.issuer.0,
            now: self.clock.now(),
        })?;
        let issued = self.issue(Issue {
            subject: &exchanged.subject,
            client,
            audiences: exchanged.audiences.clone(),
            scope: &exchanged.scope,
            roles: exchanged.roles.clone(),
            claims: exchanged.claims.clone(),
            lifetime_seconds: exchanged.expires_in_seconds,
            confirmation: &confirmation,
        })?;
        let body = TokenBody {
            access_token: &issued.access_token,
            token_type: confirmation.token_type(),
            expires_in: issued.expires_in,
            scope: exchanged.scope.text(),
            issued_token_type: Some(ACCESS_TOKEN),
            ..TokenBody::default()
        };
        let event = event(client, &subject, &exchanged, &issued);
        Ok(TokenAnswer { body: body.text()?, event: Some(event) })
    }

    /// A token that the request brings, if it does: one of ours, not over and not revoked.
    async fn presented(
        &self,
        request: &OAuthRequest,
        name: &str,
        type_name: &str,
    ) -> Result<Option<TokenFacts>, OAuthError> {
        let token = match (request.form.get(name), request.form.get(type_name)) {
            (None, None) => return Ok(None),
            (Some(token), Some(ACCESS_TOKEN | JWT)) => token,
            (Some(_), Some(_)) => {
                return Err(OAuthError::InvalidRequest("this type of token is not exchanged here"));
            }
            _ => {
                return Err(OAuthError::InvalidRequest(
                    "a token and its type go together (RFC 8693 §2.1)",
                ));
            }
        };
        match self.own_tokens.read(&self.desk, token, self.clock.now()).await? {
            OwnToken::Active(token) => Ok(Some(TokenFacts::of(&token))),
            OwnToken::Ended(_) | OwnToken::Foreign => Err(OAuthError::InvalidRequest(
                "a token was not issued here, has expired or was revoked",
            )),
        }
    }
}

fn requested_type(request: &OAuthRequest) -> Result<(), OAuthError> {
    match request.form.get("requested_token_type") {
        None | Some(ACCESS_TOKEN | JWT) => Ok(()),
        Some(_) => Err(OAuthError::InvalidRequest("only access tokens are issued here")),
    }
}

/// Who acts for whom must be known to whoever reads the log later.
fn event(
    client: &AuthenticatedClient,
    subject: &TokenFacts,
    exchanged: &Exchanged,
    issued: &IssuedToken,
) -> Event {
    let actor = exchanged.claims.get("act").and_then(|act| act.get("sub"));
    Event::new("token-exchange")
        .with("client_id", client.id())
        .with("subject", exchanged.subject.as_str())
        .with("actor", actor.cloned().unwrap_or(Value::Null))
        .with("credential_id", issued.jti.as_str())
        .with("exchanged_id", subject.claims.get("jti").cloned().unwrap_or(Value::Null))
        .with("audiences", exchanged.audiences.clone())
}
