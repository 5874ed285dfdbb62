//! What one VM knows of the feed, and whether it may decide from it.

use core::cell::Cell;
use std::rc::Rc;

use super::lease::Standing;
use super::memory::SharedMemory;
use super::meta::{Image, META, Meta, SETTINGS, WISH};
use super::poller::is_over;
use super::tables::Tables;
use super::vault::Vault;
use super::view::{FoundRecord, Progress, Unreadable, View};
use crate::feed::bucket::ImageId;
use crate::feed::{Fingerprint, Table};
use crate::reason::Reason;
use crate::wire::feed::Settings;

/// Pieces that are copied in one callback.
const PIECES_AT_ONCE: u64 = 2;
/// How long a VM goes on deciding although it does not have what has changed. It may be copying
/// tables that were loaded anew, a few pieces with each tick; an enemy who holds back what was
/// revoked must not gain more than this.
const BLIND_NANOSECONDS: u64 = 500_000_000;
/// How long there may be no poller: the next one needs a lease's time and a tick.
const ORPHAN_NANOSECONDS: u64 = 2_500_000_000;
/// Time between two tellings of a bucket that cannot be read.
const TELL_NANOSECONDS: u64 = 1_000_000_000;
/// Ages of changes that wait to be counted; more are not.
const MAX_AGES: usize = 256;

/// What a record that was read belongs to: it holds as long as this stays the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Freshness {
    views: u64,
    version: u32,
}

/// What a VM wishes of the poller.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Wish {
    #[default]
    Nothing,
    /// Settings, pieces or slots are to be written anew.
    Repair,
    /// Buckets are to be loaded anew.
    Reload,
}

impl Wish {
    pub(super) fn word(self) -> &'static [u8] {
        match self {
            Self::Nothing => b"-",
            Self::Repair => b"repair",
            Self::Reload => b"reload",
        }
    }

    pub(super) fn read(memory: &dyn SharedMemory, vault: &Vault) -> Self {
        match memory.get(&vault.name(WISH)) {
            Some((word, _)) if word == Self::Reload.word() => Self::Reload,
            Some((word, _)) if word == Self::Repair.word() => Self::Repair,
            Some(_) | None => Self::Nothing,
        }
    }
}

/// Numbers for people.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct FeedFigures {
    /// How often tables were taken over from a new loading.
    pub views: u64,
    /// Bytes of this VM's memory that the tables take.
    pub bytes: usize,
}

/// What one VM knows of the feed.
#[derive(Debug)]
pub struct Replica {
    pub(super) vault: Rc<Vault>,
    max_stale_nanoseconds: u64,
    now: u64,
    /// The newest meta that was ever seen, and its bytes.
    pub(super) newest: Option<Meta>,
    raw: Vec<u8>,
    current: Option<View>,
    /// The view of another loading, or of the same one anew, while it is copied.
    next: Option<View>,
    settings: Option<Rc<Settings>>,
    settings_digest: Option<Fingerprint>,
    settings_changes: u64,
    heard: Option<u64>,
    blind_since: Option<u64>,
    orphan_since: Option<u64>,
    /// Fence and serial of the meta that the poller says it knows.
    announced: (u64, u64),
    views: u64,
    revocation_changes: u64,
    ages: Vec<u64>,
    wish: Cell<Wish>,
    /// The loading of which a bucket could not be read. The poller may be replaced before it has
    /// loaded the tables anew, and an enemy may erase the wish: so it is told until they are.
    broken: Cell<Option<ImageId>>,
    told_at: Option<u64>,
}

impl Replica {
    pub(super) fn new(vault: Rc<Vault>, max_stale_nanoseconds: u64) -> Self {
        Self {
            vault,
            max_stale_nanoseconds,
            now: 0,
            newest: None,
            raw: Vec::new(),
            current: None,
            next: None,
            settings: None,
            settings_digest: None,
            settings_changes: 0,
            heard: None,
            blind_since: None,
            orphan_since: None,
            announced: (0, 0),
            views: 0,
            revocation_changes: 0,
            ages: Vec::new(),
            wish: Cell::default(),
            broken: Cell::default(),
            told_at: None,
        }
    }

