//! What is registered of a client, by the names of RFC 7591 §2, RFC 8705 and RFC 9449.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A way to get tokens at the token endpoint.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
pub enum GrantType {
    /// The client's own token (RFC 6749 §4.4).
    #[serde(rename = "client_credentials")]
    ClientCredentials,
    /// A new pair for a refresh token (RFC 6749 §6).
    #[serde(rename = "refresh_token")]
    RefreshToken,
    /// A token for another one (RFC 8693).
    #[serde(rename = "urn:ietf:params:oauth:grant-type:token-exchange")]
    TokenExchange,
}

/// How a client shows who it is (RFC 7591 §2, RFC 8705 §2.1.1).
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    Deserialize,
    Eq,
    Hash,
    JsonSchema,
    Ord,
    PartialEq,
    PartialOrd,
    Serialize,
)]
#[serde(rename_all = "snake_case")]
pub enum AuthenticationMethod {
    /// It does not: a public client, which proves a key of its own instead (RFC 9449).
    None,
    /// A secret in `Authorization: Basic`.
    #[default]
    ClientSecretBasic,
    /// A secret in the body.
    ClientSecretPost,
    /// A token that it signs itself (RFC 7523).
    PrivateKeyJwt,
    /// A certificate of an authority that the proxy trusts (RFC 8705 §2.1).
    TlsClientAuth,
    /// One certificate and no other (RFC 8705 §2.2).
    SelfSignedTlsClientAuth,
}

/// What a client may exchange tokens for (RFC 8693).
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ExchangePermission {
    /// It takes tokens for these audiences only, beside those that were issued to it. Whoever gets
    /// hold of any token could otherwise have it exchanged by any client that may exchange.
    #[serde(default)]
    pub subject_audiences: Vec<String>,
    /// What a new token may be for, of the audiences of the old one; all of them when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audiences: Option<Vec<String>>,
    /// What a new token may be for although the old one was not.
    #[serde(default)]
    pub added_audiences: Vec<String>,
    /// The scopes that may be kept; all of the old token when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// Whether it may name another actor than itself, by a token that was issued to it.
    #[serde(default)]
    pub actor: bool,
    /// Whether a new token may hide who acts: without `act`.
    #[serde(default)]
    pub impersonate: bool,
}

/// All that is registered of a client but its secrets.
#[expect(clippy::struct_excessive_bools, reason = "each is a member of the registration")]
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClientMetadata {
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// The ways in which it may get tokens.
    #[serde(default)]
    pub grant_types: Vec<GrantType>,
    /// The scopes that it may ask for, with spaces between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// How it shows who it is.
    #[serde(default)]
    pub token_endpoint_auth_method: AuthenticationMethod,
    /// Its public keys (RFC 7517 §5), or its certificate by `x5c` or `x5t#S256`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<Map<String, Value>>,
    /// The subject of its certificate (RFC 4514).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_client_auth_subject_dn: Option<String>,
    /// Whether all its tokens are bound to a key of its own (RFC 9449 §5.2).
    #[serde(default)]
    pub dpop_bound_access_tokens: bool,
    /// Whether all its tokens are bound to its certificate (RFC 8705 §3.4).
    #[serde(default)]
    pub tls_client_certificate_bound_access_tokens: bool,
    /// What its tokens may be for; `issuer.audiences` when empty.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// The roles of its own tokens.
    #[serde(default)]
    pub roles: Vec<String>,
    /// How long its access tokens live, in seconds; as all others when missing.
    #[schemars(range(min = 10, max = 86_400))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token_lifetime_seconds: Option<u64>,
    /// How long its users stay logged in at most, in seconds; as all others when missing.
    #[schemars(range(min = 60, max = 315_360_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token_lifetime_seconds: Option<u64>,
    /// How long its users stay logged in without using it, in seconds; as all others when missing.
    #[schemars(range(min = 60, max = 315_360_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token_idle_seconds: Option<u64>,
    /// Whether it may take names and passwords of users and log them in.
    #[serde(default)]
    pub first_party: bool,
    /// Whether it may ask what a token says (RFC 7662).
    #[serde(default)]
    pub may_introspect: bool,
    /// What it may exchange tokens for; nothing when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub may_exchange: Option<ExchangePermission>,
    /// Whether it gets nothing for the time being.
    #[serde(default)]
    pub disabled: bool,
}

