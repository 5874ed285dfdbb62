//! Limits across proxies, in a simulated mesh.

use std::collections::HashMap;

use super::{MILLISECOND, SECOND, highest_burst, slots, who};
use crate::rate_limit::ledger::settle;
use crate::rate_limit::{Account, LeaseAnswer, LeaseVerdict, Leases, Limit, LocalMemory, Slots};

/// Four Envoys with two workers each, a sidecar, and a network between them.
struct Mesh {
    now: u64,
    random: u64,
    limit: Limit,
    fallback: Limit,
    envoys: Vec<(LocalMemory, Vec<(Slots, Leases)>)>,
    accounts: HashMap<Account, u64>,
    /// Answers under way: when, to which Envoy and worker, what.
    under_way: Vec<(u64, usize, usize, Option<Vec<LeaseAnswer>>)>,
    lost_percent: u64,
    admitted: Vec<u64>,
}

const ENVOYS: usize = 4;

impl Mesh {
    fn new(limit: Limit, lost_percent: u64) -> Self {
        let worker = |_| (slots(), Leases::default());
        let envoy = |_| (LocalMemory::default(), (0..2).map(worker).collect());
        Self {
            now: 1000 * SECOND,
            random: 42,
            limit,
            fallback: limit.part(25),
            envoys: (0..ENVOYS).map(envoy).collect(),
            accounts: HashMap::new(),
            under_way: Vec::new(),
            lost_percent,
            admitted: Vec::new(),
        }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) % below
    }

    fn request(&mut self, envoy: usize, worker: usize) {
        let (memory, workers) = &mut self.envoys[envoy];
        let (slots, leases) = &mut workers[worker];
        let (who, now) = (who("alice"), self.now);
        let admitted = match leases.decide(who.bytes(), self.limit, now) {
            LeaseVerdict::Admitted(_) => true,
            LeaseVerdict::Refused(_) => false,
            LeaseVerdict::Unknown => {
                let admitted = slots.take(who, self.fallback, now, memory).is_ok();
                if admitted {
                    leases.admitted_without(who.bytes());
                }
                admitted
            }
        };
        if admitted {
            self.admitted.push(now);
        }
    }

    /// What each worker does every 10 ms.
    fn tick(&mut self) {
        let now = self.now;
        let due: Vec<_> = self.under_way.extract_if(.., |it| it.0 <= now).collect();
        for (_, envoy, worker, answer) in due {
            self.envoys[envoy].1[worker].1.answered(answer.as_deref(), now);
        }
        for (envoy, worker) in (0..ENVOYS).flat_map(|envoy| [(envoy, 0), (envoy, 1)]) {
            let Some(asks) = self.envoys[envoy].1[worker].1.ask(now) else { continue };
            if self.random(100) < self.lost_percent {
                // It never came there; the worker gives up after half a second.
                self.under_way.push((now + 500 * MILLISECOND, envoy, worker, None));
                continue;
            }
            let mut answers = Vec::new();
            for (account, limit, ask) in asks {
                let arrival = self.accounts.get(&account).copied().unwrap_or(0);
                let (arrival, grant) = settle(limit, arrival, ask, now);
                self.accounts.insert(account, arrival);
                answers.push(grant);
            }
            if self.random(100) < self.lost_percent {
                self.under_way.push((now + 500 * MILLISECOND, envoy, worker, None));
            } else {
                let delay = (1 + self.random(100)) * MILLISECOND;
                self.under_way.push((now + delay, envoy, worker, Some(answers)));
            }
        }
    }

    /// Offers so many requests a second, evenly over all workers.
    fn run(&mut self, seconds: u64, offered: u64) {
        let end = self.now + seconds * SECOND;
        let mut number = 0_usize;
        while self.now < end {
            self.tick();
            for _ in 0..offered / 100 {
                self.request(number % ENVOYS, number / ENVOYS % 2);
                number += 1;
            }
            self.now += 10 * MILLISECOND;
        }
    }

    /// The bound of the documentation on what any window may have above the rate.
    fn bound(&self, cut_off_seconds: u64) -> u64 {
        let per_second = |limit: Limit| SECOND.div_ceil(limit.interval_nanoseconds());
        let alone = self.fallback.burst()
            + per_second(self.fallback) * cut_off_seconds
            // The part that each Envoy has for itself is counted in batches too.
            + per_second(self.fallback).div_ceil(10);
        self.limit.burst() + per_second(self.limit) + ENVOYS as u64 * alone
    }
}

#[test]
fn four_envoys_at_ten_times_the_limit_stay_within_the_bound() {
    let limit = Limit::new(100, 1, 100);
    let mut mesh = Mesh::new(limit, 0);
    mesh.run(30, 1000);
    let highest = highest_burst(&mesh.admitted, limit.interval_nanoseconds());
    // A tenth of a second until the first answer.
    assert!(highest <= mesh.bound(1), "{highest} over {}", mesh.bound(1));
    // What was admitted without a piece was charged later: over time it is the rate.
    let per_second = mesh.admitted.len() / 30;
    assert!((95..=110).contains(&per_second), "{per_second} a second");
}

#[test]
fn lost_and_late_answers_leave_it_within_the_bound() {
    let limit = Limit::new(100, 1, 100);
    let mut mesh = Mesh::new(limit, 30);
    mesh.run(30, 1000);
    let highest = highest_burst(&mesh.admitted, limit.interval_nanoseconds());
    assert!(highest <= mesh.bound(30), "{highest} over {}", mesh.bound(30));
    let per_second = mesh.admitted.len() / 30;
    assert!((50..=130).contains(&per_second), "{per_second} a second");
}

#[test]
fn without_the_sidecar_each_envoy_keeps_to_its_part() {
    let limit = Limit::new(100, 1, 100);
    let mut mesh = Mesh::new(limit, 100);
    mesh.run(20, 1000);
    let alone = 20 * 25 * ENVOYS + 25 * ENVOYS;
    assert!(mesh.admitted.len() <= alone + 20, "{}", mesh.admitted.len());
    assert!(mesh.admitted.len() >= 20 * 25 * ENVOYS * 9 / 10, "{}", mesh.admitted.len());
    // It comes back.
    mesh.lost_percent = 0;
    mesh.run(5, 1000);
    let before = mesh.admitted.len();
    mesh.run(10, 1000);
    let per_second = (mesh.admitted.len() - before) / 10;
    assert!((90..=110).contains(&per_second), "{per_second} a second");
}

#[test]
fn below_the_limit_nobody_is_refused() {
    let limit = Limit::new(1000, 1, 1000);
    let mut mesh = Mesh::new(limit, 0);
    mesh.run(10, 500);
    assert_eq!(mesh.admitted.len(), 5000);
}
