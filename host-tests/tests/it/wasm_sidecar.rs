//! Calls to the sidecar: what is believed, what is asked once, and what happens when nobody answers.

use std::time::Duration;

use serde_json::json;
use wardgate_core::wire::{API_KEY_LOOKUP_PATH, ApiKeyState, SNAPSHOT_PATH};
use wardgate_host_tests::wasm::{HttpAnswer, Mood, Outcome, Request};

use crate::wasm_support::{
    Gate, assert_forwarded, assert_refused, config, config_with, read_with, read_with_key,
    reader_token, snapshot_calls,
};

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
        ("a name twice", Mood::Says(200, br#"{"record":null,"record":null}"#.to_vec())),
        ("huge", Mood::Says(200, huge)),
    ]
}

#[test]
fn before_the_first_snapshot_only_public_routes_pass() {
    let mut gate = Gate::unheard(&config());
    assert_eq!(snapshot_calls(&gate), 1);
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
    for (what, mood) in unbelievable() {
        let mut gate = Gate::unheard(&config());
        gate.sidecar.mood(SNAPSHOT_PATH, mood);
        gate.pass(Duration::from_secs(3));
        let outcome = gate.vm.request(read_with(&reader_token()));
        assert_eq!(outcome.reason().as_deref(), Some("not-ready"), "{what}");
        gate.sidecar.mood(SNAPSHOT_PATH, Mood::Honest);
        gate.pass(Duration::from_secs(3));
        assert_forwarded(&gate.vm.request(read_with(&reader_token())));
        gate.assert_sound();
    }
}

#[test]
fn what_is_no_answer_of_the_sidecar_is_no_api_key() {
    for (what, mood) in unbelievable() {
        let mut gate = Gate::ready(&config());
        let key = gate.sidecar.add_api_key(1, "ci", &["viewer"]);
        gate.sidecar.mood(API_KEY_LOOKUP_PATH, mood);
        let outcome = gate.decide(read_with_key(&key));
        assert_eq!(outcome.reason().as_deref(), Some("sidecar-unreachable"), "{what}");
        gate.sidecar.mood(API_KEY_LOOKUP_PATH, Mood::Honest);
        assert_forwarded(&gate.decide(read_with_key(&key)));
        gate.assert_sound();
    }
}

#[test]
fn a_key_is_asked_for_once_and_then_decided_from_what_is_held() {
    let mut gate = Gate::ready(&config());
    let key = gate.sidecar.add_api_key(1, "ci", &["viewer"]);
    for _ in 0..5 {
        let outcome = gate.decide(read_with_key(&key));
        assert_forwarded(&outcome);
        assert_eq!(outcome.header("x-wardgate-auth").as_deref(), Some("api_key"));
        assert_eq!(outcome.header("x-api-key"), None);
    }
    assert_eq!(gate.seen(API_KEY_LOOKUP_PATH), 1);
    gate.assert_sound();
}

#[test]
fn the_secret_of_a_key_never_leaves_the_filter() {
    let mut gate = Gate::ready(&config());
    let key = gate.sidecar.add_api_key(1, "ci", &["viewer"]);
    gate.vm.open(read_with_key(&key));
    for call in gate.vm.calls() {
        let sent = format!("{call:?}").into_bytes();
        let secret = &key.expose().as_bytes()[20..40];
        assert!(!sent.windows(secret.len()).any(|window| window == secret));
    }
}

#[test]
fn many_requests_with_one_unknown_key_make_one_call() {
    let mut gate = Gate::ready(&config());
    let key = gate.sidecar.add_api_key(1, "ci", &["viewer"]);
    let streams: Vec<_> = (0..20).map(|_| gate.vm.open(read_with_key(&key))).collect();
    assert_eq!(gate.calls_to(API_KEY_LOOKUP_PATH).len(), 1);
    gate.sidecar.serve(&mut gate.vm);
    for stream in streams {
        assert_forwarded(&gate.vm.outcome(stream));
        gate.vm.close(stream);
    }
    gate.assert_sound();
}

#[test]
fn waiting_requests_are_decided_each_by_its_own_secret() {
    let mut gate = Gate::ready(&config());
    let key = gate.sidecar.add_api_key(1, "ci", &["viewer"]);
    // The same id and another secret: the other key's record must not let it pass.
    let mut record = gate.sidecar.api_keys[key.id()].clone();
    record.digest = wardgate_core::base64url::encode(&[0; 32]);
    gate.sidecar.api_keys.insert(key.id().to_owned(), record);
    assert_refused(&gate.decide(read_with_key(&key)), "api-key-unknown");
}

#[test]
fn when_the_client_that_caused_the_call_goes_the_others_still_get_their_answer() {
    let mut gate = Gate::ready(&config());
    let key = gate.sidecar.add_api_key(1, "ci", &["viewer"]);
    let first = gate.vm.open(read_with_key(&key));
    let second = gate.vm.open(read_with_key(&key));
    gate.vm.close(first);
    gate.pass(Duration::from_secs(3));
    assert_forwarded(&gate.vm.outcome(second));
    gate.vm.close(second);
    gate.assert_sound();
}

