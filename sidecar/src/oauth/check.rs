//! What may stand in the registration of a client.

use wardgate_core::jwk::{KeyOrigin, KeySet};

use super::certificate::registered_digests;
use super::client::{AuthenticationMethod, ClientMetadata, ExchangePermission, GrantType};
use super::scopes::{Scopes, is_scope};

/// Longest id. It stands in every token of the client.
const MAX_ID_BYTES: usize = 128;
/// Longest name for people.
const MAX_CLIENT_NAME_BYTES: usize = 256;
/// Longest subject of a certificate.
const MAX_SUBJECT_DN_BYTES: usize = 1024;
/// Longest audience; longest role.
const MAX_AUDIENCE_BYTES: usize = 1024;
const MAX_ROLE_BYTES: usize = 128;
/// Audiences, roles and scopes of one list: those of a token travel with every request.
const MAX_LIST: usize = 64;
/// Shortest and longest life of an access token: what the desk signs.
const ACCESS_LIFETIME: std::ops::RangeInclusive<u64> = 10..=86_400;
/// Shortest and longest life of a family of refresh tokens: ten years are a mistake in the unit.
const REFRESH_LIFETIME: std::ops::RangeInclusive<u64> = 60..=315_360_000;
/// All of it: read for each request of the client.
const MAX_METADATA_BYTES: usize = 64 * 1024;

/// Whether a text can be the id of a client. No letter of it means anything in a URL, in a form or
/// in a header.
pub(super) fn is_client_id(id: &str) -> bool {
    (1..=MAX_ID_BYTES).contains(&id.len())
        && id.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:-~".contains(&byte))
}

/// Everything that is wrong with a registration.
pub(super) fn problems(client: &ClientMetadata) -> Vec<String> {
    let mut found = Vec::new();
    texts(client, &mut found);
    lifetimes(client, &mut found);
    authentication(client, &mut found);
    grants(client, &mut found);
    if serde_json::to_vec(client).map_or(true, |text| text.len() > MAX_METADATA_BYTES) {
        found.push("the registration is longer than 64 KiB altogether".to_owned());
    }
    found
}

fn texts(client: &ClientMetadata, found: &mut Vec<String>) {
    let name = client.client_name.as_deref().unwrap_or_default();
    if name.len() > MAX_CLIENT_NAME_BYTES || name.chars().any(char::is_control) {
        found.push("`client_name` is longer than 256 bytes or has control characters".to_owned());
    }
    if client.scope.as_deref().is_some_and(|scope| Scopes::parse(scope).is_none()) {
        found.push(
            "`scope` is at most 100 scopes with spaces between them, 4096 bytes in all".to_owned(),
        );
    }
    audiences("audiences", &client.audiences, found);
    let role = |role: &String| {
        role.len() <= MAX_ROLE_BYTES
            && role.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
            && role.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte))
    };
    if client.roles.len() > MAX_LIST || !client.roles.iter().all(role) {
        found.push("`roles` are at most 64 names as they stand in the policy".to_owned());
    }
}

fn audiences(name: &str, audiences: &[String], found: &mut Vec<String>) {
    let right = |audience: &String| {
        (1..=MAX_AUDIENCE_BYTES).contains(&audience.len())
            && !audience.chars().any(char::is_control)
    };
    if audiences.len() > MAX_LIST || !audiences.iter().all(right) {
        found.push(format!("`{name}` are at most 64 texts of 1 to 1024 bytes"));
    }
}

fn lifetimes(client: &ClientMetadata, found: &mut Vec<String>) {
    let out = |value: Option<u64>, range: &std::ops::RangeInclusive<u64>| {
        value.is_some_and(|value| !range.contains(&value))
    };
    if out(client.access_token_lifetime_seconds, &ACCESS_LIFETIME) {
        found.push("`access_token_lifetime_seconds` is 10 to 86400".to_owned());
    }
    for (name, value) in [
        ("refresh_token_lifetime_seconds", client.refresh_token_lifetime_seconds),
        ("refresh_token_idle_seconds", client.refresh_token_idle_seconds),
    ] {
        if out(value, &REFRESH_LIFETIME) {
            found.push(format!("`{name}` is 60 to 315360000"));
        }
    }
}

fn authentication(client: &ClientMetadata, found: &mut Vec<String>) {
    let mut tell = |problem: &str| found.push(problem.to_owned());
    let method = client.token_endpoint_auth_method;
    let dn = client.tls_client_auth_subject_dn.as_deref();
    match method {
        AuthenticationMethod::PrivateKeyJwt => match key_set(client) {
            None => tell("`private_key_jwt` needs `jwks`, a set with at least one key"),
            Some(Err(problem)) => found.push(problem),
            Some(Ok(())) => {}
        },
        AuthenticationMethod::TlsClientAuth => {
            if dn.is_none_or(|dn| super::certificate::subject(dn).is_none()) {
                tell("`tls_client_auth` needs `tls_client_auth_subject_dn`, as CN=name,O=example");
            }
        }
        AuthenticationMethod::SelfSignedTlsClientAuth => {
            if client.jwks.as_ref().is_none_or(|jwks| registered_digests(jwks).is_empty()) {
                tell(
                    "`self_signed_tls_client_auth` needs `jwks` whose keys have `x5c` or `x5t#S256`",
                );
            }
        }
        AuthenticationMethod::None
        | AuthenticationMethod::ClientSecretBasic
        | AuthenticationMethod::ClientSecretPost => {}
    }
    let uses_keys = matches!(
        method,
        AuthenticationMethod::PrivateKeyJwt | AuthenticationMethod::SelfSignedTlsClientAuth
    );
    // What is not used is a mistake: somebody believes that it is.
    if client.jwks.is_some() && !uses_keys {
        found.push("`jwks` is not used by this `token_endpoint_auth_method`".to_owned());
    }
    if dn.is_some() && method != AuthenticationMethod::TlsClientAuth {
        found.push("`tls_client_auth_subject_dn` is for `tls_client_auth` only".to_owned());
    }
    if dn.is_some_and(|dn| dn.len() > MAX_SUBJECT_DN_BYTES) {
        found.push("`tls_client_auth_subject_dn` is longer than 1024 bytes".to_owned());
    }
    if client.is_public() && client.tls_client_certificate_bound_access_tokens {
        found.push("a public client shows no certificate that tokens could be bound to".to_owned());
    }
}

