//! One VM's view of the tables of one loading, brought up to date from shared memory.

use super::memory::SharedMemory;
use super::meta::{Image, Noted, Position, RING_SLOTS, Stamp, read_piece, read_slot};
use super::tables::{Tables, reaches, version_of};
use super::vault::{Set, Vault};
use crate::feed::bucket::{Bucket, ImageId};
use crate::feed::{Fingerprint, Table};

/// Slots that are read in one callback: each may tell of [`crate::wire::feed::MAX_CHANGES`] changes.
const SLOTS_AT_ONCE: usize = 64;

/// A record that was found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FoundRecord {
    /// What it says.
    pub content: Vec<u8>,
    /// The change of the log that it is from.
    pub sequence: u64,
}

/// A bucket is not there, not as it was written, or older than this VM knows it to be. What is in it
/// decides about someone, so that someone is denied.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the tables of the feed cannot be read")]
pub struct Unreadable;

/// How far a view is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Progress {
    /// It has all that was announced.
    UpToDate,
    /// There is more to read.
    Behind,
    /// What it would have to read is not there: it must begin anew, from newer pieces.
    Broken,
}

/// The tables of one loading.
#[derive(Debug)]
pub(super) struct View {
    pub(super) image: ImageId,
    set: Set,
    pub(super) tables: Tables,
    /// Up to where the ring was read.
    pub(super) at: Position,
    /// Who wrote the pieces, and up to where of the ring they must reach.
    from: Stamp,
    /// The next piece to copy.
    next_piece: u64,
    version_pieces: u64,
    pieces: u64,
}

impl View {
    /// A view that is to be copied.
    pub(super) fn new(image: &Image) -> Self {
        let tables = Tables::new(image.layouts);
        let (version_pieces, pieces) = tables.pieces();
        let from =
            Stamp { image: image.id, fence: image.copied_fence, number: image.copied.number };
        Self {
            image: image.id(),
            set: image.set,
            tables,
            at: image.copied,
            from,
            next_piece: 0,
            version_pieces,
            pieces,
        }
    }

    /// The view of whoever has loaded the tables itself.
    pub(super) fn of_loader(image: &Image, tables: Tables) -> Self {
        let (version_pieces, pieces) = tables.pieces();
        let from = Stamp { image: image.id, fence: 0, number: 0 };
        let (image, set, at) = (image.id(), image.set, image.head);
        Self { image, set, tables, at, from, next_piece: pieces, version_pieces, pieces }
    }

    /// Whether it can decide: what it must know of each bucket is there.
    pub(super) fn decides(&self) -> bool {
        self.next_piece >= self.version_pieces
    }

    /// Whether its filters are whole.
    pub(super) fn is_whole(&self) -> bool {
        self.next_piece >= self.pieces
    }

    /// How many pieces were copied.
    pub(super) fn copied(&self) -> u64 {
        self.next_piece
    }

    /// Copies pieces, at most so many.
    pub(super) fn copy(&mut self, memory: &dyn SharedMemory, vault: &Vault, at_most: u64) -> bool {
        for _ in 0..at_most {
            if self.is_whole() {
                return true;
            }
            let piece = read_piece(memory, vault, self.set, self.next_piece, self.from);
            let fits = piece.is_some_and(|bytes| self.tables.merge(self.next_piece, &bytes));
            if !fits {
                return false;
            }
            self.next_piece = self.next_piece.saturating_add(1);
        }
        true
    }

    /// Reads slots of the ring up to `head`; each change is handed to `noted` too.
    pub(super) fn follow(
        &mut self,
        memory: &dyn SharedMemory,
        vault: &Vault,
        head: Position,
        mut noted: impl FnMut(&Noted, u64),
    ) -> Progress {
        let behind = head.number.saturating_sub(self.at.number);
        if behind > RING_SLOTS || head.number < self.at.number {
            return Progress::Broken;
        }
        for _ in 0..SLOTS_AT_ONCE {
            if self.at.number == head.number {
                break;
            }
            let Some(slot) = read_slot(memory, vault, self.set, self.at) else {
                return Progress::Broken;
            };
            for change in &slot.changes {
                self.tables.note(change.table, &change.fingerprint, change.sequence);
                noted(change, slot.at_milliseconds);
            }
            self.at = slot.position;
        }
        if self.at.number < head.number {
            Progress::Behind
        } else if self.at == head {
            Progress::UpToDate
        } else {
            // A slot was of a poller that had been replaced: true in itself, and not all.
            Progress::Broken
        }
    }

