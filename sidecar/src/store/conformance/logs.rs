//! The log.

use std::time::Duration;

use super::{DEADLINE, Two, known};
use crate::store::{LOG_ENTRIES, LogPage, LogPosition, MAX_LOG_PAGE, Table, Transaction};

pub(in crate::store) async fn a_confirmation_is_the_head_and_changes_nothing(two: &Two) {
    let head = two.one.commit(Transaction::new().append("a")).await.unwrap();
    assert_eq!(two.other.confirm().await.unwrap(), head);
    assert_eq!(two.one.confirm().await.unwrap(), head);
    assert_eq!(two.other.log_head().await.unwrap(), head);
    assert!(known(two.one.log_after(head, 9).await.unwrap()).is_empty());
}

pub(in crate::store) async fn a_reader_gets_every_entry_once_in_order_while_two_append(two: &Two) {
    let start = two.one.log_head().await.unwrap();
    let reader = {
        let store = std::sync::Arc::clone(&two.other);
        tokio::spawn(async move {
            let (mut at, mut read) = (start, Vec::new());
            while read.len() < 40 * 5 * 2 {
                store.log_changed(at, DEADLINE).await.unwrap();
                let entries = known(store.log_after(at, 7).await.unwrap());
                assert!(!entries.is_empty() && entries.len() <= 7, "{}", entries.len());
                for (position, entry) in entries {
                    assert_eq!(position.sequence, at.sequence + 1);
                    at = position;
                    read.push(String::from_utf8(entry).unwrap());
                }
            }
            (at, read)
        })
    };
    let appended = two.at_once(40, |number, store| async move {
        for step in 0..5 {
            let key = format!("key {number}");
            let append = Transaction::new()
                .put(Table::Documents, key, step.to_string())
                .append(format!("{number} {step} first"))
                .append(format!("{number} {step} second"));
            store.commit(append).await.unwrap();
        }
    });
    appended.await;
    let (at, read) = tokio::time::timeout(DEADLINE, reader).await.unwrap().unwrap();
    assert_eq!(two.one.log_head().await.unwrap(), at);
    // Those of one transaction stand together, and those of one writer in the order they were made.
    for pair in read.chunks(2) {
        let first = pair[0].strip_suffix(" first").unwrap();
        assert_eq!(pair[1], format!("{first} second"));
    }
    for number in 0..40 {
        let of_one = |entry: &&String| entry.starts_with(&format!("{number} "));
        let steps: Vec<&str> =
            read.iter().filter(of_one).map(|entry| entry.split(' ').nth(1).unwrap()).collect();
        assert_eq!(steps, ["0", "0", "1", "1", "2", "2", "3", "3", "4", "4"]);
    }
}

pub(in crate::store) async fn whoever_has_read_a_change_finds_its_place_in_the_log(two: &Two) {
    const CHANGES: u64 = 200;
    let reader = {
        let store = std::sync::Arc::clone(&two.other);
        tokio::spawn(async move {
            let mut read = 0;
            while read < CHANGES {
                let value = store.get(Table::Documents, "count").await.unwrap();
                let head = store.log_head().await.unwrap();
                read = value.map_or(0, |it| String::from_utf8(it).unwrap().parse().unwrap());
                assert!(head.sequence >= read, "{read} was read, and the log ends at {head:?}");
                tokio::task::yield_now().await;
            }
        })
    };
    for count in 1..=CHANGES {
        let change = Transaction::new().put(Table::Documents, "count", count.to_string());
        two.one.commit(change.append("a change")).await.unwrap();
    }
    tokio::time::timeout(DEADLINE, reader).await.unwrap().unwrap();
}

