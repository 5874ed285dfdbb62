//! A user who logs out: by the token that their application has.

use axum::http::header;
use serde_json::Value;
use wardgate_core::token::VerifiedToken;

use super::metadata::LOGOUT_PATH;
use super::own_tokens::OwnToken;
use super::proof::Bound;
use super::{OAuthError, OAuthRequest, TokenService};
use crate::accounts::AccountError;
use crate::families::{EndCause, EndedFamily};

/// Who logs out.
struct Leaving {
    subject: String,
    /// The login; nothing if its access token is of none.
    session: Option<String>,
}

impl TokenService {
    /// Ends the login of a token: the refresh token of the form, or else the access token of
    /// `Authorization`. With `everywhere` all logins of its user end. Returns what has ended, which
    /// is nothing for a token that is over.
    ///
    /// # Errors
    ///
    /// [`OAuthError::InvalidRequest`] when there is no token or it is of no user,
    /// [`OAuthError::InvalidDpopProof`] when it is bound to a key that was not shown.
    pub async fn logout(
        &self,
        request: &OAuthRequest,
        everywhere: bool,
    ) -> Result<Vec<EndedFamily>, OAuthError> {
        let leaving = match request.form.get("refresh_token") {
            Some(token) => self.families.look(token).await?.map(|looked| Leaving {
                subject: looked.family.stored.subject,
                session: Some(looked.family.id),
            }),
            None => self.leaving_by_access_token(request).await?,
        };
        let Some(Leaving { subject, session }) = leaving else { return Ok(Vec::new()) };
        let (cause, by) = (EndCause::LoggedOut, format!("user {subject}"));
        if !everywhere {
            let session = session.ok_or(OAuthError::InvalidRequest("the token is of no login"))?;
            let ended = self.families.end(&session, cause, Some(&by)).await?;
            return Ok(ended.into_iter().collect());
        }
        // First what is issued is over, then the logins end one by one: whatever breaks off in
        // between, no token of before is accepted.
        match self.accounts.log_out(&subject).await {
            Ok(_) => {}
            Err(AccountError::Unknown) => {
                return Err(OAuthError::InvalidRequest("the token is of no user"));
            }
            Err(error) => return Err(OAuthError::server(error)),
        }
        Ok(self.families.end_all(&subject, cause, Some(&by)).await?)
    }

    async fn leaving_by_access_token(
        &self,
        request: &OAuthRequest,
    ) -> Result<Option<Leaving>, OAuthError> {
        const NONE: OAuthError = OAuthError::InvalidRequest(
            "there is no token: neither `refresh_token` nor `Authorization: Bearer` or `DPoP`",
        );
        let mut values = request.headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return Err(NONE) };
        let (scheme, text) =
            value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(NONE)?;
        let is_dpop = scheme.eq_ignore_ascii_case("dpop");
        if !is_dpop && !scheme.eq_ignore_ascii_case("bearer") {
            return Err(NONE);
        }
        let token = match self.own_tokens.read(&self.desk, text, self.clock.now()).await? {
            OwnToken::Active(token) => token,
            OwnToken::Ended(_) | OwnToken::Foreign => return Ok(None),
        };
        self.show_binding(request, text, &token, is_dpop).await?;
        let session = token.claims().get("sid").and_then(Value::as_str).map(str::to_owned);
        Ok(Some(Leaving { subject: token.subject().to_owned(), session }))
    }

    /// A bound token alone is worth nothing, here as at every gate.
    async fn show_binding(
        &self,
        request: &OAuthRequest,
        text: &str,
        token: &VerifiedToken,
        is_dpop: bool,
    ) -> Result<(), OAuthError> {
        const MISSING: OAuthError =
            OAuthError::InvalidRequest("the token is bound, and what it is bound to was not shown");
        let Some(confirmation) = token.claims().get("cnf") else {
            // RFC 9449 §7.1: who sends a plain token as a bound one believes that it is.
            return if is_dpop { Err(MISSING) } else { Ok(()) };
        };
        // Of what it is bound to all must be shown, and something that is not known here never is.
        let members = confirmation.as_object().ok_or(MISSING)?;
        for (name, value) in members {
            let value = value.as_str().ok_or(MISSING)?;
            let is_shown = match name.as_str() {
                "jkt" => {
                    let bound = Bound { token: text, thumbprint: value };
                    is_dpop && self.proof(request, LOGOUT_PATH, Some(&bound)).await?.is_some()
                }
                "x5t#S256" => self.certificate(request).is_some_and(|it| it.thumbprint() == value),
                _ => false,
            };
            if !is_shown {
                return Err(MISSING);
            }
        }
        if members.is_empty() { Err(MISSING) } else { Ok(()) }
    }
}
