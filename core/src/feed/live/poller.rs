//! What the VM that polls does: asks, takes answers in, writes for the others.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::apply::{CHANGES_AT_ONCE, apply};
use super::load::{Load, PieceAsked};
use super::member::Now;
use super::memory::SharedMemory;
use super::meta::{META, Meta, Position, write};
use super::replica::Replica;
use super::stream::Stream;
use super::upkeep::COPIES_AT_ONCE;
use super::vault::{Set, Vault};
use super::view::View;
use crate::feed::Fingerprint;
use crate::wire::feed::{Change, Layouts};

pub(super) const SECOND: u64 = 1_000_000_000;
/// Time between two loadings that are not needed for the log's sake. Readers may still be at what
/// the next one overwrites; and an enemy who spoils buckets must not keep the sidecar busy.
pub(super) const LOAD_PATIENCE: u64 = 30 * SECOND;
const FIRST_RETRY: u64 = 100_000_000;
const LONGEST_RETRY: u64 = 2 * SECOND;

/// What a call was made for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Call {
    Poll,
    CatchUp,
    Piece(PieceAsked),
}

/// The meta to go on from.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) meta: Meta,
    /// The version of the value that the next is to be written in place of.
    pub(super) version: Option<u32>,
    /// Whether it stands in shared memory as it is.
    pub(super) stands: bool,
}

/// Another VM polls now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Lost;

/// What is counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PollerFigures {
    /// Loadings that were begun.
    pub reloads: u64,
    /// Changes that were taken in.
    pub changes: u64,
    /// Answers that could not be believed or read, and calls without an answer.
    pub failures: u64,
}

/// The work of the VM that has the lease.
#[derive(Debug)]
pub(super) struct Poller {
    pub(super) vault: Rc<Vault>,
    pub(super) fence: u64,
    pub(super) holder: Fingerprint,
    /// Whether this poller's fence stands in the meta: nobody of a lower one writes it any more.
    pub(super) has_claimed: bool,
    /// The meta that was written last, or should have been.
    pub(super) last: Option<Meta>,
    /// What is on its way, and until when it is waited for.
    pub(super) calls: BTreeMap<u64, (Call, u64)>,
    pub(super) stream: Option<Stream>,
    pub(super) load: Option<Load>,
    pub(super) wait_milliseconds: u64,
    pub(super) failures: u32,
    pub(super) retry_at: u64,
    pub(super) catch_up_at: u64,
    pub(super) layouts_differ: Option<(Layouts, u64)>,
    pub(super) loaded_at: Option<u64>,
    pub(super) repaired_at: Option<u64>,
    pub(super) copying: Option<(Fingerprint, Position, u64)>,
    pub(super) must_reload: bool,
}

impl Poller {
    pub(super) fn new(
        vault: Rc<Vault>,
        fence: u64,
        holder: Fingerprint,
        wait_milliseconds: u64,
    ) -> Self {
        Self {
            vault,
            fence,
            holder,
            has_claimed: false,
            last: None,
            calls: BTreeMap::new(),
            stream: None,
            load: None,
            wait_milliseconds,
            failures: 0,
            retry_at: 0,
            catch_up_at: 0,
            layouts_differ: None,
            loaded_at: None,
            repaired_at: None,
            copying: None,
            must_reload: false,
        }
    }

    pub(super) fn fence(&self) -> u64 {
        self.fence
    }

    pub(super) fn is_settled(&self) -> bool {
        self.load.is_none() && self.stream.as_ref().is_some_and(|stream| stream.len() == 0)
    }

    pub(super) fn is_loading(&self) -> bool {
        self.load.is_some()
    }