    /// The record of `fingerprint`, from shared memory if the filter does not deny it.
    pub(super) fn find(
        &self,
        memory: &dyn SharedMemory,
        vault: &Vault,
        table: Table,
        fingerprint: &Fingerprint,
    ) -> Result<Option<FoundRecord>, Unreadable> {
        if self.is_whole() && !self.tables.may_contain(table, fingerprint) {
            return Ok(None);
        }
        let index = self.tables.bucket_of(table, fingerprint);
        let name = vault.bucket_name(self.set, table, index);
        let (sealed, _) = memory.get(&name).ok_or(Unreadable)?;
        let place = Vault::place(self.image, table, index);
        let bucket = vault.buckets().open(&place, &sealed).ok_or(Unreadable)?;
        if !is_recent(bucket, self.tables.version(table, fingerprint)) {
            return Err(Unreadable);
        }
        let found = bucket.find(fingerprint).filter(|record| !record.content.is_empty());
        Ok(found.map(|record| FoundRecord {
            content: record.content.to_vec(),
            sequence: record.sequence,
        }))
    }
}

/// Whether a bucket has the change that it must have, or a later one.
pub(super) fn is_recent(bucket: Bucket<'_>, least: u32) -> bool {
    let newest = bucket.records().map(|record| record.sequence).max();
    newest.map_or(least == 0, |newest| reaches(version_of(newest), least))
}

#[cfg(test)]
mod tests {
    use super::super::memory::LocalMemory;
    use super::super::meta::write_slot;
    use super::*;
    use crate::feed::Layout;
    use crate::secret::Secret;
    use crate::wire::feed::Layouts;

    fn noted(number: u8) -> Noted {
        let fingerprint = Fingerprint([number; 16]);
        Noted { table: Table::Revocations, fingerprint, sequence: number.into() }
    }

    fn image() -> Image {
        let layout = Layout::for_records(0);
        let start = Position::start(ImageId([1; 16]));
        Image {
            id: Fingerprint([1; 16]),
            set: Set::A,
            layouts: Layouts { revocations: layout, api_keys: layout },
            head: start,
            copied: start,
            copied_fence: 1,
            records: [0; 2],
        }
    }

    #[test]
    fn what_a_replaced_poller_writes_late_does_not_pass_for_what_was_announced() {
        let vault = Vault::new("c", &Secret::new(vec![1; 32]), [2; 32]).unwrap();
        let (memory, image) = (LocalMemory::default(), image());
        let write =
            |head, number| write_slot(&memory, &vault, Set::A, head, &[noted(number)], 0).unwrap();
        let announced = write(image.head, 7);
        let mut view = View::new(&image);
        assert_eq!(view.follow(&memory, &vault, announced, |_, _| ()), Progress::UpToDate);
        write(image.head, 9);
        let mut late = View::new(&image);
        assert_eq!(late.follow(&memory, &vault, announced, |_, _| ()), Progress::Broken);
        write(image.head, 7);
        let mut healed = View::new(&image);
        assert_eq!(healed.follow(&memory, &vault, announced, |_, _| ()), Progress::UpToDate);
    }

    #[test]
    fn a_bucket_older_than_what_was_announced_is_not_believed() {
        let vault = Vault::new("c", &Secret::new(vec![1; 32]), [2; 32]).unwrap();
        let (memory, image) = (LocalMemory::default(), image());
        let one = noted(7);
        let index = image.layouts.revocations.bucket_of(&one.fingerprint);
        let name = vault.bucket_name(Set::A, Table::Revocations, index);
        let place = Vault::place(image.id(), Table::Revocations, index);
        let empty = vault.buckets().seal(&place, Vec::new());
        memory.set(&name, &empty, None).unwrap();
        let mut view = View::new(&image);
        let find = |view: &View| view.find(&memory, &vault, one.table, &one.fingerprint);
        assert_eq!(find(&view), Ok(None));
        let head = write_slot(&memory, &vault, Set::A, image.head, &[one], 0).unwrap();
        assert_eq!(view.follow(&memory, &vault, head, |_, _| ()), Progress::UpToDate);
        assert_eq!(find(&view), Err(Unreadable));
    }
}
