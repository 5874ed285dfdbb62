//! Tables and transactions.

use std::collections::BTreeMap;

use super::{Two, everything, now};
use crate::store::{Entry, InvalidTransaction, MAX_COUNTER, Store, StoreError, Table, Transaction};

pub(in crate::store) async fn several_keys_change_together_or_not_at_all(two: &Two) {
    let store = &*two.one;
    let begin = Transaction::new()
        .absent(Table::Roles, "a")
        .put(Table::Roles, "a", "1")
        .put(Table::Documents, "b", "1")
        .put_until(Table::Revocations, "c", "1", Some(now().plus(1000)))
        .append("begun");
    store.commit(begin).await.unwrap();
    let head = two.other.log_head().await.unwrap();
    let attempt = |document: &str| {
        Transaction::new()
            .same(Table::Roles, "a", "1")
            .same(Table::Documents, "b", document)
            .absent(Table::Usage, "d")
            .put(Table::Roles, "a", "2")
            .delete(Table::Documents, "b")
            .delete(Table::Revocations, "c")
            .add(Table::Usage, "d", 5, None)
            .append("one")
            .append("two")
    };
    let refused = two.other.commit(attempt("wrong")).await;
    assert!(matches!(refused, Err(StoreError::Conflict { check: 1 })), "{refused:?}");
    assert_eq!(two.one.log_head().await.unwrap(), head);
    let values = async |store: &dyn Store| {
        let mut values = Vec::new();
        for (table, key) in [
            (Table::Roles, "a"),
            (Table::Documents, "b"),
            (Table::Revocations, "c"),
            (Table::Usage, "d"),
        ] {
            let value = store.get(table, key).await.unwrap();
            values.push(value.map(|value| String::from_utf8(value).unwrap()));
        }
        values
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(values(&*two.one).await, [text("1"), text("1"), text("1"), None]);
    let after = two.other.commit(attempt("1")).await.unwrap();
    assert_eq!(after.sequence, head.sequence + 2);
    assert_eq!(values(&*two.one).await, [text("2"), None, None, text("5")]);
    let refused = store.commit(attempt("1")).await;
    assert!(matches!(refused, Err(StoreError::Conflict { check: 0 })), "{refused:?}");
}

pub(in crate::store) async fn many_values_come_in_the_order_of_their_keys(two: &Two) {
    for table in Table::ALL {
        let key = |number: usize| format!("many {number}");
        let put = |transaction: Transaction, number: usize| {
            transaction.put(table, key(number), number.to_string())
        };
        // More than one question has room for.
        for begin in [0, 1000] {
            let even = (begin..begin + 1000).step_by(2);
            two.one.commit(even.fold(Transaction::new(), put)).await.unwrap();
        }
        let numbers: Vec<usize> = (0..2000).rev().collect();
        let keys: Vec<String> = numbers.iter().copied().map(key).collect();
        let values = two.other.get_all(table, &keys).await.unwrap();
        let wanted = |number: usize| number.is_multiple_of(2).then(|| number.to_string());
        let wanted: Vec<_> = numbers.into_iter().map(wanted).collect();
        let values: Vec<_> =
            values.into_iter().map(|it| it.map(|it| String::from_utf8(it).unwrap())).collect();
        assert!(values == wanted, "{}", table.name());
    }
}

pub(in crate::store) async fn pages_show_every_entry_of_every_table(two: &Two) {
    let end = now().plus(10_000);
    for table in Table::ALL {
        let entry = |number: usize| Entry {
            key: format!("kéy {number}"),
            value: vec![0xff; number % 7],
            expires_at: (table.may_expire() && number.is_multiple_of(2)).then_some(end),
        };
        let all: Vec<Entry> = (0..2500).map(entry).collect();
        for part in all.chunks(1000) {
            let put = |transaction: Transaction, entry: &Entry| {
                let Entry { key, value, expires_at } = entry.clone();
                transaction.put_until(table, key, value, expires_at)
            };
            two.one.commit(part.iter().fold(Transaction::new(), put)).await.unwrap();
        }
        let all: BTreeMap<String, Entry> =
            all.into_iter().map(|entry| (entry.key.clone(), entry)).collect();
        assert!(everything(&*two.other, table).await == all, "{}", table.name());
        let removed = Transaction::new().delete(table, "kéy 2").delete(table, "kéy 3");
        two.one.commit(removed).await.unwrap();
        assert_eq!(everything(&*two.other, table).await.len(), 2498);
        assert_eq!(two.other.stat().await.unwrap().records[table.name()], 2498);
    }
}

pub(in crate::store) async fn counters_add_rise_and_stop(two: &Two) {
    let count = async |transaction: Transaction, table, key: &str| {
        two.one.commit(transaction).await.unwrap();
        let value = two.other.get(table, key).await.unwrap().unwrap();
        String::from_utf8(value).unwrap().parse::<u64>().unwrap()
    };
    let (early, late) = (Some(now().plus(1000)), Some(now().plus(2000)));
    let table = Table::Usage;
    let none = Transaction::new;
    assert_eq!(count(none().add(table, "a", 3, late), table, "a").await, 3);
    assert_eq!(count(none().add(table, "a", 4, early), table, "a").await, 7);
    assert_eq!(count(none().maximum(table, "a", 5, early), table, "a").await, 7);
    assert_eq!(count(none().maximum(table, "a", 1 << 52, early), table, "a").await, 1 << 52);
    assert_eq!(everything(&*two.one, table).await["a"].expires_at, late);
    assert_eq!(count(none().add(table, "a", 1, None), table, "a").await, (1 << 52) + 1);
    assert_eq!(count(none().add(table, "a", 1, early), table, "a").await, (1 << 52) + 2);
    assert_eq!(everything(&*two.one, table).await["a"].expires_at, None);
    assert_eq!(count(none().add(table, "a", MAX_COUNTER, None), table, "a").await, MAX_COUNTER);
    assert_eq!(count(none().maximum(table, "b", u64::MAX, None), table, "b").await, MAX_COUNTER);
    // Also where entries have no end.
    let table = Table::Documents;
    assert_eq!(count(none().add(table, "n", 0, None), table, "n").await, 0);
    assert_eq!(count(none().add(table, "n", u64::MAX, None), table, "n").await, MAX_COUNTER);
}

pub(in crate::store) async fn what_is_no_counter_is_not_counted_and_nothing_else_is_written(
    two: &Two,
) {
    for (number, value) in
        ["", "x", "-1", "1.5", "1e3", "99999999999999999", " 1"].iter().enumerate()
    {
        let key = format!("counter {number}");
        two.one.commit(Transaction::new().put(Table::Usage, &*key, *value)).await.unwrap();
        let add = Transaction::new()
            .absent(Table::Roles, "r")
            .put(Table::Roles, "r", "v")
            .add(Table::Usage, &*key, 1, None)
            .append("entry");
        let head = two.one.log_head().await.unwrap();
        let refused = two.one.commit(add).await;
        let counter = |error: &StoreError| {
            matches!(error, StoreError::Invalid(InvalidTransaction::Counter(Table::Usage)))
        };
        assert!(refused.as_ref().is_err_and(counter), "{value}: {refused:?}");
        assert_eq!(two.other.get(Table::Usage, &key).await.unwrap().unwrap(), value.as_bytes());
        assert_eq!(two.other.get(Table::Roles, "r").await.unwrap(), None);
        assert_eq!(two.one.log_head().await.unwrap(), head);
    }
}

pub(in crate::store) async fn a_page_begins_only_where_one_of_its_table_has_ended(two: &Two) {
    let tables = [Table::Users, Table::Clients, Table::Families, Table::Revocations];
    let mut cursors = Vec::new();
    for table in tables {
        for part in [0..1000, 1000..2500] {
            let put = |it: Transaction, number| it.put(table, format!("key {number}"), "v");
            two.one.commit(part.fold(Transaction::new(), put)).await.unwrap();
        }
        cursors.push((table, two.one.page(table, None).await.unwrap().next.unwrap()));
    }
    let garbage = ["", "0", "key 1", "-1", "99999999999999999999", "ZTA", "\0", "é"];
    let mut wrong: Vec<String> = garbage.map(str::to_owned).to_vec();
    wrong.push("A".repeat(100_000));
    for (table, cursor) in &cursors {
        // Also of another sidecar.
        let page = two.other.page(*table, Some(cursor.clone())).await.unwrap();
        assert!(!page.entries.is_empty(), "{table:?}");
        let others = cursors.iter().filter(|(other, _)| other != table).map(|(_, it)| it);
        for wrong in wrong.iter().chain(others) {
            let refused = two.other.page(*table, Some(wrong.clone())).await;
            assert!(matches!(refused, Err(StoreError::CursorUnknown)), "{table:?} {wrong}");
        }
    }
}

pub(in crate::store) async fn what_no_store_takes_is_refused(two: &Two) {
    let twice = Transaction::new().put(Table::Roles, "a", "1").delete(Table::Roles, "a");
    let ends = Transaction::new().put_until(Table::Roles, "a", "1", Some(now().plus(9)));
    for wrong in [twice, ends] {
        let refused = two.one.commit(wrong).await;
        assert!(matches!(refused, Err(StoreError::Invalid(_))), "{refused:?}");
    }
    assert_eq!(two.other.get(Table::Roles, "a").await.unwrap(), None);
    // Nothing at all is a transaction: it shows that the store acknowledges.
    let head = two.one.log_head().await.unwrap();
    assert_eq!(two.one.commit(Transaction::new()).await.unwrap(), head);
}