/// What is wrong with the keys of a client; nothing when there are none.
fn key_set(client: &ClientMetadata) -> Option<Result<(), String>> {
    let jwks = client.jwks.as_ref()?;
    // As if fetched: a symmetric key in a registration is a secret in clear.
    Some(match KeySet::parse(jwks, KeyOrigin::Fetched) {
        Err(error) => Err(format!("`jwks`: {error}")),
        Ok((keys, skipped)) if skipped.is_empty() && !keys.is_empty() => Ok(()),
        Ok((_, skipped)) if skipped.is_empty() => return None,
        Ok((_, skipped)) => {
            let all: Vec<String> = skipped.iter().map(|key| format!("`jwks`: {key}")).collect();
            Err(all.join("; "))
        }
    })
}

fn grants(client: &ClientMetadata, found: &mut Vec<String>) {
    let mut tell = |problem: &str| found.push(problem.to_owned());
    let grants = &client.grant_types;
    if grants
        .iter()
        .enumerate()
        .any(|(at, grant)| grants.iter().skip(at.saturating_add(1)).any(|it| it == grant))
    {
        tell("a grant type stands twice");
    }
    let exchange = client.may_use(GrantType::TokenExchange);
    if exchange != client.may_exchange.is_some() {
        tell("the grant type of token exchange and `may_exchange` go together");
    }
    if client.is_public() {
        // Nobody knows who a public client is, so nothing may depend on it (RFC 6749 §4.4).
        if client.may_use(GrantType::ClientCredentials) || exchange || client.may_introspect {
            tell("a public client has no own tokens, exchanges none and introspects none");
        }
    }
    if !client.roles.is_empty() && !client.may_use(GrantType::ClientCredentials) {
        tell("`roles` are for `client_credentials`: users have their own");
    }
    if let Some(permission) = &client.may_exchange {
        exchange_permission(permission, found);
    }
}

fn exchange_permission(permission: &ExchangePermission, found: &mut Vec<String>) {
    audiences("may_exchange.subject_audiences", &permission.subject_audiences, found);
    audiences("may_exchange.added_audiences", &permission.added_audiences, found);
    audiences("may_exchange.audiences", permission.audiences.as_deref().unwrap_or_default(), found);
    let scopes = permission.scopes.as_deref().unwrap_or_default();
    if scopes.len() > MAX_LIST || !scopes.iter().all(|scope| is_scope(scope)) {
        found.push("`may_exchange.scopes` are at most 64 scopes".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{is_client_id, problems};
    use crate::oauth::ClientMetadata;

    #[track_caller]
    fn check(metadata: Value, expected: &[&str]) {
        let mut client: ClientMetadata = serde_json::from_value(metadata).unwrap();
        client.complete();
        let found = problems(&client);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{found}: {expected}");
        }
    }

    #[test]
    fn an_id_means_nothing_in_a_url_a_form_or_a_header() {
        for right in ["billing", "a", "cli_x-1.2:3~", &"a".repeat(128)] {
            assert!(is_client_id(right), "{right}");
        }
        for wrong in ["", "a b", "a/b", "a+b", "a%b", "_a", "ä", &"a".repeat(129)] {
            assert!(!is_client_id(wrong), "{wrong}");
        }
    }

    #[test]
    fn all_problems_are_told_at_once() {
        check(
            json!({
                "client_name": "a\nb", "scope": "a\"b", "access_token_lifetime_seconds": 5,
                "jwks": {"keys": []}, "may_exchange": {}, "roles": ["a b"],
                "grant_types": ["client_credentials", "client_credentials"],
            }),
            &["client_name", "scope", "roles", "access_token", "jwks", "twice", "go together"],
        );
    }

    #[test]
    fn each_method_has_what_it_needs_and_nothing_else() {
        check(json!({"token_endpoint_auth_method": "private_key_jwt"}), &["needs `jwks`"]);
        let empty = json!({"keys": []});
        check(
            json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": empty}),
            &["needs `jwks`"],
        );
        let symmetric =
            json!({"keys": [{"kty": "oct", "k": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]});
        check(
            json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": symmetric}),
            &["symmetric"],
        );
        check(json!({"token_endpoint_auth_method": "tls_client_auth"}), &["subject_dn"]);
        check(json!({"token_endpoint_auth_method": "self_signed_tls_client_auth"}), &["x5c"]);
        check(json!({"tls_client_auth_subject_dn": "CN=a"}), &["only"]);
        check(
            json!({
                "token_endpoint_auth_method": "tls_client_auth",
                "tls_client_auth_subject_dn": "CN=a,O=b",
                "tls_client_certificate_bound_access_tokens": true,
            }),
            &[],
        );
    }

    #[test]
    fn a_public_client_gets_nothing_of_its_own() {
        for members in [
            json!({"grant_types": ["client_credentials"]}),
            json!({"may_introspect": true}),
            json!({"may_exchange": {}}),
        ] {
            let mut metadata = json!({"token_endpoint_auth_method": "none"});
            metadata.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
            check(metadata, &["a public client"]);
        }
        check(json!({"token_endpoint_auth_method": "none", "first_party": true}), &[]);
    }
}
