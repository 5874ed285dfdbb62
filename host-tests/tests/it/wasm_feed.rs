//! The feed in the VMs of one process: whatever is lost, late, forged, held up or trapped, what is
//! revoked does not pass, and what is broken heals.

use std::time::Duration;

use serde_json::{Value, json};
use wardgate_core::feed::RevocationTarget;
use wardgate_core::wire::{BUCKETS_PATH, FEED_PATH};
use wardgate_host_tests::wasm::{FakeSidecar, HttpAnswer, Mood, Outcome, Process, Request};

use crate::wasm_support::{
    Issuer, SECRET, assert_forwarded, assert_refused, claims, config, config_with, host, policy,
    read_with,
};

/// A change is known to every worker after so long.
const SOON: Duration = Duration::from_millis(50);
/// A lease runs out, another VM takes it, and asks.
const TAKEN_OVER: Duration = Duration::from_secs(4);
/// Two loadings that are not needed for the log's sake are half a minute apart.
const HEALED: Duration = Duration::from_mins(1);
const ISSUER: &str = "https://login.example.com";

/// A process of some VMs, and its sidecar.
pub(crate) struct Stand {
    pub(crate) process: Process,
    pub(crate) sidecar: FakeSidecar,
}

impl Stand {
    pub(crate) fn unheard(config: &Value, vms: usize) -> Self {
        let process = Process::start(host().config(config), vms).unwrap();
        Self { process, sidecar: FakeSidecar::new(SECRET) }
    }

    pub(crate) fn ready(config: &Value, vms: usize) -> Self {
        let mut stand = Self::unheard(config, vms);
        stand.until_ready();
        stand
    }

    #[track_caller]
    pub(crate) fn until_ready(&mut self) {
        let health = Request::new("GET", "/.wardgate/healthz");
        for _ in 0..500 {
            self.pass(Duration::from_millis(20));
            let statuses: Vec<_> =
                self.process.request(&health).iter().map(Outcome::status).collect();
            if statuses.iter().all(|status| *status == Some(200)) {
                return self.pass(SOON);
            }
        }
        panic!("not ready: {:#?}", self.process.vm(0).log_lines());
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.process.pass(time, &mut self.sidecar);
    }

    fn revoke_token(&mut self, id: &str) {
        let target = RevocationTarget::Token { issuer: ISSUER.to_owned(), token_id: id.to_owned() };
        self.sidecar.revoke(&target);
    }

    /// The VM whose question for news is the newest: one that gave way cannot take its own back.
    #[track_caller]
    fn poller(&mut self) -> usize {
        let asked = |vm: &mut wardgate_host_tests::wasm::Vm| {
            let calls = vm.calls().into_iter().filter(|call| call.endpoint() == FEED_PATH);
            calls.map(|call| call.made_at).max()
        };
        let vms = self.process.vms().enumerate();
        let asked = vms.filter_map(|(number, vm)| Some((asked(vm)?, number)));
        asked.max().expect("somebody asks").1
    }

    #[track_caller]
    fn assert_all(&mut self, token: &str, reason: Option<&str>) {
        for outcome in self.process.request(&read_with(token)) {
            match reason {
                Some(reason) => assert_refused(&outcome, reason),
                None => assert_forwarded(&outcome),
            }
        }
    }

    #[track_caller]
    fn assert_sound(&mut self) {
        for vm in self.process.vms() {
            assert_eq!(vm.trap(), None);
            assert_eq!(vm.misuse(), [""; 0]);
        }
    }
}

/// A token with these further claims.
fn token(more: &Value) -> String {
    let mut claims = claims("ann", &["viewer"]);
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Issuer::corp().sign(&claims)
}

fn with_id(id: &str) -> String {
    token(&json!({"jti": id}))
}

#[test]
fn one_vm_asks_and_all_are_ready() {
    let mut stand = Stand::ready(&config(), 4);
    stand.poller();
    stand.assert_all(&with_id("t"), None);
    stand.assert_sound();
}

