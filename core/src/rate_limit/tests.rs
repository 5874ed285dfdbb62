mod mesh;

use std::cell::{Cell, RefCell};

use proptest::prelude::*;

use super::ledger::{Ask, settle};
use super::{
    BATCH_NANOSECONDS, LEASE_NANOSECONDS, LeaseVerdict, Leases, Limit, LocalMemory, Slots,
    Standing, Who, fields,
};
use crate::feed::live::{Collision, SharedMemory};
use crate::secret::Secret;

const SECOND: u64 = 1_000_000_000;
const MILLISECOND: u64 = 1_000_000;

fn slots() -> Slots {
    Slots::new(&Secret::new(vec![7; 32])).with_sets(1)
}

fn who(name: &str) -> Who {
    slots().who("route", false, &[name.as_bytes()])
}

/// The most that any window of time has above what its length pays for, in requests.
fn highest_burst(times: &[u64], interval: u64) -> u64 {
    let mut arrival = 0_u64;
    let mut highest = 0;
    for time in times {
        arrival = arrival.max(*time) + interval;
        highest = highest.max((arrival - time).div_ceil(interval));
    }
    highest
}

#[test]
fn a_burst_is_admitted_and_then_one_in_each_interval() {
    let limit = Limit::new(60, 60, 3);
    let mut arrival = 0;
    for _ in 0..3 {
        arrival = limit.take(arrival, 1, 100 * SECOND).unwrap();
    }
    let refused = limit.take(arrival, 1, 100 * SECOND).unwrap_err();
    assert_eq!(
        refused,
        Standing { remaining: 0, reset_nanoseconds: 3 * SECOND, retry_nanoseconds: SECOND }
    );
    assert!(limit.take(arrival, 1, 101 * SECOND - 1).is_err());
    assert!(limit.take(arrival, 1, 101 * SECOND).is_ok());
    assert!(limit.take(arrival, 2, 101 * SECOND).is_err());
    assert_eq!(limit.standing(arrival, 103 * SECOND).remaining, 3);
}

#[test]
fn the_ends_of_numbers_are_limits_too() {
    for limit in [
        Limit::new(0, 0, 0),
        Limit::new(u64::MAX, u64::MAX, u64::MAX),
        Limit::new(1, 86_400, 1_000_000),
        Limit::new(1, 86_400, 1_000_000).part(1),
        Limit::of_parts(0, 0),
        Limit::of_parts(u64::MAX, u64::MAX),
    ] {
        let mut arrival = 0;
        let mut admitted = 0;
        while let Ok(next) = limit.take(arrival, 1, SECOND) {
            arrival = next;
            admitted += 1;
            assert!(admitted <= 1_000_000, "{limit:?} never ends");
        }
        assert_eq!(admitted, limit.burst(), "{limit:?}");
        assert!(limit.take(0, u64::MAX, 0).is_err());
    }
}

#[test]
fn a_part_of_a_limit_is_that_part_and_at_least_one_request() {
    let part = Limit::new(100, 10, 100).part(25);
    assert_eq!((part.burst(), part.interval_nanoseconds()), (25, 400 * MILLISECOND));
    assert_eq!(Limit::new(1, 1, 1).part(1).burst(), 1);
}

#[test]
fn a_client_is_told_in_structured_fields() {
    let standing = Limit::new(100, 10, 100).standing(15 * SECOND + 1, 10 * SECOND);
    let told = [fields::Told { name: "a", requests: 100, period_seconds: 10, standing }];
    assert_eq!(fields::policy(&told), "\"a\";q=100;w=10");
    assert_eq!(fields::state(&told), "\"a\";r=49;t=6");
    let both = [told[0], fields::Told { name: "b/2", ..told[0] }];
    assert_eq!(fields::policy(&both), "\"a\";q=100;w=10, \"b/2\";q=100;w=10");
    assert_eq!(fields::retry_after(standing), 1);
    assert_eq!(fields::retry_after(Standing { retry_nanoseconds: SECOND + 1, ..standing }), 2);
}

