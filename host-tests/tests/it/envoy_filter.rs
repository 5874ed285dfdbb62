//! What only a real Envoy shows: its codecs, its filter state, its statistics, its own filters behind
//! the gate.

use std::{fs, time::Duration};

use serde_json::json;
use wardgate_host_tests::envoy::{
    Envoy,
    bootstrap::type_url,
    client::Request,
    grpc,
    issuer::{Algorithm, Issuer},
    wait::wait_for,
};
use wardgate_host_tests::upstream::Upstream;

use crate::envoy_support::{Gate, Setup, builder, configuration, seen};

#[test]
fn tokens_of_every_kind_pass_and_the_upstream_learns_who_it_is() {
    let gate = Gate::start();
    for algorithm in Algorithm::ALL {
        let token = gate.issuer.token(algorithm, "alice", &json!({"roles": ["viewer"]})).unwrap();
        // The second time from the cache.
        for _ in 0..2 {
            let seen = seen(&gate.send(&Request::get("/things/1").bearer(&token)));
            assert_eq!(seen.header("x-wardgate-subject"), ["alice"]);
            assert_eq!(seen.header("x-wardgate-issuer"), [gate.issuer.name()]);
            assert_eq!(seen.header("x-wardgate-roles"), ["viewer"]);
            assert_eq!(seen.header("x-wardgate-auth"), ["jwt"]);
            assert!(seen.header("authorization").is_empty());
        }
    }
    gate.assert_sound();
}

#[test]
fn a_refusal_says_why_with_a_challenge() {
    let gate = Gate::start();
    let answer = gate.send(&Request::get("/things/1"));
    assert_eq!((answer.status, answer.reason().as_deref()), (401, Some("credential-missing")));
    assert_eq!(answer.header("content-type").as_deref(), Some("application/problem+json"));
    assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer realm=\"wardgate\""));

    let answer = gate.send(&Request::new("POST", "/things/1").bearer(&gate.viewer()));
    assert_eq!((answer.status, answer.reason().as_deref()), (403, Some("permission-missing")));
    assert_eq!(gate.upstream.requests(), 0);
    gate.assert_sound();
}

#[test]
fn forged_identity_headers_are_removed_however_they_are_spelled() {
    // Envoy refuses underscores as shipped; the gate does without that help.
    let gate = Gate::with(&Setup { soft: true, ..Setup::default() });
    let forged = Request::get("/things/1")
        .bearer(&gate.viewer())
        .header("X-Wardgate-Subject", "root")
        .header("x-wardgate-subject", "root")
        .header("X_WARDGATE_ROLES", "root")
        .header("x_wardgate-roles", "root")
        .header("x-wardgate-session", "root")
        .header("txn-token", "root");
    let seen = seen(&gate.send(&forged));
    assert_eq!(seen.header("x-wardgate-subject"), ["alice"]);
    assert!(!format!("{seen:?}").contains("root"), "{seen:?}");
    gate.assert_sound();
}

#[test]
fn forged_trailers_are_removed_over_http1_and_http2() {
    let gate = Gate::start();
    let token = format!("Bearer {}", gate.viewer());
    let headers = [
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("authorization", token.as_str()),
    ];
    let trailers = [("x-wardgate-subject", "root"), ("x-kept", "1")];
    let http2 = gate.envoy.listener("http2").unwrap();
    let seen_http2 = seen(&grpc::call(http2, "/shop.Orders/List", &headers, &trailers).unwrap());
    assert_eq!(seen_http2.trailers, [("x-kept".to_owned(), "1".to_owned())]);
    assert_eq!(seen_http2.header("x-wardgate-subject"), ["alice"]);

    let editor = gate.issuer.token(Algorithm::EdDsa, "bob", &json!({"roles": ["editor"]})).unwrap();
    let request = Request::new("POST", "/things/1").bearer(&editor).body("x");
    let request = request.trailer("X-Wardgate-Roles", "root").trailer("x-kept", "2");
    let seen_http1 = seen(&request.send(http2).unwrap());
    assert_eq!(seen_http1.trailers, [("x-kept".to_owned(), "2".to_owned())]);
    gate.assert_sound();
}

#[test]
fn a_grpc_client_gets_a_grpc_status() {
    let gate = Gate::start();
    let headers = [("content-type", "application/grpc"), ("te", "trailers")];
    let http2 = gate.envoy.listener("http2").unwrap();
    let answer = grpc::call(http2, "/shop.Orders/List", &headers, &[]).unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("grpc-status").as_deref(), Some("16"), "UNAUTHENTICATED");
    let token = gate.issuer.token(Algorithm::Es256, "carl", &json!({})).unwrap();
    let token = format!("Bearer {token}");
    let headers = [headers[0], headers[1], ("authorization", token.as_str())];
    let answer = grpc::call(http2, "/shop.Orders/List", &headers, &[]).unwrap();
    assert_eq!(answer.header("grpc-status").as_deref(), Some("7"), "PERMISSION_DENIED");
    gate.assert_sound();
}