#[test]
fn every_kind_of_revocation_stops_every_vm_soon() {
    let mut stand = Stand::ready(&config(), 3);
    let issuer = || ISSUER.to_owned();
    let now = wardgate_host_tests::wasm::START.as_secs();
    let kinds = [
        (json!({"jti": "a"}), RevocationTarget::Token { issuer: issuer(), token_id: "a".into() }),
        (json!({"sid": "s"}), RevocationTarget::Session { issuer: issuer(), session: "s".into() }),
        (json!({"sub": "u"}), RevocationTarget::Subject { issuer: issuer(), subject: "u".into() }),
        (
            json!({"client_id": "c"}),
            RevocationTarget::Client { issuer: issuer(), client_id: "c".into() },
        ),
        (json!({"azp": "z"}), RevocationTarget::Client { issuer: issuer(), client_id: "z".into() }),
    ];
    let other = with_id("other");
    for (more, target) in kinds {
        let (old, seen) = (token(&more), target.clone());
        stand.assert_all(&old, None);
        stand.sidecar.feed.revoke(&target, Some(now), 0);
        stand.pass(SOON);
        stand.assert_all(&old, Some("token-revoked"));
        let mut younger = more;
        younger["iat"] = json!(now + 1);
        stand.assert_all(&token(&younger), None);
        stand.sidecar.feed.revoke(&seen, None, 0);
        stand.pass(SOON);
        stand.assert_all(&token(&younger), Some("token-revoked"));
        stand.assert_all(&other, None);
    }
    let key = RevocationTarget::SigningKey { issuer: issuer(), key_id: "k1".into() };
    stand.sidecar.revoke(&key);
    stand.pass(SOON);
    stand.assert_all(&other, Some("token-revoked"));
    stand.assert_sound();
}

#[test]
fn a_poller_that_traps_is_replaced_and_comes_back_knowing_all() {
    let mut stand = Stand::ready(&config(), 3);
    let (first, second) = (with_id("first"), with_id("second"));
    stand.revoke_token("first");
    stand.pass(SOON);
    let poller = stand.poller();
    stand.process.vm(poller).kill();
    stand.revoke_token("second");
    stand.pass(TAKEN_OVER);
    assert_ne!(stand.poller(), poller);
    stand.process.vm(poller).restart_after_trap().unwrap();
    // At once, from what stands in the memory of the process: by then it must refuse, or not be
    // ready; and soon it is.
    for revoked in [&first, &second] {
        let outcome = stand.process.vm(poller).request(read_with(revoked));
        assert!(!outcome.is_forwarded(), "{outcome:?}");
    }
    stand.pass(Duration::from_millis(500));
    stand.assert_all(&first, Some("token-revoked"));
    stand.assert_all(&second, Some("token-revoked"));
    stand.assert_all(&with_id("good"), None);
    stand.assert_sound();
}

#[test]
fn a_poller_that_hangs_is_replaced_and_does_no_harm_when_it_goes_on() {
    let mut stand = Stand::ready(&config(), 3);
    let poller = stand.poller();
    stand.process.hold(poller, true);
    stand.revoke_token("a");
    stand.pass(TAKEN_OVER);
    let revoked = with_id("a");
    for number in (0..3).filter(|number| *number != poller) {
        assert_refused(&stand.process.vm(number).request(read_with(&revoked)), "token-revoked");
    }
    stand.process.hold(poller, false);
    stand.revoke_token("b");
    stand.pass(Duration::from_secs(3));
    for id in ["a", "b"] {
        stand.assert_all(&with_id(id), Some("token-revoked"));
    }
    stand.poller();
    stand.assert_sound();
}

#[test]
fn a_vm_that_serves_gives_way_to_one_that_does_not() {
    let mut stand = Stand::ready(&config(), 3);
    let good = with_id("good");
    // Whichever polls serves; after a while it is one that nobody asks anything.
    let idle = (stand.poller() + 1) % 3;
    for _ in 0..600 {
        for number in (0..3).filter(|number| *number != idle) {
            assert_forwarded(&stand.process.vm(number).request(read_with(&good)));
        }
        stand.pass(Duration::from_millis(20));
    }
    assert_eq!(stand.poller(), idle);
    stand.revoke_token("good");
    stand.pass(SOON);
    stand.assert_all(&good, Some("token-revoked"));
}

