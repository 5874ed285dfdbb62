//! What holds for every policy, and the matcher and decision against an evaluator that is too simple
//! to be wrong.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "everything here is a test, helpers included"
)]

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};
use wardgate_core::path::judge;
use wardgate_core::policy::{Decision, Grants, Policy, RequestLine};
use wardgate_core::reason::Reason;

const PERMISSIONS: [&str; 3] = ["read", "write", "admin"];
const HOSTS: [&str; 5] = ["a.example", "b.example", "x.a.example", "other", "example"];
const METHODS: [&str; 3] = ["GET", "PUT", "DELETE"];

/// One route, before it is JSON.
#[derive(Clone, Debug)]
struct Rule {
    hosts: Option<Vec<&'static str>>,
    methods: Option<Vec<&'static str>>,
    path: Vec<&'static str>,
    all: Vec<&'static str>,
    any: Vec<&'static str>,
    forbids: bool,
    shadow: bool,
}

/// A request of a principal with some permissions.
#[derive(Clone, Debug)]
struct Asked {
    host: &'static str,
    method: &'static str,
    path: Vec<&'static str>,
    held: Vec<&'static str>,
}

fn rule() -> impl Strategy<Value = Rule> {
    let hosts = vec(select(&["a.example", "*.example", "*.a.example", "other"][..]), 1..3);
    let path = (vec(select(&["a", "b", "{}"][..]), 0..3), select(&["a", "", "{}", "{...}"][..]));
    (
        proptest::option::of(hosts),
        proptest::option::of(subsequence(METHODS.to_vec(), 1..3)),
        path,
        subsequence(PERMISSIONS.to_vec(), 0..2),
        subsequence(PERMISSIONS.to_vec(), 0..3),
        proptest::bool::weighted(0.25),
        proptest::bool::weighted(0.2),
    )
        .prop_map(|(hosts, methods, (mut path, last), all, any, forbids, shadow)| {
            path.push(last);
            let hosts = hosts.map(|mut hosts| {
                hosts.sort_unstable();
                hosts.dedup();
                hosts
            });
            Rule { hosts, methods, path, all, any, forbids, shadow }
        })
}

fn asked() -> impl Strategy<Value = Asked> {
    let path = (vec(select(&["a", "b", "c"][..]), 0..4), select(&["a", "b", ""][..]));
    (select(&HOSTS[..]), select(&METHODS[..]), path, subsequence(PERMISSIONS.to_vec(), 0..4))
        .prop_map(|(host, method, (mut path, last), held)| {
            path.push(last);
            Asked { host, method, path, held }
        })
}

/// The route as JSON. Its name comes from its index, so that the order of names is another than that
/// of the document.
fn route(index: usize, rule: &Rule) -> Value {
    let segment = |(position, segment): (usize, &&str)| match *segment {
        "{}" => format!("{{p{position}}}"),
        "{...}" => format!("{{p{position}...}}"),
        literal => literal.to_owned(),
    };
    let path: Vec<String> = rule.path.iter().enumerate().map(segment).collect();
    let mut route = json!({
        "name": format!("r{}-{index}", (index * 7) % 10),
        "match": {"path": format!("/{}", path.join("/"))},
        "effect": if rule.forbids { "forbid" } else { "permit" },
        "mode": if rule.shadow { "shadow" } else { "enforce" },
    });
    if let Some(hosts) = &rule.hosts {
        route["match"]["hosts"] = json!(hosts);
    }
    if let Some(methods) = &rule.methods {
        route["match"]["methods"] = json!(methods);
    }
    if !rule.forbids {
        route["credentials"] = json!(["jwt"]);
    }
    for (key, names) in [("all", &rule.all), ("any", &rule.any)] {
        if !names.is_empty() {
            route["require"][key] = json!(names);
        }
    }
    route
}