#[test]
fn a_cors_preflight_passes_only_where_the_route_says_so() {
    let gate = Gate::start();
    let preflight = |path: &str, method: &str| {
        let request = Request::new("OPTIONS", path).header("origin", "https://app.example.com");
        gate.send(&request.header("access-control-request-method", method))
    };
    let passed = seen(&preflight("/things/1", "GET"));
    assert_eq!(passed.header("x-wardgate-auth"), ["none"]);
    assert_eq!(preflight("/things/1", "POST").status, 403);
    gate.assert_sound();
}

#[test]
fn the_decision_is_in_the_access_log() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("access.log");
    let format = "%REQ(:PATH)% %FILTER_STATE(wasm.wardgate.decision:PLAIN)% \
                  %REQ(X-WARDGATE-SUBJECT)%\n";
    let gate = Gate::with(&Setup { access_log: Some((&log, format)), ..Setup::default() });
    gate.send(&Request::get("/things/1").bearer(&gate.viewer()));
    gate.send(&Request::get("/things/2"));
    gate.send(&Request::get("/nowhere"));
    let lines = wait_for("the access log", Duration::from_secs(10), || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        Ok((text.lines().count() == 3).then_some(text))
    });
    let lines = lines.unwrap();
    let mut lines = lines.lines();
    let permitted = lines.next().unwrap();
    assert!(permitted.starts_with("/things/1 permit read"), "{permitted}");
    assert!(permitted.ends_with(" alice"), "{permitted}");
    assert_eq!(lines.next(), Some("/things/2 deny read credential-missing -"));
    assert_eq!(lines.next(), Some("/nowhere deny - route-missing -"));
}

#[test]
fn envoys_own_rbac_reads_the_filter_state() {
    let rbac = json!({
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": type_url("extensions.filters.http.rbac.v3.RBAC"),
            "rules": {"action": "ALLOW", "policies": {"readers": {
                "permissions": [{"any": true}],
                "principals": [{"filter_state": {
                    "key": "wasm.wardgate.decision", "string_match": {"prefix": "permit read"},
                }}],
            }}},
        },
    });
    let gate = Gate::with(&Setup { after: vec![rbac], ..Setup::default() });
    seen(&gate.send(&Request::get("/things/1").bearer(&gate.viewer())));
    // The gate lets it pass, as another route; Envoy's own filter does not.
    let public = gate.send(&Request::get("/public"));
    assert_eq!(public.status, 403);
    assert_eq!(String::from_utf8_lossy(&public.body), "RBAC: access denied");
}

#[test]
fn decisions_are_counted_in_the_statistics() {
    let gate = Gate::start();
    seen(&gate.send(&Request::get("/public")));
    gate.send(&Request::get("/things/1"));
    let stats = wait_for("the statistics", Duration::from_secs(10), || {
        let stats = gate.envoy.stats("wasmcustom.wardgate.")?;
        let denied = stats.get("wasmcustom.wardgate.requests.denied.credential-missing").copied();
        Ok((denied == Some(1)).then_some(stats))
    });
    assert_eq!(stats.unwrap()["wasmcustom.wardgate.requests.permitted"], 1);
    assert_eq!(gate.envoy.stats("wasm.wardgate.vm_reload").unwrap().values().sum::<u64>(), 0);
}

#[test]
fn the_filter_itself_answers_its_health_path() {
    let gate = Gate::with(&Setup { concurrency: Some(2), ..Setup::default() });
    for _ in 0..8 {
        assert_eq!(gate.send(&Request::get("/.wardgate/healthz")).status, 200);
    }
    assert_eq!(gate.upstream.requests(), 0);
}

#[track_caller]
fn refused(configuration: &serde_json::Value) -> String {
    let upstream = Upstream::start().unwrap();
    builder(configuration, &upstream, &Setup::default()).validate().unwrap_err().to_string()
}

#[test]
fn a_bad_configuration_is_refused_by_envoy_with_all_its_problems_named() {
    let issuer = Issuer::generate("https://login.example.com").unwrap();
    let mut bad = configuration(&issuer);
    bad["limits"] = json!({"token_bytes": 1});
    bad["polices"] = json!({});
    let said = refused(&bad);
    assert!(said.contains("limits.token_bytes"), "{said}");
    assert!(said.contains("polices: unknown key"), "{said}");

    let mut bad = configuration(&issuer);
    bad["policy"]["routes"][0]["require"] = json!({"all": ["raed"]});
    let said = refused(&bad);
    assert!(said.contains("policy.routes[0].require") && said.contains("raed"), "{said}");
}

#[test]
fn a_good_configuration_passes_envoys_judgement() {
    let issuer = Issuer::generate("https://login.example.com").unwrap();
    let upstream = Upstream::start().unwrap();
    builder(&configuration(&issuer), &upstream, &Setup::default()).validate().unwrap();
}

#[test]
fn every_shipped_configuration_is_accepted_by_envoy() {
    let root = wardgate_host_tests::envoy::repository();
    for entry in fs::read_dir(root.join("envoy")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap_or_default();
        if path.extension().is_none_or(|extension| extension != "yaml")
            || !text.contains("static_resources:")
        {
            continue;
        }
        let builder = Envoy::of_yaml(text).environment("WARDGATE_FEED_SECRET", &"A".repeat(43));
        builder.validate().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
