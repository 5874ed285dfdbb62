//! What the VM that polls does: asks, takes answers in, writes for the others.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::answers::{Checked, check};
use super::apply::{CHANGES_AT_ONCE, apply, record_of};
use super::load::{Load, PieceAsked};
use super::member::{Ask, Now};
use super::memory::SharedMemory;
use super::meta::{META, Meta, Position, RING_SLOTS, SETTINGS, Stamp, WISH, write, write_piece};
use super::replica::{Replica, Wish, settings_digest, settings_stand};
use super::stream::Stream;
use super::vault::{Set, Vault};
use super::view::View;
use crate::feed::Fingerprint;
use crate::wire::FEED_PATH;
use crate::wire::feed::{Change, Layouts, MAX_BEHIND, MAX_CHANGES, Settings};

const SECOND: u64 = 1_000_000_000;
/// Pieces of tables on their way at once.
const PIECES_IN_FLIGHT: usize = 4;
/// Pieces for the other VMs that are written in one callback.
const COPIES_AT_ONCE: usize = 2;
/// How long the tables must be better laid out otherwise before they are loaded anew.
const LAYOUT_PATIENCE: u64 = 10 * SECOND;
/// Time between two loadings that are not needed for the log's sake. Readers may still be at what
/// the next one overwrites; and an enemy who spoils buckets must not keep the sidecar busy.
const LOAD_PATIENCE: u64 = 30 * SECOND;
/// Time between two repairs.
const REPAIR_PATIENCE: u64 = SECOND;
/// Time between two questions whether a loading has all changes.
const CATCH_UP_NANOSECONDS: u64 = 20_000_000;
/// The copies are written anew when the ring has gone on by so many slots.
const COPY_SLOTS: u64 = RING_SLOTS / 4;
/// How long an answer is waited for, beside what the sidecar may wait itself. Whoever makes the
/// calls has shorter deadlines; this is for calls that were forgotten.
const CALL_NANOSECONDS: u64 = 25 * SECOND;
const FIRST_RETRY: u64 = 100_000_000;
const LONGEST_RETRY: u64 = 2 * SECOND;
/// So many failures in a row let a loading ask whether its log still goes on.
const FAILURES_TO_DOUBT: u32 = 3;

/// What a call was made for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Call {
    Poll,
    CatchUp,
    Piece(PieceAsked),
}

/// The meta to go on from.
#[derive(Debug)]
struct Base {
    meta: Meta,
    /// The version of the value that the next is to be written in place of.
    version: Option<u32>,
    /// Whether it stands in shared memory as it is.
    stands: bool,
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
    vault: Rc<Vault>,
    fence: u64,
    holder: Fingerprint,
    /// Whether this poller's fence stands in the meta: nobody of a lower one writes it any more.
    has_claimed: bool,
    /// The meta that was written last, or should have been.
    last: Option<Meta>,
    /// What is on its way, and until when it is waited for.
    calls: BTreeMap<u64, (Call, u64)>,
    stream: Option<Stream>,
    load: Option<Load>,
    wait_milliseconds: u64,
    failures: u32,
    retry_at: u64,
    catch_up_at: u64,
    layouts_differ: Option<(Layouts, u64)>,
    loaded_at: Option<u64>,
    repaired_at: Option<u64>,
    copying: Option<(Fingerprint, Position, u64)>,
    must_reload: bool,
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
        if !self.drain(memory, &mut meta, figures, now)
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