proptest! {
    #[test]
    fn no_window_of_time_has_more_than_the_burst_and_what_its_length_pays_for(
        requests in 1_u64..50, period in 1_u64..20, burst in 1_u64..30,
        gaps in prop::collection::vec(0_u64..2000, 1..300),
    ) {
        let limit = Limit::new(requests, period, burst);
        let (mut arrival, mut now, mut admitted) = (0, SECOND, Vec::new());
        for gap in gaps {
            now += gap * MILLISECOND;
            let standing = limit.standing(arrival, now);
            match limit.take(arrival, 1, now) {
                Ok(next) => {
                    prop_assert_eq!(standing.retry_nanoseconds, 0);
                    prop_assert!(standing.remaining >= 1);
                    arrival = next;
                    admitted.push(now);
                }
                Err(refused) => {
                    prop_assert_eq!(refused.remaining, 0);
                    prop_assert!(limit.take(arrival, 1, now + refused.retry_nanoseconds).is_ok());
                    prop_assert!(limit.take(arrival, 1, now + refused.retry_nanoseconds - 1).is_err());
                }
            }
        }
        prop_assert!(highest_burst(&admitted, limit.interval_nanoseconds()) <= burst);
    }

    /// Workers get in each other's way: between what one reads and what it writes, others write.
    #[test]
    fn workers_together_keep_the_limit_however_they_interleave(
        requests in 1_u64..2000, burst in 1_u64..3000, workers in 2_usize..5,
        steps in prop::collection::vec((0_u64..4000, 0_usize..5, 0_u8..4), 1..600),
    ) {
        let limit = Limit::new(requests, 1, burst);
        let memory = Interleaved::default();
        let mut all: Vec<Slots> = (0..workers).map(|_| slots()).collect();
        // The first use of a set is the one write that nothing guards.
        all[0].take(who("other"), limit, SECOND, &memory.memory).unwrap();
        let (mut now, mut admitted) = (SECOND, Vec::new());
        for (gap, worker, rivals) in steps {
            now += gap * 1000;
            *memory.rival.borrow_mut() = (0..rivals).map(|_| (slots(), who("alice"), limit, now)).collect();
            if all[worker % workers].take(who("alice"), limit, now, &memory).is_ok() {
                admitted.push(now);
            }
            admitted.extend((0..memory.admitted.take()).map(|_| now));
        }
        let interval = limit.interval_nanoseconds();
        let bound = burst + BATCH_NANOSECONDS.div_ceil(interval);
        prop_assert!(highest_burst(&admitted, interval) <= bound);
    }

    #[test]
    fn a_crowd_in_one_set_gets_nobody_more_than_the_limit(
        people in 5_usize..12, steps in prop::collection::vec((0_u64..300, 0_usize..12), 1..600),
    ) {
        let limit = Limit::new(5, 1, 5);
        let memory = LocalMemory::default();
        // A worker of its own for each step: none remembers anything by itself.
        let everybody: Vec<Who> = (0..people).map(|index| who(&index.to_string())).collect();
        let mut admitted = vec![Vec::new(); people];
        let mut now = SECOND;
        for (gap, person) in steps {
            now += gap * MILLISECOND;
            let person = person % people;
            if slots().take(everybody[person], limit, now, &memory).is_ok() {
                admitted[person].push(now);
            }
        }
        for times in admitted {
            prop_assert!(highest_burst(&times, limit.interval_nanoseconds()) <= 5);
        }
    }

    #[test]
    fn whatever_stands_in_the_memory_is_read_without_harm(
        value in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let (mut worker, limit) = (slots(), Limit::new(2, 60, 2));
        let memory = Overwritten { memory: LocalMemory::default(), value: RefCell::new(Some(value)) };
        let admitted = (0..10).filter(|_| worker.take(who("a"), limit, SECOND, &memory).is_ok());
        // The worker remembers by itself what it admitted.
        prop_assert_eq!(admitted.count(), 2);
    }
}

/// Lets others write whenever somebody is about to.
#[derive(Default)]
struct Interleaved {
    memory: LocalMemory,
    rival: RefCell<Vec<(Slots, Who, Limit, u64)>>,
    admitted: Cell<u64>,
}

impl SharedMemory for Interleaved {
    fn get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.memory.get(key)
    }

    fn set(&self, key: &str, value: &[u8], cas: Option<u32>) -> Result<(), Collision> {
        let rival = self.rival.borrow_mut().pop();
        if let Some((mut rival, who, limit, now)) = rival
            && rival.take(who, limit, now, &self.memory).is_ok()
        {
            self.admitted.set(self.admitted.get() + 1);
        }
        self.memory.set(key, value, cas)
    }
}

/// An enemy's memory: it shows what he likes.
struct Overwritten {
    memory: LocalMemory,
    value: RefCell<Option<Vec<u8>>>,
}

