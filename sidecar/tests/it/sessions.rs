//! Sessions by the command line, with and without a running sidecar.

use std::fs;
use std::sync::Arc;

use serde_json::Value;
use wardgate::clock::Clock;
use wardgate::config::RefreshTokensSection;
use wardgate::families::{Families, Ground, NewFamily};
use wardgate::metrics::Metrics;
use wardgate::random::Random;
use wardgate::seal::StoreKeys;
use wardgate::store::Embedded;

use crate::home::Home;

/// Begins families of these subjects in the store of a home; their ids.
fn begin(home: &Home, subjects: &[&str]) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let keys = fs::read_to_string(home.path("secrets/store.keys")).unwrap();
        let ground = Ground {
            store: Arc::new(Embedded::open(&home.path("data/wardgate.redb")).unwrap()),
            store_keys: StoreKeys::parse(&keys).unwrap(),
            clock: Clock::system(),
            random: Random::system(),
            metrics: Arc::new(Metrics::new()),
        };
        let issuer = "http://127.0.0.1:8180";
        let families = Families::open(ground, issuer, RefreshTokensSection::default());
        let families = families.await.unwrap();
        let mut ids = Vec::new();
        for subject in subjects {
            let new = NewFamily {
                subject: (*subject).to_owned(),
                client_id: "app".to_owned(),
                ..NewFamily::default()
            };
            ids.push(families.begin(new).await.unwrap().family.id);
        }
        ids
    })
}

fn subjects(sessions: &Value) -> Vec<&str> {
    let sessions = sessions.as_array().unwrap().iter();
    let mut subjects: Vec<_> = sessions.map(|it| it["subject"].as_str().unwrap()).collect();
    subjects.sort_unstable();
    subjects
}

#[test]
fn sessions_are_listed_and_ended_with_and_without_a_running_sidecar() {
    let home = Home::new();
    let ids = begin(&home, &["alice", "alice", "bob", "carol", "alice"]);
    assert_eq!(
        subjects(&home.json(&["session", "list"])),
        ["alice", "alice", "alice", "bob", "carol"]
    );
    assert_eq!(subjects(&home.json(&["session", "revoke", &ids[3]])), ["carol"]);
    assert_eq!(home.run(&["session", "revoke", &ids[3]]).status.code(), Some(1));
    let sidecar = home.serve();
    assert_eq!(subjects(&home.json(&["session", "list", "--user", "alice"])).len(), 3);
    assert_eq!(subjects(&home.json(&["session", "revoke", &ids[0]])), ["alice"]);
    assert_eq!(home.run(&["session", "revoke", &ids[0]]).status.code(), Some(1));
    assert_eq!(home.run(&["session", "revoke", "subject:alice"]).status.code(), Some(1));
    let ended = home.json(&["session", "revoke", "--user", "alice"]);
    assert_eq!(subjects(&ended), ["alice", "alice"]);
    assert_eq!(subjects(&home.json(&["session", "list"])), ["bob"]);
    let revocations = home.json(&["revocation", "list"]);
    let revocations = revocations.as_array().unwrap();
    assert_eq!(revocations.len(), 4);
    for revocation in revocations {
        assert_eq!(revocation["target"]["kind"], "session");
        assert_eq!(revocation["reason"], "refresh tokens: administrator");
    }
    let events = home.json(&["audit", "tail"]);
    let events: Vec<_> = events
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["decision"] == "session-ended" && event["subject"] == "alice")
        .collect();
    assert_eq!(events.len(), 3, "those that the running sidecar ended");
    assert_eq!(home.run(&["session", "revoke"]).status.code(), Some(2));
    sidecar.kill();
}