    /// Does what is due on a tick.
    pub(super) fn tick(
        &mut self,
        memory: &dyn SharedMemory,
        replica: &mut Replica,
        figures: &mut PollerFigures,
        now: Now,
    ) -> Result<(), Lost> {
        let base = self.begin(memory, replica)?;
        let mut meta = base.meta.clone();
        let late = |(_, (_, until)): &(&u64, &(Call, u64))| *until <= now.monotonic;
        let late: Vec<u64> = self.calls.iter().filter(late).map(|(id, _)| *id).collect();
        for id in late {
            if let Some((call, _)) = self.calls.remove(&id) {
                self.failed(call, figures, now);
            }
        }
        self.grant_wishes(memory, replica, &mut meta, figures, now);
        let mut adopted = None;
        if !self.drain(memory, (&mut meta, replica), figures, now)
            && !self.go_on_loading(memory, &mut meta, now)
        {
            adopted = self.switch(&mut meta, now);
            if adopted.is_none() {
                self.copy(memory, replica, &mut meta);
            }
        }
        let is_written = self.commit(memory, meta, &base);
        if let (true, Some(view)) = (is_written, adopted) {
            replica.adopt(view);
        }
        Ok(())
    }

    pub(super) fn begin(
        &mut self,
        memory: &dyn SharedMemory,
        replica: &Replica,
    ) -> Result<Base, Lost> {
        let (found, version) = Meta::read(memory, &self.vault);
        if let Some(found) = &found {
            let is_others = found.fence == self.fence && found.holder != self.holder;
            if found.fence > self.fence || is_others {
                return Err(Lost);
            }
        }
        let Some(own) = self.last.as_ref().filter(|_| self.has_claimed) else {
            return self.claim(memory, replica, found, version);
        };
        // What is not one's own was put there by someone who wants something forgotten.
        let stands = found.as_ref() == Some(own);
        Ok(Base { meta: own.clone(), version, stands })
    }

    /// Puts this poller's fence into the meta, before anything else is written: a poller that was
    /// replaced and does not know it yet could otherwise announce something that this one would
    /// never hear of.
    fn claim(
        &mut self,
        memory: &dyn SharedMemory,
        replica: &Replica,
        found: Option<Meta>,
        version: Option<u32>,
    ) -> Result<Base, Lost> {
        let found = found.filter(|found| found.age() >= replica.age());
        let is_newest = found.as_ref().is_some_and(|found| found.age() >= replica.announced());
        let is_first = found.is_none() && replica.announced() == (0, 0);
        let base = found.or_else(|| replica.newest.clone());
        let first = Meta::first(self.fence, self.holder);
        let meta = base.map_or(first, |base| Meta {
            fence: self.fence,
            holder: self.holder,
            serial: base.serial.saturating_add(1),
            is_sure: base.is_sure && is_newest,
            ..base
        });
        let meta = Meta { is_sure: meta.is_sure && (is_newest || is_first), ..meta };
        if !write(memory, &self.vault, META, &meta, version) {
            return Err(Lost);
        }
        self.has_claimed = true;
        self.stream = meta.image.and(meta.cursor.clone()).map(Stream::new);
        self.last = Some(meta);
        self.begin(memory, replica)
    }

    /// Writes the meta, if it is another; whether it stands. If it does not, it is written again
    /// with the next callback.
    pub(super) fn commit(
        &mut self,
        memory: &dyn SharedMemory,
        mut meta: Meta,
        base: &Base,
    ) -> bool {
        if base.stands && meta == base.meta {
            return true;
        }
        meta.serial = meta.serial.saturating_add(1);
        let is_written = write(memory, &self.vault, META, &meta, base.version);
        self.last = Some(meta);
        is_written
    }

    /// Takes in what came by the log; whether there was anything.
    pub(super) fn drain(
        &mut self,
        memory: &dyn SharedMemory,
        (meta, replica): (&mut Meta, &mut Replica),
        figures: &mut PollerFigures,
        now: Now,
    ) -> bool {
        let (Some(stream), Some(image)) = (&mut self.stream, &mut meta.image) else { return false };
        let Some(tables) = replica.even(image) else { return false };
        let batch = stream.take(CHANGES_AT_ONCE);
        if !batch.changes.is_empty() {
            let id = image.id();
            let applied =
                apply(memory, &self.vault, (image, tables), &batch.changes, now.wall_seconds);
            if !applied.is_whole {
                replica.notice_broken(id);
            }
            let Some(head) = applied.head else {
                stream.give_back(batch);
                return true;
            };
            image.head = head;
            let count = u64::try_from(batch.changes.len()).unwrap_or(0);
            figures.changes = figures.changes.saturating_add(count);
        }
        let Some(mark) = batch.mark else { return !batch.changes.is_empty() };
        meta.cursor = Some(mark.cursor);
        meta.is_sure = true;
        meta.heard = meta.heard.max(mark.heard);
        !batch.changes.is_empty()
    }

