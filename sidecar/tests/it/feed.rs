//! The feed as a filter reads it from a real sidecar.

use serde_json::{Value, json};
use wardgate_core::feed::bucket::{BucketKey, ImageId, Place};
use wardgate_core::feed::{Fingerprint, Layout, RevocationTarget, Table};
use wardgate_core::wire::feed::{ChangeKind, FeedAnswer};
use wardgate_core::wire::{BUCKETS_PATH, FEED_PATH};

use crate::home::{DEADLINE, Home};
use crate::internal::Filter;
use crate::servers::Server;
use crate::store::{beside, on_redis};

/// The answer to a question, once the sidecar has read its tables.
#[track_caller]
pub(crate) fn ask(filter: &Filter, query: &str) -> FeedAnswer {
    let until = std::time::Instant::now() + DEADLINE;
    loop {
        let answer = filter.ask("GET", &format!("{FEED_PATH}?{query}"), &Value::Null);
        if answer.status == 200 {
            return serde_json::from_slice(&answer.body).unwrap();
        }
        assert_eq!(answer.json()["reason"], "not-ready");
        assert!(std::time::Instant::now() < until, "never ready");
    }
}

fn revoke(home: &Home, token_id: &str) {
    let issuer = "https://auth.example.com";
    home.done(&["token", "revoke", "--issuer", issuer, "--token-id", token_id]);
}

fn target(token_id: &str) -> Fingerprint {
    let issuer = "https://auth.example.com".to_owned();
    RevocationTarget::Token { issuer, token_id: token_id.to_owned() }.fingerprint()
}

#[track_caller]
fn revoked(answer: &FeedAnswer) -> Vec<Fingerprint> {
    let fingerprint = |kind: &ChangeKind| match kind {
        ChangeKind::Revoked { revocation } => Some(revocation.fingerprint),
        ChangeKind::ApiKey { .. } | ChangeKind::ApiKeyGone { .. } | ChangeKind::Settings => None,
    };
    answer.changes.iter().filter_map(|change| fingerprint(&change.entry.kind)).collect()
}

#[test]
fn a_filter_loads_and_then_hears_of_each_revocation() {
    let home = Home::new();
    let _sidecar = home.serve();
    let filter = Filter::of(&home);
    revoke(&home, "before");
    let first = ask(&filter, "wait=0");
    assert!(first.reload && first.changes.is_empty());
    let settings = first.settings.unwrap();
    assert_eq!(settings.key_sets[0].issuer, "http://127.0.0.1:8180");
    assert!(settings.policy.unwrap().contains_key("routes"));
    assert_eq!(first.layouts.revocations, Layout::for_records(1));

    let image = ImageId([7; 16]);
    let (layout, cursor) = (first.layouts.revocations, &first.cursor);
    let index = layout.bucket_of(&target("before"));
    let query = format!(
        "table=revocations&bits={}&first={index}&image={}&cursor={cursor}",
        layout.bucket_bits,
        wardgate_core::base64url::encode(&image.0)
    );
    let piece = filter.ask("GET", &format!("{BUCKETS_PATH}?{query}"), &Value::Null);
    assert_eq!(piece.status, 200);
    assert_eq!(piece.body[..4], layout.buckets().to_be_bytes());
    let length = usize::try_from(u32::from_be_bytes(piece.body[4..8].try_into().unwrap())).unwrap();
    let place = Place { image, table: Table::Revocations, index };
    let key = BucketKey::new(&home.feed_secret());
    let bucket = key.open(&place, &piece.body[8..8 + length]).unwrap();
    assert!(bucket.find(&target("before")).is_some());

    let generation = &settings.generation;
    let query = format!("cursor={cursor}&settings={generation}&wait=20000");
    let second = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ask(&filter, &query));
        revoke(&home, "after");
        waiting.join().unwrap()
    });
    assert_eq!(revoked(&second), [target("after")]);
    assert!(!second.reload && second.settings.is_none());
    let query = format!("cursor={}&settings={generation}&wait=1", second.cursor);
    let third = ask(&filter, &query);
    assert_eq!((third.changes.len(), &third.cursor), (0, &second.cursor));
}

#[test]
fn a_restart_of_the_sidecar_loses_no_reader() {
    let home = Home::new();
    let sidecar = home.serve();
    let filter = Filter::of(&home);
    let first = ask(&filter, "wait=0");
    let generation = first.settings.unwrap().generation;
    revoke(&home, "one");
    drop(sidecar);
    // Without a sidecar, into the store itself.
    revoke(&home, "two");
    let _sidecar = home.serve();
    revoke(&home, "three");
    let answer = ask(&filter, &format!("cursor={}&settings={generation}&wait=20000", first.cursor));
    assert!(!answer.reload && answer.settings.is_none());
    assert_eq!(revoked(&answer)[..2], [target("one"), target("two")]);
}