#[test]
fn an_unknown_key_is_remembered_as_unknown() {
    let mut gate = Gate::ready(&config());
    let key = gate.sidecar.add_api_key(1, "ci", &["viewer"]);
    gate.sidecar.api_keys.clear();
    for _ in 0..5 {
        assert_refused(&gate.decide(read_with_key(&key)), "api-key-unknown");
    }
    assert_eq!(gate.seen(API_KEY_LOOKUP_PATH), 1);
}

#[test]
fn junk_is_refused_with_no_call() {
    let mut gate = Gate::ready(&config());
    for junk in
        ["wg_test_x", "wg_test_0123456789ab0123456789abcdef0123456789abcdef_000000", "", "ü"]
    {
        let request = Request::new("GET", "/items/1").header("x-api-key", junk);
        assert_refused(&gate.vm.request(request), "api-key-malformed");
    }
    assert!(gate.calls_to(API_KEY_LOOKUP_PATH).is_empty());
}

#[test]
fn a_revoked_key_stops_with_the_next_revision() {
    let mut gate = Gate::ready(&config());
    let key = gate.sidecar.add_api_key(1, "ci", &["viewer"]);
    assert_forwarded(&gate.decide(read_with_key(&key)));
    gate.sidecar.api_keys.get_mut(key.id()).unwrap().state = ApiKeyState::Revoked;
    gate.sidecar.api_key_revision += 1;
    gate.pass(Duration::from_millis(1100));
    assert_refused(&gate.decide(read_with_key(&key)), "api-key-revoked");
}

#[test]
fn an_answer_from_before_a_revocation_does_not_outlive_it() {
    let mut gate = Gate::ready(&config());
    let key = gate.sidecar.add_api_key(1, "ci", &["viewer"]);
    // Just before the next question for news.
    gate.pass(Duration::from_millis(900));
    let early = gate.vm.open(read_with_key(&key));
    let call = gate.calls_to(API_KEY_LOOKUP_PATH).remove(0);
    let answer = gate.sidecar.answer(&call, gate.vm.wall_clock().as_secs()).unwrap();
    // While that answer is on its way the key is revoked, and the filter hears of it first.
    gate.sidecar.api_keys.get_mut(key.id()).unwrap().state = ApiKeyState::Revoked;
    gate.sidecar.api_key_revision += 1;
    gate.sidecar.mood(API_KEY_LOOKUP_PATH, Mood::Silent);
    let news = gate.seen(SNAPSHOT_PATH);
    gate.pass(Duration::from_millis(300));
    assert_eq!(gate.seen(SNAPSHOT_PATH), news + 1);
    gate.vm.answer(&call, answer);
    gate.vm.close(early);
    gate.sidecar.mood(API_KEY_LOOKUP_PATH, Mood::Honest);
    gate.pass(Duration::from_secs(2));
    assert_refused(&gate.decide(read_with_key(&key)), "api-key-revoked");
}

#[test]
fn every_state_of_a_key_has_its_answer() {
    let mut gate = Gate::ready(&config());
    let key = gate.sidecar.add_api_key(1, "ci", &["viewer"]);
    let now = gate.vm.wall_clock().as_secs();
    for (state, expires_at, reason) in [
        (ApiKeyState::Disabled, None, "api-key-disabled"),
        (ApiKeyState::Revoked, None, "api-key-revoked"),
        (ApiKeyState::Active, Some(now), "api-key-expired"),
    ] {
        let record = gate.sidecar.api_keys.get_mut(key.id()).unwrap();
        record.state = state;
        record.expires_at = expires_at;
        gate.sidecar.api_key_revision += 1;
        gate.pass(Duration::from_millis(1100));
        assert_refused(&gate.decide(read_with_key(&key)), reason);
    }
}

#[test]
fn an_answer_that_takes_too_long_fails_closed_and_is_then_not_believed() {
    let mut gate = Gate::ready(&config());
    let key = gate.sidecar.add_api_key(1, "ci", &["viewer"]);
    gate.sidecar.mood(API_KEY_LOOKUP_PATH, Mood::Silent);
    let stream = gate.vm.open(read_with_key(&key));
    let call = gate.calls_to(API_KEY_LOOKUP_PATH).remove(0);
    gate.pass(Duration::from_millis(600));
    assert_refused(&gate.vm.outcome(stream), "sidecar-unreachable");
    gate.vm.close(stream);
    gate.sidecar.mood(API_KEY_LOOKUP_PATH, Mood::Honest);
    let late = gate.sidecar.answer(&call, gate.vm.wall_clock().as_secs()).unwrap();
    gate.vm.answer(&call, late);
    gate.assert_sound();
}

#[test]
fn a_dispatch_that_fails_at_once_fails_closed() {
    let mut gate = Gate::ready(&config());
    let key = gate.sidecar.add_api_key(1, "ci", &["viewer"]);
    gate.vm.fail_calls_at_once(true);
    assert_refused(&gate.decide(read_with_key(&key)), "sidecar-unreachable");
    gate.vm.advance(Duration::from_secs(5));
    assert_forwarded(&gate.vm.request(read_with(&reader_token())));
    gate.vm.fail_calls_at_once(false);
    gate.pass(Duration::from_secs(3));
    assert_forwarded(&gate.decide(read_with_key(&key)));
    gate.assert_sound();
}

