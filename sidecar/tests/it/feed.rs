//! The feed as a filter reads it from a real sidecar.

use serde_json::{Value, json};
use wardgate_core::feed::bucket::{BucketKey, ImageId, Place};
use wardgate_core::feed::{Fingerprint, Layout, RevocationTarget, Table};
use wardgate_core::wire::feed::{ChangeKind, FeedAnswer};
use wardgate_core::wire::{BUCKETS_PATH, FEED_PATH, FILTER_PATH};

use crate::home::{DEADLINE, Home};
use crate::internal::Filter;

/// The answer to a question, once the sidecar has read its tables.
#[track_caller]
fn ask(filter: &Filter, query: &str) -> FeedAnswer {
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
    let query = format!("table=revocations&bits={}&offset=0&cursor={cursor}", layout.bucket_bits);
    let bloom = filter.ask("GET", &format!("{FILTER_PATH}?{query}"), &Value::Null);
    let blocks = usize::try_from(layout.filter_blocks()).unwrap();
    assert_eq!((bloom.status, bloom.body.len()), (200, blocks * 32));

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
    for (query, status) in [
        (format!("table=revocations&bits=6&offset=0&cursor={foreign}"), 409),
        (format!("table=revocations&bits=6&offset=0&cursor={ahead}"), 503),
        ("table=revocations&bits=6&offset=0&cursor=x".to_owned(), 409),
        (format!("table=revocations&bits=5&offset=0&cursor={cursor}"), 400),
        (format!("table=other&bits=6&offset=0&cursor={cursor}"), 400),
        (format!("table=revocations&bits=6&cursor={cursor}"), 400),
    ] {
        let answer = filter.ask("GET", &format!("{FILTER_PATH}?{query}"), &Value::Null);
        assert_eq!(answer.status, status, "{query}");
    }
    let answer = filter.ask("GET", &format!("{FEED_PATH}?wait=0&more=1"), &Value::Null);
    assert_eq!((answer.status, &answer.json()["reason"]), (400, &json!("malformed")));
}
