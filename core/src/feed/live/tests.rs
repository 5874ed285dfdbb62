//! Several VMs over one memory, in a world that does not mean well: answers are lost, late and
//! doubled, VMs trap, hang and cut into each other's callbacks, logs restart, tables are laid out
//! anew, and an enemy writes whatever there ever was to any key.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use super::desk::Desk;
use super::meta::Meta;
use super::{Ask, Collision, LocalMemory, Member, MemberLimits, Now, SharedMemory};
use crate::base64url;
use crate::feed::{Fingerprint, Layout, Revocation, Table, decode_api_key};
use crate::secret::Secret;
use crate::wire::feed::{ChangeKind, Layouts, Settings};
use crate::wire::{ApiKeyRecord, ApiKeyState};

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1000 * MILLISECOND;
const TICK: u64 = 10 * MILLISECOND;
/// How long an enemy can keep a VM from what was announced before it closes, at most.
const HELD_BACK: u64 = 5 * SECOND;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length.try_into().unwrap())).unwrap()
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

type Intrusion = Box<dyn FnOnce(&LocalMemory)>;

/// Lets something else happen between two accesses of one callback, as it does when VMs run at once.
#[derive(Default)]
struct Memory {
    inner: LocalMemory,
    countdown: Cell<u64>,
    intrusion: RefCell<Option<Intrusion>>,
}

impl Memory {
    fn step(&self) {
        let left = self.countdown.get();
        self.countdown.set(left.saturating_sub(1));
        if left == 1 {
            let intrusion = self.intrusion.borrow_mut().take();
            if let Some(intrusion) = intrusion {
                intrusion(&self.inner);
            }
        }
    }
}

impl SharedMemory for Memory {
    fn get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.step();
        self.inner.get(key)
    }

    fn set(&self, key: &str, value: &[u8], version: Option<u32>) -> Result<(), Collision> {
        self.step();
        self.inner.set(key, value, version)
    }
}

#[derive(Clone)]
struct Vm {
    member: Rc<RefCell<Member>>,
    born: u64,
    hangs_until: u64,
}

struct Flight {
    member: Rc<RefCell<Member>>,
    ask: Ask,
    sent: u64,
    arrives: Option<(u64, Option<Vec<u8>>)>,
}

/// What may go wrong.
#[derive(Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a trouble of its own")]
struct Chaos {
    loses: bool,
    /// The sidecar is away half of the time.
    goes_away: bool,
    kills: bool,
    hangs: bool,
    intrudes: bool,
    restarts: bool,
    lays_out: bool,
    enemy: bool,
}

struct World {
    memory: Memory,
    desk: Desk,
    vms: Vec<Vm>,
    flights: Rc<RefCell<Vec<Flight>>>,
    random: Random,
    now: u64,
    chaos: Chaos,
    is_up: bool,
    number: u32,
    /// Log and sequence of each revocation.
    revoked: BTreeMap<Fingerprint, (u64, u64)>,
    keys: BTreeMap<String, (u64, u64, ApiKeyState)>,
    log: u64,
    /// When a cursor of this log and sequence was announced.
    announced: BTreeMap<(u64, u64), u64>,
    /// Everything that ever stood anywhere.
    history: Vec<(String, Vec<u8>)>,
    seeds: u64,
}

fn secret() -> Secret {
    Secret::new(vec![5; 32])
}

fn settings(generation: u64) -> Settings {
    Settings {
        generation: format!("g{generation}"),
        api_key_digest_key: base64url::encode(&[9; 32]),
        api_key_prefixes: Vec::new(),
        key_sets: Vec::new(),
        policy: None,
    }
}

fn fingerprint(number: u32) -> Fingerprint {
    Fingerprint::of("test", &[&number.to_be_bytes()])
}

fn api_key(number: u64, state: ApiKeyState) -> ApiKeyRecord {
    ApiKeyRecord {
        id: format!("key{number}"),
        environment: "test".to_owned(),
        name: "ci".to_owned(),
        digest: base64url::encode(&[7; 32]),
        issuer: None,
        subject: None,
        roles: Vec::new(),
        scopes: None,
        expires_at: None,
        state,
        previous: None,
        networks: Vec::new(),
        rate_limit: None,
    }
}

