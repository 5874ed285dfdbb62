//! What a token says, for a service that cannot read it or wants to know whether it still stands
//! (RFC 7662).

use serde_json::{Map, Value, json};
use wardgate_core::token::VerifiedToken;

use super::own_tokens::OwnToken;
use super::{OAuthError, OAuthRequest, TokenService};
use crate::families::Looked;

impl TokenService {
    /// Answers the introspection endpoint. Of a token that is not active nothing is said but that.
    ///
    /// # Errors
    ///
    /// [`OAuthError`] when the client is not who it says or may not ask.
    pub async fn introspect(
        &self,
        request: &OAuthRequest,
    ) -> Result<Map<String, Value>, OAuthError> {
        let client = self.authenticate(request).await?;
        if !client.metadata().may_introspect {
            return Err(OAuthError::UnauthorizedClient("the client may not introspect tokens"));
        }
        let token = request.form.require("token", "`token` is missing")?;
        // Refresh tokens have a form of their own, whatever `token_type_hint` says.
        if let Some(looked) = self.families.look(token).await? {
            return Ok(self.refresh_token_says(&looked));
        }
        match self.own_tokens.read(&self.desk, token, self.clock.now()).await? {
            OwnToken::Active(token) => Ok(active(&token)),
            OwnToken::Ended(_) | OwnToken::Foreign => Ok(inactive()),
        }
    }
}

impl TokenService {
    /// What a refresh token is good for.
    fn refresh_token_says(&self, looked: &Looked) -> Map<String, Value> {
        let family = &looked.family.stored;
        let mut answer = Map::from_iter([("active".to_owned(), Value::Bool(true))]);
        let mut say = |name: &str, value: Value| answer.insert(name.to_owned(), value);
        say("token_type", "refresh_token".into());
        say("iss", self.issuer.issuer.0.clone().into());
        say("sub", family.subject.clone().into());
        say("client_id", family.client_id.clone().into());
        say("sid", looked.family.id.clone().into());
        say("exp", looked.expires_at.into());
        say("iat", family.begun_at.into());
        if let Some(scope) = &family.scope {
            say("scope", scope.clone().into());
        }
        if let Some(binding) = &family.binding {
            say("cnf", json!(binding));
        }
        answer
    }
}

fn inactive() -> Map<String, Value> {
    Map::from_iter([("active".to_owned(), Value::Bool(false))])
}

/// All claims (RFC 7662 §2.2), with `active` and `token_type`, which no claim may stand in for.
fn active(token: &VerifiedToken) -> Map<String, Value> {
    let mut answer = Map::from_iter([("active".to_owned(), Value::Bool(true))]);
    let is_bound_to_key = token.claims().get("cnf").is_some_and(|cnf| cnf.get("jkt").is_some());
    let token_type = if is_bound_to_key { "DPoP" } else { "Bearer" };
    answer.insert("token_type".to_owned(), token_type.into());
    for (name, value) in token.claims() {
        if !matches!(name.as_str(), "active" | "token_type") {
            answer.insert(name.clone(), value.clone());
        }
    }
    answer
}
