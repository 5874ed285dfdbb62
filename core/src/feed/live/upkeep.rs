//! What the poller does for the other VMs beside telling them of changes.

use super::member::Now;
use super::memory::SharedMemory;
use super::meta::{Meta, RING_SLOTS, SETTINGS, Stamp, WISH, write_piece};
use super::poller::{LOAD_PATIENCE, Poller, PollerFigures, SECOND, is_over};
use super::replica::{Replica, Wish, settings_digest, settings_stand};
use crate::wire::feed::Settings;

/// Pieces for the other VMs that are written in one callback.
pub(super) const COPIES_AT_ONCE: usize = 2;
/// Time between two repairs.
const REPAIR_PATIENCE: u64 = SECOND;
/// The copies are written anew when the ring has gone on by so many slots.
const COPY_SLOTS: u64 = RING_SLOTS / 4;

impl Poller {
    /// Keeps the pieces for the other VMs young enough that the ring leads from them to the head.
    pub(super) fn copy(&mut self, memory: &dyn SharedMemory, replica: &Replica, meta: &mut Meta) {
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
    pub(super) fn grant_wishes(
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
        // One that is on its way helps too; begun anew whenever somebody wishes it, one that takes
        // long would never end.
        let is_free = self.load.is_none();
        if self.must_reload && is_free && is_due(self.loaded_at, LOAD_PATIENCE) {
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

    pub(super) fn write_settings(
        &self,
        memory: &dyn SharedMemory,
        meta: &mut Meta,
        settings: &Settings,
    ) {
        let name = self.vault.name(SETTINGS);
        let Ok(text) = serde_json::to_vec(settings) else { return };
        let Some(sealed) = self.vault.encrypt(&name, text) else { return };
        if memory.set(&name, &sealed, None).is_ok() {
            meta.settings = Some(settings_digest(&sealed));
            meta.generation = Some(settings.generation.clone());
        }
    }
}
