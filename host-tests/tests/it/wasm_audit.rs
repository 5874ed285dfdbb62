//! Audit events: numbered without a hole, delivered once, kept while the sidecar is away.

use std::time::Duration;

use serde_json::{Value, json};
use wardgate_core::wire::AUDIT_PATH;
use wardgate_host_tests::wasm::{HttpAnswer, Mood, Request};

use crate::wasm_support::{Gate, assert_forwarded, config, config_with, read_with, reader_token};

fn sequences(gate: &Gate) -> Vec<u64> {
    gate.sidecar.events.iter().map(|(_, event)| event["sequence"].as_u64().unwrap()).collect()
}

fn of_decision<'a>(gate: &'a Gate, decision: &str) -> Vec<&'a Value> {
    let events = gate.sidecar.events.iter().map(|(_, event)| event);
    events.filter(|event| event["decision"] == decision).collect()
}

#[test]
fn every_decision_becomes_one_event_in_order() {
    let mut gate = Gate::ready(&config());
    gate.vm.request(read_with(&reader_token()));
    gate.vm.request(Request::new("GET", "/items/1?secret=1").header("x-request-id", "r-2"));
    gate.vm.request(Request::new("GET", "/public"));
    gate.pass(Duration::from_secs(2));
    assert_eq!(sequences(&gate), [1, 2, 3]);
    let events: Vec<&Value> = gate.sidecar.events.iter().map(|(_, event)| event).collect();
    assert_eq!(events[0]["decision"], "permit");
    assert_eq!(events[0]["subject"], "ann");
    assert_eq!(events[1]["decision"], "deny");
    assert_eq!(events[1]["reason"], "credential-missing");
    assert_eq!(events[1]["request_id"], "r-2");
    assert_eq!(events[1]["path"], "/items/1", "a query may hold secrets");
    gate.assert_sound();
}

#[test]
fn events_wait_for_a_sidecar_that_is_away() {
    let away = [
        Mood::MadeUp(HttpAnswer::connect_failure()),
        Mood::MadeUp(HttpAnswer::timeout()),
        Mood::MadeUp(HttpAnswer::Reset),
        Mood::Silent,
        Mood::OtherSecret,
        Mood::NoMac,
        Mood::Says(503, vec![]),
        Mood::Says(200, b"junk".to_vec()),
    ];
    for mood in away {
        let mut gate = Gate::ready(&config());
        gate.sidecar.mood(AUDIT_PATH, mood);
        for _ in 0..10 {
            gate.vm.request(read_with(&reader_token()));
            gate.pass(Duration::from_millis(300));
        }
        gate.sidecar.mood(AUDIT_PATH, Mood::Honest);
        gate.pass(Duration::from_secs(3));
        assert_eq!(sequences(&gate), (1..=10).collect::<Vec<u64>>());
        gate.assert_sound();
    }
}

#[test]
fn a_lie_about_what_is_on_disk_loses_no_later_event() {
    let mut gate = Gate::ready(&config());
    gate.vm.request(read_with(&reader_token()));
    gate.sidecar.mood(AUDIT_PATH, Mood::Says(200, br#"{"acknowledged":0}"#.to_vec()));
    gate.pass(Duration::from_secs(3));
    gate.sidecar.mood(AUDIT_PATH, Mood::Honest);
    gate.vm.request(read_with(&reader_token()));
    gate.pass(Duration::from_secs(3));
    assert_eq!(sequences(&gate), [1, 2]);
}

#[test]
fn a_full_buffer_counts_what_it_loses_and_records_the_gap() {
    let limits = json!({"audit_buffer_bytes": 4096});
    let mut gate = Gate::ready(&config_with("limits", limits));
    gate.sidecar.mood(AUDIT_PATH, Mood::Silent);
    let token = reader_token();
    for _ in 0..200 {
        assert_forwarded(&gate.vm.request(read_with(&token)));
    }
    gate.pass(Duration::from_secs(1));
    assert!(gate.vm.metrics()["wardgate.audit.lost"] > 100);
    gate.sidecar.mood(AUDIT_PATH, Mood::Honest);
    gate.pass(Duration::from_secs(5));
    gate.vm.request(read_with(&token));
    gate.pass(Duration::from_secs(5));
    let gaps = of_decision(&gate, "gap");
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    let lost: Vec<u64> =
        (gaps[0]["first"].as_u64().unwrap()..=gaps[0]["last"].as_u64().unwrap()).collect();
    let mut all = sequences(&gate);
    all.extend(lost);
    all.sort_unstable();
    let expected: Vec<u64> = (1..=all.len() as u64).collect();
    assert_eq!(all, expected, "what was not delivered is in the gap, and nothing is in both");
    gate.assert_sound();
}

#[test]
fn each_incarnation_numbers_its_own_events() {
    let mut gate = Gate::ready(&config());
    gate.vm.request(read_with(&reader_token()));
    gate.pass(Duration::from_secs(2));
    gate.vm.restart_after_trap().unwrap();
    gate.settle();
    gate.vm.request(read_with(&reader_token()));
    gate.pass(Duration::from_secs(2));
    assert_eq!(sequences(&gate), [1, 1]);
    let names: Vec<&String> = gate.sidecar.events.iter().map(|(name, _)| name).collect();
    assert_ne!(names[0], names[1]);
}

#[test]
fn no_event_shows_a_credential() {
    let mut gate = Gate::ready(&config());
    let key = gate.sidecar.add_api_key(1, "ci", &["viewer"]);
    let token = reader_token();
    gate.decide(crate::wasm_support::read_with_key(&key));
    gate.decide(read_with(&token));
    gate.decide(read_with(&token[..token.len() - 4]));
    gate.pass(Duration::from_secs(2));
    let log: Vec<&str> = gate.vm.log_lines().iter().map(|line| line.text.as_str()).collect();
    let text = format!("{:?} {log:?}", gate.sidecar.events);
    assert_eq!(gate.sidecar.events.len(), 3);
    let secret_part = &key.expose()[key.expose().len() - 38..key.expose().len() - 8];
    for secret in [secret_part, &token[token.len() - 40..token.len() - 4]] {
        assert!(!text.contains(secret));
    }
}
