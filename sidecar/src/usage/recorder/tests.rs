#![expect(clippy::arithmetic_side_effects, reason = "tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Map, Value, json};
use wardgate_core::time::UnixSeconds;

use super::{MAX_TALLIES, UsageRecorder};
use crate::clock::Clock;
use crate::config::UsageSection;
use crate::metrics::Metrics;
use crate::store::{
    Answer, CleanedUp, Embedded, LogPage, LogPosition, Page, Store, StoreError, StoreStat, Table,
    Transaction,
};
use crate::usage::{UsageReport, report};

const DAY: u64 = 86_400;
/// Far in the future: the store goes by the clock of the machine, and shows nothing that has ended.
const NOW: u64 = 100_000 * DAY + 50;

struct Stand {
    store: Arc<Embedded>,
    recorder: Arc<UsageRecorder>,
    metrics: Metrics,
    clock: Clock,
    _directory: tempfile::TempDir,
}

impl Stand {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Embedded::open(&directory.path().join("store.redb")).unwrap());
        let (clock, metrics) = (Clock::manual(UnixSeconds(NOW)), Metrics::new());
        let recorder = Arc::new(recorder(&clock, &metrics));
        Self { store, recorder, metrics, clock, _directory: directory }
    }

    async fn report(&self, id: &str) -> UsageReport {
        let from = UnixSeconds(NOW - 30 * DAY);
        report(&*self.store, id, from, self.clock.now()).await.unwrap()
    }
}

fn recorder(clock: &Clock, metrics: &Metrics) -> UsageRecorder {
    UsageRecorder::new(&UsageSection::default(), clock.clone(), metrics)
}

fn event(id: &str, time: u64, route: &str) -> Map<String, Value> {
    let event = json!({
        "decision": "permit", "auth": "api_key", "credential_id": id, "route": route,
        "time": time * 1000, "source_address": "10.0.0.1",
    });
    event.as_object().cloned().unwrap()
}

#[tokio::test]
async fn counts_of_two_sidecars_add_up_by_day_route_and_result() {
    let stand = Stand::new();
    let other = recorder(&stand.clock, &stand.metrics);
    let mut deny = event("a", NOW, "orders");
    deny.extend([("decision".to_owned(), json!("deny")), ("reason".to_owned(), json!("no-role"))]);
    for round in 0..3 {
        stand.recorder.observe(&event("a", NOW, "orders"));
        other.observe(&event("a", NOW - DAY, "orders"));
        other.observe(&deny);
        // Before and after a flush.
        if round == 0 {
            other.flush(&*stand.store).await.unwrap();
        }
    }
    let (one, store) = (Arc::clone(&stand.recorder), Arc::clone(&stand.store));
    let one = tokio::spawn(async move { one.flush(&*store).await });
    other.flush(&*stand.store).await.unwrap();
    one.await.unwrap().unwrap();
    let found = stand.report("a").await;
    assert_eq!((found.total, found.days.len()), (9, 2));
    let counts = |day: usize| -> Vec<(String, String, u64)> {
        let counts = found.days[day].counts.iter();
        counts.map(|it| (it.route.clone(), it.result.clone(), it.count)).collect()
    };
    let count = |result: &str| ("orders".to_owned(), result.to_owned(), 3);
    assert_eq!(counts(0), [count("permit")]);
    assert_eq!(counts(1), [count("no-role"), count("permit")]);
    assert_eq!(found.days[1].sources[0].count, 6);
    let last = found.last_use.unwrap();
    assert_eq!((last.at, last.source.as_deref()), (NOW, Some("10.0.0.1")));
    assert_eq!(stand.report("b").await.last_use, None);
}