fn document(routes: &[Value]) -> Value {
    let roles: serde_json::Map<_, _> = PERMISSIONS
        .iter()
        .map(|name| ((*name).to_owned(), json!({"permissions": [name]})))
        .collect();
    json!({
        "version": 1,
        "issuers": [{
            "name": "corp", "issuer": "https://corp.example", "audiences": ["api"],
            "claims": {"roles": ["roles"]}, "may_claim_roles": PERMISSIONS,
        }],
        "roles": roles,
        "routes": routes,
    })
}

/// The rules without those that would tie with an earlier one.
fn without_ties(rules: Vec<Rule>) -> Vec<Rule> {
    let mut kept: Vec<Rule> = Vec::new();
    for rule in rules {
        kept.push(rule);
        let routes: Vec<Value> = kept.iter().enumerate().map(|(i, rule)| route(i, rule)).collect();
        if Policy::read(&document(&routes)).is_err() {
            kept.pop();
        }
    }
    kept
}

fn policy(rules: &[Rule]) -> Policy {
    let routes: Vec<Value> = rules.iter().enumerate().map(|(i, rule)| route(i, rule)).collect();
    Policy::read(&document(&routes)).unwrap()
}

fn grants(policy: &Policy, held: &[&str]) -> Grants {
    policy.subject_facts(0, json!({"roles": held}).as_object().unwrap(), "alice")
}

fn decide(policy: &Policy, asked: &Asked) -> Decision {
    let path = format!("/{}", asked.path.join("/"));
    let path = judge(path.as_bytes()).unwrap();
    let line = RequestLine { method: asked.method, host: asked.host, path: &path };
    let found = policy.find(&line).unwrap();
    policy.authorize(&found, &grants(policy, &asked.held))
}

/// The decision in words that do not depend on ids.
fn words(policy: &Policy, asked: &Asked) -> String {
    let name = |id| policy.route(id).name.to_string();
    match decide(policy, asked) {
        Decision::Permit { route, shadow } => {
            format!("permit {} {:?}", name(route), shadow.map(name))
        }
        Decision::ShadowDeny { reason, route } => {
            format!("shadow {} {}", name(route), reason.code())
        }
        Decision::Deny { reason, route } => format!("deny {:?} {}", route.map(name), reason.code()),
    }
}

fn passes(policy: &Policy, asked: &Asked) -> bool {
    !matches!(decide(policy, asked), Decision::Deny { .. })
}

// The simple evaluator: every rule is looked at, nothing is compiled.

fn host_rank(rule: &Rule, host: &str) -> Option<usize> {
    let Some(hosts) = &rule.hosts else { return Some(1000) };
    let rank = |pattern: &&str| match pattern.strip_prefix('*') {
        Some(end) => (host.len() > end.len() && host.ends_with(end)).then(|| 100 - end.len()),
        None => (*pattern == host).then_some(0),
    };
    hosts.iter().filter_map(rank).min()
}

fn path_rank(template: &[&str], path: &[&str]) -> Option<Vec<u8>> {
    match (template.split_first(), path.split_first()) {
        (None, None) => Some(Vec::new()),
        (Some((&"{...}", _)), _) => Some(vec![2]),
        (Some((segment, template)), Some((part, path))) => {
            let kind = if segment == part {
                0
            } else if *segment == "{}" && !part.is_empty() {
                1
            } else {
                return None;
            };
            let mut rank = vec![kind];
            rank.extend(path_rank(template, path)?);
            Some(rank)
        }
        _ => None,
    }
}

fn rank(rule: &Rule, asked: &Asked) -> Option<(usize, Vec<u8>, bool)> {
    let method = match &rule.methods {
        Some(methods) if !methods.contains(&asked.method) => return None,
        methods => methods.is_none(),
    };
    Some((host_rank(rule, asked.host)?, path_rank(&rule.path, &asked.path)?, method))
}

fn is_met(rule: &Rule, asked: &Asked) -> bool {
    rule.all.iter().all(|name| asked.held.contains(name))
        && (rule.any.is_empty() || rule.any.iter().any(|name| asked.held.contains(name)))
}