#[test]
fn a_cluster_that_comes_later_is_no_reason_to_refuse_the_configuration() {
    let mut vm = crate::wasm_support::host().without_clusters().config(&config()).start().unwrap();
    vm.advance(Duration::from_secs(3));
    assert_refused(&vm.request(read_with(&reader_token())), "not-ready");
    assert_eq!(vm.trap(), None);
}

#[test]
fn no_more_unknown_keys_are_asked_for_than_stated() {
    let feed = json!({"api_key_lookups_per_second": 5});
    let mut gate = Gate::ready(&config_with("feed", feed));
    let keys: Vec<_> =
        (0..20).map(|seed| gate.sidecar.add_api_key(seed, "ci", &["viewer"])).collect();
    let outcomes: Vec<_> = keys.iter().map(|key| gate.decide(read_with_key(key))).collect();
    let passed = outcomes.iter().filter(|outcome| outcome.is_forwarded()).count();
    assert_eq!(passed, 5);
    assert_eq!(gate.seen(API_KEY_LOOKUP_PATH), 5);
    assert_refused(&outcomes[19], "too-many-lookups");
    gate.pass(Duration::from_secs(1));
    assert_forwarded(&gate.decide(read_with_key(&keys[19])));
}

#[test]
fn after_five_failures_nobody_waits_for_a_dead_sidecar() {
    let mut gate = Gate::ready(&config());
    gate.sidecar.mood(API_KEY_LOOKUP_PATH, Mood::MadeUp(HttpAnswer::connect_failure()));
    let keys: Vec<_> =
        (0..8).map(|seed| gate.sidecar.add_api_key(seed, "ci", &["viewer"])).collect();
    for key in &keys[..5] {
        assert_refused(&gate.decide(read_with_key(key)), "sidecar-unreachable");
    }
    let outcome = gate.vm.request(read_with_key(&keys[5]));
    assert_refused(&outcome, "sidecar-unreachable");
    assert!(gate.calls_to(API_KEY_LOOKUP_PATH).is_empty(), "the circuit is open");
    gate.sidecar.mood(API_KEY_LOOKUP_PATH, Mood::Honest);
    gate.pass(Duration::from_millis(2100));
    assert_forwarded(&gate.decide(read_with_key(&keys[6])));
    assert_forwarded(&gate.decide(read_with_key(&keys[7])));
}

#[test]
fn cut_off_the_gate_goes_on_for_max_stale_and_then_closes() {
    let mut gate = Gate::ready(&config_with("feed", json!({"max_stale_seconds": 60})));
    let token = reader_token();
    gate.sidecar.mood_everywhere(&Mood::Silent);
    gate.vm.advance(Duration::from_secs(59));
    assert_forwarded(&gate.vm.request(read_with(&token)));
    gate.vm.advance(Duration::from_secs(2));
    assert_refused(&gate.vm.request(read_with(&token)), "sidecar-unreachable");
    assert_forwarded(&gate.vm.request(Request::new("GET", "/public")));
    gate.sidecar.mood_everywhere(&Mood::Honest);
    gate.pass(Duration::from_secs(3));
    assert_forwarded(&gate.vm.request(read_with(&token)));
    gate.assert_sound();
}

#[test]
fn a_wall_clock_set_back_stops_neither_the_news_nor_the_ageing() {
    let mut gate = Gate::ready(&config_with("feed", json!({"max_stale_seconds": 60})));
    gate.pass(Duration::from_secs(2));
    let hour = Duration::from_hours(1);
    let hour_ago = gate.vm.wall_clock().saturating_sub(hour);
    gate.vm.set_wall_clock(hour_ago);
    let before = gate.seen(SNAPSHOT_PATH);
    gate.pass(Duration::from_secs(5));
    assert!(gate.seen(SNAPSHOT_PATH) >= before + 4, "news are asked for every second");
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
    gate.pass(Duration::from_secs(2));
    assert_forwarded(&gate.vm.request(read_with(&reader_token())));
    gate.sidecar.key_sets.clear();
    gate.pass(Duration::from_secs(2));
    assert_refused(&gate.vm.request(read_with(&reader_token())), "token-key-unknown");
    gate.assert_sound();
}

#[test]
fn a_trap_of_the_vm_leaves_paused_requests_hanging_and_the_next_vm_whole() {
    let mut gate = Gate::ready(&config());
    let key = gate.sidecar.add_api_key(1, "ci", &["viewer"]);
    let paused = gate.vm.open(read_with_key(&key));
    gate.vm.restart_after_trap().unwrap();
    assert_eq!(gate.vm.hung_streams(), [paused]);
    gate.settle();
    assert_forwarded(&gate.decide(read_with_key(&key)));
    assert!(matches!(gate.vm.outcome(paused), Outcome::Failed { .. }));
}
