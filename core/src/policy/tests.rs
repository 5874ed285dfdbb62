use serde_json::{Value, json};

use super::{Credential, Decision, Grants, Policy, RequestLine};
use crate::path::judge;
use crate::reason::Reason;

/// A policy with one issuer, three roles and these routes.
fn document(routes: &Value) -> Value {
    json!({
        "version": 1,
        "issuers": [{
            "name": "corp",
            "issuer": "https://login.example.com",
            "audiences": ["api"],
            "claims": {"roles": ["realm_access.roles"], "groups": ["groups"]},
            "may_claim_roles": ["viewer", "editor"],
            "forward_claims": {"x-tenant": "tenant"},
        }, {
            "name": "partner",
            "issuer": "https://partner.example.com",
            "audiences": ["api"],
            "claims": {"roles": ["roles"]},
        }],
        "permissions": ["invoice:approve"],
        "roles": {
            "viewer": {"permissions": ["read"]},
            "editor": {"inherits": ["viewer"], "permissions": ["write"]},
            "admin": {"inherits": ["editor"], "permissions": ["delete", "admin", "invoice:approve"]},
        },
        "bindings": [
            {"subjects": ["user:corp/42"], "roles": ["admin"]},
            {"subjects": ["group:corp/finance", "api_key:ci"], "roles": ["editor"]},
        ],
        "routes": routes,
    })
}

fn policy(routes: &Value) -> Policy {
    Policy::read(&document(routes)).unwrap()
}

fn permit(name: &str, path: &str, permission: &str) -> Value {
    json!({"name": name, "match": {"path": path}, "credentials": ["jwt"], "require": {"all": [permission]}})
}

fn with_roles(policy: &Policy, roles: &[&str]) -> Grants {
    let claims = json!({"realm_access": {"roles": roles}});
    policy.subject_facts(0, claims.as_object().unwrap(), "7")
}

fn decide(policy: &Policy, method: &str, url: &str, grants: &Grants) -> Result<Decision, Reason> {
    let (host, path) = url.split_at(url.find('/').unwrap());
    let path = judge(path.as_bytes()).unwrap();
    let found = policy.find(&RequestLine { method, host, path: &path })?;
    Ok(policy.authorize(&found, grants))
}

/// What the decision is, in words: `permit a`, `deny b permission-missing`, …
fn words(policy: &Policy, decision: Result<Decision, Reason>) -> String {
    let name = |id| policy.route(id).name.to_string();
    match decision {
        Err(reason) => format!("refused {}", reason.code()),
        Ok(Decision::Permit { route, shadow: None }) => format!("permit {}", name(route)),
        Ok(Decision::Permit { route, shadow: Some(shadow) }) => {
            format!("permit {}, shadow {}", name(route), name(shadow))
        }
        Ok(Decision::ShadowDeny { reason, route }) => {
            format!("shadow-deny {} {}", name(route), reason.code())
        }
        Ok(Decision::Deny { reason, route: Some(route) }) => {
            format!("deny {} {}", name(route), reason.code())
        }
        Ok(Decision::Deny { reason, route: None }) => format!("deny {}", reason.code()),
    }
}

#[track_caller]
fn check(policy: &Policy, roles: &[&str], request: &str, expected: &str) {
    let (method, url) = request.split_once(' ').unwrap();
    let decision = decide(policy, method, url, &with_roles(policy, roles));
    assert_eq!(words(policy, decision), expected, "{request}");
}

#[track_caller]
fn problems(document: &Value, expected: &[&str]) {
    let found = Policy::read(document).err().unwrap_or_default();
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found, expected);
}

/// The document with `value` in place of what stands at `pointer`.
fn with(pointer: &str, value: Value) -> Value {
    let mut document = document(&json!([permit("a", "/a", "read")]));
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match document.pointer_mut(parent).unwrap() {
        Value::Object(members) => {
            members.insert(key.to_owned(), value);
        }
        Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => panic!("{pointer}"),
    }
    document
}

#[test]
fn a_request_is_permitted_by_held_and_inherited_permissions_only() {
    let policy = policy(&json!([permit("r", "/a", "read"), permit("w", "/b", "write")]));
    check(&policy, &["viewer"], "GET h/a", "permit r");
    check(&policy, &["editor"], "GET h/a", "permit r");
    check(&policy, &["viewer"], "GET h/b", "deny w permission-missing");
    check(&policy, &[], "GET h/a", "deny r permission-missing");
    check(&policy, &["viewer"], "GET h/c", "deny route-missing");
}