/// The same request with a slash at the end of the path, or without the one that it has.
fn other_end(asked: &Asked) -> Asked {
    let mut other = asked.clone();
    if other.path.last() == Some(&"") {
        other.path.pop();
    } else {
        other.path.push("");
    }
    other
}

fn simple(rules: &[Rule], asked: &Asked) -> (bool, Option<Reason>) {
    let stands_against = |rule: &&Rule| {
        let spares = !(rule.all.is_empty() && rule.any.is_empty()) && is_met(rule, asked);
        // A forbid of `/a` is one of `/a/` too, and the other way round.
        let matches = rank(rule, asked).is_some() || rank(rule, &other_end(asked)).is_some();
        rule.forbids && matches && !spares
    };
    let against: Vec<&Rule> = rules.iter().filter(stands_against).collect();
    if against.iter().any(|rule| !rule.shadow) {
        return (false, Some(Reason::Forbidden));
    }
    let best = |shadow| {
        let permits = rules.iter().filter(|rule| !rule.forbids && rule.shadow == shadow);
        permits
            .filter_map(|rule| Some((rank(rule, asked)?, rule)))
            .min_by_key(|found| found.0.clone())
    };
    match (best(false), best(true)) {
        (Some((_, rule)), _) if is_met(rule, asked) => (true, None),
        (Some(_), _) => (false, Some(Reason::PermissionMissing)),
        (None, Some((_, rule))) if !is_met(rule, asked) => (true, Some(Reason::PermissionMissing)),
        (None, Some(_)) if !against.is_empty() => (true, Some(Reason::Forbidden)),
        (None, Some(_)) => (true, None),
        (None, None) => (false, Some(Reason::RouteMissing)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_decision_is_that_of_the_simple_evaluator(
        rules in vec(rule(), 0..9).prop_map(without_ties),
        requests in vec(asked(), 1..16),
    ) {
        let policy = policy(&rules);
        for asked in requests {
            let found = match decide(&policy, &asked) {
                Decision::Permit { .. } => (true, None),
                Decision::ShadowDeny { reason, .. } => (true, Some(reason)),
                Decision::Deny { reason, .. } => (false, Some(reason)),
            };
            prop_assert_eq!(found, simple(&rules, &asked), "{:?}", asked);
        }
    }

    #[test]
    fn adding_a_forbid_never_lets_a_denied_request_pass(
        rules in vec(rule(), 0..7).prop_map(without_ties),
        more in rule(),
        requests in vec(asked(), 1..16),
    ) {
        let before = policy(&rules);
        let mut rules = rules;
        rules.push(Rule { forbids: true, ..more });
        let after = policy(&rules);
        for asked in requests {
            prop_assert!(passes(&before, &asked) || !passes(&after, &asked), "{:?}", asked);
        }
    }

    #[test]
    fn taking_a_permission_from_a_principal_never_lets_a_denied_request_pass(
        rules in vec(rule(), 0..9).prop_map(without_ties),
        asked in asked(),
    ) {
        let policy = policy(&rules);
        for taken in &asked.held {
            let held = asked.held.iter().copied().filter(|name| name != taken).collect();
            let less = Asked { held, ..asked.clone() };
            prop_assert!(passes(&policy, &asked) || !passes(&policy, &less), "{:?}", asked);
        }
    }

    // A permit hands its requests to the next less specific one when it goes. If there is none, or
    // it asks as much, nothing opens.
    #[test]
    fn removing_the_least_specific_permit_never_lets_a_denied_request_pass(
        rules in vec(rule(), 1..9).prop_map(without_ties),
        asked in asked(),
    ) {
        let before = policy(&rules);
        let matching: Vec<usize> = (0..rules.len())
            .filter(|index| !rules[*index].forbids && rank(&rules[*index], &asked).is_some())
            .collect();
        if let [only] = matching[..] {
            let mut rules = rules.clone();
            rules.remove(only);
            let after = policy(&rules);
            prop_assert!(passes(&before, &asked) || !passes(&after, &asked), "{:?}", asked);
            prop_assert!(!passes(&after, &asked));
        }
    }

    #[test]
    fn a_shadow_route_changes_no_decision_about_what_an_enforced_one_matches(
        rules in vec(rule(), 0..9).prop_map(without_ties),
        asked in asked(),
    ) {
        let all = policy(&rules);
        let enforced: Vec<Rule> = rules.into_iter().filter(|rule| !rule.shadow).collect();
        let alone = policy(&enforced);
        let is_matched = |rule: &Rule| !rule.forbids && rank(rule, &asked).is_some();
        let speaks = enforced.iter().any(is_matched) || matches!(
            decide(&alone, &asked),
            Decision::Deny { reason: Reason::Forbidden, .. }
        );
        if speaks {
            prop_assert_eq!(passes(&all, &asked), passes(&alone, &asked), "{:?}", asked);
        }
    }

    #[test]
    fn the_order_of_routes_does_not_matter(
        rules in vec(rule(), 0..9).prop_map(without_ties),
        seed in any::<u64>(),
        requests in vec(asked(), 1..16),
    ) {
        let mut routes: Vec<Value> = rules.iter().enumerate().map(|(i, rule)| route(i, rule)).collect();
        let forwards = Policy::read(&document(&routes)).unwrap();
        // Some other order, by a generator small enough to read.
        let mut state = seed | 1;
        for index in (1..routes.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            routes.swap(index, usize::try_from(state >> 33).unwrap() % (index + 1));
        }
        let shuffled = Policy::read(&document(&routes)).unwrap();
        for asked in requests {
            prop_assert_eq!(words(&forwards, &asked), words(&shuffled, &asked), "{:?}", asked);
        }
    }

    #[test]
    fn reading_a_policy_never_panics(mut routes in vec(any_json(3), 0..3), other in any_json(4)) {
        let _ = Policy::read(&other);
        routes.push(json!({"name": "a", "match": {"path": "/a"}, "credentials": ["jwt"]}));
        let mut document = document(&routes);
        let _ = Policy::read(&document);
        for key in ["issuers", "roles", "bindings", "permissions", "scope_permissions"] {
            document[key] = other.clone();
            let _ = Policy::read(&document);
        }
    }

    #[test]
    fn claims_of_any_shape_never_panic(claims in any_json(4), subject in ".{0,8}") {
        let policy = policy(&[]);
        let mut object = serde_json::Map::new();
        object.insert("roles".to_owned(), claims.clone());
        object.insert("scope".to_owned(), claims);
        let grants = policy.subject_facts(0, &object, &subject);
        prop_assert!(grants.roles().all(|role| PERMISSIONS.contains(&role)));
    }
}

/// JSON with the keys and words of policies in it, so that reading goes deep.
fn any_json(depth: u32) -> impl Strategy<Value = Value> {
    let words = [
        "corp",
        "a",
        "/a/{b}",
        "{",
        "jwt",
        "none",
        "forbid",
        "shadow",
        "read",
        "user:corp/1",
        "*.a",
        "",
        "GET",
        "RS256",
        "admin",
        "roles",
    ];
    let keys = [
        "name",
        "match",
        "path",
        "hosts",
        "methods",
        "credentials",
        "require",
        "all",
        "any",
        "issuer",
        "audiences",
        "claims",
        "roles",
        "inherits",
        "permissions",
        "subjects",
        "when",
        "a",
        "b",
        "version",
        "routes",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        select(words.to_vec()).prop_map(Value::from),
    ];
    leaf.prop_recursive(depth, 64, 8, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((select(keys.to_vec()), inner), 0..6).prop_map(|members| {
                Value::Object(
                    members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
                )
            }),
        ]
    })
}