impl World {
    fn new(seed: u64, vms: usize, chaos: Chaos) -> Self {
        let mut world = Self {
            memory: Memory::default(),
            desk: Desk::new(&secret(), settings(0)),
            vms: Vec::new(),
            flights: Rc::default(),
            random: Random(seed),
            now: SECOND,
            chaos,
            is_up: true,
            number: 0,
            revoked: BTreeMap::new(),
            keys: BTreeMap::new(),
            log: 1,
            announced: BTreeMap::new(),
            history: Vec::new(),
            seeds: seed << 16,
        };
        world.vms = (0..vms).map(|_| world.new_vm()).collect();
        world
    }

    fn new_vm(&mut self) -> Vm {
        self.seeds += 1;
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seeds.to_be_bytes());
        let limits = MemberLimits { max_stale_nanoseconds: 60 * SECOND };
        let mut member = Member::new("sidecar", &secret(), limits, seed).unwrap();
        member.catch_up(&self.memory, self.time());
        Vm { member: Rc::new(RefCell::new(member)), born: self.now, hangs_until: 0 }
    }

    fn time(&self) -> Now {
        Now { monotonic: self.now, wall_seconds: 1_800_000_000 + self.now / SECOND }
    }

    fn change(&mut self) {
        match self.random.below(4) {
            0 => {
                let number = self.random.below(30);
                let state = [ApiKeyState::Active, ApiKeyState::Disabled][self.random.index(2)];
                self.desk.set_api_key(api_key(number, state), self.now / MILLISECOND);
                let id = format!("key{number}");
                self.keys.insert(id, (self.log, self.desk.head(), state));
            }
            1 if !self.keys.is_empty() => {
                let id = self.keys.keys().next().unwrap().clone();
                self.keys.remove(&id);
                let fingerprint = Fingerprint::of_api_key(&id);
                self.desk.change(ChangeKind::ApiKeyGone { fingerprint }, 0);
            }
            _ => {
                self.number += 1;
                let fingerprint = fingerprint(self.number);
                let revocation = Revocation { fingerprint, issued_until: None, until: u64::MAX };
                self.desk.revoke(revocation, self.now / MILLISECOND);
                self.revoked.insert(fingerprint, (self.log, self.desk.head()));
            }
        }
    }

    /// One tick of the world.
    fn step(&mut self) {
        self.now += TICK;
        self.disturb();
        for index in 0..self.vms.len() {
            let vm = self.vms[index].clone();
            if vm.hangs_until > self.now {
                continue;
            }
            self.arm(index);
            let asks = vm.member.borrow_mut().tick(&self.memory, self.time(), index != 0);
            self.disarm();
            self.send(&vm.member, asks);
            self.after_callback();
        }
        self.deliver();
    }

    fn disturb(&mut self) {
        let chaos = self.chaos;
        if chaos.kills && self.random.one_in(150) {
            let index = self.random.index(self.vms.len());
            self.vms[index] = self.new_vm();
        }
        if chaos.hangs && self.random.one_in(100) {
            let index = self.random.index(self.vms.len());
            self.vms[index].hangs_until = self.now + self.random.below(3 * SECOND);
        }
        if chaos.restarts && self.random.one_in(400) {
            self.log += 1;
            let base = self.random.below(1000);
            self.desk.restart_log(base);
        }
        if chaos.goes_away && self.random.one_in(300) {
            self.is_up = !self.is_up;
        }
        if chaos.lays_out && self.random.one_in(500) {
            let layout = Layout::for_records(1000 << self.random.below(4));
            self.desk.set_layouts(Layouts { revocations: layout, api_keys: layout });
        }
        if self.random.one_in(600) {
            let generation = self.random.next();
            self.desk.set_settings(settings(generation));
        }
        if chaos.enemy && !self.history.is_empty() && self.random.one_in(4) {
            self.spoil();
        }
    }

    /// Writes to some key what stood there before, or elsewhere, or never.
    fn spoil(&mut self) {
        let keys = self.memory.inner.keys();
        let small: Vec<&String> =
            keys.iter().filter(|key| key.ends_with(char::is_alphabetic)).collect();
        let key = if self.random.one_in(2) && !small.is_empty() {
            small[self.random.index(small.len())].clone()
        } else {
            keys[self.random.index(keys.len())].clone()
        };
        let value = match self.random.below(8) {
            0 => Vec::new(),
            1 => b"junk".to_vec(),
            2 => self.history[self.random.index(self.history.len())].1.clone(),
            _ => {
                let old: Vec<&Vec<u8>> = self
                    .history
                    .iter()
                    .filter(|(of, _)| *of == key)
                    .map(|(_, value)| value)
                    .collect();
                if old.is_empty() {
                    return;
                }
                old[self.random.index(old.len())].clone()
            }
        };
        self.memory.inner.set(&key, &value, None).unwrap();
    }

    /// Has another VM tick in the middle of the next callback.
    fn arm(&mut self, index: usize) {
        if !self.chaos.intrudes || self.vms.len() < 2 || !self.random.one_in(3) {
            return;
        }
        let other = (index + 1 + self.random.index(self.vms.len() - 1)) % self.vms.len();
        let member = Rc::clone(&self.vms[other].member);
        let (flights, now) = (Rc::clone(&self.flights), self.time());
        self.memory.countdown.set(1 + self.random.below(40));
        *self.memory.intrusion.borrow_mut() = Some(Box::new(move |memory| {
            let Ok(mut borrowed) = member.try_borrow_mut() else { return };
            let asks = borrowed.tick(memory, now, true);
            let flying = asks.into_iter().map(|ask| Flight {
                member: Rc::clone(&member),
                ask,
                sent: now.monotonic,
                arrives: None,
            });
            flights.borrow_mut().extend(flying);
        }));
    }

    fn disarm(&self) {
        self.memory.countdown.set(0);
        self.memory.intrusion.borrow_mut().take();
    }

    fn send(&mut self, member: &Rc<RefCell<Member>>, asks: Vec<Ask>) {
        let flying = asks.into_iter().map(|ask| Flight {
            member: Rc::clone(member),
            ask,
            sent: self.now,
            arrives: None,
        });
        self.flights.borrow_mut().extend(flying);
    }

    /// The sidecar answers what it can, and what has arrived is delivered.
    fn deliver(&mut self) {
        let flights = core::mem::take(&mut *self.flights.borrow_mut());
        let mut waiting = Vec::new();
        for mut flight in flights {
            let waited = self.now - flight.sent >= flight.ask.wait_milliseconds * MILLISECOND;
            if flight.arrives.is_none()
                && (!self.is_up || waited || self.desk.has_news(&flight.ask.path))
            {
                let is_lost = !self.is_up || (self.chaos.loses && self.random.one_in(30));
                let body = if is_lost { None } else { self.desk.answer(&flight.ask.path) };
                let most = if self.chaos.loses { 400 * MILLISECOND } else { TICK };
                flight.arrives = Some((self.now + self.random.below(most), body));
            }
            match flight.arrives.clone() {
                Some((at, body)) if at <= self.now => {
                    let vm = self.vms.iter().find(|vm| Rc::ptr_eq(&vm.member, &flight.member));
                    // The answer to a VM that is gone goes nowhere; one that hangs gets it later.
                    let Some(vm) = vm.cloned() else { continue };
                    if vm.hangs_until > self.now {
                        waiting.push(flight);
                        continue;
                    }
                    let times = if self.chaos.loses && self.random.one_in(10) { 2 } else { 1 };
                    for _ in 0..times {
                        let index =
                            self.vms.iter().position(|one| Rc::ptr_eq(&one.member, &vm.member));
                        self.arm(index.unwrap());
                        let asks = vm.member.borrow_mut().answered(
                            &self.memory,
                            flight.ask.id,
                            body.as_deref(),
                            self.time(),
                        );
                        self.disarm();
                        self.send(&vm.member, asks);
                        self.after_callback();
                    }
                }
                _ => waiting.push(flight),
            }
        }
        self.flights.borrow_mut().extend(waiting);
    }

    /// Notes what an honest VM has announced, and what stands where.
    fn after_callback(&mut self) {
        let vault = Rc::clone(&self.vms[0].member.borrow().vault);
        if let (Some(Meta { cursor: Some(cursor), image: Some(_), .. }), _) =
            Meta::read(&self.memory.inner, &vault)
        {
            let (log, sequence) = cursor.split_once('.').unwrap();
            let key = (log.parse().unwrap(), sequence.parse().unwrap());
            self.announced.entry(key).or_insert(self.now);
        }
        if self.chaos.enemy && self.random.one_in(20) {
            let keys = self.memory.inner.keys();
            let index = self.random.index(keys.len());
            for key in keys.iter().cycle().skip(index).take(20) {
                let (value, _) = self.memory.inner.get(key).unwrap();
                self.history.push((key.clone(), value));
            }
        }
    }

    /// When what has this sequence of this log was announced first.
    fn announced_at(&self, log: u64, sequence: u64) -> Option<u64> {
        let same = self.announced.range((log, sequence)..=(log, u64::MAX));
        // Another log holds all that was before it.
        let later = self.announced.range((log + 1, 0)..);
        same.chain(later).map(|(_, at)| *at).min()
    }

    /// No VM that decides admits what was announced as revoked, `patience` after it was.
    fn check_safety(&self, patience: u64) {
        for vm in &self.vms {
            let member = vm.member.borrow();
            let replica = member.replica();
            if vm.hangs_until > self.now || replica.state(self.now).is_err() {
                continue;
            }
            for (fingerprint, (log, sequence)) in self.revoked.iter().rev().take(40) {
                let Some(at) = self.announced_at(*log, *sequence) else { continue };
                if self.now < at + patience || (self.chaos.enemy && vm.born + SECOND > at) {
                    continue;
                }
                let found = replica.find(&self.memory.inner, Table::Revocations, fingerprint);
                assert_ne!(found, Ok(None), "admitted at {}: announced at {at}", self.now);
            }
            for (id, (log, sequence, state)) in &self.keys {
                let Some(at) = self.announced_at(*log, *sequence) else { continue };
                if self.now < at + patience || *state == ApiKeyState::Active {
                    continue;
                }
                let fingerprint = Fingerprint::of_api_key(id);
                let found = replica.find(&self.memory.inner, Table::ApiKeys, &fingerprint);
                if let Ok(Some(found)) = found {
                    let record = decode_api_key(&found.content).unwrap();
                    assert_eq!(record.state, ApiKeyState::Disabled, "{id} grew at {}", self.now);
                }
            }
        }
    }

    /// Runs without trouble until every VM has exactly what the model has.
    fn check_heals(&mut self, within: u64) {
        self.chaos = Chaos::default();
        self.is_up = true;
        for vm in &mut self.vms {
            vm.hangs_until = 0;
        }
        let until = self.now + within;
        let mut differences = vec!["not looked at".to_owned()];
        while self.now < until && !differences.is_empty() {
            for _ in 0..50 {
                self.step();
            }
            differences = self.differences();
        }
        assert_eq!(differences, Vec::<String>::new(), "after {} s", within / SECOND);
    }

    fn differences(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (index, vm) in self.vms.iter().enumerate() {
            let member = vm.member.borrow();
            let replica = member.replica();
            if let Err(reason) = replica.state(self.now) {
                found.push(format!("VM {index}: {reason:?}"));
            }
            for number in 1..self.number + 20 {
                let fingerprint = fingerprint(number);
                let is_revoked = self.revoked.contains_key(&fingerprint);
                let result = replica.find(&self.memory.inner, Table::Revocations, &fingerprint);
                if result.as_ref().map(Option::is_some) != Ok(is_revoked) {
                    found.push(format!("VM {index}, revocation {number}: {result:?}"));
                }
            }
            for number in 0..30 {
                let id = format!("key{number}");
                let fingerprint = Fingerprint::of_api_key(&id);
                let result = replica.find(&self.memory.inner, Table::ApiKeys, &fingerprint);
                let state = result.as_ref().map(|found| {
                    found.as_ref().map(|found| decode_api_key(&found.content).unwrap().state)
                });
                let expected = self.keys.get(&id).map(|(_, _, state)| *state);
                if state != Ok(expected) {
                    found.push(format!("VM {index}, {id}: {state:?}, not {expected:?}"));
                }
            }
        }
        found
    }

    fn pollers(&self) -> usize {
        self.vms.iter().filter(|vm| vm.member.borrow().is_poller()).count()
    }
}

