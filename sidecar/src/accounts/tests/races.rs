use std::sync::Arc;

use super::{GOOD, accounts, attempt, password, settings, user, word};
use crate::accounts::{Accounts, ChangePassword};
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::random::Random;
use crate::seal::StoreKeys;
use crate::store::shared::{SharedStore, at_once};

/// Two sidecars on one store.
struct Two {
    accounts: [Arc<Accounts>; 2],
    clock: Clock,
    _store: SharedStore,
}

impl Two {
    async fn on(store: SharedStore) -> Self {
        let keys = StoreKeys::parse(&StoreKeys::generate(Random::system()).unwrap()).unwrap();
        // Redis ends entries by its own clock.
        let (clock, metrics) = (Clock::manual(Clock::system().now()), Arc::new(Metrics::new()));
        let [one, other] = &store.stores;
        let one = accounts((one, &keys, &clock, &metrics), None, settings()).await;
        let other = accounts((other, &keys, &clock, &metrics), None, settings()).await;
        Self { accounts: [Arc::new(one), Arc::new(other)], clock, _store: store }
    }

    /// Does something some times at once, at either sidecar in turn.
    async fn at_once<T, F>(&self, times: usize, task: impl Fn(usize, Arc<Accounts>) -> F) -> Vec<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        at_once(&self.accounts, times, task).await
    }
}

async fn of_many_that_make_one_name_one_does(two: &Two) {
    let made = two.at_once(12, |number, accounts| async move {
        let name = ["Alice", "alice", "ALICE"][number % 3];
        accounts.create(user(name)).await.map(|user| user.id)
    });
    let made: Vec<_> = made.await.into_iter().filter_map(Result::ok).collect();
    assert_eq!(made.len(), 1);
    assert_eq!(two.accounts[0].show("alice").await.unwrap().id, made[0]);
}

async fn of_many_that_change_one_password_one_does(two: &Two) {
    two.accounts[0].create(user("alice")).await.unwrap();
    two.clock.advance(1);
    let changed = two.at_once(6, |number, accounts| async move {
        let new = format!("purple monkey dishwasher {number}");
        // From networks of their own, so that none waits for another.
        let attempt = attempt("alice", GOOD, &format!("10.0.{number}.1"));
        let asked = ChangePassword { attempt, new: password(&new) };
        (new, word(&accounts.change_password(asked).await))
    });
    let (done, rest): (Vec<_>, Vec<_>) =
        changed.await.into_iter().partition(|(_, word)| word == "in");
    assert_eq!(done.len(), 1, "{rest:?}");
    assert!(rest.iter().all(|(_, word)| word == "wrong"), "{rest:?}");
    two.clock.advance(1);
    let login = two.accounts[1].login(attempt("alice", &done[0].0, "10.1.0.1")).await;
    assert_eq!(word(&login), "in");
}

async fn failures_at_two_sidecars_count_together(two: &Two) {
    two.accounts[0].create(user("alice")).await.unwrap();
    let tried = two.at_once(10, |_, accounts| async move {
        word(&accounts.login(attempt("alice", "wrong", "192.0.2.1")).await)
    });
    let tried = tried.await;
    assert_eq!(tried.iter().filter(|word| *word == "wrong").count(), 3, "{tried:?}");
}

async fn changes_at_once_all_count(two: &Two) {
    two.accounts[0].create(user("alice")).await.unwrap();
    let before = two.accounts[0].show("alice").await.unwrap().tokens_not_before;
    two.clock.advance(5);
    let done = two.at_once(6, |number, accounts| async move {
        match number % 3 {
            0 => accounts.disable("alice").await.map(drop),
            1 => accounts.log_out("alice").await.map(drop),
            _ => {
                accounts.set_password("alice", password("purple monkey dishwasher")).await.map(drop)
            }
        }
    });
    assert!(done.await.into_iter().all(|done| done.is_ok()));
    let after = two.accounts[1].show("alice").await.unwrap();
    assert_eq!(after.state, crate::accounts::UserState::Disabled);
    assert_eq!(after.tokens_not_before, before.map(|it| it + 6));
}

macro_rules! on_both_stores {
    ($($test:ident)+) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() { super::$test(&super::Two::on(super::SharedStore::embedded().await).await).await; })+
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() { super::$test(&super::Two::on(super::SharedStore::redis().await).await).await; })+
        }
    };
}

on_both_stores! {
    of_many_that_make_one_name_one_does
    of_many_that_change_one_password_one_does
    failures_at_two_sidecars_count_together
    changes_at_once_all_count
}
