#![expect(clippy::arithmetic_side_effects, reason = "tests")]

use proptest::prelude::*;
use wardgate_core::time::UnixSeconds;

use super::{
    Due, KeyState, KeyTimes, MAX_TOKEN_LIFETIME_SECONDS, RETIRED_SECONDS, Schedule, due, signer,
};

const DAY: u64 = 86_400;

fn times(signs_from: u64, retires_at: Option<u64>, revoked_at: Option<u64>) -> KeyTimes {
    KeyTimes {
        signs_from: UnixSeconds(signs_from),
        retires_at: retires_at.map(UnixSeconds),
        revoked_at: revoked_at.map(UnixSeconds),
    }
}

#[track_caller]
fn check(key: KeyTimes, states: &[(u64, KeyState)]) {
    for (now, expected) in states {
        assert_eq!(key.state(UnixSeconds(*now)), *expected, "at {now}");
    }
}

#[test]
fn a_key_is_published_signs_retires_and_is_gone() {
    let gone = 200 + RETIRED_SECONDS;
    check(
        times(100, Some(200), None),
        &[
            (0, KeyState::Published),
            (99, KeyState::Published),
            (100, KeyState::Signing),
            (199, KeyState::Signing),
            (200, KeyState::Retired),
            (gone - 1, KeyState::Retired),
            (gone, KeyState::Gone),
        ],
    );
    check(times(100, None, None), &[(100, KeyState::Signing), (u64::MAX, KeyState::Signing)]);
}

#[test]
fn a_revoked_key_signs_nothing_and_stays_for_the_reason_of_its_tokens() {
    let gone = 200 + RETIRED_SECONDS;
    let states = [(150, KeyState::Revoked), (gone - 1, KeyState::Revoked), (gone, KeyState::Gone)];
    check(times(100, None, Some(200)), &states);
    check(times(100, Some(150), Some(200)), &states);
    check(times(300, Some(200), Some(150)), &states);
}

#[test]
fn a_key_that_was_published_and_never_signs_retires_too() {
    check(times(500, Some(200), None), &[(199, KeyState::Published), (200, KeyState::Retired)]);
}

#[test]
fn what_is_due_depends_on_times_and_configuration() {
    let schedule = Schedule { rotate_after_seconds: Some(1000), publish_ahead_seconds: 100 };
    let never = Schedule { rotate_after_seconds: None, ..schedule };
    let key = times(5000, None, None);
    let at = |keys: &[KeyTimes], wanted, now| due(keys, wanted, &schedule, UnixSeconds(now));
    assert_eq!(at(&[], true, 1), Due::First);
    assert_eq!(at(&[], false, 1), Due::Nothing);
    assert_eq!(at(&[key], true, 5899), Due::Nothing);
    let successor = |of, signs_from| Due::Successor { of, signs_from: UnixSeconds(signs_from) };
    assert_eq!(at(&[key], true, 5900), successor(0, 6000));
    // Nobody was there when it was due.
    assert_eq!(at(&[key], true, 9000), successor(0, 9100));
    assert_eq!(due(&[key], true, &never, UnixSeconds(u64::MAX)), Due::Nothing);
    let next = times(6000, None, None);
    let replaced = times(5000, Some(6000), None);
    assert_eq!(at(&[replaced, next], true, 5950), Due::Nothing);
    assert_eq!(at(&[replaced, next], true, 6000), Due::Nothing);
    assert_eq!(at(&[replaced, next], true, 6900), successor(1, 7000));
    let revoked = times(5000, Some(5000), Some(5500));
    assert_eq!(at(&[revoked], true, 5600), Due::First);
    // No longer configured: it goes a day after it would have been replaced.
    assert_eq!(at(&[key], false, 6000 + DAY - 1), Due::Nothing);
    assert_eq!(at(&[key], false, 6000 + DAY), Due::Retirement { of: 0 });
}

