//! Envoy's own filters, set up for the same work as the gate: validate, authorize, set and remove the
//! same headers, write an access log.

use serde_json::{Value, json};
use wardgate_host_tests::envoy::{bootstrap::type_url, issuer::Issuer};

use super::work::{IDENTITY_HEADERS, ROLES, ROUTES};

/// Fields of the access log of native listeners.
pub(crate) const ACCESS_LOG: &str = "%START_TIME% %REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE% %DURATION% \
     %DYNAMIC_METADATA(envoy.filters.http.jwt_authn:jwt:sub)% \
     %DYNAMIC_METADATA(envoy.filters.http.rbac:shadow_engine_result)%\n";

/// Filters of a listener that validates with `jwt_authn` and authorizes with `rbac`.
pub(crate) fn filters(issuer: &Issuer, cache: bool) -> Vec<Value> {
    vec![clean(Some("jwt")), jwt_authn(issuer, cache), rbac()]
}

/// Filters of a listener that asks a service of its own over HTTP.
pub(crate) fn ext_authz_http(cluster: &str) -> Vec<Value> {
    let allowed = json!({"patterns": [{"exact": "authorization"}, {"exact": "x-api-key"}]});
    let identity: Vec<_> = IDENTITY_HEADERS.iter().map(|name| json!({"exact": name})).collect();
    let filter = json!({
        "name": "envoy.filters.http.ext_authz",
        "typed_config": {
            "@type": type_url("extensions.filters.http.ext_authz.v3.ExtAuthz"),
            "allowed_headers": allowed,
            "http_service": {
                "server_uri": {"uri": "http://authz", "cluster": cluster, "timeout": "1s"},
                "authorization_response": {"allowed_upstream_headers": {"patterns": identity}},
            },
        },
    });
    vec![clean(None), filter, remove("authorization")]
}

/// Filters of a listener that asks a service of its own over gRPC.
pub(crate) fn ext_authz_grpc(cluster: &str) -> Vec<Value> {
    let filter = json!({
        "name": "envoy.filters.http.ext_authz",
        "typed_config": {
            "@type": type_url("extensions.filters.http.ext_authz.v3.ExtAuthz"),
            "transport_api_version": "V3",
            "allowed_headers": {"patterns": [{"exact": "authorization"}, {"exact": "x-api-key"}]},
            "grpc_service": {"envoy_grpc": {"cluster_name": cluster}, "timeout": "1s"},
        },
    });
    vec![clean(None), filter, remove("authorization")]
}

/// Removes what a client may have forged, and names the kind of credential.
fn clean(kind: Option<&str>) -> Value {
    let mut mutations: Vec<_> =
        IDENTITY_HEADERS.iter().map(|name| json!({"remove": name})).collect();
    if let Some(kind) = kind {
        let header = json!({"key": "x-wardgate-auth", "value": kind});
        mutations.push(json!({"append": {"header": header}}));
    }
    header_mutation(&mutations)
}

fn remove(name: &str) -> Value {
    header_mutation(&[json!({"remove": name})])
}

fn header_mutation(mutations: &[Value]) -> Value {
    json!({
        "name": "envoy.filters.http.header_mutation",
        "typed_config": {
            "@type": type_url("extensions.filters.http.header_mutation.v3.HeaderMutation"),
            "mutations": {"request_mutations": mutations},
        },
    })
}

fn jwt_authn(issuer: &Issuer, cache: bool) -> Value {
    let mut provider = json!({
        "issuer": issuer.name(),
        "audiences": ["api"],
        "local_jwks": {"inline_string": issuer.jwks().to_string()},
        "forward": false,
        "payload_in_metadata": "jwt",
        "claim_to_headers": [
            {"header_name": "x-wardgate-issuer", "claim_name": "iss"},
            {"header_name": "x-wardgate-subject", "claim_name": "sub"},
            {"header_name": "x-wardgate-roles", "claim_name": "roles"},
            {"header_name": "x-wardgate-scopes", "claim_name": "scope"},
        ],
    });
    if let (true, Some(provider)) = (cache, provider.as_object_mut()) {
        provider.insert("jwt_cache_config".to_owned(), json!({"jwt_cache_size": 1000}));
    }
    json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": type_url("extensions.filters.http.jwt_authn.v3.JwtAuthentication"),
            "providers": {"corp": provider},
            "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "corp"}}],
        },
    })
}

/// One policy for each route of the gate's policy file: its method, its path, the roles that may.
fn rbac() -> Value {
    let policies = ROUTES.iter().map(|(name, method, path, _, roles)| {
        let roles = ROLES.iter().filter(|(role, _)| roles.contains(role));
        let principals: Vec<_> = roles.map(|(role, _)| principal(role)).collect();
        let template = json!({
            "name": "envoy.path.match.uri_template.uri_template_matcher",
            "typed_config": {
                "@type": type_url("extensions.path.match.uri_template.v3.UriTemplateMatchConfig"),
                "path_template": path,
            },
        });
        let method = json!({"header": {"name": ":method", "string_match": {"exact": method}}});
        let permission = json!({"and_rules": {"rules": [method, {"uri_template": template}]}});
        ((*name).to_owned(), json!({"permissions": [permission], "principals": principals}))
    });
    json!({
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": type_url("extensions.filters.http.rbac.v3.RBAC"),
            "rules": {"action": "ALLOW", "policies": policies.collect::<serde_json::Map<_, _>>()},
        },
    })
}

fn principal(role: &str) -> Value {
    json!({"metadata": {
        "filter": "envoy.filters.http.jwt_authn",
        "path": [{"key": "jwt"}, {"key": "roles"}],
        "value": {"list_match": {"one_of": {"string_match": {"exact": role}}}},
    }})
}
