//! The work that every listener does: the routes, the roles, the tokens.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use wardgate_host_tests::envoy::{
    issuer::{Algorithm, Issuer},
    sidecar::Sidecar,
};

/// Headers that say who the caller is; taken from clients, set for the upstream.
pub(crate) const IDENTITY_HEADERS: &[&str] = &[
    "x-wardgate-issuer",
    "x-wardgate-subject",
    "x-wardgate-roles",
    "x-wardgate-scopes",
    "x-wardgate-auth",
    "x-wardgate-session",
    "txn-token",
];

/// Roles with their permissions.
pub(crate) const ROLES: &[(&str, &[&str])] = &[
    ("viewer", &["read"]),
    ("editor", &["read", "write"]),
    ("owner", &["read", "write", "delete"]),
];

/// Name, method, path, needed permission, and the roles that have it.
pub(crate) const ROUTES: &[(&str, &str, &str, &str, &[&str])] = &[
    ("a-list", "GET", "/invoices", "read", &["viewer", "editor", "owner"]),
    ("b-create", "POST", "/invoices", "write", &["editor", "owner"]),
    ("c-delete", "DELETE", "/invoices/{id}", "delete", &["owner"]),
    ("d-change", "PUT", "/invoices/{id}", "write", &["editor", "owner"]),
    ("e-read", "GET", "/invoices/{id}", "read", &["viewer", "editor", "owner"]),
    ("f-approve", "POST", "/invoices/{id}/approve", "write", &["editor", "owner"]),
    ("g-items", "GET", "/invoices/{id}/items", "read", &["viewer", "editor", "owner"]),
    ("h-item", "GET", "/invoices/{id}/items/{item}", "read", &["viewer", "editor", "owner"]),
    ("i-users", "GET", "/users/{id}", "read", &["viewer", "editor", "owner"]),
    ("j-drop", "DELETE", "/users/{id}", "delete", &["owner"]),
];

/// What every bench asks for: the fifth route.
pub(crate) const PATH: &str = "/invoices/4711";
/// Tokens of the cached benches: each is seen again and again.
const CACHED_TOKENS: usize = 100;
/// API keys, likewise.
const API_KEYS: usize = 20;

/// The policy document of the gate: the same routes and roles, for these credentials.
pub(crate) fn policy(issuer: &Issuer, credentials: &[&str]) -> Value {
    let roles = ROLES
        .iter()
        .map(|(name, permissions)| ((*name).to_owned(), json!({"permissions": permissions})));
    let routes = ROUTES.iter().map(|(name, method, path, permission, _)| {
        json!({
            "name": name,
            "match": {"methods": [method], "path": path},
            "credentials": credentials,
            "require": {"all": [permission]},
        })
    });
    json!({
        "version": 1,
        "issuers": [{
            "name": "corp",
            "issuer": issuer.name(),
            "audiences": ["api"],
            "algorithms": Algorithm::ALL.map(Algorithm::name),
            "jwks": issuer.jwks(),
            "claims": {"roles": ["roles"], "scopes": "scope"},
            "may_claim_roles": ROLES.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        }],
        "scope_permissions": {"read": ["read"], "write": ["write"]},
        "roles": roles.collect::<serde_json::Map<_, _>>(),
        "routes": routes.collect::<Vec<_>>(),
        "default": "deny",
    })
}

/// A `GET` of `path` with this header line, and with what a browser or a client library sends along.
pub(crate) fn request(path: &str, line: &str) -> Vec<u8> {
    let common = "host: api.example.com\r\nuser-agent: bench/1.0\r\naccept: application/json\r\n\
                  accept-encoding: gzip\r\nx-request-start: 1\r\n";
    format!("GET {path} HTTP/1.1\r\n{common}{line}\r\n\r\n").into_bytes()
}

/// Header lines with tokens that are seen again and again.
pub(crate) fn cached_tokens(issuer: &Issuer) -> Result<Vec<String>> {
    header_lines(issuer, Algorithm::Rs256, CACHED_TOKENS)
}

/// Header lines with so many distinct tokens that no cache holds them.
pub(crate) fn distinct_tokens(
    issuer: &Issuer,
    algorithm: Algorithm,
    count: usize,
) -> Result<Vec<String>> {
    let threads = std::thread::available_parallelism()?.get();
    let share = count.div_ceil(threads);
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..threads).map(|_| scope.spawn(|| header_lines(issuer, algorithm, share))).collect();
        let mut lines = Vec::with_capacity(count);
        for worker in workers {
            let made = worker.join().ok().context("a signing thread panicked")?;
            lines.extend(made?);
        }
        Ok(lines)
    })
}

/// Header lines with API keys, made by the sidecar.
pub(crate) fn api_keys(sidecar: &Sidecar) -> Result<Vec<String>> {
    let line = |number: usize| {
        let name = format!("bench-{number}");
        let arguments =
            ["apikey", "create", "--name", &name, "--role", "editor", "--scope", "read"];
        let made = sidecar.command(&arguments)?;
        let key = made.get("api_key").and_then(Value::as_str).context("no key")?;
        Ok(format!("x-api-key: {key}"))
    };
    (0..API_KEYS).map(line).collect()
}

fn header_lines(issuer: &Issuer, algorithm: Algorithm, count: usize) -> Result<Vec<String>> {
    let mut id = [0_u8; 16];
    let line = |_| {
        aws_lc_rs::rand::fill(&mut id).ok().context("no randomness")?;
        let claims = json!({
            "jti": wardgate_host_tests::envoy::issuer::base64url(&id),
            "roles": ["editor", "auditor"],
            "scope": "read write",
            "tenant": "blue",
            "email": "someone@example.com",
            "name": "Someone of the Blue Team",
        });
        let token = issuer.token(algorithm, "7b0c1f5e-4a54-4f6e-9d0b-5f2d7f3d8f10", &claims)?;
        Ok(format!("authorization: Bearer {token}"))
    };
    (0..count).map(line).collect()
}