impl SharedMemory for Overwritten {
    fn get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.value.borrow().clone().map(|value| (value, 1)).or_else(|| self.memory.get(key))
    }

    fn set(&self, key: &str, value: &[u8], cas: Option<u32>) -> Result<(), Collision> {
        self.memory.set(key, value, cas.filter(|_| self.value.borrow().is_none()))
    }
}

#[test]
fn workers_share_what_was_used_and_different_people_do_not() {
    let (memory, limit) = (LocalMemory::default(), Limit::new(2, 60, 2));
    let (mut one, mut other) = (slots(), slots());
    assert!(one.take(who("alice"), limit, SECOND, &memory).is_ok());
    assert!(other.take(who("alice"), limit, SECOND, &memory).is_ok());
    assert!(one.take(who("alice"), limit, SECOND, &memory).is_err());
    assert!(other.take(who("alice"), limit, SECOND, &memory).is_err());
    assert!(one.take(who("bob"), limit, SECOND, &memory).is_ok());
    assert_eq!(other.look(who("alice"), limit, SECOND, &memory).remaining, 0);
    assert!(other.take(who("alice"), limit, 31 * SECOND, &memory).is_ok());
}

#[test]
fn a_set_of_another_key_or_another_place_counts_as_empty() {
    let (memory, limit) = (LocalMemory::default(), Limit::new(1, 60, 1));
    assert!(slots().take(who("alice"), limit, SECOND, &memory).is_ok());
    let key = memory_key(&memory);
    let (value, _) = memory.get(&key).unwrap();
    for index in 0..value.len() {
        let mut changed = value.clone();
        changed[index] ^= 1;
        let other = LocalMemory::default();
        other.set(&key, &changed, None).unwrap();
        // A fresh budget, and never a longer wait: an enemy can lock nobody out.
        assert!(slots().take(who("alice"), limit, SECOND, &other).is_ok(), "byte {index}");
    }
    let moved = LocalMemory::default();
    moved.set(&key.replace(".0.0", ".0.1"), &value, None).unwrap();
    let place_1 = (0..100).map(|n| who(&n.to_string())).find(|it| it.bytes()[7] % 2 == 1).unwrap();
    assert!(slots().with_sets(2).take(place_1, limit, SECOND, &moved).is_ok());
}

fn memory_key(memory: &LocalMemory) -> String {
    let prefix = slots();
    let text = format!("{prefix:?}");
    let start = text.find("wardgate1.limits.").unwrap();
    let key = format!("{}.0.0", &text[start..start + "wardgate1.limits.".len() + 8]);
    assert!(memory.get(&key).is_some(), "{key}");
    key
}

#[test]
fn who_comes_often_is_looked_up_seldom() {
    struct Counting(LocalMemory, Cell<u32>);
    impl SharedMemory for Counting {
        fn get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
            self.1.set(self.1.get() + 1);
            self.0.get(key)
        }
        fn set(&self, key: &str, value: &[u8], cas: Option<u32>) -> Result<(), Collision> {
            self.0.set(key, value, cas)
        }
    }
    let memory = Counting(LocalMemory::default(), Cell::new(0));
    let (mut worker, limit) = (slots(), Limit::new(10_000, 1, 10_000));
    for request in 0..1000 {
        let now = SECOND + request * MILLISECOND;
        assert!(worker.take(who("a"), limit, now, &memory).is_ok());
    }
    assert!(memory.1.get() < 60, "{} looks", memory.1.get());
    // A small limit is counted one by one: nobody loses of it what another worker holds.
    let mut worker = slots();
    let small = Limit::new(60, 60, 60);
    let looks = memory.1.get();
    for _ in 0..60 {
        assert!(worker.take(who("b"), small, SECOND, &memory).is_ok());
    }
    assert_eq!(memory.1.get() - looks, 60);
}

#[test]
fn a_memory_that_takes_nothing_leaves_each_worker_with_the_limit_alone() {
    struct Broken;
    impl SharedMemory for Broken {
        fn get(&self, _key: &str) -> Option<(Vec<u8>, u32)> {
            None
        }
        fn set(&self, _key: &str, _value: &[u8], _cas: Option<u32>) -> Result<(), Collision> {
            Err(Collision)
        }
    }
    let (mut worker, limit) = (slots(), Limit::new(3, 60, 3));
    let admitted = (0..10).filter(|_| worker.take(who("a"), limit, SECOND, &Broken).is_ok());
    assert_eq!(admitted.count(), 3);
}