#[test]
fn what_is_no_cursor_of_this_log_is_answered_with_a_loading() {
    let home = Home::new();
    let _sidecar = home.serve();
    let filter = Filter::of(&home);
    let cursor = ask(&filter, "wait=0").cursor;
    let (sequence, link) = cursor.split_once('-').unwrap();
    let foreign = format!("{sequence}-{}", link.chars().rev().collect::<String>());
    let ahead = format!("9999999-{link}");
    for wrong in ["", "x", "1", "1-", "-1-00", foreign.as_str(), ahead.as_str()] {
        let answer = ask(&filter, &format!("cursor={wrong}&wait=20000"));
        assert!(answer.reload && answer.cursor == cursor, "{wrong}");
    }
    let image = wardgate_core::base64url::encode(&[7; 16]);
    let from = format!("first=0&image={image}&cursor={cursor}");
    for (query, status) in [
        (format!("table=revocations&bits=6&{from}"), 200),
        (format!("table=revocations&bits=6&first=0&image={image}&cursor={foreign}"), 409),
        (format!("table=revocations&bits=6&first=0&image={image}&cursor={ahead}"), 503),
        (format!("table=revocations&bits=6&first=0&image={image}&cursor=x"), 409),
        (format!("table=revocations&bits=6&first=0&image={}&cursor={cursor}", &image[4..]), 400),
        (format!("table=revocations&bits=5&{from}"), 400),
        (format!("table=other&bits=6&{from}"), 400),
        (format!("table=revocations&bits=6&cursor={cursor}"), 400),
    ] {
        let answer = filter.ask("GET", &format!("{BUCKETS_PATH}?{query}"), &Value::Null);
        assert_eq!(answer.status, status, "{query}");
    }
    let answer = filter.ask("GET", &format!("{FEED_PATH}?wait=0&more=1"), &Value::Null);
    assert_eq!((answer.status, &answer.json()["reason"]), (400, &json!("malformed")));
}

/// Asks until an answer is as expected: a store that is away is away for the sidecar a moment later.
#[track_caller]
fn until(filter: &Filter, query: &str, right: impl Fn(&crate::http::Answer) -> bool) {
    let until = std::time::Instant::now() + DEADLINE;
    while !right(&filter.ask("GET", &format!("{FEED_PATH}?{query}"), &Value::Null)) {
        assert!(std::time::Instant::now() < until, "{query}");
    }
}

fn reloads(answer: &crate::http::Answer) -> bool {
    answer.status == 200 && answer.json()["reload"] == true
}

#[test]
fn a_revocation_at_one_sidecar_reaches_the_filters_of_the_other() {
    let server = Server::start(&[]);
    let one = Home::new();
    on_redis(&one, &server);
    let _one = one.serve();
    let other = beside(&one, &server);
    let _other = other.serve();
    let (first, second) = (Filter::of(&one), Filter::of(&other));
    let begin = ask(&second, "wait=0");
    let generation = begin.settings.unwrap().generation;
    // Both hand out the same settings under the same name.
    assert_eq!(ask(&first, "wait=0").settings.unwrap().generation, generation);
    let query = format!("cursor={}&settings={generation}&wait=20000", begin.cursor);
    let heard = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ask(&second, &query));
        revoke(&one, "x");
        waiting.join().unwrap()
    });
    assert_eq!(revoked(&heard), [target("x")]);
    // The filter goes on at the sidecar that it was not at.
    let query = format!("cursor={}&settings={generation}&wait=20000", heard.cursor);
    let heard = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ask(&first, &query));
        revoke(&other, "y");
        waiting.join().unwrap()
    });
    assert_eq!(revoked(&heard), [target("y")]);
}

#[test]
fn a_sidecar_without_its_store_does_not_say_that_nothing_changed() {
    let mut server = Server::durable();
    let home = Home::new();
    on_redis(&home, &server);
    let sidecar = home.serve();
    let filter = Filter::of(&home);
    let first = ask(&filter, "wait=0");
    let generation = first.settings.unwrap().generation;
    let query = format!("cursor={}&settings={generation}&wait=0", first.cursor);
    server.kill();
    until(&filter, &query, |answer| answer.status == 503);
    server.restart();
    // What was acknowledged is there, so the place is too.
    until(&filter, &query, |answer| answer.status == 200);
    assert!(!ask(&filter, &query).reload);
    // A store that lost everything is none, until a sidecar begins another one in its place.
    let _: String = server.ask(&["FLUSHALL"]);
    until(&filter, &query, |answer| answer.status == 503);
    drop(sidecar);
    let _sidecar = home.serve();
    until(&filter, &query, reloads);
}

