//! Making the token that a grant has decided on, and the answer with it (RFC 6749 §5.1).

use serde::Serialize;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::request::OAuthRequest;
use super::scopes::Scopes;
use super::{AuthenticatedClient, Event, OAuthError, TokenService};
use crate::desk::{IssueTokenError, IssuedToken, TokenRequest};
use crate::store::records::families::Confirmation as FamilyConfirmation;

/// An answer of the token endpoint.
#[derive(Debug)]
pub struct TokenAnswer {
    /// JSON with the tokens.
    pub body: Zeroizing<String>,
    /// What is to be recorded of it.
    pub event: Option<Event>,
}

/// The members of an answer.
#[derive(Default, Serialize)]
pub(super) struct TokenBody<'a> {
    pub(super) access_token: &'a str,
    pub(super) token_type: &'a str,
    pub(super) expires_in: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refresh_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refresh_token_expires_in: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) session: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) issued_token_type: Option<&'a str>,
}

impl TokenBody<'_> {
    pub(super) fn text(&self) -> Result<Zeroizing<String>, OAuthError> {
        serde_json::to_string(self).map(Zeroizing::new).map_err(OAuthError::server)
    }
}

/// What a token is bound to (RFC 7800 §3.1).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Confirmation {
    /// The thumbprint of a key (RFC 9449 §6.1).
    pub(super) key: Option<String>,
    /// The certificate (RFC 8705 §3.1).
    pub(super) certificate: Option<String>,
}

impl Confirmation {
    pub(super) fn is_bound(&self) -> bool {
        self.key.is_some() || self.certificate.is_some()
    }

    pub(super) fn token_type(&self) -> &'static str {
        // RFC 9449 §5: whoever takes one for the other is refused by the first gate.
        if self.key.is_some() { "DPoP" } else { "Bearer" }
    }

    /// What a family of refresh tokens is to be bound to, or has been shown.
    pub(super) fn shown(&self) -> Option<FamilyConfirmation> {
        let key = self.key.clone().map(FamilyConfirmation::KeyThumbprint);
        let certificate = || self.certificate.clone();
        key.or_else(|| certificate().map(FamilyConfirmation::CertificateThumbprint))
    }

    /// The claim `cnf`.
    fn claim(&self) -> Option<Value> {
        let mut members = Map::new();
        for (name, value) in [("jkt", &self.key), ("x5t#S256", &self.certificate)] {
            if let Some(value) = value {
                members.insert(name.to_owned(), value.clone().into());
            }
        }
        (!members.is_empty()).then_some(Value::Object(members))
    }
}

/// What a token is to say.
pub(super) struct Issue<'a> {
    pub(super) subject: &'a str,
    pub(super) client: &'a AuthenticatedClient,
    pub(super) audiences: Vec<String>,
    pub(super) scope: &'a Scopes,
    pub(super) roles: Vec<String>,
    pub(super) claims: Map<String, Value>,
    pub(super) lifetime_seconds: u64,
    pub(super) confirmation: &'a Confirmation,
}

impl TokenService {
    pub(super) fn issue(&self, issue: Issue<'_>) -> Result<IssuedToken, OAuthError> {
        let mut claims = issue.claims;
        if let Some(confirmation) = issue.confirmation.claim() {
            claims.insert("cnf".to_owned(), confirmation);
        }
        let asked = TokenRequest {
            subject: issue.subject.to_owned(),
            audiences: issue.audiences,
            algorithm: None,
            expires_in_seconds: Some(i64::try_from(issue.lifetime_seconds).unwrap_or(i64::MAX)),
            roles: issue.roles,
            scope: issue.scope.text(),
            client_id: Some(issue.client.id().to_owned()),
            claims,
        };
        self.desk.issue_token(asked).map_err(|error| match error {
            error @ (IssueTokenError::Invalid(_)
            | IssueTokenError::SigningKey(_)
            | IssueTokenError::Random(_)) => OAuthError::server(error),
        })
    }

    /// What a new token of a client is bound to: the key that the request proves, whether it must or
    /// not, and its certificate where its tokens are.
    pub(super) async fn confirmation(
        &self,
        client: &AuthenticatedClient,
        request: &OAuthRequest,
        path: &str,
    ) -> Result<Confirmation, OAuthError> {
        let key = self.proof(request, path, None).await?;
        if key.is_none() && client.metadata().dpop_bound_access_tokens {
            return Err(OAuthError::InvalidDpopProof(
                "tokens of this client are bound to a key: a proof is needed".to_owned(),
            ));
        }
        let bound = client.metadata().tls_client_certificate_bound_access_tokens;
        let shown = client.certificate().filter(|_| bound);
        if bound && shown.is_none() {
            return Err(OAuthError::InvalidRequest(
                "tokens of this client are bound to its certificate, and it has shown none",
            ));
        }
        Ok(Confirmation { key, certificate: shown.map(super::ClientCertificate::thumbprint) })
    }

    /// How long access tokens of a client live, in seconds.
    pub(super) fn access_lifetime(&self, client: &AuthenticatedClient) -> u64 {
        let own = client.metadata().access_token_lifetime_seconds;
        own.unwrap_or(self.issuer.access_token_lifetime_seconds.0)
    }

    /// What a token of a client is for: some of what it may ask for, all of it when it says nothing
    /// (RFC 8707 §2.2).
    pub(super) fn audiences(
        &self,
        client: &AuthenticatedClient,
        request: &OAuthRequest,
    ) -> Result<Vec<String>, OAuthError> {
        let allowed = self.allowed_audiences(client);
        let asked = asked_audiences(request);
        if asked.is_empty() {
            return Ok(allowed);
        }
        if asked.iter().all(|audience| allowed.contains(audience)) {
            return Ok(asked);
        }
        Err(OAuthError::InvalidTarget("the client may not ask for this audience or resource"))
    }

    /// What a client may ask for at all.
    pub(super) fn allowed_audiences(&self, client: &AuthenticatedClient) -> Vec<String> {
        let own = &client.metadata().audiences;
        if own.is_empty() {
            return self.issuer.audiences.iter().map(|audience| audience.0.clone()).collect();
        }
        own.clone()
    }
}

/// What a token is asked to be for, each once.
pub(super) fn asked_audiences(request: &OAuthRequest) -> Vec<String> {
    let mut asked: Vec<String> = Vec::new();
    for audience in request.form.all("resource").chain(request.form.all("audience")) {
        if !asked.iter().any(|other| other == audience) {
            asked.push(audience.to_owned());
        }
    }
    asked
}

pub(super) fn asked_scope(request: &OAuthRequest) -> Result<Option<Scopes>, OAuthError> {
    let wrong =
        OAuthError::InvalidScope("`scope` is not a list of scopes with spaces between them");
    request.form.get("scope").map(|text| Scopes::parse(text).ok_or(wrong)).transpose()
}

/// The scopes of a client's token: some of its own, all of them when it says nothing
/// (RFC 6749 §3.3).
pub(super) fn scope(
    client: &AuthenticatedClient,
    request: &OAuthRequest,
) -> Result<Scopes, OAuthError> {
    let own = client.metadata().scope.as_deref().and_then(Scopes::parse).unwrap_or_default();
    match asked_scope(request)? {
        None => Ok(own),
        Some(asked) if asked.are_within(&own) => Ok(asked),
        Some(_) => Err(OAuthError::InvalidScope("the client may not ask for this scope")),
    }
}
