//! Requests through the real wasm file: what goes on, what is answered, and what the upstream sees.

use std::time::Duration;

use serde_json::json;
use wardgate_host_tests::wasm::{Headers, Outcome, Request};

use crate::wasm_support::{
    Gate, Issuer, assert_forwarded, assert_refused, claims, config, config_with, host, read_with,
    reader_token,
};

#[test]
fn a_reader_reads_and_does_not_write() {
    let mut gate = Gate::ready(&config());
    let token = reader_token();
    let outcome = gate.vm.request(read_with(&token));
    assert_forwarded(&outcome);
    assert_eq!(outcome.header("x-wardgate-subject").as_deref(), Some("ann"));
    assert_eq!(outcome.header("x-wardgate-auth").as_deref(), Some("jwt"));
    assert_eq!(outcome.header("x-wardgate-roles").as_deref(), Some("viewer"));
    assert_eq!(outcome.header("authorization"), None, "the credential stays here");
    let write = Request::new("POST", "/items/1").bearer(&token);
    let outcome = gate.vm.request(write);
    assert_refused(&outcome, "permission-missing");
    assert_eq!(outcome.status(), Some(403));
    gate.assert_sound();
}

#[test]
fn a_role_inherits() {
    let mut gate = Gate::ready(&config());
    let token = Issuer::corp().sign(&claims("eve", &["editor"]));
    assert_forwarded(&gate.vm.request(read_with(&token)));
    assert_forwarded(&gate.vm.request(Request::new("POST", "/items/1").bearer(&token)));
}

#[test]
fn without_verify_signature_the_same_is_decided_in_wasm() {
    let host = host().config(&config()).without_verify_signature();
    let mut gate = Gate::of(host.start().unwrap());
    gate.settle();
    assert_forwarded(&gate.vm.request(read_with(&reader_token())));
    let forged = Issuer::stranger().sign(&claims("ann", &["viewer"]));
    assert_refused(&gate.vm.request(read_with(&forged)), "token-signature-invalid");
}

#[test]
fn a_signature_of_a_stranger_is_refused_with_a_challenge() {
    let mut gate = Gate::ready(&config());
    let forged = Issuer::stranger().sign(&claims("ann", &["viewer"]));
    for _ in 0..3 {
        let outcome = gate.vm.request(read_with(&forged));
        assert_refused(&outcome, "token-signature-invalid");
        assert_eq!(outcome.status(), Some(401));
        let Outcome::Answered(response) = &outcome else { unreachable!() };
        let challenges: Vec<_> =
            response.headers.iter().filter(|(name, _)| name == b"www-authenticate").collect();
        assert!(challenges[0].1.starts_with(b"Bearer realm=\"wardgate\", error=\"invalid_token\""));
    }
    gate.assert_sound();
}

#[test]
fn a_cached_token_expires_on_time() {
    let mut gate = Gate::ready(&config());
    let token = reader_token();
    assert_forwarded(&gate.vm.request(read_with(&token)));
    gate.pass(Duration::from_secs(600 + 29));
    assert_forwarded(&gate.vm.request(read_with(&token)));
    gate.pass(Duration::from_secs(2));
    assert_refused(&gate.vm.request(read_with(&token)), "token-expired");
}

#[test]
fn headers_that_only_the_gate_may_set_never_pass_in_any_spelling() {
    let mut gate = Gate::ready(&config());
    let mut request = read_with(&reader_token());
    let forgeries = [
        "x-wardgate-subject",
        "x-wardgate-subject",
        "x_wardgate_subject",
        "x-wardgate_subject",
        "x-wardgate-roles",
        "x-wardgate-session",
        "x-wardgate-anything",
        "txn-token",
        "txn_token",
        "x_api_key",
    ];
    for name in forgeries {
        request = request.header(name, "admin");
    }
    let outcome = gate.vm.request(request.header("x-honest", "1"));
    let Outcome::Forwarded { headers } = &outcome else { panic!("{outcome:?}") };
    let forged: Vec<_> = headers.iter().filter(|(_, value)| value == b"admin").collect();
    assert!(forged.is_empty(), "{forged:?}");
    assert_eq!(outcome.header("x-wardgate-subject").as_deref(), Some("ann"));
    assert_eq!(outcome.header("x-honest").as_deref(), Some("1"));
    gate.assert_sound();
}

#[test]
fn a_public_route_passes_as_nobody_and_without_forged_names() {
    let mut gate = Gate::ready(&config());
    let request = Request::new("GET", "/public").header("x-wardgate-subject", "root");
    let outcome = gate.vm.request(request);
    assert_forwarded(&outcome);
    assert_eq!(outcome.header("x-wardgate-subject"), None);
    assert_eq!(outcome.header("x-wardgate-auth").as_deref(), Some("none"));
}

#[test]
fn forged_trailers_never_reach_the_upstream() {
    let mut gate = Gate::ready(&config());
    let stream = gate.vm.open(read_with(&reader_token()).with_more_to_come());
    assert_forwarded(&gate.vm.outcome(stream));
    let trailer = |name: &str, value: &[u8]| (name.as_bytes().to_vec(), value.to_vec());
    let left = gate.vm.trailers(
        stream,
        vec![
            trailer("x-wardgate-subject", b"root"),
            trailer("x_wardgate_roles", b"admin"),
            trailer("txn-token", b"t"),
            trailer("grpc-status", b"0"),
            trailer("x-odd", b"\xff\xfe"),
        ],
    );
    assert_eq!(left, vec![trailer("grpc-status", b"0"), trailer("x-odd", b"\xff\xfe")]);
    gate.vm.close(stream);
    gate.assert_sound();
}