#[test]
fn a_sidecar_with_a_master_that_is_cut_off_does_not_say_that_nothing_changed() {
    let master = Server::start(&[]);
    let replica = master.replica();
    let home = Home::new();
    on_redis(&home, &master);
    let urls = format!("urls: [\"{}\"]", master.url());
    home.edit(&urls, &format!("{urls}, wait_replicas: 1, wait_timeout_milliseconds: 10000"));
    let _sidecar = home.serve();
    let filter = Filter::of(&home);
    until(&filter, "wait=0", |answer| answer.status == 200);
    let first = ask(&filter, "wait=0");
    let generation = first.settings.unwrap().generation;
    let query = format!("cursor={}&settings={generation}&wait=0", first.cursor);
    replica.hold();
    // The master itself answers every read as before.
    until(&filter, &query, |answer| answer.status == 503);
    let read: String = master.ask(&["HGET", "{wardgate}:numbers", "format"]);
    assert_eq!(read, "2");
    replica.go_on();
    until(&filter, &query, |answer| answer.status == 200);
    revoke(&home, "x");
    let query = format!("cursor={}&settings={generation}&wait=20000", first.cursor);
    assert_eq!(revoked(&ask(&filter, &query)), [target("x")]);
}

#[test]
fn tokens_are_revoked_by_what_they_are_or_name_and_never_shown() {
    let home = Home::new();
    let mut sidecar = home.serve();
    let issued = home.json(&["token", "issue", "--subject", "alice"]);
    let token = issued["access_token"].as_str().unwrap();
    let made = home.json(&["token", "revoke", token, "--reason", "leaked"]);
    let made = &made["revocation"];
    assert_eq!(
        (&made["target"]["kind"], &made["target"]["token_id"]),
        (&json!("token"), &issued["jti"])
    );
    let now = crate::internal::now().0;
    let end = made["until"].as_u64().unwrap();
    assert!((now + 300..=now + 700).contains(&end), "its `exp` and the clock skew");
    home.done(&["token", "revoke", "--issuer", "https://auth.example.com", "--subject", "bob"]);
    home.done(&["token", "revoke", "--issuer", "https://auth.example.com", "--subject", "bob"]);
    let list = home.json(&["revocation", "list"]);
    assert_eq!(list.as_array().unwrap().len(), 2);
    let bob = list.as_array().unwrap().iter().find(|it| it["target"]["kind"] == "subject").unwrap();
    assert!(bob["issued_until"].as_u64().unwrap() <= crate::internal::now().0);
    assert!(bob["until"].as_u64().unwrap() >= now + 2_592_000);
    assert!(!sidecar.log_text().contains(token));
    let events = home.json(&["audit", "tail"]);
    let events: Vec<_> = events.as_array().unwrap().iter().collect();
    assert_eq!(events.len(), 3);
    assert_eq!((&events[0]["decision"], &events[0]["sequence"]), (&json!("revocation"), &json!(1)));
    assert_eq!(events[0]["revocation"]["reason"], "leaked");
    assert!(!json!(events).to_string().contains(token));
    for wrong in [
        &["token", "revoke"][..],
        &["token", "revoke", "--subject", "bob"],
        &["token", "revoke", "nonsense"],
        &["token", "revoke", "--issuer", "i", "--subject", "a", "--session", "b"],
    ] {
        assert!(!home.run(wrong).status.success(), "{wrong:?}");
    }
}

#[test]
fn roles_and_the_policy_change_while_filters_listen() {
    let home = Home::new();
    let mut sidecar = home.serve();
    let filter = Filter::of(&home);
    let first = ask(&filter, "wait=0");
    let generation = first.settings.unwrap().generation;
    let query = format!("cursor={}&settings={generation}&wait=20000", first.cursor);
    let heard = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ask(&filter, &query));
        home.done(&["role", "create", "auditor", "--permission", "read"]);
        waiting.join().unwrap()
    });
    let settings = heard.settings.expect("others come with the change");
    assert!(settings.policy.unwrap()["roles"].get("auditor").is_some());
    home.done(&["binding", "create", "a", "--subject", "api_key:ci", "--role", "auditor"]);
    assert!(!home.run(&["role", "delete", "auditor"]).status.success(), "it is in use");
    assert!(!home.run(&["role", "create", "viewer"]).status.success(), "it is the file's");
    home.done(&["binding", "delete", "a"]);
    home.done(&["role", "delete", "auditor"]);
    assert_eq!(home.json(&["role", "list"]).as_array().unwrap().len(), 2);

    let path = home.path("policy.yaml");
    let policy = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        policy.replace("viewer: {permissions: [read]}", "viewer: {permissions: [raed]}"),
    )
    .unwrap();
    sidecar.hang_up();
    let line = sidecar.wait_for("the policy file is refused");
    assert!(line.contains("policy.yaml:") && line.contains("roles.viewer"), "{line}");
    // Nobody tells it of this one.
    std::fs::write(
        &path,
        policy.replace("editor: {", "reader: {permissions: [read]}\n  editor: {"),
    )
    .unwrap();
    sidecar.wait_for("the policy file was read anew");
    until(&filter, &query, |answer| {
        answer.status == 200 && answer.json()["settings"]["policy"]["roles"].get("reader").is_some()
    });
}