    pub(super) fn set_max_stale(&mut self, nanoseconds: u64) {
        self.max_stale_nanoseconds = nanoseconds;
    }

    /// Whether requests with a credential can be decided at this time.
    ///
    /// # Errors
    ///
    /// [`Reason::NotReady`] before the first loading, [`Reason::SidecarUnreachable`] when the
    /// sidecar was not heard for longer than the configuration allows,
    /// [`Reason::FeedUnreadable`] when what has changed cannot be read.
    pub fn state(&self, monotonic_nanoseconds: u64) -> Result<(), Reason> {
        let now = self.now.max(monotonic_nanoseconds);
        if self.current.is_none() || self.settings.is_none() {
            return Err(Reason::NotReady);
        }
        let heard = self.heard.ok_or(Reason::NotReady)?;
        if now.saturating_sub(heard) > self.max_stale_nanoseconds {
            return Err(Reason::SidecarUnreachable);
        }
        let longer = |since: Option<u64>, limit| {
            since.is_some_and(|since| now.saturating_sub(since) > limit)
        };
        if longer(self.blind_since, BLIND_NANOSECONDS)
            || longer(self.orphan_since, ORPHAN_NANOSECONDS)
        {
            return Err(Reason::FeedUnreadable);
        }
        Ok(())
    }

    /// Nanoseconds since the sidecar's last answer of which this VM has everything.
    pub fn age_nanoseconds(&self, monotonic_nanoseconds: u64) -> Option<u64> {
        Some(self.now.max(monotonic_nanoseconds).saturating_sub(self.heard?))
    }

    /// The settings, and how often they have changed.
    pub fn settings(&self) -> Option<(u64, &Rc<Settings>)> {
        Some((self.settings_changes, self.settings.as_ref()?))
    }

    /// Changes with each revocation, and with each loading: what was found not to be revoked need
    /// not be looked at again before.
    pub fn revocation_changes(&self) -> u64 {
        self.revocation_changes
    }

    /// What a record of this fingerprint belongs to, if it were read now.
    pub fn freshness(&self, table: Table, fingerprint: &Fingerprint) -> Freshness {
        let version = self.current.as_ref().map(|view| view.tables.version(table, fingerprint));
        Freshness { views: self.views, version: version.unwrap_or(0) }
    }

    /// The record of `fingerprint`: almost always answered by a filter, without any call.
    ///
    /// # Errors
    ///
    /// [`Unreadable`] when the filter does not deny it and the bucket cannot be believed.
    pub fn find(
        &self,
        memory: &dyn SharedMemory,
        table: Table,
        fingerprint: &Fingerprint,
    ) -> Result<Option<FoundRecord>, Unreadable> {
        let view = self.current.as_ref().ok_or(Unreadable)?;
        let found = view.find(memory, &self.vault, table, fingerprint);
        if found.is_err() {
            self.broken.set(Some(view.image));
        }
        found
    }

    /// Takes notice that a bucket of this loading cannot be written into.
    pub(super) fn notice_broken(&self, image: ImageId) {
        self.broken.set(Some(image));
    }

    /// When changes were made that this VM has taken in since it was asked last, in milliseconds
    /// since the epoch.
    pub fn take_ages(&mut self) -> Vec<u64> {
        core::mem::take(&mut self.ages)
    }

    /// Numbers for people.
    pub fn figures(&self) -> FeedFigures {
        let views = self.current.iter().chain(&self.next);
        let bytes = views.map(|view| view.tables.bytes()).fold(0, usize::saturating_add);
        FeedFigures { views: self.views, bytes }
    }

    /// The tables, if they are whole and up to date: only then may they be copied for others.
    pub(super) fn whole(&self) -> Option<&View> {
        let head = self.newest.as_ref()?.image?.head;
        self.current.as_ref().filter(|view| view.is_whole() && view.at == head)
    }

    /// The tables of this image, if this VM knows all that was announced of it: only then may it
    /// write into them.
    pub(super) fn even(&mut self, image: &Image) -> Option<&mut Tables> {
        let view = self.current.as_mut().filter(|view| view.image == image.id());
        view.filter(|view| view.decides() && view.at == image.head).map(|view| &mut view.tables)
    }