#[test]
fn empty_trailers_pass() {
    let mut gate = Gate::ready(&config());
    let stream = gate.vm.open(read_with(&reader_token()).with_more_to_come());
    assert_eq!(gate.vm.trailers(stream, Headers::new()), Headers::new());
    assert_forwarded(&gate.vm.outcome(stream));
    gate.vm.close(stream);
    gate.assert_sound();
}

#[test]
fn two_credentials_of_a_kind_are_refused() {
    let mut gate = Gate::ready(&config());
    let twice = read_with(&reader_token()).bearer(&reader_token());
    assert_refused(&gate.vm.request(twice), "credential-repeated");
    let keys = Request::new("GET", "/items/1").header("x-api-key", "a").header("x-api-key", "b");
    assert_refused(&gate.vm.request(keys), "credential-repeated");
}

#[test]
fn bytes_that_are_no_utf_8_kill_nothing_wherever_they_stand() {
    let mut gate = Gate::ready(&config());
    let good = reader_token();
    let names = [
        ":method",
        ":path",
        ":authority",
        ":scheme",
        "authorization",
        "x-api-key",
        "cookie",
        "content-type",
        "x-request-id",
        "origin",
        "access-control-request-method",
        "x-any",
    ];
    for name in names {
        for value in [&b"\xff"[..], b"\xc3\x28", b"", b"\x00", b"Bearer \xff", b"/items/\xff"] {
            gate.vm.request(read_with(&good).replacing(name, value));
            gate.vm.request(read_with(&good).header(name, value));
            gate.assert_sound();
        }
        gate.vm.request(read_with(&good).without(name));
        gate.assert_sound();
    }
    assert_forwarded(&gate.vm.request(read_with(&good)));
}

#[test]
fn the_decision_is_in_the_filter_state() {
    let mut gate = Gate::ready(&config());
    let stream = gate.vm.open(read_with(&reader_token()));
    gate.vm.close(stream);
    let state = gate.vm.filter_state(stream);
    assert_eq!(state["wasm.wardgate.decision"], "permit read-item");
    let stream = gate.vm.open(Request::new("GET", "/items/1"));
    gate.vm.close(stream);
    let state = gate.vm.filter_state(stream);
    assert_eq!(state["wasm.wardgate.decision"], "deny read-item credential-missing");
}

#[test]
fn decisions_are_counted_by_reason() {
    let mut gate = Gate::ready(&config());
    gate.vm.request(read_with(&reader_token()));
    gate.vm.request(Request::new("GET", "/items/1"));
    gate.vm.request(Request::new("GET", "/items/1"));
    // Counted up where it costs no request anything.
    gate.pass(Duration::from_secs(1));
    let metrics = gate.vm.metrics();
    assert_eq!(metrics["wardgate.requests.permitted"], 1);
    assert_eq!(metrics["wardgate.requests.denied.credential-missing"], 2);
}

#[test]
fn a_grpc_client_gets_a_grpc_status() {
    let mut gate = Gate::ready(&config());
    let request = Request::new("POST", "/items/1").header("content-type", "application/grpc+proto");
    let Outcome::Answered(response) = gate.vm.request(request) else { panic!("not answered") };
    assert_eq!(response.grpc_status, Some(16));
    assert_eq!(response.details, b"credential-missing");
}

#[test]
fn the_health_path_says_whether_the_gate_is_ready() {
    let mut gate = Gate::unheard(&config());
    let health = || Request::new("GET", "/.wardgate/healthz");
    assert_eq!(gate.vm.request(health()).status(), Some(503));
    gate.settle();
    assert_eq!(gate.vm.request(health()).status(), Some(200));
}

#[test]
fn an_address_that_guesses_is_stopped_before_any_signature_is_checked() {
    let mut gate =
        Gate::ready(&config_with("failure_limit", json!({"failures": 3, "period_seconds": 60})));
    let forged = |count: usize| {
        let claims = claims(&format!("guess {count}"), &["viewer"]);
        read_with(&Issuer::stranger().sign(&claims)).from_address("198.51.100.9:1")
    };
    for count in 0..3 {
        assert_refused(&gate.vm.request(forged(count)), "token-signature-invalid");
    }
    let before = gate.vm.host_calls()["proxy_call_foreign_function"];
    let outcome = gate.vm.request(forged(4));
    assert_refused(&outcome, "too-many-failures");
    assert_eq!(outcome.status(), Some(429));
    assert_eq!(gate.vm.host_calls()["proxy_call_foreign_function"], before);
    let elsewhere = read_with(&reader_token()).from_address("198.51.100.10:1");
    assert_forwarded(&gate.vm.request(elsewhere));
}

#[test]
fn a_client_that_goes_away_at_any_moment_harms_nobody() {
    let mut gate = Gate::ready(&config());
    let gone = gate.vm.open(read_with(&reader_token()));
    gate.vm.close(gone);
    assert_forwarded(&gate.vm.request(read_with(&reader_token())));
    gate.assert_sound();
}