pub(in crate::store) async fn positions_of_another_history_are_unknown(two: &Two) {
    let start = two.one.log_head().await.unwrap();
    assert_eq!(start.sequence, 0);
    assert_ne!(start.link, [0; 16]);
    let middle = two.one.commit(Transaction::new().append("a").append("b")).await.unwrap();
    let head = two.one.commit(Transaction::new().append("c")).await.unwrap();
    for (position, entries) in [(start, 3), (middle, 1), (head, 0)] {
        let after = known(two.other.log_after(position, 9).await.unwrap());
        assert_eq!(after.len(), entries);
        let mut other = position;
        other.link[15] ^= 1;
        assert_eq!(two.other.log_after(other, 9).await.unwrap(), LogPage::Unknown);
    }
    for sequence in [4, 5, 1_000_000, u64::MAX] {
        let ahead = LogPosition { sequence, link: head.link };
        assert_eq!(two.other.log_after(ahead, 9).await.unwrap(), LogPage::Unknown);
    }
    let moved = LogPosition { sequence: 1, link: head.link };
    assert_eq!(two.other.log_after(moved, 9).await.unwrap(), LogPage::Unknown);
    assert!(known(two.other.log_after(start, 0).await.unwrap()).is_empty());
}

pub(in crate::store) async fn a_log_begun_anew_knows_no_position_from_before(two: &Two) {
    let start = two.one.log_head().await.unwrap();
    let before = two.one.commit(Transaction::new().append("a").append("b")).await.unwrap();
    let anew = two.one.begin_log_anew().await.unwrap();
    assert_eq!(two.other.log_head().await.unwrap(), anew);
    assert_eq!(anew.sequence, 3);
    for position in [start, before] {
        assert_eq!(two.other.log_after(position, 9).await.unwrap(), LogPage::Unknown);
    }
    let head = two.other.commit(Transaction::new().append("c")).await.unwrap();
    let entries = known(two.one.log_after(anew, 9).await.unwrap());
    assert_eq!(entries, [(head, b"c".to_vec())]);
}

pub(in crate::store) async fn a_log_keeps_its_newest_entries(two: &Two) {
    let start = two.one.log_head().await.unwrap();
    let mut positions = vec![start];
    let parts = LOG_ENTRIES / 2500 + 1;
    for part in 0..parts {
        let append = |transaction: Transaction, number| {
            transaction.append(format!("{}", part * 2500 + number + 1))
        };
        let transaction = (0..2500).fold(Transaction::new(), append);
        positions.push(two.one.commit(transaction).await.unwrap());
    }
    assert_eq!(positions.last().unwrap().sequence, LOG_ENTRIES + 2500);
    assert_eq!(two.other.log_after(start, 9).await.unwrap(), LogPage::Unknown);
    // The last one that went, and the first one that stayed.
    assert_eq!(positions[1].sequence, 2500);
    assert_eq!(two.other.log_after(positions[1], 9).await.unwrap(), LogPage::Unknown);
    let mut at = positions[2];
    let mut read = 0;
    loop {
        let entries = known(two.other.log_after(at, usize::MAX).await.unwrap());
        assert!(entries.len() <= MAX_LOG_PAGE);
        for (position, entry) in &entries {
            assert_eq!(entry, position.sequence.to_string().as_bytes());
        }
        read += entries.len();
        let Some((last, _)) = entries.last() else { break };
        at = *last;
    }
    assert_eq!(u64::try_from(read).unwrap(), LOG_ENTRIES - 2500);
    assert_eq!(at, *positions.last().unwrap());
}

pub(in crate::store) async fn whoever_waits_for_the_log_hears_of_a_change_and_not_before(
    two: &Two,
) {
    let start = two.one.log_head().await.unwrap();
    let begun = tokio::time::Instant::now();
    let wait = Duration::from_millis(60);
    two.other.log_changed(start, wait).await.unwrap();
    assert!(begun.elapsed() >= wait, "{:?}", begun.elapsed());
    let waiting = {
        let store = std::sync::Arc::clone(&two.other);
        tokio::spawn(async move {
            store.log_changed(start, 2 * DEADLINE).await.unwrap();
            store.log_head().await.unwrap()
        })
    };
    // What is not in the log is no change of it.
    two.one.commit(Transaction::new().put(Table::Documents, "a", "b")).await.unwrap();
    let head = two.one.commit(Transaction::new().append("c")).await.unwrap();
    let told = tokio::time::timeout(DEADLINE, waiting).await.unwrap().unwrap();
    assert_eq!(told, head);
    tokio::time::timeout(DEADLINE, two.one.log_changed(start, 2 * DEADLINE))
        .await
        .unwrap()
        .unwrap();
}
