//! The mirror against a model, and the feed on a store.

mod mirror;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use serde_json::{Map, Value, json};
use wardgate_core::feed::{Fingerprint, Revocation, RevocationTarget};
use wardgate_core::secret::Secret;
use wardgate_core::time::UnixSeconds;
use wardgate_core::wire::feed::{ChangeKind, FeedAnswer, LogEntry, MAX_BEHIND, MAX_CHANGES};

use super::{Feed, FeedError, Question, SettingsParts, SettingsSource};
use crate::clock::Clock;
use crate::config::FeedSection;
use crate::metrics::Metrics;
use crate::store::records::StoredRevocation;
use crate::store::{Answer, Embedded, LogPosition, Store, Table, Transaction};

/// Longest wait for something that takes milliseconds.
const DEADLINE: Duration = Duration::from_mins(1);

struct Source;

impl SettingsSource for Source {
    fn parts(&self) -> Answer<'_, SettingsParts> {
        let parts = SettingsParts {
            api_key_digest_key: Secret::new(vec![7; 32]),
            api_key_prefixes: Vec::new(),
            key_sets: Vec::new(),
            policy: Map::from_iter([("version".to_owned(), Value::from(1))]),
        };
        Box::pin(async { Ok(parts) })
    }
}

fn store(directory: &Path) -> Arc<dyn Store> {
    Arc::new(Embedded::open(&directory.join("store.redb")).unwrap())
}

/// A feed that follows the store until the runtime ends.
fn feed_of(store: &Arc<dyn Store>, section: &FeedSection) -> Arc<Feed> {
    let metrics = Arc::new(Metrics::new());
    let feed = Arc::new(Feed::new(Arc::clone(store), section, Clock::system(), metrics));
    tokio::spawn(Arc::clone(&feed).follow(Arc::new(Source)));
    feed
}

fn feed(store: &Arc<dyn Store>) -> Arc<Feed> {
    feed_of(store, &FeedSection::default())
}

fn target(number: u32) -> RevocationTarget {
    RevocationTarget::Token { issuer: "i".to_owned(), token_id: number.to_string() }
}

fn fingerprint(number: u32) -> Fingerprint {
    target(number).fingerprint()
}

fn entry(revocation: Revocation) -> Vec<u8> {
    let at_milliseconds = Clock::system().now_milliseconds();
    let kind = ChangeKind::Revoked { revocation };
    serde_json::to_vec(&LogEntry { at_milliseconds, kind }).unwrap()
}

async fn revoke(store: &Arc<dyn Store>, numbers: impl IntoIterator<Item = u32>) -> LogPosition {
    let until = Clock::system().now().plus(3600);
    let mut transaction = Transaction::new();
    for number in numbers {
        let stored = StoredRevocation {
            target: target(number),
            issued_until: None,
            until: until.0,
            reason: None,
            by: None,
            revoked_at: 1,
        };
        let (key, value) = (fingerprint(number).text(), serde_json::to_vec(&stored).unwrap());
        transaction = transaction
            .put_until(Table::Revocations, key, value, Some(UnixSeconds(stored.until)))
            .append(entry(stored.revocation()));
    }
    store.commit(transaction).await.unwrap()
}

fn question(cursor: Option<&str>, settings: Option<&str>, wait: Duration) -> Question {
    let cursor = cursor.map(|cursor| cursor.parse().unwrap());
    Question { cursor, settings: settings.map(str::to_owned), wait }
}

fn read(body: &Bytes) -> FeedAnswer {
    serde_json::from_slice(body).unwrap()
}

fn revoked(answer: &FeedAnswer) -> Vec<Fingerprint> {
    let fingerprint = |kind: &ChangeKind| match kind {
        ChangeKind::Revoked { revocation } => Some(revocation.fingerprint),
        ChangeKind::ApiKey { .. } | ChangeKind::ApiKeyGone { .. } | ChangeKind::Settings => None,
    };
    answer.changes.iter().filter_map(|change| fingerprint(&change.entry.kind)).collect()
}