#[test]
fn while_tables_are_loaded_anew_nobody_waits_and_nothing_revoked_passes() {
    let mut stand = Stand::ready(&config(), 3);
    let (revoked, good) = (with_id("revoked"), with_id("good"));
    for round in 0..4 {
        stand.revoke_token("revoked");
        stand.pass(SOON);
        // The store is restored, or fails over: no cursor is known any more.
        stand.sidecar.feed.begin_another_log();
        for step in 0..100 {
            let late = format!("late-{round}-{step}");
            stand.revoke_token(&late);
            stand.pass(Duration::from_millis(10));
            stand.assert_all(&revoked, Some("token-revoked"));
            stand.assert_all(&good, None);
        }
        stand.pass(SOON);
        for step in 0..100 {
            stand.assert_all(&with_id(&format!("late-{round}-{step}")), Some("token-revoked"));
        }
    }
    stand.assert_sound();
}

#[test]
fn a_table_that_grows_is_laid_out_anew_and_stays_right() {
    let mut stand = Stand::ready(&config(), 2);
    for number in 0..4000 {
        stand.revoke_token(&format!("t{number}"));
        if number % 50 == 0 {
            stand.pass(Duration::from_millis(10));
        }
    }
    let before = stand.sidecar.seen.iter().filter(|(path, _)| path == BUCKETS_PATH).count();
    stand.pass(Duration::from_mins(1));
    let after = stand.sidecar.seen.iter().filter(|(path, _)| path == BUCKETS_PATH).count();
    assert!(after > before, "the layout was never changed");
    for number in (0..4000).step_by(97) {
        stand.assert_all(&with_id(&format!("t{number}")), Some("token-revoked"));
    }
    stand.assert_all(&with_id("good"), None);
    stand.assert_sound();
}

#[test]
fn a_log_that_was_trimmed_behind_a_reader_loses_nothing() {
    let mut stand = Stand::ready(&config(), 2);
    stand.sidecar.mood(FEED_PATH, Mood::Silent);
    stand.pass(Duration::from_secs(7));
    stand.revoke_token("a");
    stand.sidecar.feed.trim();
    stand.sidecar.mood(FEED_PATH, Mood::Honest);
    stand.pass(Duration::from_secs(9));
    stand.assert_all(&with_id("a"), Some("token-revoked"));
    stand.assert_all(&with_id("good"), None);
}

#[test]
fn answers_that_are_lost_late_or_forged_delay_a_revocation_and_no_more() {
    let bad = [
        Mood::Silent,
        Mood::NoMac,
        Mood::OtherSecret,
        Mood::Tampered,
        Mood::Replayed,
        Mood::MadeUp(HttpAnswer::timeout()),
        Mood::MadeUp(HttpAnswer::Reset),
        Mood::Says(503, b"{}".to_vec()),
        Mood::Says(200, b"{}".to_vec()),
    ];
    let mut stand = Stand::ready(&config(), 3);
    for (number, mood) in bad.into_iter().enumerate() {
        for path in [FEED_PATH, BUCKETS_PATH] {
            stand.sidecar.mood(path, mood.clone());
        }
        let id = format!("t{number}");
        stand.revoke_token(&id);
        stand.pass(Duration::from_secs(6));
        for path in [FEED_PATH, BUCKETS_PATH] {
            stand.sidecar.mood(path, Mood::Honest);
        }
        stand.pass(Duration::from_secs(9));
        stand.assert_all(&with_id(&id), Some("token-revoked"));
        stand.assert_all(&with_id("good"), None);
    }
    stand.assert_sound();
}

#[test]
fn no_vm_goes_on_for_longer_than_max_stale() {
    let mut stand = Stand::ready(&config_with("feed", json!({"max_stale_seconds": 20})), 3);
    stand.sidecar.mood_everywhere(&Mood::Silent);
    stand.pass(Duration::from_secs(14));
    stand.assert_all(&with_id("good"), None);
    stand.pass(Duration::from_secs(7));
    stand.assert_all(&with_id("good"), Some("sidecar-unreachable"));
    // A VM that starts now knows no better.
    stand.process.add().unwrap();
    stand.pass(Duration::from_secs(1));
    for outcome in stand.process.request(&read_with(&with_id("good"))) {
        assert_eq!(outcome.status(), Some(503), "{outcome:?}");
    }
}