    /// Takes over what this VM has loaded itself.
    pub(super) fn adopt(&mut self, view: View) {
        self.next = None;
        self.current = Some(view);
        self.views = self.views.saturating_add(1);
        self.revocation_changes = self.revocation_changes.saturating_add(1);
    }

    /// Fence and serial that the newest meta must have at least.
    pub(super) fn announced(&self) -> (u64, u64) {
        self.announced.max(self.age())
    }

    /// Fence and serial of the newest meta.
    pub(super) fn age(&self) -> (u64, u64) {
        self.newest.as_ref().map_or((0, 0), Meta::age)
    }

    fn wishes(&self, wish: Wish) {
        self.wish.set(self.wish.get().max(wish));
    }

    /// Brings everything up to date: a few microseconds when nothing is new.
    pub(super) fn follow(&mut self, memory: &dyn SharedMemory, now: u64) {
        self.now = self.now.max(now);
        let is_newest = self.read_meta(memory) && self.age() >= self.announced;
        let is_sure = self.newest.as_ref().is_some_and(|meta| meta.is_sure);
        let has_settings = self.read_settings(memory);
        let is_even = self.read_changes(memory);
        if is_newest && is_sure && has_settings && is_even {
            self.blind_since = None;
            if let Some(meta) = &self.newest {
                self.heard = self.heard.max(Some(meta.heard).filter(|heard| *heard > 0));
            }
        } else if self.newest.is_some() {
            self.blind_since.get_or_insert(self.now);
        }
        self.tell(memory);
    }

    /// Does all that can be done at once: for a VM that has just begun.
    pub(super) fn catch_up(&mut self, memory: &dyn SharedMemory, now: u64) {
        // Every piece of the largest tables that there can be.
        const MOST: usize = 16_384;
        let mut before = None;
        for _ in 0..MOST {
            self.follow(memory, now);
            let progress = self.progress();
            if before == progress {
                break;
            }
            before = progress;
        }
    }

    /// How far the copying of tables is.
    fn progress(&self) -> Option<(bool, u64, u64)> {
        let view = self.next.as_ref().or(self.current.as_ref())?;
        Some((self.next.is_some(), view.copied(), view.at.number))
    }

    /// Takes notice of who polls. If the poller knows of a newer meta than there is to be read,
    /// somebody holds it back.
    pub(super) fn notice(&mut self, standing: Standing) {
        match standing {
            Standing::Mine { known, .. } | Standing::Others { known, .. } => {
                self.orphan_since = None;
                self.announced = self.announced.max(known);
            }
            Standing::Vacant => {
                self.orphan_since.get_or_insert(self.now);
            }
        }
    }

    /// Whether the newest meta is there to be read.
    fn read_meta(&mut self, memory: &dyn SharedMemory) -> bool {
        let name = self.vault.name(META);
        let Some((sealed, _)) = memory.get(&name) else { return false };
        if sealed == self.raw {
            return true;
        }
        let payload = self.vault.open(&name, &sealed);
        let meta = payload.and_then(|text| serde_json::from_slice::<Meta>(text).ok());
        let Some(meta) = meta else { return false };
        // Never back: an older one was put there again by someone who wants something forgotten.
        if self.newest.as_ref().is_some_and(|newest| meta.age() <= newest.age()) {
            return false;
        }
        self.newest = Some(meta);
        self.raw = sealed;
        true
    }

    fn read_settings(&mut self, memory: &dyn SharedMemory) -> bool {
        let Some(wanted) = self.newest.as_ref().and_then(|meta| meta.settings) else {
            return true;
        };
        if self.settings_digest == Some(wanted) {
            return true;
        }
        let name = self.vault.name(SETTINGS);
        let sealed = memory.get(&name).map(|(sealed, _)| sealed);
        let sealed = sealed.filter(|sealed| settings_digest(sealed) == wanted);
        let text = sealed.and_then(|sealed| self.vault.decrypt(&name, &sealed));
        let settings = text.and_then(|text| serde_json::from_slice(&text).ok());
        let Some(settings) = settings else {
            self.wishes(Wish::Repair);
            return false;
        };
        self.settings = Some(Rc::new(settings));
        self.settings_digest = Some(wanted);
        self.settings_changes = self.settings_changes.saturating_add(1);
        true
    }

