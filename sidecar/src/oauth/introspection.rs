//! What a token says, for a service that cannot read it or wants to know whether it still stands
//! (RFC 7662).

use serde_json::{Map, Value};
use wardgate_core::token::VerifiedToken;

use super::own_tokens::OwnToken;
use super::{OAuthError, OAuthRequest, TokenService};

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
        match self.own_tokens.read(&self.desk, token, self.clock.now()).await? {
            OwnToken::Active(token) => Ok(active(&token)),
            OwnToken::Ended(_) | OwnToken::Foreign => Ok(inactive()),
        }
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
