//! What the filter hears of the sidecar: what is believed, and what happens when nobody answers.

use std::time::Duration;

use serde_json::json;
use wardgate_core::wire::{ApiKeyState, BUCKETS_PATH, FEED_PATH};
use wardgate_host_tests::wasm::{HttpAnswer, Mood, Request};

use crate::wasm_support::{
    Gate, assert_forwarded, assert_refused, config, config_with, read_with, read_with_key,
    reader_token,
};

/// A change is known to every worker after so long: two ticks, and the time of the answer.
const SOON: Duration = Duration::from_millis(50);

/// Everything that may come back and is no answer of the sidecar.
fn unbelievable() -> Vec<(&'static str, Mood)> {
    let huge = vec![b'x'; 9 * 1024 * 1024];
    vec![
        ("timeout made up by Envoy", Mood::MadeUp(HttpAnswer::timeout())),
        ("connect failure made up by Envoy", Mood::MadeUp(HttpAnswer::connect_failure())),
        ("reset", Mood::MadeUp(HttpAnswer::Reset)),
        (
            "no headers at all",
            Mood::MadeUp(HttpAnswer::Answer { headers: vec![], body: vec![], trailers: vec![] }),
        ),
        ("200 of a squatter", Mood::MadeUp(HttpAnswer::new(200, &[], "{}"))),
        (
            "headers that are no UTF-8",
            Mood::MadeUp(HttpAnswer::Answer {
                headers: vec![
                    (b":status".to_vec(), b"\xff\xfe".to_vec()),
                    (b"x-wardgate-mac".to_vec(), b"\xff".to_vec()),
                ],
                body: b"\xff".to_vec(),
                trailers: vec![(b"\xff".to_vec(), b"\xff".to_vec())],
            }),
        ),
        ("another secret", Mood::OtherSecret),
        ("no MAC", Mood::NoMac),
        ("changed body", Mood::Tampered),
        ("answer to another question", Mood::Replayed),
        ("error of the sidecar", Mood::Says(500, b"{}".to_vec())),
        ("503 of the sidecar", Mood::Says(503, b"{}".to_vec())),
        ("redirect", Mood::Says(302, b"{}".to_vec())),
        ("no JSON", Mood::Says(200, b"<html>".to_vec())),
        ("empty", Mood::Says(200, vec![])),
        ("no UTF-8", Mood::Says(200, vec![0xff; 64])),
        ("other JSON", Mood::Says(200, b"[1,2]".to_vec())),
        ("deep JSON", Mood::Says(200, "[".repeat(100_000).into_bytes())),
        ("a name twice", Mood::Says(200, br#"{"cursor":"1","cursor":"1"}"#.to_vec())),
        ("huge", Mood::Says(200, huge)),
    ]
}

#[test]
fn before_the_first_load_only_public_routes_pass() {
    let mut gate = Gate::unheard(&config());
    gate.vm.advance(Duration::from_millis(100));
    assert_eq!(gate.calls_to(FEED_PATH).len(), 1);
    let outcome = gate.vm.request(read_with(&reader_token()));
    assert_refused(&outcome, "not-ready");
    assert_eq!(outcome.status(), Some(503));
    assert_forwarded(&gate.vm.request(Request::new("GET", "/public")));
    gate.settle();
    assert_forwarded(&gate.vm.request(read_with(&reader_token())));
    gate.assert_sound();
}

#[test]
fn what_is_no_answer_of_the_sidecar_makes_nobody_ready() {
    for path in [FEED_PATH, BUCKETS_PATH] {
        for (what, mood) in unbelievable() {
            let mut gate = Gate::unheard(&config());
            gate.sidecar.add_api_key(1, "ci", &["viewer"]);
            gate.sidecar.mood(path, mood);
            gate.pass(Duration::from_secs(3));
            let outcome = gate.vm.request(read_with(&reader_token()));
            assert_eq!(outcome.reason().as_deref(), Some("not-ready"), "{path}: {what}");
            gate.sidecar.mood(path, Mood::Honest);
            gate.pass(Duration::from_secs(8));
            let outcome = gate.vm.request(read_with(&reader_token()));
            assert!(outcome.is_forwarded(), "{path}: {what}: {outcome:?}");
            gate.assert_sound();
        }
    }
}

#[test]
fn what_is_no_answer_of_the_sidecar_changes_nothing() {
    for (what, mood) in unbelievable() {
        let mut gate = Gate::ready(&config());
        let key = gate.sidecar.add_api_key(1, "ci", &["viewer"]);
        gate.pass(SOON);
        let late = gate.sidecar.add_api_key(2, "late", &["viewer"]);
        gate.sidecar.mood(FEED_PATH, mood);
        gate.pass(Duration::from_secs(3));
        assert!(gate.decide(read_with_key(&key)).is_forwarded(), "{what}");
        assert_refused(&gate.decide(read_with_key(&late)), "api-key-unknown");
        gate.sidecar.mood(FEED_PATH, Mood::Honest);
        gate.pass(Duration::from_secs(8));
        assert_forwarded(&gate.decide(read_with_key(&late)));
        gate.assert_sound();
    }
}

#[test]
fn a_key_is_decided_from_the_tables_with_no_call() {
    let mut gate = Gate::ready(&config());
    let key = gate.sidecar.add_api_key(1, "ci", &["viewer"]);
    let unknown = gate.sidecar.add_api_key(2, "gone", &["viewer"]);
    gate.sidecar.api_keys.remove(unknown.id());
    gate.pass(SOON);
    let before = gate.vm.host_calls().get("proxy_http_call").copied();
    for _ in 0..5 {
        let outcome = gate.decide(read_with_key(&key));
        assert_forwarded(&outcome);
        assert_eq!(outcome.header("x-wardgate-auth").as_deref(), Some("api_key"));
        assert_eq!(outcome.header("x-api-key"), None);
        assert_refused(&gate.decide(read_with_key(&unknown)), "api-key-unknown");
    }
    assert_eq!(gate.vm.host_calls().get("proxy_http_call").copied(), before);
    gate.assert_sound();
}

#[test]
fn the_secret_of_a_key_never_leaves_the_filter() {
    let mut gate = Gate::ready(&config());
    let key = gate.sidecar.add_api_key(1, "ci", &["viewer"]);
    gate.pass(SOON);
    assert_forwarded(&gate.decide(read_with_key(&key)));
    gate.vm.advance(Duration::from_secs(1));
    let secret = &key.expose().as_bytes()[20..40];
    let holds = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
    for call in gate.vm.calls() {
        assert!(!holds(format!("{call:?}").as_bytes()) && !holds(&call.body));
    }
    for key in gate.vm.shared_keys() {
        assert!(!holds(&gate.vm.shared_get(&key).unwrap()));
    }
}

#[test]
fn another_secret_under_a_known_id_does_not_pass() {
    let mut gate = Gate::ready(&config());
    let key = gate.sidecar.add_api_key(1, "ci", &["viewer"]);
    let record = gate.sidecar.api_keys.get_mut(key.id()).unwrap();
    record.digest = wardgate_core::base64url::encode(&[0; 32]);
    gate.pass(SOON);
    assert_refused(&gate.decide(read_with_key(&key)), "api-key-unknown");
}

#[test]
fn junk_is_refused_without_a_look_at_the_tables() {
    let mut gate = Gate::ready(&config());
    let before = gate.vm.host_calls().get("proxy_get_shared_data").copied();
    for junk in
        ["wg_test_x", "wg_test_0123456789ab0123456789abcdef0123456789abcdef_000000", "", "ü"]
    {
        let request = Request::new("GET", "/items/1").header("x-api-key", junk);
        assert_refused(&gate.vm.request(request), "api-key-malformed");
    }
    assert_eq!(gate.vm.host_calls().get("proxy_get_shared_data").copied(), before);
}

#[test]
fn every_change_of_a_key_counts_soon() {
    let mut gate = Gate::ready(&config());
    let key = gate.sidecar.add_api_key(1, "ci", &["viewer"]);
    gate.pass(SOON);
    let now = gate.vm.wall_clock().as_secs();
    for (state, expires_at, reason) in [
        (ApiKeyState::Disabled, None, "api-key-disabled"),
        (ApiKeyState::Revoked, None, "api-key-revoked"),
        (ApiKeyState::Active, Some(now), "api-key-expired"),
    ] {
        let record = gate.sidecar.api_keys.get_mut(key.id()).unwrap();
        (record.state, record.expires_at) = (ApiKeyState::Active, None);
        gate.pass(SOON);
        assert_forwarded(&gate.decide(read_with_key(&key)));
        let record = gate.sidecar.api_keys.get_mut(key.id()).unwrap();
        (record.state, record.expires_at) = (state, expires_at);
        gate.pass(SOON);
        assert_refused(&gate.decide(read_with_key(&key)), reason);
    }
    gate.sidecar.api_keys.clear();
    gate.pass(SOON);
    assert_refused(&gate.decide(read_with_key(&key)), "api-key-unknown");
}

#[test]
fn a_cluster_that_comes_later_is_no_reason_to_refuse_the_configuration() {
    let mut vm = crate::wasm_support::host().without_clusters().config(&config()).start().unwrap();
    vm.advance(Duration::from_secs(3));
    assert_refused(&vm.request(read_with(&reader_token())), "not-ready");
    assert_eq!(vm.trap(), None);
}

#[test]
fn a_dispatch_that_fails_at_once_is_tried_again() {
    let mut gate = Gate::ready(&config());
    gate.vm.fail_calls_at_once(true);
    gate.pass(Duration::from_secs(10));
    assert_forwarded(&gate.vm.request(read_with(&reader_token())));
    gate.vm.fail_calls_at_once(false);
    let key = gate.sidecar.add_api_key(1, "ci", &["viewer"]);
    gate.pass(Duration::from_secs(3));
    assert_forwarded(&gate.decide(read_with_key(&key)));
    gate.assert_sound();
}

#[test]
fn cut_off_the_gate_goes_on_for_max_stale_and_then_closes() {
    let mut gate = Gate::ready(&config_with("feed", json!({"max_stale_seconds": 60})));
    let token = reader_token();
    gate.sidecar.mood_everywhere(&Mood::Silent);
    gate.vm.advance(Duration::from_secs(54));
    assert_forwarded(&gate.vm.request(read_with(&token)));
    gate.vm.advance(Duration::from_secs(7));
    assert_refused(&gate.vm.request(read_with(&token)), "sidecar-unreachable");
    assert_forwarded(&gate.vm.request(Request::new("GET", "/public")));
    gate.sidecar.mood_everywhere(&Mood::Honest);
    gate.pass(Duration::from_secs(8));
    assert_forwarded(&gate.vm.request(read_with(&token)));
    gate.assert_sound();
}

#[test]
fn a_wall_clock_set_back_stops_neither_the_news_nor_the_ageing() {
    let mut gate = Gate::ready(&config_with("feed", json!({"max_stale_seconds": 60})));
    let hour = Duration::from_hours(1);
    let hour_ago = gate.vm.wall_clock().saturating_sub(hour);
    gate.vm.set_wall_clock(hour_ago);
    // Questions that were made before are of another time, and are asked again.
    gate.pass(Duration::from_secs(8));
    let key = gate.sidecar.add_api_key(1, "ci", &["viewer"]);
    gate.pass(SOON);
    assert_forwarded(&gate.decide(read_with_key(&key)));
    gate.sidecar.mood_everywhere(&Mood::Silent);
    gate.vm.set_wall_clock(hour_ago.saturating_sub(hour));
    gate.vm.advance(Duration::from_secs(61));
    let outcome = gate.vm.request(Request::new("GET", "/.wardgate/healthz"));
    assert_eq!(outcome.status(), Some(503), "61 seconds unheard are 61 seconds");
}

#[test]
fn keys_of_the_sidecar_are_used_and_dropped_with_it() {
    let mut config = config();
    let issuer = config["policy"]["issuers"][0].as_object_mut().unwrap();
    let jwks = issuer.remove("jwks").unwrap();
    let mut gate = Gate::ready(&config);
    assert_refused(&gate.vm.request(read_with(&reader_token())), "token-key-unknown");
    gate.sidecar.key_sets.insert("https://login.example.com".into(), jwks);
    gate.pass(SOON);
    assert_forwarded(&gate.vm.request(read_with(&reader_token())));
    gate.sidecar.key_sets.clear();
    gate.pass(SOON);
    assert_refused(&gate.vm.request(read_with(&reader_token())), "token-key-unknown");
    gate.assert_sound();
}
