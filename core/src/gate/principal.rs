//! Who a request is from, ready to be written into headers.

use crate::policy::{Grants, Issuer};
use crate::token::VerifiedToken;
use crate::wire::{ApiKeyRecord, RateLimitRecord};

use super::encode;

/// How a principal was authenticated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AuthKind {
    /// By a JWT.
    Jwt,
    /// By an API key.
    ApiKey,
    /// Not at all.
    None,
}

impl AuthKind {
    /// The word for headers and events.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::ApiKey => "api_key",
            Self::None => "none",
        }
    }
}

/// Who a request is from: always issuer and subject together, and what they may do.
#[derive(Clone, Debug)]
pub struct Principal {
    /// How it was authenticated.
    pub auth: AuthKind,
    /// The issuer, as its identifier.
    pub issuer: Option<String>,
    /// The subject at the issuer.
    pub subject: Option<String>,
    /// The client that the token was issued to: its `client_id` or, failing that, its `azp`.
    pub client_id: Option<String>,
    /// `jti` of the token, or id of the API key: what to revoke.
    pub credential_id: Option<String>,
    /// Whether it was authenticated by the secret that an API key had before its last rotation.
    pub previous_secret: bool,
    /// How often the API key may be used, if it says so.
    pub rate_limit: Option<RateLimitRecord>,
    /// What the principal may do.
    pub grants: Grants,
    /// The headers to set, names in lower case, values escaped.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Principal {
    /// Nobody.
    pub fn anonymous(grants: Grants) -> Self {
        let headers = vec![header("x-wardgate-auth", b"none".to_vec())];
        let auth = AuthKind::None;
        Self {
            auth,
            issuer: None,
            subject: None,
            client_id: None,
            credential_id: None,
            previous_secret: false,
            rate_limit: None,
            grants,
            headers,
        }
    }

    /// The principal of a verified token.
    pub fn of_token(token: &VerifiedToken, issuer: &Issuer, grants: Grants) -> Self {
        let mut principal = Self {
            auth: AuthKind::Jwt,
            issuer: Some(token.issuer().to_owned()),
            subject: Some(token.subject().to_owned()),
            client_id: token.client_id().map(str::to_owned),
            credential_id: token.token_id().map(str::to_owned),
            previous_secret: false,
            rate_limit: None,
            grants,
            headers: Vec::new(),
        };
        principal.headers = principal.identity_headers();
        let forwarded = issuer.forwarded_claims(token.claims());
        principal.headers.extend(forwarded.map(|(name, value)| header(name, value)));
        principal
    }

    /// The principal of an API key: its owner, or the key itself if it has none.
    pub fn of_api_key(record: &ApiKeyRecord, grants: Grants) -> Self {
        let own_name = || format!("api_key:{}", record.name);
        let mut principal = Self {
            auth: AuthKind::ApiKey,
            issuer: record.issuer.clone(),
            subject: Some(record.subject.clone().unwrap_or_else(own_name)),
            client_id: None,
            credential_id: Some(record.id.clone()),
            previous_secret: false,
            rate_limit: record.rate_limit,
            grants,
            headers: Vec::new(),
        };
        principal.headers = principal.identity_headers();
        principal
    }

    /// About how many bytes of memory it holds.
    pub fn memory_bytes(&self) -> usize {
        let texts = [&self.issuer, &self.subject, &self.client_id, &self.credential_id];
        let texts: usize = texts.into_iter().flatten().map(String::len).sum();
        let headers: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.len().saturating_add(value.len()).saturating_add(64))
            .sum();
        texts
            .saturating_add(headers)
            .saturating_add(self.grants.memory_bytes())
            .saturating_add(size_of::<Self>())
            .saturating_add(256)
    }

    fn identity_headers(&self) -> Vec<(String, Vec<u8>)> {
        let mut headers = vec![header("x-wardgate-auth", self.auth.word().into())];
        if let Some(issuer) = &self.issuer {
            headers.push(header("x-wardgate-issuer", encode::value(issuer)));
        }
        if let Some(subject) = &self.subject {
            headers.push(header("x-wardgate-subject", encode::value(subject)));
        }
        let roles = encode::list(self.grants.roles(), b',');
        if !roles.is_empty() {
            headers.push(header("x-wardgate-roles", roles));
        }
        let scopes = encode::list(self.grants.scopes(), b' ');
        if !scopes.is_empty() {
            headers.push(header("x-wardgate-scopes", scopes));
        }
        headers
    }
}

fn header(name: &str, value: Vec<u8>) -> (String, Vec<u8>) {
    (name.to_owned(), value)
}