#[test]
fn an_account_gives_half_of_what_there_is_and_takes_back() {
    let limit = Limit::new(100, 1, 100);
    let now = 1000 * SECOND;
    let ask = |used, returned, wanted| Ask { used, returned, wanted };
    let (arrival, grant) = settle(limit, 0, ask(0, 0, 500), now);
    assert_eq!((grant.granted, grant.limited), (50, true));
    let (arrival, grant) = settle(limit, arrival, ask(10, 0, 5), now);
    assert_eq!((grant.granted, grant.limited, grant.standing.remaining), (5, false, 35));
    let (arrival, grant) = settle(limit, arrival, ask(0, 55, 0), now);
    assert_eq!(grant.standing.remaining, 90);
    // Real use is charged beyond the limit, but no lie locks anyone out for long.
    let (arrival, grant) = settle(limit, arrival, ask(u64::MAX, 0, 1), now);
    assert_eq!((grant.granted, grant.limited), (0, true));
    assert_eq!(arrival, now + 2 * SECOND);
    // What is given back never makes more than there was.
    let (_, grant) = settle(limit, arrival, ask(0, u64::MAX, 1000), now);
    assert_eq!((grant.granted, grant.standing.remaining), (50, 50));
}

#[test]
fn a_piece_is_used_up_and_given_back_when_its_time_is_over() {
    let (mut leases, limit, account) = (Leases::default(), Limit::new(100, 1, 100), [1; 16]);
    let mut now = SECOND;
    assert_eq!(leases.decide(account, limit, now), LeaseVerdict::Unknown);
    leases.admitted_without(account);
    let asks = leases.ask(now).unwrap();
    assert_eq!(asks, [(account, limit, Ask { used: 1, returned: 0, wanted: 2 })]);
    assert_eq!(leases.ask(now + SECOND), None, "one call at a time");
    let (_, grant) = settle(limit, 0, asks[0].2, now);
    leases.answered(Some(&[grant]), now);
    assert!(matches!(leases.decide(account, limit, now), LeaseVerdict::Admitted(_)));
    now += LEASE_NANOSECONDS;
    assert_eq!(leases.decide(account, limit, now), LeaseVerdict::Unknown);
    let asks = leases.ask(now).unwrap();
    assert_eq!(asks[0].2, Ask { used: 0, returned: 1, wanted: 4 });
    // The answer is lost: what was given back is not given back again.
    leases.answered(None, now);
    leases.decide(account, limit, now);
    assert_eq!(leases.ask(now + SECOND).unwrap()[0].2.returned, 0);
}

#[test]
fn what_was_used_is_told_until_somebody_has_heard_it() {
    let (mut leases, limit, account) = (Leases::default(), Limit::new(100, 1, 100), [1; 16]);
    leases.decide(account, limit, SECOND);
    leases.admitted_without(account);
    for round in 1..5 {
        let asks = leases.ask(round * SECOND).unwrap();
        assert_eq!(asks[0].2.used, 1);
        leases.answered(None, round * SECOND);
    }
    // An answer that does not fit the question is none.
    assert!(leases.ask(9 * SECOND).is_some());
    leases.answered(Some(&[]), 9 * SECOND);
    assert_eq!(leases.ask(10 * SECOND).unwrap()[0].2.used, 1);
}

#[test]
fn accounts_of_a_worker_are_bounded_and_idle_ones_leave() {
    let (mut leases, limit) = (Leases::default(), Limit::new(100, 1, 100));
    for number in 0..10_000_u32 {
        let mut account = [0; 16];
        account[..4].copy_from_slice(&number.to_be_bytes());
        leases.decide(account, limit, SECOND);
    }
    let mut now = SECOND;
    let mut asked = 0;
    while let Some(asks) = leases.ask(now) {
        assert!(asks.len() <= super::MAX_ASKS);
        asked += asks.len();
        leases.answered(None, now);
        now += 200 * MILLISECOND;
    }
    assert_eq!(asked, super::MAX_LEASES);
    now += 20 * SECOND;
    leases.ask(now);
    assert_eq!(leases.decide([9; 16], limit, now), LeaseVerdict::Unknown);
    assert_eq!(leases.ask(now + SECOND).unwrap().len(), 1, "the others are forgotten");
}
