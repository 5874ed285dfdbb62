#![expect(clippy::arithmetic_side_effects, reason = "tests")]

use std::net::IpAddr;

use proptest::prelude::*;
use wardgate_core::secret::Secret;
use wardgate_core::time::UnixSeconds;

use super::decide::{Failures, Standing, decide};
use super::{Counter, LoginGuard, LoginLimits, Wait, Who};

const LIMITS: LoginLimits = LoginLimits {
    per_network: 3,
    per_address: 6,
    per_account: 10,
    max_delay_seconds: 900,
    forget_seconds: 86_400,
    remember_seconds: 1_000_000,
};
const NOW: u64 = 1_800_000_000;

fn guard() -> LoginGuard {
    LoginGuard::new(&Secret::new(vec![7; 32]), LIMITS)
}

fn who(name: &str, address: &str) -> Who {
    guard().who(name, address.parse::<IpAddr>().ok())
}

fn failures(count: u32, last_at: u64) -> Failures {
    Failures { count, last_at, ..Failures::default() }
}

#[track_caller]
fn wait(standing: Standing, now: u64) -> Option<(u64, Counter)> {
    let decided = decide(&standing, &who("alice", "192.0.2.1"), &LIMITS, UnixSeconds(now));
    decided.err().map(|Wait { seconds, counter }| (seconds, counter))
}

#[test]
fn the_delay_doubles_with_each_failure_up_to_its_bound_and_is_forgotten() {
    let delays = [
        (0, None),
        (1, Some(1)),
        (2, Some(2)),
        (4, Some(8)),
        (10, Some(512)),
        (11, Some(900)),
        (4_000_000_000_u32, Some(900)),
    ];
    for (beyond, expected) in delays {
        // One less than the limit costs nothing.
        let of = |limit: u32| failures(limit - 1 + beyond, NOW);
        let pair = Standing { pair: of(LIMITS.per_network), ..Standing::default() };
        let address = Standing { address: of(LIMITS.per_address), ..Standing::default() };
        for (standing, counter) in [(pair, Counter::Pair), (address, Counter::Address)] {
            assert_eq!(wait(standing, NOW), expected.map(|it| (it, counter)), "{beyond}");
            assert_eq!(wait(standing, NOW + 900), None, "{beyond}");
        }
    }
    let many = Standing { pair: failures(100, NOW), ..Standing::default() };
    assert_eq!(wait(many, NOW + 1), Some((899, Counter::Pair)));
    let forgotten = failures(100, NOW).failed(&LIMITS, UnixSeconds(NOW + LIMITS.forget_seconds));
    assert_eq!(forgotten.count, 1);
}

#[test]
fn a_network_that_logged_in_before_waits_for_its_own_failures_only() {
    let known = Failures { known_until: NOW + 1000, ..failures(2, NOW) };
    let attacked =
        Standing { pair: known, address: failures(1000, NOW), account: failures(1000, NOW) };
    assert_eq!(wait(attacked, NOW), None);
    assert!(wait(attacked, NOW + 1000).is_some(), "it is not remembered for ever");
    let failed = Standing { pair: Failures { count: 3, ..known }, ..attacked };
    assert_eq!(wait(failed, NOW), Some((1, Counter::Pair)));
}

#[test]
fn counters_are_of_the_name_and_the_network() {
    let alice = who("alice", "192.0.2.1");
    let (neighbour, stranger) = (who("alice", "192.0.2.77"), who("alice", "192.0.3.1"));
    assert_eq!((&alice.pair, &alice.account), (&neighbour.pair, &neighbour.account));
    assert_ne!(alice.address, neighbour.address);
    assert_ne!(alice.pair, stranger.pair);
    let bob = who("bob", "192.0.2.1");
    assert_eq!(alice.address, bob.address);
    assert!(alice.pair != bob.pair && alice.account != bob.account);
    let (six, same, other) =
        (who("a", "2001:db8:0:1::1"), who("a", "2001:db8:0:1:ffff::"), who("a", "2001:db8:0:2::1"));
    assert_eq!((&six.pair, &six.address), (&same.pair, &same.address));
    assert!(six.pair != other.pair && six.address != other.address);
    assert_eq!(who("a", "::ffff:192.0.2.1").pair, who("a", "192.0.2.9").pair);
    let text = format!("{alice:?}");
    assert!(!text.contains("alice") && !text.contains("192.0.2"), "{text}");
    let other_key = LoginGuard::new(&Secret::new(vec![8; 32]), LIMITS);
    assert_ne!(other_key.who("alice", None).account, guard().who("alice", None).account);
}

proptest! {
    /// The attack: fail at an account all the time, from everywhere, so that its user is never let
    /// in. Whatever others do meanwhile, a network that fails no more comes to its turn within one
    /// period of being told when.
    #[test]
    fn nobody_waits_longer_than_one_period_whatever_others_do(
        mine in 0_u32..3, at in 0_u64..100_000, theirs in 10_u32..1_000_000, network in any::<u32>(),
        more in 0_u32..1000,
    ) {
        let who = guard().who("alice", Some(IpAddr::from(network.to_be_bytes())));
        let now = NOW + at;
        let standing = Standing { pair: failures(mine, now), address: Failures::default(), account: failures(theirs, now) };
        match decide(&standing, &who, &LIMITS, UnixSeconds(now)) {
            Ok(()) => prop_assert_eq!(mine, 0, "its turn, and not used"),
            Err(Wait { seconds, counter }) => {
                prop_assert_eq!(counter, Counter::Account);
                prop_assert!((1..=900).contains(&seconds));
                let then = now + seconds;
                let attacked = Standing { account: failures(theirs + more, then), ..standing };
                prop_assert_eq!(decide(&attacked, &who, &LIMITS, UnixSeconds(then)), Ok(()));
                prop_assert_eq!(decide(&attacked, &who, &LIMITS, UnixSeconds(then + 60)), Ok(()), "a minute late is not too late");
                let used = Standing { pair: failures(mine + 1, then), ..attacked };
                prop_assert!(decide(&used, &who, &LIMITS, UnixSeconds(then)).is_err(), "a turn is one attempt");
                prop_assert!(decide(&used, &who, &LIMITS, UnixSeconds(then + 900)).is_ok());
            }
        }
    }
}