#[tokio::test]
async fn a_day_ends_and_the_last_use_stays() {
    let stand = Stand::new();
    stand.recorder.observe(&event("a", NOW, "orders"));
    stand.recorder.flush(&*stand.store).await.unwrap();
    let page = stand.store.page(Table::Usage, None).await.unwrap();
    let ends: Vec<_> = page.entries.iter().map(|it| (it.key.as_str(), it.expires_at)).collect();
    let day = Some(UnixSeconds(100_091 * DAY));
    let of_tokens = |name: &str| name.starts_with("(tokens)/100000/");
    let right = |(name, ends): &(&str, Option<UnixSeconds>)| match *name {
        "a" => ends.is_none(),
        name => (name == "a/100000" || of_tokens(name)) && *ends == day,
    };
    assert!(ends.len() == 4 && ends.iter().all(right), "{ends:?}");
    assert!(ends.contains(&("a", None)));
}

#[tokio::test]
async fn an_event_from_a_wrong_clock_counts_on_a_day_that_is_kept() {
    let stand = Stand::new();
    stand.recorder.observe(&event("future", NOW + 500 * DAY, "orders"));
    stand.recorder.observe(&event("past", 5, "orders"));
    let tallies = stand.recorder.tallies();
    assert!(tallies.contains_key(&("future".to_owned(), 100_000)));
    assert!(tallies.contains_key(&("past".to_owned(), 99_910)));
}

#[tokio::test]
async fn what_there_is_no_room_for_is_counted_as_dropped() {
    let stand = Stand::new();
    for number in 0..=MAX_TALLIES {
        stand.recorder.observe(&event(&format!("id{number}"), NOW, "orders"));
    }
    stand.recorder.observe(&event("id0", NOW, "orders"));
    assert_eq!(stand.metrics.usage_dropped.get(), 1);
    tokio::time::timeout(Duration::from_secs(30), stand.recorder.is_full()).await.unwrap();
}

/// A store whose acknowledgements get lost.
struct Lossy {
    store: Arc<Embedded>,
    /// The next commit is carried out, or not, and says that nobody knows.
    lose: AtomicBool,
    carry_out: bool,
}

impl Store for Lossy {
    fn get<'a>(&'a self, table: Table, key: &'a str) -> Answer<'a, Option<Vec<u8>>> {
        self.store.get(table, key)
    }

    fn page(&self, table: Table, cursor: Option<String>) -> Answer<'_, Page> {
        self.store.page(table, cursor)
    }

    fn commit(&self, transaction: Transaction) -> Answer<'_, LogPosition> {
        Box::pin(async move {
            if !self.lose.swap(false, Ordering::SeqCst) {
                return self.store.commit(transaction).await;
            }
            if self.carry_out {
                self.store.commit(transaction).await?;
            }
            Err(StoreError::Failed("the answer was lost".into()))
        })
    }

    fn log_head(&self) -> Answer<'_, LogPosition> {
        self.store.log_head()
    }

    fn confirm(&self) -> Answer<'_, LogPosition> {
        self.store.confirm()
    }

    fn log_after(&self, position: LogPosition, limit: usize) -> Answer<'_, LogPage> {
        self.store.log_after(position, limit)
    }

    fn log_changed(&self, position: LogPosition, wait: Duration) -> Answer<'_, ()> {
        self.store.log_changed(position, wait)
    }

    fn begin_log_anew(&self) -> Answer<'_, LogPosition> {
        self.store.begin_log_anew()
    }

    fn clean_up(&self, now: UnixSeconds, limit: usize) -> Answer<'_, CleanedUp> {
        self.store.clean_up(now, limit)
    }

    fn stat(&self) -> Answer<'_, StoreStat> {
        self.store.stat()
    }
}

#[tokio::test]
async fn no_use_counts_twice_or_is_lost_when_an_answer_is() {
    for carry_out in [true, false] {
        let stand = Stand::new();
        let clock = Clock::system();
        let now = clock.now();
        let recorder = recorder(&clock, &stand.metrics);
        let store =
            Lossy { store: Arc::clone(&stand.store), lose: AtomicBool::new(true), carry_out };
        recorder.observe(&event("a", now.0, "orders"));
        assert!(recorder.flush(&store).await.is_err());
        recorder.observe(&event("a", now.0, "orders"));
        recorder.flush(&store).await.unwrap();
        let found = report(&*stand.store, "a", UnixSeconds(now.0 - DAY), now).await.unwrap();
        assert_eq!(found.total, 2, "{carry_out}");
    }
}