#[test]
fn the_policy_of_the_feed_is_swapped_at_once_and_a_bad_one_is_refused() {
    let mut stand = Stand::unheard(&json!({"feed": {"cluster": "wardgate_sidecar"}}), 2);
    stand.pass(Duration::from_secs(1));
    let good = with_id("good");
    stand.assert_all(&good, Some("not-ready"));
    stand.sidecar.feed.set_policy(&policy(), 0);
    stand.until_ready();
    stand.assert_all(&good, None);
    let mut stricter = policy();
    stricter["routes"][0]["require"] = json!({"all": ["write"]});
    stand.sidecar.feed.set_policy(&stricter, 0);
    stand.pass(SOON);
    stand.assert_all(&good, Some("permission-missing"));
    let mut bad = policy();
    bad["routes"][0]["require"] = json!({"all": ["write"], "sometimes": true});
    stand.sidecar.feed.set_policy(&bad, 0);
    stand.pass(SOON);
    stand.assert_all(&good, Some("permission-missing"));
    let said = |vm: &wardgate_host_tests::wasm::Vm| {
        vm.log_lines().iter().any(|line| line.text.contains("sometimes"))
    };
    assert!(stand.process.vms().all(|vm| said(vm)), "the log says where");
    stand.sidecar.feed.set_policy(&policy(), 0);
    stand.pass(SOON);
    stand.assert_all(&good, None);
    stand.assert_sound();
}

/// What an enemy may do to a value of shared data, whoever wrote it.
fn spoiled(value: &[u8], old: &[u8], how: usize) -> Vec<u8> {
    match how {
        0 => Vec::new(),
        1 => vec![0; value.len()],
        2 => value.iter().map(|byte| byte ^ 1).collect(),
        3 => value[..value.len() / 2].to_vec(),
        4 => [value, value].concat(),
        _ => old.to_vec(),
    }
}

#[test]
fn whoever_writes_into_shared_data_can_stop_but_never_let_pass() {
    let revoked = with_id("revoked");
    for how in 0..6 {
        let mut stand = Stand::ready(&config(), 2);
        let key = stand.sidecar.add_api_key(1, "ci", &["viewer"]);
        stand.pass(SOON);
        let old: std::collections::BTreeMap<_, _> = {
            let vm = stand.process.vm(0);
            let keys = vm.shared_keys();
            keys.into_iter().map(|key| (key.clone(), vm.shared_get(&key).unwrap())).collect()
        };
        stand.revoke_token("revoked");
        stand.sidecar.api_keys.get_mut(key.id()).unwrap().state =
            wardgate_core::wire::ApiKeyState::Revoked;
        stand.pass(SOON);
        stand.assert_all(&revoked, Some("token-revoked"));
        let keys = stand.process.vm(0).shared_keys();
        for key in &keys {
            let vm = stand.process.vm(0);
            let value = vm.shared_get(key).unwrap();
            let empty = Vec::new();
            vm.shared_set(key, spoiled(&value, old.get(key).unwrap_or(&empty), how));
        }
        // Before anything is repaired, while it is, and after.
        for _ in 0..60 {
            for outcome in stand.process.request(&read_with(&revoked)) {
                assert!(!outcome.is_forwarded(), "{how}: {outcome:?}");
            }
            let with_key = crate::wasm_support::read_with_key(&key);
            for outcome in stand.process.request(&with_key) {
                assert!(!outcome.is_forwarded(), "{how}: {outcome:?}");
            }
            stand.pass(Duration::from_millis(20));
        }
        // A VM that was not there when all was well believes no more of it.
        stand.process.add().unwrap();
        for _ in 0..60 {
            for outcome in stand.process.request(&read_with(&revoked)) {
                assert!(!outcome.is_forwarded(), "{how}: {outcome:?}");
            }
            stand.pass(Duration::from_millis(50));
        }
        stand.pass(HEALED);
        // Nobody has asked in between: what was found broken once is not forgotten.
        stand.assert_all(&revoked, Some("token-revoked"));
        stand.assert_all(&with_id("good"), None);
        stand.assert_sound();
    }
}