#[track_caller]
fn run(chaos: Chaos, seeds: core::ops::Range<u64>, patience: u64) {
    let mut announced = 0;
    for seed in seeds {
        let mut world = World::new(seed, 4, chaos);
        for step in 0..2500 {
            if world.random.one_in(8) {
                world.change();
            }
            world.step();
            if step % 5 == 0 {
                world.check_safety(patience);
            }
        }
        announced += world.announced.len();
        world.check_heals(150 * SECOND);
    }
    assert!(announced > 100, "only {announced} states were ever announced");
}

/// One tick after it was announced, and as long as a VM may be blind.
const PATIENCE: u64 = TICK + 510 * MILLISECOND;

#[test]
fn in_a_peaceful_world_all_vms_follow_within_two_ticks() {
    let mut world = World::new(1, 4, Chaos::default());
    for _ in 0..200 {
        world.step();
    }
    assert_eq!(world.pollers(), 1);
    assert_eq!(world.differences(), Vec::<String>::new());
    for _ in 0..500 {
        if world.random.one_in(3) {
            world.change();
        }
        world.step();
        world.check_safety(2 * TICK);
    }
    world.check_heals(SECOND);
}

#[test]
fn answers_lost_late_and_doubled_admit_nothing_and_heal() {
    run(Chaos { loses: true, goes_away: true, ..Chaos::default() }, 10..13, PATIENCE);
}