/// The first answer of a feed that may still be reading.
async fn begin(feed: &Feed) -> FeedAnswer {
    tokio::time::timeout(DEADLINE, async {
        loop {
            match feed.ask(question(None, None, Duration::ZERO)).await {
                Ok(body) => return read(&body),
                Err(FeedError::NotReady) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    })
    .await
    .unwrap()
}

/// The first answer of a feed that is as far as this.
async fn begin_at(feed: &Feed, cursor: &str) -> FeedAnswer {
    tokio::time::timeout(DEADLINE, async {
        loop {
            let answer = begin(feed).await;
            if answer.cursor == cursor {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap()
}

async fn next(feed: &Feed, answer: &FeedAnswer, generation: &str) -> FeedAnswer {
    read(&feed.ask(question(Some(&answer.cursor), Some(generation), DEADLINE)).await.unwrap())
}

fn generation(answer: &FeedAnswer) -> String {
    answer.settings.as_ref().unwrap().generation.clone()
}

#[tokio::test]
async fn changes_come_in_order_in_answers_of_bounded_length() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path());
    let feed = feed(&store);
    let mut answer = begin(&feed).await;
    let generation = generation(&answer);
    revoke(&store, 0..150).await;
    let mut heard = Vec::new();
    while heard.len() < 150 {
        answer = next(&feed, &answer, &generation).await;
        assert!(!answer.reload && answer.changes.len() <= MAX_CHANGES);
        heard.extend(revoked(&answer));
    }
    assert_eq!(heard, (0..150).map(fingerprint).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_thousand_filters_hear_of_one_revocation_and_share_its_answer() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path());
    let feed = feed(&store);
    let first = begin(&feed).await;
    let (cursor, generation) = (first.cursor.clone(), generation(&first));
    let readers: Vec<_> = (0..1000)
        .map(|_| {
            let (feed, cursor) = (Arc::clone(&feed), cursor.clone());
            let generation = generation.clone();
            tokio::spawn(async move {
                feed.ask(question(Some(&cursor), Some(&generation), DEADLINE)).await.unwrap()
            })
        })
        .collect();
    while feed.metrics.feed.readers.get() < 1000 {
        tokio::task::yield_now().await;
    }
    revoke(&store, [1]).await;
    let mut bodies = Vec::new();
    for reader in readers {
        bodies.push(reader.await.unwrap());
    }
    assert_eq!(revoked(&read(&bodies[0])), [fingerprint(1)]);
    assert!(bodies.iter().all(|body| body.as_ptr() == bodies[0].as_ptr()), "encoded once");
    assert_eq!(feed.metrics.feed.readers.get(), 0);
}

#[tokio::test]
async fn more_readers_than_places_are_told_to_come_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path());
    let section = FeedSection { waiting_readers: wardgate_core::config::Bounded(1) };
    let feed = feed_of(&store, &section);
    let first = begin(&feed).await;
    let generation = generation(&first);
    let asked = question(Some(&first.cursor), Some(&generation), DEADLINE);
    let waiting = tokio::spawn({
        let (feed, asked) = (Arc::clone(&feed), asked.clone());
        async move { feed.ask(asked).await }
    });
    while feed.metrics.feed.readers.get() < 1 {
        tokio::task::yield_now().await;
    }
    assert!(matches!(feed.ask(asked.clone()).await, Err(FeedError::Busy)));
    // What can be answered at once needs no place.
    assert!(feed.ask(question(None, None, DEADLINE)).await.is_ok());
    feed.stop();
    assert_eq!(read(&waiting.await.unwrap().unwrap()).cursor, first.cursor);
}

#[tokio::test]
async fn a_change_at_one_sidecar_arrives_at_the_other() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path());
    let (one, other) = (feed(&store), feed(&store));
    let first = begin(&one).await;
    let generation = generation(&first);
    begin(&other).await;
    let position = revoke(&store, [1, 2]).await;
    // A place that one has given is one of the other's, however far each is.
    let heard = next(&one, &first, &generation).await;
    let again = next(&other, &first, &generation).await;
    assert_eq!((revoked(&heard), &heard.cursor), (revoked(&again), &again.cursor));
    assert_eq!(heard.cursor, position.to_string());
}

#[tokio::test]
async fn a_reader_that_is_too_far_behind_loads_the_tables() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path());
    let feed = feed(&store);
    let first = begin(&feed).await;
    let generation = generation(&first);
    let behind = u32::try_from(MAX_BEHIND).unwrap();
    let mut last = revoke(&store, 0..2000).await;
    for begin in [2000, 4000] {
        last = revoke(&store, begin..begin + 2000).await;
    }
    assert!(behind < 6000);
    begin_at(&feed, &last.to_string()).await;
    let answer = next(&feed, &first, &generation).await;
    assert!(answer.reload && answer.cursor == last.to_string());
}

#[tokio::test]
async fn a_store_restored_from_an_older_copy_is_another_one_to_all_readers() {
    let directory = tempfile::tempdir().unwrap();
    let original = store(directory.path());
    revoke(&original, [1]).await;
    // The file is whole between commits.
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(directory.path().join("store.redb"), copy.path().join("store.redb")).unwrap();
    let before = feed(&original);
    let second = revoke(&original, [2]).await.to_string();
    let first = begin_at(&before, &second).await;
    let generation = generation(&first);
    revoke(&original, [3]).await;
    let last = next(&before, &first, &generation).await;

    let restored = store(copy.path());
    // As many changes, and others.
    revoke(&restored, [4]).await;
    revoke(&restored, [5]).await;
    let after = feed(&restored);
    begin(&after).await;
    for cursor in [&first.cursor, &last.cursor] {
        let asked = question(Some(cursor), Some(&generation), DEADLINE);
        let answer = read(&after.ask(asked).await.unwrap());
        assert!(answer.reload, "{cursor}");
    }
}

#[tokio::test]
async fn a_log_that_begins_anew_is_read_anew() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path());
    revoke(&store, [1]).await;
    let feed = feed(&store);
    let first = begin(&feed).await;
    let generation = generation(&first);
    let head = store.begin_log_anew().await.unwrap();
    let reloaded = tokio::time::timeout(DEADLINE, async {
        loop {
            let asked = question(Some(&first.cursor), Some(&generation), DEADLINE);
            match feed.ask(asked).await {
                Ok(body) if read(&body).reload => return read(&body),
                Ok(_) | Err(FeedError::NotReady) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    });
    assert_eq!(reloaded.await.unwrap().cursor, head.to_string());
}

#[tokio::test]
async fn settings_come_when_they_are_others_and_only_then() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path());
    let feed = feed(&store);
    let first = begin(&feed).await;
    let generation = generation(&first);
    let now = |settings: &str| question(Some(&first.cursor), Some(settings), Duration::ZERO);
    assert!(read(&feed.ask(now(&generation)).await.unwrap()).settings.is_none());
    let other = read(&feed.ask(now("other")).await.unwrap()).settings.unwrap();
    assert_eq!(other.generation, generation);
    assert_eq!(other.policy, Some(Map::from_iter([("version".to_owned(), json!(1))])));
}
