use std::sync::Arc;

use super::{GOOD, World, attempt, settings, user, word};
use crate::accounts::AccountSettings;
use crate::store::{Pages, Table};

/// The address of a bot, one of many.
fn bot(number: u32) -> String {
    format!("10.{}.{}.1", number / 256, number % 256)
}

impl World {
    /// Fails so often that the account is under attack.
    async fn attack(&self, name: &str) {
        for number in 0..settings().limits.per_account {
            assert_eq!(self.try_from(name, "wrong", &bot(number)).await, "wrong");
        }
    }

    fn throttled_events(&self) -> usize {
        self.events().iter().filter(|event| event["decision"] == "login-throttled").count()
    }
}

#[tokio::test]
async fn who_guesses_waits_longer_each_time_and_learns_nothing_meanwhile() {
    let world = World::new().await;
    world.alice().await;
    for _ in 0..3 {
        assert_eq!(world.try_from("alice", "wrong", "192.0.2.1").await, "wrong");
    }
    for (count, seconds) in
        [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900].into_iter().enumerate()
    {
        let before = world.metrics.accounts.hashes("verify", "argon2id");
        for address in ["192.0.2.1", "192.0.2.99"] {
            let waits = world.try_from("alice", GOOD, address).await;
            assert_eq!(waits, format!("wait {seconds}"), "not even with the password");
        }
        assert_eq!(world.metrics.accounts.hashes("verify", "argon2id"), before);
        assert_eq!(world.throttled_events(), count + 1, "told once");
        world.clock.advance(seconds);
        // The address has failed too often as well by then, with whatever name.
        let outcome = world.try_from("alice", "wrong", &format!("192.0.2.{}", count + 2)).await;
        if outcome.starts_with("wait") {
            // The account is under attack: the turn of this network comes.
            assert!(count >= 7, "{count}: {outcome}");
            break;
        }
        assert_eq!(outcome, "wrong", "{count}");
    }
}

#[tokio::test]
async fn an_unknown_name_is_throttled_like_a_known_one() {
    let world = World::new().await;
    world.alice().await;
    for name in ["alice", "nobody"] {
        let address = if name == "alice" { "192.0.2.1" } else { "198.51.100.1" };
        for expected in ["wrong", "wrong", "wrong", "wait 1"] {
            assert_eq!(world.try_from(name, "wrong", address).await, expected, "{name}");
        }
    }
}

#[tokio::test]
async fn who_tries_one_password_on_many_names_waits_too() {
    let world = World::new().await;
    for number in 0..6 {
        assert_eq!(world.try_from(&format!("user{number}"), "wrong", "192.0.2.1").await, "wrong");
    }
    assert_eq!(world.try_from("user7", "wrong", "192.0.2.1").await, "wait 1");
    assert_eq!(world.try_from("user7", "wrong", "192.0.2.2").await, "wrong", "another address");
}

#[tokio::test]
async fn a_success_takes_back_its_own_failures_and_no_others() {
    let world = World::new().await;
    world.alice().await;
    world.accounts.create(user("mallory")).await.unwrap();
    for _ in 0..2 {
        world.try_from("alice", "wrong", "192.0.2.1").await;
    }
    assert_eq!(world.try_from("alice", GOOD, "192.0.2.1").await, "in");
    for expected in ["wrong", "wrong", "wrong", "wait 1"] {
        assert_eq!(world.try_from("alice", "wrong", "192.0.2.1").await, expected);
    }
    // The attack: log in to an account of one's own now and then, to be new again.
    for number in 0..3 {
        world.try_from(&format!("x{number}"), "wrong", "198.51.100.1").await;
        world.try_from("mallory", GOOD, "198.51.100.1").await;
        world.try_from(&format!("y{number}"), "wrong", "198.51.100.1").await;
    }
    assert_eq!(world.try_from("z", "wrong", "198.51.100.1").await, "wait 1");
}

#[tokio::test]
async fn an_account_under_attack_lets_its_user_in_from_where_they_come_from() {
    let world = World::new().await;
    world.alice().await;
    assert_eq!(world.try_from("alice", GOOD, "192.0.2.1").await, "in");
    world.attack("alice").await;
    for _ in 0..5 {
        assert_eq!(world.try_from("alice", GOOD, "192.0.2.77").await, "in");
    }
}

#[tokio::test]
async fn an_account_under_attack_lets_its_user_in_from_anywhere_after_a_bounded_delay() {
    let world = World::new().await;
    world.alice().await;
    world.attack("alice").await;
    let mut bots = 1000;
    for network in 0..20 {
        let home = format!("203.0.{network}.1");
        let first = world.try_from("alice", GOOD, &home).await;
        if let Some(seconds) = first.strip_prefix("wait ") {
            let seconds: u64 = seconds.parse().unwrap();
            assert!(seconds <= 900, "{seconds}");
            // Whatever others do until then, and at that very moment.
            for part in [seconds / 2, seconds - seconds / 2] {
                world.clock.advance(part);
                for _ in 0..10 {
                    bots += 1;
                    world.try_from("alice", "wrong", &bot(bots)).await;
                }
            }
            assert_eq!(world.try_from("alice", GOOD, &home).await, "in");
        } else {
            assert_eq!(first, "in", "its turn came by chance");
        }
        assert_eq!(world.try_from("alice", GOOD, &home).await, "in", "it is known now");
    }
}

#[tokio::test]
async fn attempts_that_are_refused_write_nothing() {
    let world = World::new().await;
    world.alice().await;
    world.attack("alice").await;
    world.try_from("alice", "wrong", "203.0.113.1").await;
    let count = async || {
        let (mut count, mut pages) = (0, Pages::of(&*world.store, Table::LoginFailures));
        while let Some(entries) = pages.next().await.unwrap() {
            count += entries.len();
        }
        count
    };
    let (before, mut refused) = (count().await, 0);
    for number in 0..200 {
        let outcome = world.try_from("alice", "wrong", &bot(5000 + number)).await;
        refused += usize::from(outcome.starts_with("wait"));
    }
    // Pair and address of each that had its turn.
    assert_eq!(count().await - before, (200 - refused) * 2);
    assert!(refused > 100, "{refused}");
    assert!(world.throttled_events() <= 1 + 200 - refused);
}

#[tokio::test]
async fn failures_are_forgotten() {
    let world = World::new().await;
    world.alice().await;
    world.attack("alice").await;
    for _ in 0..3 {
        world.try_from("alice", "wrong", "198.51.100.1").await;
    }
    world.clock.advance(settings().limits.forget_seconds);
    for expected in ["wrong", "wrong", "wrong", "wait 1"] {
        assert_eq!(world.try_from("alice", "wrong", "198.51.100.1").await, expected);
    }
}

#[tokio::test]
async fn of_many_guesses_at_once_no_more_are_tried_than_one_after_the_other() {
    let world = World::with(AccountSettings { at_once: 16, ..settings() }).await;
    world.alice().await;
    let world = Arc::new(world);
    let tasks: Vec<_> = (0..40)
        .map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                word(&world.accounts.login(attempt("alice", "wrong", "192.0.2.1")).await)
            })
        })
        .collect();
    let mut wrong = 0;
    for task in tasks {
        let outcome = task.await.unwrap();
        wrong += usize::from(outcome == "wrong");
        assert!(outcome == "wrong" || outcome == "wait 1", "{outcome}");
    }
    assert_eq!(wrong, 3);
    assert_eq!(world.metrics.accounts.hashes("verify", "argon2id"), 3);
}