    fn begin(&mut self, memory: &dyn SharedMemory, replica: &Replica) -> Result<Base, Lost> {
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
        let base = found.or_else(|| replica.newest.clone());
        let first = Meta::first(self.fence, self.holder);
        let meta = base.map_or(first, |base| Meta {
            fence: self.fence,
            holder: self.holder,
            serial: base.serial.saturating_add(1),
            ..base
        });
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
    fn commit(&mut self, memory: &dyn SharedMemory, mut meta: Meta, base: &Base) -> bool {
        if base.stands && meta == base.meta {
            return true;
        }
        meta.serial = meta.serial.saturating_add(1);
        let is_written = write(memory, &self.vault, META, &meta, base.version);
        self.last = Some(meta);
        is_written
    }

    /// Takes in what came by the log; whether there was anything.
    fn drain(
        &mut self,
        memory: &dyn SharedMemory,
        meta: &mut Meta,
        figures: &mut PollerFigures,
        now: Now,
    ) -> bool {
        let (Some(stream), Some(image)) = (&mut self.stream, &mut meta.image) else { return false };
        let batch = stream.take(CHANGES_AT_ONCE);
        if !batch.changes.is_empty() {
            let applied = apply(memory, &self.vault, image, &batch.changes, now.wall_seconds);
            let Some(head) = applied.head else {
                stream.give_back(batch);
                return true;
            };
            image.head = head;
            self.must_reload |= !applied.is_whole;
            let count = u64::try_from(batch.changes.len()).unwrap_or(0);
            figures.changes = figures.changes.saturating_add(count);
        }
        let Some(mark) = batch.mark else { return !batch.changes.is_empty() };
        meta.cursor = Some(mark.cursor);
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
            let applied = apply(memory, &self.vault, &mut load.image, &batch, now.wall_seconds);
            for (noted, _) in batch.iter().filter_map(record_of) {
                load.tables.note(noted.table, &noted.fingerprint, noted.sequence);
            }
            match applied.head {
                Some(head) if applied.is_whole => load.image.head = head,
                // Somebody writes where only the loading should: begin anew.
                Some(_) | None => self.must_reload = true,
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
        meta.image = Some(load.image);
        self.stream = Some(Stream::new(load.cursor));
        // What is on its way was asked for of what was before.
        self.calls.clear();
        self.loaded_at = Some(now.monotonic);
        self.layouts_differ = None;
        Some(View::of_loader(&load.image, load.tables))
    }

    /// Keeps the pieces for the other VMs young enough that the ring leads from them to the head.
    fn copy(&mut self, memory: &dyn SharedMemory, replica: &Replica, meta: &mut Meta) {
        let Some(image) = &mut meta.image else { return };
        let Some(view) = replica.whole().filter(|view| view.image == image.id()) else { return };
        let behind = image.head.number.saturating_sub(image.copied.number);
        if self.copying.is_none() && behind >= COPY_SLOTS {
            self.copying = Some((image.id, view.at, 0));
        }
        let Some((id, position, next)) = &mut self.copying else { return };
        if *id != image.id {
            self.copying = None;
            return;
        }
        let (_, pieces) = view.tables.pieces();
        let stamp = Stamp { image: image.id, fence: self.fence, number: position.number };
        for _ in 0..COPIES_AT_ONCE {
            let bytes = view.tables.piece(*next);
            if *next < pieces && write_piece(memory, &self.vault, image.set, *next, stamp, &bytes) {
                *next = next.saturating_add(1);
            }
        }
        if *next >= pieces {
            image.copied = *position;
            image.copied_fence = self.fence;
            self.copying = None;
        }
    }

    /// Does what other VMs could not do without.
    fn grant_wishes(
        &mut self,
        memory: &dyn SharedMemory,
        replica: &Replica,
        meta: &mut Meta,
        figures: &mut PollerFigures,
        now: Now,
    ) {
        let wish = Wish::read(memory, &self.vault);
        if wish != Wish::Nothing {
            let _ = memory.set(&self.vault.name(WISH), b"", None);
        }
        self.must_reload |= wish == Wish::Reload;
        let is_due = |since: Option<u64>, patience: u64| is_over(since, patience, now.monotonic);
        if wish == Wish::Repair && is_due(self.repaired_at, REPAIR_PATIENCE) {
            self.repaired_at = Some(now.monotonic);
            self.repair(memory, replica, meta);
        }
        let Some(image) = meta.image else { return };
        if self.must_reload && is_due(self.loaded_at, LOAD_PATIENCE) {
            self.must_reload = false;
            if let Some(cursor) = self.stream.as_ref().map(|stream| stream.cursor.clone()) {
                self.start_load(image.set.other(), image.layouts, cursor, figures, now);
            }
        }
    }

    fn repair(&mut self, memory: &dyn SharedMemory, replica: &Replica, meta: &mut Meta) {
        if !settings_stand(memory, &self.vault, meta) {
            match replica.settings() {
                Some((_, settings)) if Some(&settings.generation) == meta.generation.as_ref() => {
                    self.write_settings(memory, meta, settings);
                }
                Some(_) | None => {
                    meta.generation = None;
                    self.forget_polls();
                }
            }
        }
        let (Some(image), Some(view)) = (meta.image, replica.whole()) else { return };
        if self.copying.is_none() && view.image == image.id() {
            self.copying = Some((image.id, view.at, 0));
        }
    }

    fn write_settings(&self, memory: &dyn SharedMemory, meta: &mut Meta, settings: &Settings) {
        let name = self.vault.name(SETTINGS);
        let Ok(text) = serde_json::to_vec(settings) else { return };
        let Some(sealed) = self.vault.encrypt(&name, text) else { return };
        if memory.set(&name, &sealed, None).is_ok() {
            meta.settings = Some(settings_digest(&sealed));
            meta.generation = Some(settings.generation.clone());
        }
    }

    fn start_load(
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

    fn forget_polls(&mut self) {
        self.calls.retain(|_, (call, _)| *call != Call::Poll);
    }

    /// Takes an answer in; one that nobody waits for any more is not looked at.
    pub(super) fn answered(
        &mut self,
        memory: &dyn SharedMemory,
        replica: &mut Replica,
        figures: &mut PollerFigures,
        (id, body): (u64, Option<&[u8]>),
        now: Now,
    ) -> Result<(), Lost> {
        let Some((call, _)) = self.calls.remove(&id) else { return Ok(()) };
        let base = self.begin(memory, replica)?;
        let mut meta = base.meta.clone();
        let is_good = match (call, body) {
            (_, None) => false,
            (Call::Piece(asked), Some(body)) => {
                let load = self.load.as_mut();
                load.is_some_and(|load| load.answered(memory, &self.vault, asked, body))
            }
            (Call::Poll | Call::CatchUp, Some(body)) => match check(body) {
                Some(answer) => {
                    self.take(memory, &mut meta, call, answer, figures, now);
                    true
                }
                None => false,
            },
        };
        if is_good {
            self.failures = 0;
        } else {
            self.failed(call, figures, now);
        }
        if call == Call::Poll {
            self.drain(memory, &mut meta, figures, now);
        }
        self.commit(memory, meta, &base);
        Ok(())
    }

    fn take(
        &mut self,
        memory: &dyn SharedMemory,
        meta: &mut Meta,
        call: Call,
        answer: Checked,
        figures: &mut PollerFigures,
        now: Now,
    ) {
        if let Some(settings) = &answer.settings {
            self.write_settings(memory, meta, settings);
        }
        let set = meta.image.map_or(Set::A, |image| image.set.other());
        match (call, answer.reload) {
            (Call::CatchUp, true) => {
                self.start_load(set, answer.layouts, answer.cursor, figures, now);
            }
            (Call::CatchUp, false) => self.take_catch_up(answer, now),
            (_, true) => {
                self.stream = None;
                if self.load.is_none() {
                    self.start_load(set, answer.layouts, answer.cursor, figures, now);
                }
            }
            (_, false) => {
                self.watch_layouts(meta, answer.layouts, figures, now);
                let received = answer.changes.last().map(|change| change.sequence);
                if let (Some(load), Some(received)) = (&mut self.load, received) {
                    load.must_reach = load.must_reach.max(received);
                }
                if let Some(stream) = &mut self.stream {
                    stream.push(answer.cursor, answer.changes, now.monotonic);
                }
            }
        }
    }

    fn take_catch_up(&mut self, answer: Checked, now: Now) {
        let Some(load) = &mut self.load else { return };
        let is_all = answer.changes.len() < MAX_CHANGES;
        load.received =
            answer.changes.last().map_or(load.received, |last| load.received.max(last.sequence));
        load.queue.extend(answer.changes);
        load.cursor = answer.cursor;
        load.caught_up = is_all.then_some(now.monotonic).or(load.caught_up);
        if !is_all {
            self.catch_up_at = now.monotonic;
        }
        // More than a reader may be behind: somebody does not tell the truth, or the load hangs.
        let most = usize::try_from(MAX_BEHIND.saturating_mul(2)).unwrap_or(usize::MAX);
        if load.queue.len() > most {
            self.load = None;
            self.stream = None;
            self.calls.clear();
        }
    }

    /// Loads the tables anew when they have long been better laid out otherwise.
    fn watch_layouts(
        &mut self,
        meta: &Meta,
        layouts: Layouts,
        figures: &mut PollerFigures,
        now: Now,
    ) {
        let Some(image) = meta.image.filter(|image| image.layouts != layouts) else {
            self.layouts_differ = None;
            return;
        };
        let since = match self.layouts_differ {
            Some((seen, since)) if seen == layouts => since,
            Some(_) | None => {
                self.layouts_differ = Some((layouts, now.monotonic));
                now.monotonic
            }
        };
        let is_due = is_over(Some(since), LAYOUT_PATIENCE, now.monotonic)
            && is_over(self.loaded_at, LOAD_PATIENCE, now.monotonic);
        if let Some(stream) = self.stream.as_ref().filter(|_| is_due && self.load.is_none()) {
            let cursor = stream.cursor.clone();
            self.start_load(image.set.other(), layouts, cursor, figures, now);
        }
    }

    fn failed(&mut self, call: Call, figures: &mut PollerFigures, now: Now) {
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

    /// What to ask now.
    pub(super) fn asks(&mut self, next_id: &mut u64, now: Now) -> Vec<Ask> {
        let mut asks = Vec::new();
        if now.monotonic < self.retry_at {
            return asks;
        }
        let mut ask =
            |calls: &mut BTreeMap<u64, (Call, u64)>, call, path, wait_milliseconds: u64| {
                *next_id = next_id.saturating_add(1);
                let wait =
                    wait_milliseconds.saturating_mul(1_000_000).saturating_add(CALL_NANOSECONDS);
                calls.insert(*next_id, (call, now.monotonic.saturating_add(wait)));
                asks.push(Ask { id: *next_id, path, wait_milliseconds });
            };
        if let Some((path, wait)) = self.poll_path() {
            ask(&mut self.calls, Call::Poll, path, wait);
        }
        let is_asked = self.is_asking(Call::CatchUp);
        let doubts = self.failures >= FAILURES_TO_DOUBT;
        let Some(load) = &mut self.load else { return asks };
        if load.has_buckets() || doubts {
            if !is_asked && now.monotonic >= self.catch_up_at && load.queue.len() <= MAX_CHANGES {
                let path = format!("{FEED_PATH}?cursor={}&wait=0", load.cursor);
                self.catch_up_at = now.monotonic.saturating_add(CATCH_UP_NANOSECONDS);
                ask(&mut self.calls, Call::CatchUp, path, 0);
            }
            return asks;
        }
        let flying = self.calls.values().filter(|(call, _)| matches!(call, Call::Piece(_))).count();
        for _ in flying..PIECES_IN_FLIGHT {
            let Some(asked) = load.wanted() else { break };
            let path = load.path(asked);
            ask(&mut self.calls, Call::Piece(asked), path, 0);
        }
        asks
    }

    fn is_asking(&self, call: Call) -> bool {
        self.calls.values().any(|(asked, _)| *asked == call)
    }

    fn poll_path(&self) -> Option<(String, u64)> {
        if self.is_asking(Call::Poll) {
            return None;
        }
        let generation = self.last.as_ref().and_then(|meta| meta.generation.as_ref());
        let settings = generation.map(|generation| format!("&settings={generation}"));
        let settings = settings.unwrap_or_default();
        match (&self.stream, &self.load) {
            (Some(stream), _) if stream.len() > MAX_CHANGES => None,
            (Some(stream), _) => {
                let wait = self.wait_milliseconds;
                let cursor = &stream.cursor;
                Some((format!("{FEED_PATH}?cursor={cursor}{settings}&wait={wait}"), wait))
            }
            (None, None) => Some((format!("{FEED_PATH}?wait=0{settings}"), 0)),
            (None, Some(_)) => None,
        }
    }
}

fn is_over(since: Option<u64>, patience: u64, now: u64) -> bool {
    since.is_none_or(|since| now.saturating_sub(since) >= patience)
}
