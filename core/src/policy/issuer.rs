//! Issuers: whose tokens are accepted, and what their claims mean.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::claims::ClaimPath;
use super::document::{ClaimsSection, IssuerSection};
use super::name::refused_header;
use super::role::Roles;
use crate::config::{At, NonEmpty, Problems};
use crate::token::IssuerRules;

/// An issuer of tokens.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// Its short name, as bindings use it.
    pub name: String,
    /// What its tokens must look like.
    pub rules: IssuerRules,
    /// Public keys that stand in the policy.
    pub jwks: Option<Map<String, Value>>,
    /// Where the sidecar fetches the public keys.
    pub jwks_uri: Option<String>,
    /// Whether the sidecar asks the issuer where that is.
    pub discover: bool,
    /// Environment variable of the shared secret.
    pub hmac_secret_env: Option<String>,
    /// Whether its tokens are refused unless they are bound.
    pub require_token_binding: bool,
    pub(super) claims: ClaimsSection,
    /// Roles that its tokens may claim, by index.
    pub(super) may_claim: BTreeSet<usize>,
    forward: Vec<(String, ClaimPath)>,
}

impl Issuer {
    /// Headers to the upstream and their values, encoded so that no claim can break a header.
    /// Claims that the token lacks, and objects, have none.
    pub fn forwarded_claims<'a>(
        &'a self,
        claims: &'a Map<String, Value>,
    ) -> impl Iterator<Item = (&'a str, Vec<u8>)> {
        self.forward.iter().filter_map(|(header, path)| {
            path.header_value(claims).map(|value| (header.as_str(), value))
        })
    }

    /// The headers that its claims can set.
    pub(super) fn forwarded_names(&self) -> impl Iterator<Item = &str> {
        self.forward.iter().map(|(header, _)| header.as_str())
    }

    pub(super) fn compile(
        section: &IssuerSection,
        roles: &Roles,
        at: &At<'_>,
        problems: &mut Problems,
    ) -> Self {
        check_lists(section, at, problems);
        check_keys(section, at, problems);
        for header in section.forward_claims.keys() {
            if let Some(message) = refused_header(header) {
                at.name("forward_claims").name(header).problem(problems, message);
            }
        }
        let may_claim =
            roles.resolve(&section.may_claim_roles, &at.name("may_claim_roles"), problems);
        Self {
            name: section.name.to_string(),
            rules: rules(section),
            jwks: section.jwks.clone(),
            jwks_uri: section.jwks_uri.as_ref().map(|uri| uri.0.clone()),
            discover: section.discover,
            hmac_secret_env: section.hmac_secret_env.as_ref().map(|name| name.0.clone()),
            require_token_binding: section.require_token_binding,
            claims: section.claims.clone(),
            may_claim: may_claim.into_iter().collect(),
            forward: section.forward_claims.clone().into_iter().collect(),
        }
    }
}

fn rules(section: &IssuerSection) -> IssuerRules {
    let texts = |list: &[NonEmpty]| list.iter().map(|text| text.0.clone()).collect();
    IssuerRules {
        issuer: section.issuer.0.clone(),
        audiences: texts(&section.audiences),
        algorithms: section.algorithms.clone(),
        token_types: texts(&section.token_types),
        allow_absent_token_type: section.allow_absent_token_type,
        clock_skew_seconds: section.clock_skew_seconds.0,
        allow_rsa_above_4096_bits: section.allow_rsa_above_4096_bits,
    }
}

fn check_lists(section: &IssuerSection, at: &At<'_>, problems: &mut Problems) {
    if section.audiences.is_empty() {
        // RFC 8725 §3.9: a token for another service must not pass here.
        at.name("audiences").problem(problems, "expected at least one audience");
    }
    if section.algorithms.is_empty() {
        at.name("algorithms").problem(problems, "expected at least one algorithm");
    }
    if section.token_types.is_empty() && !section.allow_absent_token_type {
        at.name("token_types").problem(problems, "no token could have an accepted type");
    }
}

fn check_keys(section: &IssuerSection, at: &At<'_>, problems: &mut Problems) {
    let is_hmac = |algorithm: &&crate::token::Algorithm| algorithm.hmac_secret_bytes().is_some();
    let hmac = section.algorithms.iter().filter(is_hmac).count();
    if hmac > 0 && hmac < section.algorithms.len() {
        // RFC 8725 §3.1: where both kinds are accepted, a public key may be used as a secret.
        at.name("algorithms")
            .problem(problems, "HS* cannot stand together with algorithms that use public keys");
    }
    if hmac > 0 && section.hmac_secret_env.is_none() {
        at.name("hmac_secret_env").problem(problems, "required for HS* algorithms");
    }
    if hmac == 0 && section.hmac_secret_env.is_some() {
        at.name("hmac_secret_env").problem(problems, "only for HS* algorithms");
    }
    let uri = section.jwks_uri.as_deref().unwrap_or("https://");
    if hmac > 0 && section.jwks_uri.is_some() {
        at.name("jwks_uri").problem(problems, "HS* algorithms have no public keys");
    } else if !is_safe_url(uri) {
        // Whoever stands between could hand over keys of their own.
        at.name("jwks_uri").problem(problems, "expected `https://`, or `http://` on loopback");
    }
    check_discovery(section, hmac > 0, at, problems);
    let keys = section.jwks.as_ref().and_then(|jwks| jwks.get("keys")).and_then(Value::as_array);
    for (index, key) in keys.into_iter().flatten().enumerate() {
        if key.get("kty").and_then(Value::as_str) == Some("oct") {
            at.name("jwks").name("keys").index(index).problem(
                problems,
                "a shared secret does not belong into a policy; name an environment variable in `hmac_secret_env`",
            );
        }
    }
}

fn check_discovery(section: &IssuerSection, hmac: bool, at: &At<'_>, problems: &mut Problems) {
    if !section.discover {
        return;
    }
    let at = at.name("discover");
    if hmac {
        at.problem(problems, "HS* algorithms have no public keys");
    } else if section.jwks_uri.is_some() {
        at.problem(problems, "give `jwks_uri` or `discover`, not both");
    } else if !is_safe_url(&section.issuer) {
        at.problem(
            problems,
            "`issuer` is no URL that can be asked: expected `https://`, or `http://` on loopback",
        );
    }
}

fn is_safe_url(url: &str) -> bool {
    let loopback = |rest: &str| {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = super::host::canonical(host);
        matches!(host.as_deref(), Some("localhost" | "127.0.0.1" | "[::1]"))
    };
    url.starts_with("https://") || url.strip_prefix("http://").is_some_and(loopback)
}
