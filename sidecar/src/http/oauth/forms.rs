//! What the OAuth endpoints take and answer, for the OpenAPI document alone: forms are read by
//! parameter, so that each error is the one that its RFC has.
#![expect(dead_code, clippy::struct_field_names, reason = "only their schemas are used")]

use schemars::JsonSchema;
use serde_json::{Map, Value};

/// How a client shows who it is, where it does not do so in a header.
#[derive(JsonSchema)]
pub(in crate::http) struct ClientCredentials {
    /// Who it is.
    client_id: Option<String>,
    /// Its secret (`client_secret_post`).
    client_secret: Option<String>,
    /// `urn:ietf:params:oauth:client-assertion-type:jwt-bearer` (`private_key_jwt`).
    client_assertion_type: Option<String>,
    /// The token that it has signed (RFC 7523).
    client_assertion: Option<String>,
}

/// What is asked of the token endpoint.
#[derive(JsonSchema)]
pub(in crate::http) struct Token {
    /// `client_credentials`, `refresh_token`, or
    /// `urn:ietf:params:oauth:grant-type:token-exchange`.
    grant_type: String,
    /// The scopes, with spaces between them.
    scope: Option<String>,
    /// What the token is to be for; may be repeated.
    audience: Option<String>,
    /// The same (RFC 8707); may be repeated.
    resource: Option<String>,
    /// The refresh token (RFC 6749 §6).
    refresh_token: Option<String>,
    /// The token that is exchanged (RFC 8693).
    subject_token: Option<String>,
    /// Its type.
    subject_token_type: Option<String>,
    /// The token of who acts.
    actor_token: Option<String>,
    /// Its type.
    actor_token_type: Option<String>,
    /// The type of the new token.
    requested_token_type: Option<String>,
    #[serde(flatten)]
    client: ClientCredentials,
}

/// A token that is ended or asked about.
#[derive(JsonSchema)]
pub(in crate::http) struct OneToken {
    /// The token.
    token: String,
    /// What it is, as far as the client knows; not needed.
    token_type_hint: Option<String>,
    #[serde(flatten)]
    client: ClientCredentials,
}

/// An answer of the token endpoint (RFC 6749 §5.1, RFC 8693 §2.2.1).
#[derive(JsonSchema)]
pub(in crate::http) struct TokenAnswer {
    /// The token.
    access_token: String,
    /// `Bearer` or `DPoP`.
    token_type: String,
    /// Seconds until it expires.
    expires_in: u64,
    /// What to get the next one with.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    /// In how many seconds that ends if nobody uses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token_expires_in: Option<u64>,
    /// The login: the `sid` of the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    /// Its scopes.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    /// What it is, after an exchange.
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_token_type: Option<String>,
}

/// What a token says (RFC 7662 §2.2).
#[derive(JsonSchema)]
pub(in crate::http) struct Introspection {
    /// Whether it stands.
    active: bool,
    /// `Bearer` or `DPoP`.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<String>,
    /// Its claims.
    #[serde(flatten)]
    claims: Map<String, Value>,
}

/// A refusal (RFC 6749 §5.2).
#[derive(JsonSchema)]
pub(in crate::http) struct Refusal {
    /// The code.
    error: String,
    /// Why, for a developer.
    error_description: String,
}
