//! Entries that have an end.

use wardgate_core::time::UnixSeconds;

use super::{DEADLINE, Two, everything, now};
use crate::store::{Table, Transaction};

pub(in crate::store) async fn what_has_ended_is_not_there_for_anyone(two: &Two) {
    let table = Table::Usage;
    for (number, end) in [UnixSeconds(0), UnixSeconds(1), now().minus(1)].into_iter().enumerate() {
        let key = format!("k{number}");
        let put = Transaction::new().put_until(table, &*key, "9", Some(end));
        two.one.commit(put).await.unwrap();
        assert_eq!(two.other.get(table, &key).await.unwrap(), None);
        assert!(!everything(&*two.other, table).await.contains_key(&key));
        // Neither for checks nor for counters.
        let end = Some(now().plus(600));
        let add = Transaction::new().absent(table, &*key).add(table, &*key, 1, end);
        two.other.commit(add).await.unwrap();
        assert_eq!(two.one.get(table, &key).await.unwrap().unwrap(), b"1");
        assert_eq!(everything(&*two.one, table).await[&key].expires_at, end);
    }
    // What was due once and has a new end stays.
    let cleaned = two.one.clean_up(now(), 100).await.unwrap();
    assert_eq!((cleaned.removed, cleaned.more), (0, false));
    assert_eq!(everything(&*two.one, table).await.len(), 3);
}

pub(in crate::store) async fn an_entry_ends_by_itself(two: &Two) {
    let end = now().plus(2);
    let table = Table::Revocations;
    let put = |key: &str, end| Transaction::new().put_until(table, key, "v", end);
    two.one.commit(put("short", Some(end))).await.unwrap();
    two.one.commit(put("long", Some(end.plus(600)))).await.unwrap();
    two.one.commit(put("for ever", None)).await.unwrap();
    assert_eq!(everything(&*two.other, table).await.len(), 3);
    let deadline = std::time::Instant::now() + DEADLINE;
    while two.other.get(table, "short").await.unwrap().is_some() {
        assert!(std::time::Instant::now() < deadline, "it stays");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(now() >= end, "it ended too early");
    let left: Vec<String> = everything(&*two.other, table).await.into_keys().collect();
    assert_eq!(left, ["for ever", "long"]);
}

pub(in crate::store) async fn a_clean_up_is_bounded_and_two_at_once_do_no_harm(two: &Two) {
    let mut transaction = Transaction::new();
    for number in 0..50 {
        for (table, end) in [
            (Table::Revocations, now().minus(number)),
            (Table::Usage, now().minus(number)),
            (Table::Usage, now().plus(600 + number)),
        ] {
            transaction =
                transaction.put_until(table, format!("{number} {}", end.0), "1", Some(end));
        }
    }
    two.one.commit(transaction).await.unwrap();
    let head = two.one.log_head().await.unwrap();
    let first = two.one.clean_up(now(), 10).await.unwrap();
    assert_eq!((first.removed, first.more), (10, true));
    let removed = two.at_once(8, |_, store| async move {
        let mut removed = 0;
        loop {
            let cleaned = store.clean_up(now(), 7).await.unwrap();
            assert!(cleaned.removed <= 7, "{cleaned:?}");
            removed += cleaned.removed;
            if !cleaned.more {
                return removed;
            }
        }
    });
    assert_eq!(removed.await.into_iter().sum::<u64>(), 90);
    let records = two.other.stat().await.unwrap().records;
    assert_eq!((records["revocations"], records["usage"]), (0, 50));
    assert_eq!(everything(&*two.other, Table::Usage).await.len(), 50);
    assert_eq!(two.other.log_head().await.unwrap(), head);
}
