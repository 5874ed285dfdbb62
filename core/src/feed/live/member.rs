//! A VM's part in the feed of its process.

use std::rc::Rc;

use super::lease::{self, Candidate, Standing};
use super::memory::SharedMemory;
use super::poller::{Lost, Poller, PollerFigures};
use super::replica::Replica;
use super::vault::Vault;
use crate::feed::Fingerprint;
use crate::secret::Secret;
use crate::wire::feed::MAX_WAIT_MILLISECONDS;

/// How long a VM counts as serving after a request.
const SERVES_NANOSECONDS: u64 = 10_000_000_000;
/// How long a question waits for news at most.
const WAIT_MILLISECONDS: u64 = 5000;

/// The time, by both clocks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Now {
    /// The monotonic clock, in nanoseconds: the same for all VMs of a process.
    pub monotonic: u64,
    /// The wall clock, in seconds since the epoch.
    pub wall_seconds: u64,
}

/// Something to ask the sidecar, by `GET` and without a body.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ask {
    /// Names the question; the answer is given back with it.
    pub id: u64,
    /// Path and query.
    pub path: String,
    /// How long the sidecar may wait for news.
    pub wait_milliseconds: u64,
}

/// What a member is configured with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MemberLimits {
    /// How long a gate goes on without hearing from the sidecar, in nanoseconds.
    pub max_stale_nanoseconds: u64,
}

/// A VM's part in the feed of its process: it follows, and if it has the lease it polls.
#[derive(Debug)]
pub struct Member {
    pub(super) vault: Rc<Vault>,
    holder: Fingerprint,
    replica: Replica,
    poller: Option<Poller>,
    figures: PollerFigures,
    limits: MemberLimits,
    next_id: u64,
    fence: u64,
    served: Option<u64>,
}

impl Member {
    /// A part in the feed of the sidecar at `cluster`, under the feed secret. `seed` is random.
    pub fn new(
        cluster: &str,
        secret: &Secret,
        limits: MemberLimits,
        seed: [u8; 32],
    ) -> Option<Self> {
        let vault = Rc::new(Vault::new(cluster, secret, seed)?);
        let holder = vault.draw_name();
        let replica = Replica::new(Rc::clone(&vault), limits.max_stale_nanoseconds);
        Some(Self {
            vault,
            holder,
            replica,
            poller: None,
            figures: PollerFigures::default(),
            limits,
            next_id: 0,
            fence: 0,
            served: None,
        })
    }

    /// Takes over other limits: a new configuration of the same feed.
    pub fn set_limits(&mut self, limits: MemberLimits) {
        self.limits = limits;
        self.replica.set_max_stale(limits.max_stale_nanoseconds);
    }

    /// What this VM knows.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// When changes were made that were taken in since it was asked last: milliseconds since the
    /// epoch.
    pub fn take_ages(&mut self) -> Vec<u64> {
        self.replica.take_ages()
    }

    /// Whether it decides, polls, and has taken in everything that it was told.
    pub fn is_settled(&self, now: Now) -> bool {
        self.replica.state(now.monotonic).is_ok()
            && self.poller.as_ref().is_some_and(Poller::is_settled)
    }

    /// Whether this VM polls.
    pub fn is_poller(&self) -> bool {
        self.poller.is_some()
    }

    /// What the poller of this VM has counted.
    pub fn figures(&self) -> PollerFigures {
        self.figures
    }

    /// How many records the tables have: revocations and API keys.
    pub fn records(&self) -> [u64; 2] {
        let meta = self.replica.newest.as_ref();
        meta.and_then(|meta| meta.image).map_or([0; 2], |image| image.records)
    }

    /// Reads all that there is: for a VM that has just begun, and may take its time.
    pub fn catch_up(&mut self, memory: &dyn SharedMemory, now: Now) {
        self.replica.catch_up(memory, now.monotonic);
    }

    /// Does what is due; `serves` says whether requests came since the last tick. Returns what is
    /// to be asked.
    pub fn tick(&mut self, memory: &dyn SharedMemory, now: Now, serves: bool) -> Vec<Ask> {
        if serves {
            self.served = Some(now.monotonic);
        }
        let standing = lease::turn(memory, &self.vault, self.candidate(now));
        self.replica.notice(standing);
        self.take_standing(standing);
        self.replica.follow(memory, now.monotonic);
        let Some(poller) = &mut self.poller else { return Vec::new() };
        let ticked = poller.tick(memory, &mut self.replica, &mut self.figures, now);
        self.go_on(memory, ticked, now)
    }

    /// Takes an answer in: the body, if the answer can be believed. Returns what is to be asked.
    pub fn answered(
        &mut self,
        memory: &dyn SharedMemory,
        id: u64,
        body: Option<&[u8]>,
        now: Now,
    ) -> Vec<Ask> {
        let mine = self.candidate(now);
        let Some(poller) = &mut self.poller else { return Vec::new() };
        let mine = Candidate { fence: poller.fence(), ..mine };
        // A VM that was held up must not write what another polls for by now.
        let taken = if lease::is_held(memory, &self.vault, mine) {
            poller.answered(memory, &mut self.replica, &mut self.figures, (id, body), now)
        } else {
            Err(Lost)
        };
        self.go_on(memory, taken, now)
    }

    fn go_on(&mut self, memory: &dyn SharedMemory, done: Result<(), Lost>, now: Now) -> Vec<Ask> {
        if done.is_err() {
            self.poller = None;
        }
        let before = self.replica.age();
        // Its own changes too: the poller's requests are refused as soon as anyone's.
        self.replica.follow(memory, now.monotonic);
        if self.poller.is_some() && self.replica.age() != before {
            // What it has announced, its successor must know of.
            let standing = lease::turn(memory, &self.vault, self.candidate(now));
            self.take_standing(standing);
        }
        let Some(poller) = &mut self.poller else { return Vec::new() };
        poller.asks(&mut self.next_id, now)
    }

    fn candidate(&self, now: Now) -> Candidate {
        let is_loading = self.poller.as_ref().is_some_and(Poller::is_loading);
        let serves = self
            .served
            .is_some_and(|served| now.monotonic.saturating_sub(served) < SERVES_NANOSECONDS);
        Candidate {
            now: now.monotonic,
            holder: self.holder,
            // Whoever gives way in the middle of a loading has loaded for nothing.
            serves: serves && !is_loading,
            fence: self.fence.max(self.replica.age().0),
            known: self.replica.age(),
        }
    }

    fn take_standing(&mut self, standing: Standing) {
        match standing {
            Standing::Mine { fence, .. } => {
                self.fence = self.fence.max(fence);
                if self.poller.as_ref().is_none_or(|poller| poller.fence() != fence) {
                    let wait = self.wait_milliseconds();
                    let vault = Rc::clone(&self.vault);
                    self.poller = Some(Poller::new(vault, fence, self.holder, wait));
                }
            }
            Standing::Others { fence, .. } => {
                self.fence = self.fence.max(fence);
                self.poller = None;
            }
            Standing::Vacant => self.poller = None,
        }
    }

    /// A third of what may pass in silence, so that two answers may be lost.
    fn wait_milliseconds(&self) -> u64 {
        let third = self.limits.max_stale_nanoseconds / 3_000_000;
        WAIT_MILLISECONDS.min(third).min(MAX_WAIT_MILLISECONDS)
    }
}
