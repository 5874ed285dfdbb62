//! What must not happen twice, whoever does it at the same time.

use super::{Two, everything, now};
use crate::store::{Store, StoreError, Table, Transaction};

pub(in crate::store) async fn of_many_that_redeem_one_code_one_gets_it(two: &Two) {
    for round in 0..10 {
        let code = format!("code {round}");
        let put =
            Transaction::new().put_until(Table::Usage, &*code, "grant", Some(now().plus(600)));
        two.one.commit(put).await.unwrap();
        let redeemed = two.at_once(8, |number, store| {
            let code = code.clone();
            async move {
                let redeem = Transaction::new()
                    .same(Table::Usage, &*code, "grant")
                    .delete(Table::Usage, &*code)
                    .put(Table::Documents, &*code, format!("token {number}"));
                store.commit(redeem).await.map(|_| number)
            }
        });
        let mut redeemed = redeemed.await;
        redeemed.retain(|result| match result {
            Ok(_) => true,
            Err(StoreError::Conflict { check: 0 }) => false,
            Err(error) => panic!("{error}"),
        });
        let [Ok(winner)] = redeemed.as_slice() else { panic!("{redeemed:?}") };
        let token = two.other.get(Table::Documents, &code).await.unwrap();
        assert_eq!(token, Some(format!("token {winner}").into_bytes()));
    }
}

pub(in crate::store) async fn of_many_that_rotate_one_token_one_does(two: &Two) {
    two.one.commit(Transaction::new().put(Table::Documents, "family", "0")).await.unwrap();
    for generation in 0..10_u32 {
        let rotated = two.at_once(8, |_, store| async move {
            let (old, new) = (generation.to_string(), (generation + 1).to_string());
            let rotate = Transaction::new()
                .same(Table::Documents, "family", &*old)
                .put(Table::Documents, "family", &*new)
                .add(Table::Usage, "rotations", 1, None);
            store.commit(rotate).await
        });
        let rotated = rotated.await;
        assert_eq!(rotated.iter().filter(|result| result.is_ok()).count(), 1, "{rotated:?}");
        let conflict = |result: &&Result<_, _>| matches!(result, Err(StoreError::Conflict { .. }));
        assert_eq!(rotated.iter().filter(conflict).count(), 7, "{rotated:?}");
    }
    assert_eq!(two.other.get(Table::Documents, "family").await.unwrap().unwrap(), b"10");
    assert_eq!(two.other.get(Table::Usage, "rotations").await.unwrap().unwrap(), b"10");
}

/// Makes a session of a user who may have so many; whether there was room.
async fn log_in(store: &dyn Store, session: &str, cap: usize) -> bool {
    loop {
        let list = store.get(Table::Documents, "user").await.unwrap();
        let mut sessions: Vec<String> = match &list {
            Some(list) => serde_json::from_slice(list).unwrap(),
            None => Vec::new(),
        };
        if sessions.len() >= cap {
            return false;
        }
        sessions.push(session.to_owned());
        let transaction = match list {
            Some(list) => Transaction::new().same(Table::Documents, "user", list),
            None => Transaction::new().absent(Table::Documents, "user"),
        };
        let transaction = transaction
            .put(Table::Documents, "user", serde_json::to_vec(&sessions).unwrap())
            .put_until(Table::Usage, session, "1", Some(now().plus(600)));
        match store.commit(transaction).await {
            Ok(_) => return true,
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

pub(in crate::store) async fn fifty_logins_at_once_keep_the_cap_of_sessions(two: &Two) {
    let cap = 5;
    let made = two.at_once(50, |number, store| async move {
        log_in(&*store, &format!("session {number}"), cap).await
    });
    assert_eq!(made.await.into_iter().filter(|made| *made).count(), cap);
    let list = two.other.get(Table::Documents, "user").await.unwrap().unwrap();
    let mut listed: Vec<String> = serde_json::from_slice(&list).unwrap();
    listed.sort();
    let there: Vec<String> = everything(&*two.other, Table::Usage).await.into_keys().collect();
    assert_eq!((listed.len(), there), (cap, listed));
}

pub(in crate::store) async fn what_is_added_from_both_sides_is_counted(two: &Two) {
    let end = Some(now().plus(600));
    let added = two.at_once(40, |number, store| async move {
        for step in 0..5_u64 {
            let amount = u64::try_from(number).unwrap() + step;
            let add = Transaction::new().add(Table::Usage, "sum", amount, end).maximum(
                Table::Usage,
                "last",
                amount,
                end,
            );
            store.commit(add).await.unwrap();
        }
    });
    added.await;
    let value = async |key: &str| {
        let value = two.one.get(Table::Usage, key).await.unwrap().unwrap();
        String::from_utf8(value).unwrap()
    };
    assert_eq!(value("sum").await, (5 * (0..40).sum::<u64>() + 40 * 10).to_string());
    assert_eq!(value("last").await, "43");
}