    /// Takes in what has changed since the loading began, and writes pieces for the others; whether
    /// there was anything to do.
    fn go_on_loading(&mut self, memory: &dyn SharedMemory, _meta: &mut Meta, now: Now) -> bool {
        let Some(load) = &mut self.load else { return false };
        if !load.has_buckets() {
            return false;
        }
        let count = load.queue.len().min(CHANGES_AT_ONCE);
        if count > 0 {
            let batch: Vec<Change> = load.queue.drain(..count).collect();
            let to = (&mut load.image, &mut load.tables);
            let applied = apply(memory, &self.vault, to, &batch, now.wall_seconds);
            match applied.head {
                Some(head) if applied.is_whole => load.image.head = head,
                // Somebody writes where only the loading should: whoever is decided about there is
                // kept out until the next loading.
                Some(_) | None => load.is_flawed = true,
            }
            return true;
        }
        if load.is_even() && !load.is_copied() {
            for _ in 0..COPIES_AT_ONCE {
                if !load.is_copied() {
                    load.copy_next(memory, &self.vault, self.fence);
                }
            }
            return true;
        }
        false
    }

    /// Makes what was loaded what everyone reads.
    fn switch(&mut self, meta: &mut Meta, now: Now) -> Option<View> {
        let is_done = self.load.as_ref().is_some_and(|load| load.is_even() && load.is_copied());
        let load = self.load.take_if(|_| is_done)?;
        meta.heard = meta.heard.max(load.caught_up.unwrap_or(0));
        meta.cursor = Some(load.cursor.clone());
        meta.is_sure = true;
        meta.image = Some(load.image);
        self.stream = Some(Stream::new(load.cursor));
        // What is on its way was asked for of what was before.
        self.calls.clear();
        self.loaded_at = Some(now.monotonic);
        self.layouts_differ = None;
        // What was wished before was wished of what was before.
        self.must_reload = load.is_flawed;
        Some(View::of_loader(&load.image, load.tables))
    }

    pub(super) fn start_load(
        &mut self,
        set: Set,
        layouts: Layouts,
        cursor: String,
        figures: &mut PollerFigures,
        now: Now,
    ) {
        figures.reloads = figures.reloads.saturating_add(1);
        self.calls.retain(|_, (call, _)| *call == Call::Poll);
        self.load = Some(Load::new(&self.vault, set, layouts, cursor, self.fence));
        self.loaded_at = Some(now.monotonic);
        self.catch_up_at = 0;
    }

    pub(super) fn forget_polls(&mut self) {
        self.calls.retain(|_, (call, _)| *call != Call::Poll);
    }

    pub(super) fn failed(&mut self, call: Call, figures: &mut PollerFigures, now: Now) {
        figures.failures = figures.failures.saturating_add(1);
        if let (Call::Piece(asked), Some(load)) = (call, &mut self.load) {
            load.not_answered(asked);
        }
        let wait = FIRST_RETRY.checked_shl(self.failures.min(8)).unwrap_or(LONGEST_RETRY);
        // A tenth of them at once is better than all: the sidecar has just come back.
        let [jitter] = self.vault.draw::<1>();
        let wait = wait.min(LONGEST_RETRY);
        let wait = wait.saturating_sub((wait / 512).saturating_mul(u64::from(jitter)));
        self.failures = self.failures.saturating_add(1);
        self.retry_at = now.monotonic.saturating_add(wait);
    }
}

pub(super) fn is_over(since: Option<u64>, patience: u64, now: u64) -> bool {
    since.is_none_or(|since| now.saturating_sub(since) >= patience)
}