impl GrantType {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::ClientCredentials, Self::RefreshToken, Self::TokenExchange];

    /// As it stands in `grant_type`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::RefreshToken => "refresh_token",
            Self::TokenExchange => "urn:ietf:params:oauth:grant-type:token-exchange",
        }
    }

    /// The one that the word stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|grant| grant.word() == word)
    }
}

impl AuthenticationMethod {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::None,
        Self::ClientSecretBasic,
        Self::ClientSecretPost,
        Self::PrivateKeyJwt,
        Self::TlsClientAuth,
        Self::SelfSignedTlsClientAuth,
    ];

    /// As it stands in `token_endpoint_auth_method`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::TlsClientAuth => "tls_client_auth",
            Self::SelfSignedTlsClientAuth => "self_signed_tls_client_auth",
        }
    }

    /// Whether the client has a secret.
    pub const fn has_secret(self) -> bool {
        match self {
            Self::ClientSecretBasic | Self::ClientSecretPost => true,
            Self::None
            | Self::PrivateKeyJwt
            | Self::TlsClientAuth
            | Self::SelfSignedTlsClientAuth => false,
        }
    }

    /// Whether the client shows a certificate.
    pub const fn has_certificate(self) -> bool {
        match self {
            Self::TlsClientAuth | Self::SelfSignedTlsClientAuth => true,
            Self::None | Self::ClientSecretBasic | Self::ClientSecretPost | Self::PrivateKeyJwt => {
                false
            }
        }
    }
}

impl ClientMetadata {
    /// Whether it may use a way to get tokens.
    pub fn may_use(&self, grant: GrantType) -> bool {
        self.grant_types.contains(&grant)
    }

    /// Whether it cannot keep a secret (RFC 6749 §2.1).
    pub fn is_public(&self) -> bool {
        self.token_endpoint_auth_method == AuthenticationMethod::None
    }

    /// What goes without saying of a registration.
    pub(super) fn complete(&mut self) {
        // A refresh token of a public client is worth as much as its key (RFC 9700 §2.2.2): whoever
        // reads one out of a browser must not be able to use it elsewhere.
        self.dpop_bound_access_tokens |= self.is_public();
        if self.grant_types.is_empty() {
            let exchange = self.may_exchange.is_some();
            let own = if self.is_public() || self.first_party {
                GrantType::RefreshToken
            } else {
                GrantType::ClientCredentials
            };
            self.grant_types.push(own);
            self.grant_types.extend(exchange.then_some(GrantType::TokenExchange));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{AuthenticationMethod, ClientMetadata, GrantType};

    #[test]
    fn words_are_those_of_the_registration() {
        for grant in GrantType::ALL {
            assert_eq!(json!(grant), json!(grant.word()));
            assert_eq!(GrantType::from_word(grant.word()), Some(grant));
        }
        for method in AuthenticationMethod::ALL {
            assert_eq!(json!(method), json!(method.word()));
        }
        assert_eq!(GrantType::from_word("password"), None);
    }

    #[test]
    fn a_public_client_is_bound_to_a_key_whatever_it_says() {
        let mut client: ClientMetadata = serde_json::from_value(json!({
            "token_endpoint_auth_method": "none", "dpop_bound_access_tokens": false,
        }))
        .unwrap();
        client.complete();
        assert!(client.dpop_bound_access_tokens);
        assert_eq!(client.grant_types, [GrantType::RefreshToken]);
    }
}