#[test]
fn claimed_roles_count_only_if_the_issuer_may_claim_them() {
    let policy = policy(&json!([permit("r", "/a", "read"), permit("d", "/d", "delete")]));
    check(&policy, &["admin"], "GET h/d", "deny d permission-missing");
    let claims = json!({"roles": ["viewer", "admin"]});
    let partner = policy.subject_facts(1, claims.as_object().unwrap(), "7");
    assert_eq!(partner.roles().count(), 0);
}

#[test]
fn bindings_are_qualified_by_issuer() {
    let policy = policy(&json!([permit("r", "/a", "read")]));
    let claims = json!({"groups": ["finance", "other"]});
    let claims = claims.as_object().unwrap();
    let roles = |issuer, subject| {
        let grants = policy.subject_facts(issuer, claims, subject);
        grants.roles().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(roles(0, "42"), ["admin", "editor"]);
    assert_eq!(roles(0, "43"), ["editor"]);
    assert_eq!(roles(1, "42"), [""; 0]);
    assert_eq!(roles(99, "42"), [""; 0]);
}

#[test]
fn api_keys_have_the_roles_of_their_record_and_of_their_name() {
    let policy = policy(&json!([permit("r", "/a", "read")]));
    let record = ["viewer".to_owned(), "unknown".to_owned()];
    let roles = |name| {
        let grants = policy.api_key_grants(name, &record, None);
        grants.roles().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(roles("ci"), ["editor", "viewer"]);
    assert_eq!(roles("other"), ["viewer"]);
    assert_eq!(policy.api_key_grants("ci", &[], None).credential(), Credential::ApiKey);
}

#[test]
fn scopes_restrict_and_never_grant() {
    let mut document = document(&json!([permit("r", "/a", "read"), permit("w", "/b", "write")]));
    document["scope_permissions"] = json!({"r": ["read"], "w": ["write"]});
    let policy = Policy::read(&document).unwrap();
    let check = |scope: Option<&str>, roles: &[&str], url, expected: &str| {
        let mut claims = json!({"realm_access": {"roles": roles}});
        if let Some(scope) = scope {
            claims["scope"] = json!(scope);
        }
        let grants = policy.subject_facts(0, claims.as_object().unwrap(), "7");
        assert_eq!(words(&policy, decide(&policy, "GET", url, &grants)), expected);
    };
    check(Some("r"), &["editor"], "h/a", "permit r");
    check(Some("r"), &["editor"], "h/b", "deny w scope-insufficient");
    check(Some("r w"), &["editor"], "h/b", "permit w");
    check(Some("w"), &["viewer"], "h/b", "deny w permission-missing");
    check(Some("unknown"), &["viewer"], "h/a", "deny r scope-insufficient");
    check(Some(""), &["viewer"], "h/a", "deny r scope-insufficient");
    check(None, &["viewer"], "h/a", "permit r");
}

#[test]
fn require_takes_all_and_any() {
    let policy = policy(&json!([{
        "name": "r", "match": {"path": "/a"}, "credentials": ["jwt"],
        "require": {"all": ["read"], "any": ["write", "invoice:approve"]},
    }]));
    check(&policy, &["viewer"], "GET h/a", "deny r permission-missing");
    check(&policy, &["editor"], "GET h/a", "permit r");
}

#[test]
fn a_forbid_beats_every_permit_but_spares_who_meets_it() {
    let policy = policy(&json!([
        permit("all", "/{rest...}", "read"),
        permit("exact", "/x/y", "read"),
        {"name": "no", "match": {"path": "/x/{rest...}"}, "effect": "forbid"},
        {"name": "guard", "match": {"path": "/g/{rest...}"}, "effect": "forbid", "require": {"all": ["write"]}},
    ]));
    check(&policy, &["editor"], "GET h/x/y", "deny no forbidden");
    check(&policy, &["editor"], "GET h/x", "deny no forbidden");
    check(&policy, &["editor"], "GET h/xx", "permit all");
    check(&policy, &["viewer"], "GET h/g/1", "deny guard forbidden");
    check(&policy, &["editor"], "GET h/g/1", "permit all");
}

#[test]
fn the_most_specific_permit_decides() {
    let route = |name: &str, path: &str, host: Option<&str>, method: Option<&str>| {
        let mut route = permit(name, path, "read");
        if let Some(host) = host {
            route["match"]["hosts"] = json!([host]);
        }
        if let Some(method) = method {
            route["match"]["methods"] = json!([method]);
        }
        route
    };
    let policy = policy(&json!([
        route("rest", "/a/{r...}", None, None),
        route("parameter", "/a/{id}", None, None),
        route("literal", "/a/b", None, None),
        route("literal-get", "/a/b", None, Some("GET")),
        route("deep", "/a/{id}/c", None, None),
        route("post-only", "/a/p", None, Some("POST")),
        route("wild", "/{r...}", Some("*.example.com"), None),
        route("longer", "/{r...}", Some("*.eu.example.com"), None),
        route("exact", "/{r...}", Some("api.eu.example.com"), None),
        route("exact-get", "/only", Some("get.example.com"), Some("GET")),
    ]));
    let check = |request, expected| check(&policy, &["viewer"], request, expected);
    check("GET h/a/b", "permit literal-get");
    check("PUT h/a/b", "permit literal");
    check("PUT h/a/x", "permit parameter");
    check("PUT h/a/x/y", "permit rest");
    check("PUT h/a/b/c", "permit deep");
    check("PUT h/a", "permit rest");
    check("PUT h/a/", "permit rest");
    check("GET h/a/p", "permit parameter");
    check("POST h/a/p", "permit post-only");
    check("PUT x.example.com/a/b", "permit wild");
    check("PUT example.com/a/b", "permit literal");
    check("PUT x.eu.example.com/a/b", "permit longer");
    check("PUT api.eu.example.com:8080/a/b", "permit exact");
    check("PUT API.EU.example.com/a/b", "permit exact");
    check("PUT api.eu.example.com./a/b", "refused request-malformed");
    check("PUT get.example.com/only", "permit wild");
    check("PUT notexample.com/a/b", "permit literal");
}

#[test]
fn case_and_trailing_slash_matter() {
    let policy = policy(&json!([permit("a", "/Docs/{id}", "read"), permit("root", "/", "read")]));
    let check = |request, expected| check(&policy, &["viewer"], request, expected);
    check("GET h/Docs/1", "permit a");
    check("GET h/docs/1", "deny route-missing");
    check("GET h/Docs/1/", "deny route-missing");
    check("GET h/Docs/", "deny route-missing");
    check("GET h/Docs", "deny route-missing");
    check("GET h/Docs/1?x=/../", "permit a");
    check("GET h/%44ocs/1", "permit a");
    check("GET h/", "permit root");
    check("get h/", "refused request-malformed");
}

#[test]
fn ambiguous_paths_are_refused_unless_the_route_accepts_all_that_is_ambiguous() {
    let mut open = permit("open", "/files/{name}", "read");
    open["allow_ambiguous"] = json!(["encoded-slash"]);
    let policy = policy(&json!([
        open,
        permit("rest", "/{r...}", "read"),
        {"name": "no", "match": {"path": "/files/secret/{r...}"}, "effect": "forbid"},
    ]));
    let check = |request, expected| check(&policy, &["viewer"], request, expected);
    check("GET h/files/a%2Fb", "permit open");
    check("GET h/files/a%2Fb;c", "refused path-ambiguous");
    check("GET h/files/a%2F..%2Fb", "refused path-ambiguous");
    check("GET h/other/a%2Fb", "refused path-ambiguous");
    check("GET h/files/secret%2Fkey", "deny no forbidden");
    check("GET h/a//b", "refused path-ambiguous");
    check("GET h/a/../b", "refused path-ambiguous");
}

#[test]
fn hosts_and_methods_that_cannot_be_ones_are_refused() {
    let policy = policy(&json!([permit("rest", "/{r...}", "read")]));
    for request in ["GET user@h/a", "GET /a", "G(T h/a"] {
        check(&policy, &["viewer"], request, "refused request-malformed");
    }
}

#[test]
fn a_shadow_route_changes_no_enforced_decision() {
    let shadow = |mut route: Value| {
        route["mode"] = json!("shadow");
        route
    };
    let policy = policy(&json!([
        permit("read", "/a/{r...}", "read"),
        shadow(permit("stricter", "/a/b", "write")),
        shadow(permit("wider", "/{r...}", "delete")),
        shadow(json!({"name": "no", "match": {"path": "/a/c"}, "effect": "forbid"})),
        {"name": "never", "match": {"path": "/n"}, "effect": "forbid"},
    ]));
    check(&policy, &["viewer"], "GET h/a/b", "permit read, shadow stricter");
    check(&policy, &["editor"], "GET h/a/b", "permit read");
    check(&policy, &["viewer"], "GET h/a/c", "permit read, shadow no");
    check(&policy, &["viewer"], "GET h/a/x", "permit read");
    check(&policy, &[], "GET h/a/b", "deny read permission-missing");
    check(&policy, &["viewer"], "GET h/x", "shadow-deny wider permission-missing");
    check(&policy, &["viewer"], "GET h/n", "deny never forbidden");
}

#[test]
fn a_credential_that_the_route_does_not_take_is_no_credential() {
    let policy = policy(&json!([
        {"name": "jwt", "match": {"path": "/j"}, "credentials": ["jwt"]},
        {"name": "open", "match": {"path": "/o"}, "credentials": ["none"]},
    ]));
    let decide = |path: &str, grants: &Grants| words(&policy, decide(&policy, "GET", path, grants));
    assert_eq!(decide("h/j", &policy.anonymous_grants()), "deny jwt credential-missing");
    let key = policy.api_key_grants("ci", &[], None);
    assert_eq!(decide("h/j", &key), "deny jwt credential-missing");
    assert_eq!(decide("h/j", &with_roles(&policy, &[])), "permit jwt");
    assert_eq!(decide("h/o", &policy.anonymous_grants()), "permit open");
}

#[test]
fn a_preflight_passes_only_where_a_route_says_so_and_nobody_is_forbidden_everything() {
    let mut route = permit("api", "/{r...}", "read");
    route["cors"] = json!(true);
    let policy = policy(&json!([
        route,
        permit("plain", "/p", "read"),
        {"name": "guard", "match": {"path": "/g"}, "effect": "forbid", "require": {"all": ["read"]}},
        {"name": "no", "match": {"path": "/n"}, "effect": "forbid"},
    ]));
    let preflight = |path: &str| {
        let path = judge(path.as_bytes()).unwrap();
        let found = policy.find(&RequestLine { method: "PUT", host: "h", path: &path });
        words(&policy, found.map(|found| policy.authorize_preflight(&found)))
    };
    assert_eq!(preflight("/a"), "permit api");
    assert_eq!(preflight("/g"), "permit api");
    assert_eq!(preflight("/p"), "deny plain credential-missing");
    assert_eq!(preflight("/n"), "deny no forbidden");
}

#[test]
fn claims_are_forwarded_encoded_and_their_headers_are_known() {
    let policy = policy(&json!([permit("a", "/a", "read")]));
    let claims = json!({"tenant": "a\r\nb"});
    let issuer = &policy.issuers()[0];
    let forwarded: Vec<_> = issuer.forwarded_claims(claims.as_object().unwrap()).collect();
    assert_eq!(forwarded, [("x-tenant", b"a%0D%0Ab".to_vec())]);
    assert!(policy.is_forwarded_name(b"x-tenant"));
    assert!(!policy.is_forwarded_name(b"x-other"));
}

#[test]
fn the_built_in_permissions_need_no_declaration_and_the_matrix_shows_all() {
    let policy = policy(&json!([permit("a", "/a", "read")]));
    let expected = "\
role    read  write  delete  admin  invoice:approve
admin   x     x      x       x      x
editor  x     x      .       .      .
viewer  x     .      .       .      .
";
    assert_eq!(policy.permission_matrix(), expected);
}

#[test]
fn all_problems_are_reported_at_once_each_with_its_path() {
    problems(
        &json!({
            "version": 2,
            "issuers": [{"name": "Corp", "issuer": "", "audiences": "api", "x": 1}],
            "templates": {},
            "routes": [{"name": "a b", "match": {"path": "a"}, "rate": {}}],
            "default": "permit",
        }),
        &[
            "templates: unknown key; known here: version, issuers, permissions, roles, bindings, scope_permissions, routes, dpop, default",
            "version: expected whole number from 1 to 1, found 2",
            "issuers[0].x: unknown key; known here: name, issuer, audiences, algorithms, token_types, allow_absent_token_type, allow_rsa_above_4096_bits, clock_skew_seconds, jwks, jwks_uri, discover, hmac_secret_env, claims, may_claim_roles, require_token_binding, forward_claims",
            "issuers[0].name: expected a name (letters a-z, digits and `-`)",
            "issuers[0].issuer: expected a string that is not empty",
            "issuers[0].audiences: expected list of string, found a string",
            "routes[0].rate: unknown key; known here: name, match, credentials, require, when, effect, mode, cors, require_token_binding, forward_credential, rate_limit, allow_ambiguous",
            "routes[0].name: expected a name (letters, digits and `_.:-`, not first)",
            "routes[0].match.path: a template starts with `/`",
            "default: expected one of deny",
        ],
    );
}

#[test]
fn names_that_nobody_declared_are_problems() {
    problems(
        &with("/roles/viewer", json!({"inherits": ["edtor"], "permissions": ["READ", "fly"]})),
        &[
            "roles.viewer.inherits[0]: unknown role `edtor`; did you mean `editor`?",
            "roles.viewer.permissions[0]: unknown permission `READ`; did you mean `read`?",
            "roles.viewer.permissions[1]: unknown permission `fly`",
        ],
    );
    problems(
        &with("/bindings/0", json!({"subjects": ["user:crop/1"], "roles": ["admn"]})),
        &[
            "bindings[0].roles[0]: unknown role `admn`; did you mean `admin`?",
            "bindings[0].subjects[0]: unknown issuer `crop`; did you mean `corp`?",
        ],
    );
    problems(
        &with("/routes/0/require", json!({"all": ["wirte"]})),
        &["routes[0].require.all[0]: unknown permission `wirte`; did you mean `write`?"],
    );
    problems(
        &with("/issuers/0/may_claim_roles", json!(["views"])),
        &["issuers[0].may_claim_roles[0]: unknown role `views`; did you mean `viewer`?"],
    );
    problems(
        &with("/scope_permissions", json!({"a": ["reed"]})),
        &["scope_permissions.a[0]: unknown permission `reed`; did you mean `read`?"],
    );
}

#[test]
fn cycles_of_roles_are_named_once() {
    let roles = json!({
        "viewer": {}, "editor": {}, "admin": {},
        "a": {"inherits": ["b"]}, "b": {"inherits": ["c"]}, "c": {"inherits": ["b", "a"]},
        "outside": {"inherits": ["a"]},
        "self": {"inherits": ["self"]},
    });
    let found = Policy::read(&with("/roles", roles)).unwrap_err();
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(found.contains(&"roles.self.inherits: inherits itself: self -> self".to_owned()));
    assert!(found.iter().any(|problem| problem.contains("b -> c -> b")), "{found:?}");
    assert!(!found.iter().any(|problem| problem.starts_with("roles.outside")), "{found:?}");
    problems(
        &with(
            "/roles",
            json!({"viewer": {}, "editor": {"inherits": ["admin"]}, "admin": {"inherits": ["editor"]}}),
        ),
        &["roles.admin.inherits: inherits itself: admin -> editor -> admin"],
    );
}

#[test]
fn conditions_are_refused_and_not_ignored() {
    let message = "conditions are not supported by this version; without it the rule would apply \
                   more widely than written, so the policy is refused";
    problems(&with("/routes/0/when", json!("true")), &[&format!("routes[0].when: {message}")]);
    problems(&with("/bindings/0/when", json!("x")), &[&format!("bindings[0].when: {message}")]);
}

#[test]
fn routes_that_match_the_same_requests_are_a_problem() {
    let tie = |left: Value, right: Value, expected: &[&str]| {
        let route = |name: &str, match_: &Value| json!({"name": name, "match": match_, "credentials": ["jwt"]});
        problems(&document(&json!([route("b", &left), route("a", &right)])), expected);
    };
    let message = &["routes[0].match: routes `a` and `b` match the same requests"];
    tie(json!({"path": "/{x}"}), json!({"path": "/{y}"}), message);
    tie(
        json!({"path": "/x", "methods": ["GET", "PUT"]}),
        json!({"path": "/x", "methods": ["PUT"]}),
        message,
    );
    tie(json!({"path": "/x", "hosts": ["a", "b"]}), json!({"path": "/x", "hosts": ["b"]}), message);
    tie(json!({"path": "/x", "methods": ["GET"]}), json!({"path": "/x", "methods": ["PUT"]}), &[]);
    tie(json!({"path": "/x", "methods": ["GET"]}), json!({"path": "/x"}), &[]);
    tie(json!({"path": "/x", "hosts": ["a"]}), json!({"path": "/x"}), &[]);
    tie(json!({"path": "/x"}), json!({"path": "/x/"}), &[]);
    tie(
        json!({"path": "/x", "hosts": ["a", "a"]}),
        json!({"path": "/y"}),
        &["routes[0].match: a host stands twice"],
    );
}

#[test]
fn what_says_nothing_or_two_things_is_a_problem() {
    let route = |key: &str, value| with(&format!("/routes/0/{key}"), value);
    problems(
        &route("credentials", json!([])),
        &["routes[0].credentials: expected at least one; a public route has `credentials: [none]`"],
    );
    problems(
        &route("credentials", json!(["none", "jwt", "jwt"])),
        &[
            "routes[0].credentials[0]: `none` must be the last: what follows is never looked for",
            "routes[0].credentials[2]: `jwt` stands twice",
        ],
    );
    problems(
        &route("credentials", json!(["none"])),
        &["routes[0].require: nobody can meet it: the route takes no credential"],
    );
    let empty = "an empty list says nothing; leave the key out";
    problems(&route("require", json!({"any": []})), &[&format!("routes[0].require.any: {empty}")]);
    problems(
        &route("match", json!({"path": "/a", "hosts": [], "methods": []})),
        &[&format!("routes[0].match.hosts: {empty}"), &format!("routes[0].match.methods: {empty}")],
    );
    problems(
        &route("effect", json!("forbid")),
        &["routes[0].credentials: has no effect on a route that forbids; leave it out"],
    );
    problems(
        &route("allow_ambiguous", json!(["dot-segments"])),
        &[
            "routes[0].allow_ambiguous[0]: expected one of encoded-slash, empty-segments, path-parameters, double-encoding, encoded-delimiter, non-ascii",
        ],
    );
    let twice = json!([permit("a", "/a", "read"), permit("a", "/b", "read")]);
    problems(&document(&twice), &["routes[1].name: `a` stands twice"]);
}

#[test]
fn keys_of_an_issuer_are_public_or_by_reference() {
    let issuer = |key: &str, value| with(&format!("/issuers/0/{key}"), value);
    problems(
        &issuer("algorithms", json!(["HS256", "RS256"])),
        &[
            "issuers[0].algorithms: HS* cannot stand together with algorithms that use public keys",
            "issuers[0].hmac_secret_env: required for HS* algorithms",
        ],
    );
    problems(
        &issuer("hmac_secret_env", json!("X")),
        &["issuers[0].hmac_secret_env: only for HS* algorithms"],
    );
    problems(
        &issuer("jwks", json!({"keys": [{"kty": "oct", "k": "c2VjcmV0"}]})),
        &[
            "issuers[0].jwks.keys[0]: a shared secret does not belong into a policy; name an environment variable in `hmac_secret_env`",
        ],
    );
    problems(
        &issuer("jwks_uri", json!("http://login.example.com/jwks")),
        &["issuers[0].jwks_uri: expected `https://`, or `http://` on loopback"],
    );
    problems(&issuer("jwks_uri", json!("http://127.0.0.1:8180/jwks")), &[]);
    problems(&issuer("discover", json!(true)), &[]);
    problems(
        &issuer("audiences", json!([])),
        &["issuers[0].audiences: expected at least one audience"],
    );
    problems(
        &issuer("forward_claims", json!({"x-wardgate-subject": "a", "Cookie": "b"})),
        &[
            "issuers[0].forward_claims.Cookie: a header name in lower case, letters, digits and `-`, is expected",
            "issuers[0].forward_claims.x-wardgate-subject: this header means something to the gate or to proxies",
        ],
    );
    problems(
        &with(
            "/issuers/1",
            json!({"name": "corp", "issuer": "https://login.example.com", "audiences": ["a"]}),
        ),
        &[
            "issuers[1].name: `corp` stands twice",
            "issuers[1].issuer: another issuer has the same `iss`",
        ],
    );
}
