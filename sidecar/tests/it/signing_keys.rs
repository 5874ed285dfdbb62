//! Signing keys as an operator and a verifier see them.

use std::io::Write as _;
use std::net::TcpStream;

use serde_json::{Value, json};
use wardgate_core::wire::feed::{ChangeKind, FeedAnswer};

use crate::feed::ask;
use crate::home::{Home, Sidecar};
use crate::http::{Answer, get, request};
use crate::internal::Filter;

const JWKS: &str = "/.well-known/jwks.json";

fn keys_of(list: &Value) -> Vec<(&str, &str)> {
    let keys = list["keys"].as_array().unwrap().iter();
    keys.map(|key| (key["kid"].as_str().unwrap(), key["state"].as_str().unwrap_or("-"))).collect()
}

fn get_if_none_match(sidecar: &Sidecar, tag: &str) -> Answer {
    let mut stream = TcpStream::connect(sidecar.public).unwrap();
    stream.write_all(&request("GET", JWKS, &[("if-none-match", tag)], b"")).unwrap();
    Answer::read(&mut stream)
}

#[test]
fn a_rotation_reaches_verifiers_and_filters_before_the_key_signs() {
    let home = Home::new();
    home.edit("algorithms: [ES256, EdDSA, RS256]", "algorithms: [ES256]");
    let sidecar = home.serve();
    let before = get(&sidecar, JWKS);
    let tag = before.header("etag").unwrap().to_owned();
    let unchanged = get_if_none_match(&sidecar, &tag);
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    assert_eq!(unchanged.header("cache-control"), Some("public, max-age=300"));
    let rotated = home.json(&["keys", "rotate", "--reason", "every year"]);
    let made = &rotated["made"][0];
    assert_eq!((&made["state"], &rotated["revoked"]), (&json!("published"), &json!([])));
    let after = get_if_none_match(&sidecar, &tag);
    assert_eq!(after.status, 200);
    let shown = after.json();
    let shown: Vec<_> = keys_of(&shown).into_iter().map(|(kid, _)| kid.to_owned()).collect();
    assert_eq!((shown.len(), shown[1].as_str()), (2, made["kid"].as_str().unwrap()));
    let list = home.json(&["keys", "list"]);
    assert_eq!(keys_of(&list), [(&*shown[0], "signing"), (&*shown[1], "published")]);
    assert_eq!(home.json(&["keys", "rotate"])["waiting"][0], *made);
    let events = home.json(&["audit", "tail"]);
    let event = &events.as_array().unwrap()[0];
    let expected = (&json!("notice"), &json!("signing-key-made"), &made["kid"]);
    assert_eq!((&event["decision"], &event["event"], &event["credential_id"]), expected);
    assert_eq!((&event["replaces"], &event["reason"]), (&json!([shown[0]]), &json!("every year")));
    let metrics = String::from_utf8(get(&sidecar, "/metrics").body).unwrap();
    let line = "wardgate_signing_key_changes_total{event=\"made\",algorithm=\"ES256\"} 1";
    assert!(metrics.contains(line), "{metrics}");
}

#[test]
fn in_an_emergency_filters_have_the_new_key_when_they_hear_of_the_revocation() {
    let home = Home::new();
    home.edit("algorithms: [ES256, EdDSA, RS256]", "algorithms: [ES256]");
    let sidecar = home.serve();
    let filter = Filter::of(&home);
    let FeedAnswer { mut cursor, settings, .. } = ask(&filter, "wait=0");
    let mut settings = settings.unwrap();
    let old = home.json(&["keys", "list"])["keys"][0]["kid"].clone();
    let asked = ["keys", "rotate", "--at-once", "--revoke-old", "--reason", "stolen"];
    let rotated = home.json(&asked);
    assert_eq!(rotated["revoked"][0]["target"]["key_id"], old);
    loop {
        let query = format!("cursor={cursor}&settings={}&wait=20000", settings.generation);
        let answer = ask(&filter, &query);
        cursor = answer.cursor;
        settings = answer.settings.unwrap_or(settings);
        let mut kinds = answer.changes.iter().map(|change| &change.entry.kind);
        if kinds.any(|kind| matches!(kind, ChangeKind::Revoked { .. })) {
            break;
        }
    }
    let keys = settings.key_sets[0].jwks["keys"].as_array().unwrap();
    let kids: Vec<_> = keys.iter().map(|key| &key["kid"]).collect();
    assert_eq!(kids, [&old, &rotated["made"][0]["kid"]]);
    let public = get(&sidecar, JWKS).json();
    assert_eq!(keys_of(&public).len(), 1);
    let table = home.done(&["keys", "list"]);
    assert!(table.contains("revoked") && table.contains("signing"), "{table}");
}

#[test]
fn keys_rotate_without_a_sidecar_and_the_next_one_signs_with_them() {
    let home = Home::new();
    home.edit("algorithms: [ES256, EdDSA, RS256]", "algorithms: [EdDSA, ES256]");
    let rotated = home.json(&["keys", "rotate", "--algorithm", "EdDSA", "--at-once"]);
    let kid = rotated["made"][0]["kid"].as_str().unwrap().to_owned();
    let refused = home.run(&["keys", "rotate", "--algorithm", "RS256"]);
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(message.contains("RS256 is not in `issuer.algorithms`"), "{message}");
    assert_eq!(home.run(&["keys", "rotate", "--revoke-old"]).status.code(), Some(2));
    let _sidecar = home.serve();
    let list = home.json(&["keys", "list"]);
    assert!(keys_of(&list).contains(&(&*kid, "signing")), "{list}");
    assert_eq!(keys_of(&list).len(), 3);
}