#[test]
fn of_two_that_may_sign_the_newer_does() {
    let (old, new) = (times(100, None, None), times(200, None, None));
    assert_eq!(signer(&[new, old], UnixSeconds(300)), Some(0));
    assert_eq!(signer(&[old, new], UnixSeconds(199)), Some(0));
    assert_eq!(signer(&[old, times(100, None, None)], UnixSeconds(300)), Some(1));
    assert_eq!(signer(&[old], UnixSeconds(99)), None);
}

/// What the sidecars of a store do over the years: they look after the keys whenever they run, and
/// sometimes somebody rotates at once.
struct World {
    schedule: Schedule,
    now: u64,
    keys: Vec<KeyTimes>,
    /// Tokens that were signed: by which key, until when they live.
    tokens: Vec<(usize, u64)>,
}

impl World {
    fn new(schedule: Schedule) -> Self {
        Self { schedule, now: 1_000_000, keys: Vec::new(), tokens: Vec::new() }
    }

    fn now(&self) -> UnixSeconds {
        UnixSeconds(self.now)
    }

    fn make(&mut self, signs_from: UnixSeconds) {
        self.keys.push(KeyTimes::from(signs_from));
    }

    fn look_after(&mut self) {
        match due(&self.keys, true, &self.schedule, self.now()) {
            Due::Nothing => {}
            Due::First => self.make(self.now()),
            Due::Successor { of, signs_from } => {
                assert!(signs_from.0 >= self.now + self.schedule.publish_ahead_seconds);
                self.keys[of].retires_at = Some(signs_from);
                self.make(signs_from);
            }
            Due::Retirement { .. } => panic!("the algorithm is wanted"),
        }
    }

    fn rotate_at_once(&mut self) {
        let now = self.now();
        for key in &mut self.keys {
            key.retires_at = Some(key.retires_at.unwrap_or(now).min(now));
        }
        self.make(now);
    }

    fn sign(&mut self) {
        let key = signer(&self.keys, self.now()).expect("a key signs at any time");
        self.tokens.push((key, self.now + MAX_TOKEN_LIFETIME_SECONDS));
    }

    fn check(&self) {
        let states: Vec<_> = self.keys.iter().map(|key| key.state(self.now())).collect();
        let count = |state| states.iter().filter(|it| **it == state).count();
        assert_eq!(count(KeyState::Signing), 1, "{states:?}");
        assert!(count(KeyState::Published) <= 1, "{states:?}");
        for (key, until) in &self.tokens {
            let alive = *until >= self.now;
            assert!(!alive || states[*key] != KeyState::Gone, "a good token has lost its key");
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    LookAfter,
    RotateAtOnce,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..2 * DAY).prop_map(Step::Pass),
        1 => (0..200 * DAY).prop_map(Step::Pass),
        4 => Just(Step::LookAfter),
        1 => Just(Step::RotateAtOnce),
    ]
}

proptest! {
    #[test]
    fn one_key_signs_at_any_time_and_no_good_token_loses_its_key(
        rotate_after_seconds in prop_oneof![Just(None), (DAY..100 * DAY).prop_map(Some)],
        publish_ahead_seconds in 300..=DAY,
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let schedule = Schedule { rotate_after_seconds, publish_ahead_seconds };
        let mut world = World::new(schedule);
        world.look_after();
        for step in steps {
            match step {
                Step::Pass(seconds) => world.now += seconds,
                Step::LookAfter => world.look_after(),
                Step::RotateAtOnce => world.rotate_at_once(),
            }
            world.sign();
            world.check();
        }
    }

    #[test]
    fn no_state_comes_again(
        signs_from in 0..1000_u64,
        retires_at in proptest::option::of(0..1000_u64),
        revoked_at in proptest::option::of(0..1000_u64),
        mut moments in proptest::collection::vec(0..2000 + RETIRED_SECONDS, 2..20),
    ) {
        moments.sort_unstable();
        let key = times(signs_from, retires_at, revoked_at);
        let states: Vec<_> = moments.iter().map(|now| key.state(UnixSeconds(*now))).collect();
        prop_assert!(states.is_sorted(), "{states:?}");
    }
}