#[test]
fn vms_that_trap_hang_and_run_into_each_other_admit_nothing_and_heal() {
    let chaos = Chaos { kills: true, hangs: true, intrudes: true, ..Chaos::default() };
    run(chaos, 20..24, PATIENCE);
}

#[test]
fn logs_that_restart_and_tables_laid_out_anew_admit_nothing_and_heal() {
    run(Chaos { restarts: true, lays_out: true, ..Chaos::default() }, 30..33, PATIENCE);
}

#[test]
fn everything_at_once_admits_nothing_and_heals() {
    let chaos = Chaos {
        loses: true,
        goes_away: true,
        kills: true,
        hangs: true,
        intrudes: true,
        restarts: true,
        lays_out: true,
        enemy: false,
    };
    run(chaos, 40..45, PATIENCE);
}

#[test]
fn an_enemy_who_writes_anything_anywhere_only_closes_gates() {
    run(Chaos { enemy: true, ..Chaos::default() }, 60..63, HELD_BACK);
    let chaos = Chaos { enemy: true, loses: true, hangs: true, intrudes: true, ..Chaos::default() };
    run(chaos, 70..73, HELD_BACK);
}

#[test]
fn a_vm_that_begins_is_ready_at_once_from_what_others_have_left() {
    let mut world = World::new(1, 2, Chaos::default());
    let layout = Layout::for_records(1_000_000);
    world.desk.set_layouts(Layouts { revocations: layout, api_keys: layout });
    for _ in 0..50 {
        world.change();
    }
    for _ in 0..20_000 {
        world.step();
        if world.differences().is_empty() {
            break;
        }
    }
    let vm = world.new_vm();
    world.vms.push(vm);
    assert_eq!(world.differences(), Vec::<String>::new());
    let vm = world.vms[2].member.borrow();
    assert_eq!(
        vm.replica().find(&super::NoMemory, Table::Revocations, &fingerprint(9999)),
        Ok(None)
    );
}