    /// Reads what has changed in the tables; whether this VM then has everything.
    fn read_changes(&mut self, memory: &dyn SharedMemory) -> bool {
        let Some(image) = self.newest.as_ref().and_then(|meta| meta.image) else { return true };
        let is_current = self.current.as_ref().is_some_and(|view| view.image == image.id());
        let mut is_even = false;
        if is_current {
            match self.follow_current(memory) {
                Progress::UpToDate => is_even = true,
                Progress::Behind => return false,
                Progress::Broken => {
                    self.next.get_or_insert_with(|| View::new(&image));
                }
            }
        }
        if is_even {
            self.next = None;
            let vault = Rc::clone(&self.vault);
            let view = self.current.as_mut();
            if !view.is_none_or(|view| view.copy(memory, &vault, PIECES_AT_ONCE)) {
                self.wishes(Wish::Repair);
            }
            return true;
        }
        self.follow_next(memory)
    }

    fn follow_current(&mut self, memory: &dyn SharedMemory) -> Progress {
        let Some(image) = self.newest.as_ref().and_then(|meta| meta.image) else {
            return Progress::Broken;
        };
        let Some(view) = &mut self.current else { return Progress::Broken };
        let (ages, revoked) = (&mut self.ages, &mut self.revocation_changes);
        view.follow(memory, &self.vault, image.head, |change, at_milliseconds| {
            if change.table == Table::Revocations {
                *revoked = revoked.saturating_add(1);
            }
            if ages.len() < MAX_AGES {
                ages.push(at_milliseconds);
            }
        })
    }

    /// Copies another view, and takes it when it can decide. Until then the one that there is
    /// decides, but not for long: it misses what is new.
    fn follow_next(&mut self, memory: &dyn SharedMemory) -> bool {
        let Some(image) = self.newest.as_ref().and_then(|meta| meta.image) else { return false };
        let is_wanted = |view: &View| view.image == image.id();
        let mut next = self.next.take().filter(is_wanted).unwrap_or_else(|| View::new(&image));
        let is_copied = next.decides() || next.copy(memory, &self.vault, PIECES_AT_ONCE);
        if !is_copied {
            // Perhaps there are newer pieces by the next tick, from which to begin anew.
            self.wishes(Wish::Repair);
            return false;
        }
        if !next.decides() {
            self.next = Some(next);
            return false;
        }
        match next.follow(memory, &self.vault, image.head, |_, _| ()) {
            Progress::UpToDate => {
                self.adopt(next);
                true
            }
            Progress::Behind => {
                self.next = Some(next);
                false
            }
            Progress::Broken => {
                self.wishes(Wish::Repair);
                false
            }
        }
    }

    /// Tells the poller what could not be read.
    fn tell(&mut self, memory: &dyn SharedMemory) {
        let newest = self.newest.as_ref().and_then(|meta| meta.image);
        // Of what nobody reads any more, nothing has to be told.
        if self.broken.get().is_some() && self.broken.get() != newest.map(|image| image.id()) {
            self.broken.set(None);
            self.told_at = None;
        }
        if self.broken.get().is_some() && is_over(self.told_at, TELL_NANOSECONDS, self.now) {
            self.told_at = Some(self.now);
            self.wishes(Wish::Reload);
        }
        let wish = self.wish.take();
        if wish > Wish::read(memory, &self.vault) && wish != Wish::Nothing {
            // Lost if it cannot be written, and told again with the next failure.
            let _ = memory.set(&self.vault.name(WISH), wish.word(), None);
        }
    }
}

pub(super) fn settings_digest(sealed: &[u8]) -> Fingerprint {
    Fingerprint::of("settings", &[sealed])
}

/// Whether the settings of `meta` can be read.
pub(super) fn settings_stand(memory: &dyn SharedMemory, vault: &Vault, meta: &Meta) -> bool {
    let sealed = memory.get(&vault.name(SETTINGS));
    meta.settings == sealed.map(|(sealed, _)| settings_digest(&sealed))
}
