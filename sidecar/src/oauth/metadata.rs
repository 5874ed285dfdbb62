//! What this server can do, for clients that find out by themselves (RFC 8414).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use wardgate_core::dpop::DEFAULT_ALGORITHMS;
use wardgate_core::token::Algorithm;

use super::{AuthenticationMethod, GrantType, TokenService};

/// The token endpoint.
pub(super) const TOKEN_PATH: &str = "/oauth2/token";
/// The revocation endpoint.
pub(super) const REVOCATION_PATH: &str = "/oauth2/revoke";
/// The introspection endpoint.
pub(super) const INTROSPECTION_PATH: &str = "/oauth2/introspect";
/// Where users log in at first-party applications.
pub(super) const LOGIN_PATH: &str = "/auth/login";
/// Where they log out.
pub(super) const LOGOUT_PATH: &str = "/auth/logout";
/// Where they change their password.
pub(super) const PASSWORD_PATH: &str = "/auth/password";
/// Where clients authenticate.
pub(super) const CLIENT_ENDPOINTS: [&str; 5] =
    [TOKEN_PATH, REVOCATION_PATH, INTROSPECTION_PATH, LOGIN_PATH, PASSWORD_PATH];

/// Metadata of the authorization server, by the names of RFC 8414 §2.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ServerMetadata {
    /// The `iss` of its tokens.
    pub issuer: String,
    /// Where tokens are given.
    pub token_endpoint: String,
    /// Where tokens are ended (RFC 7009).
    pub revocation_endpoint: String,
    /// Where it is said what tokens say (RFC 7662).
    pub introspection_endpoint: String,
    /// The keys of its tokens.
    pub jwks_uri: String,
    /// The grant types.
    pub grant_types_supported: Vec<String>,
    /// None: there is no authorization endpoint.
    pub response_types_supported: Vec<String>,
    /// How clients authenticate at the token endpoint.
    pub token_endpoint_auth_methods_supported: Vec<String>,
    /// The algorithms of assertions.
    pub token_endpoint_auth_signing_alg_values_supported: Vec<String>,
    /// How clients authenticate at the revocation endpoint.
    pub revocation_endpoint_auth_methods_supported: Vec<String>,
    /// The algorithms of assertions there.
    pub revocation_endpoint_auth_signing_alg_values_supported: Vec<String>,
    /// How clients authenticate at the introspection endpoint.
    pub introspection_endpoint_auth_methods_supported: Vec<String>,
    /// The algorithms of assertions there.
    pub introspection_endpoint_auth_signing_alg_values_supported: Vec<String>,
    /// The algorithms of `DPoP` proofs (RFC 9449 §5.1).
    pub dpop_signing_alg_values_supported: Vec<String>,
    /// Whether tokens can be bound to certificates (RFC 8705 §3.3).
    pub tls_client_certificate_bound_access_tokens: bool,
}

impl TokenService {
    /// What is really there.
    pub fn metadata(&self) -> ServerMetadata {
        let certificates = self.section.forwarded_client_certificate;
        let methods = |public: bool| -> Vec<String> {
            AuthenticationMethod::ALL
                .into_iter()
                .filter(|method| certificates || !method.has_certificate())
                .filter(|method| public || *method != AuthenticationMethod::None)
                .map(|method| method.word().to_owned())
                .collect()
        };
        let algorithms = || words(Algorithm::DEFAULT);
        ServerMetadata {
            issuer: self.issuer.issuer.0.clone(),
            token_endpoint: self.endpoint(TOKEN_PATH),
            revocation_endpoint: self.endpoint(REVOCATION_PATH),
            introspection_endpoint: self.endpoint(INTROSPECTION_PATH),
            jwks_uri: self.endpoint("/.well-known/jwks.json"),
            grant_types_supported: GrantType::ALL.map(|grant| grant.word().to_owned()).to_vec(),
            response_types_supported: Vec::new(),
            token_endpoint_auth_methods_supported: methods(true),
            token_endpoint_auth_signing_alg_values_supported: algorithms(),
            revocation_endpoint_auth_methods_supported: methods(true),
            revocation_endpoint_auth_signing_alg_values_supported: algorithms(),
            introspection_endpoint_auth_methods_supported: methods(false),
            introspection_endpoint_auth_signing_alg_values_supported: algorithms(),
            dpop_signing_alg_values_supported: words(DEFAULT_ALGORITHMS),
            tls_client_certificate_bound_access_tokens: certificates,
        }
    }
}

fn words(algorithms: &[Algorithm]) -> Vec<String> {
    algorithms.iter().map(|algorithm| algorithm.word().to_owned()).collect()
}