#[test]
fn what_was_found_broken_once_heals_although_the_poller_is_replaced_and_nobody_looks_again() {
    let mut world = World::new(3, 3, Chaos::default());
    let steps = |world: &mut World, seconds: u64| {
        for _ in 0..seconds * SECOND / TICK {
            world.step();
        }
    };
    steps(&mut world, 2);
    let old: Vec<_> = world.memory.inner.keys();
    let old = old.into_iter().map(|key| (world.memory.inner.get(&key).unwrap().0, key));
    let old: Vec<_> = old.collect();
    for _ in 0..40 {
        world.change();
        world.step();
    }
    steps(&mut world, 1);
    for (value, key) in &old {
        world.memory.inner.set(key, value, None).unwrap();
    }
    steps(&mut world, 2);
    let vm = world.new_vm();
    world.vms.push(vm);
    steps(&mut world, 1);
    assert_ne!(world.differences(), Vec::<String>::new(), "nothing was broken");
    // The wish is heard, and whoever heard it is gone before it may load again.
    world.step();
    world.step();
    let poller = world.vms.iter().position(|vm| vm.member.borrow().is_poller()).unwrap();
    world.vms[poller] = world.new_vm();
    steps(&mut world, 60);
    assert_eq!(world.differences(), Vec::<String>::new());
}
