//! A loading of the tables into the set that nobody reads.

use std::collections::VecDeque;

use super::apply::{Piece, fingerprints};
use super::memory::SharedMemory;
use super::meta::{Image, Position, Stamp, write_piece};
use super::tables::{Tables, layout};
use super::vault::{Set, Vault};
use crate::base64url;
use crate::feed::{Fingerprint, Table};
use crate::wire::BUCKETS_PATH;
use crate::wire::feed::{Change, Layouts};

/// Pieces of each table that are asked for at once: the way there and back must not be waited for
/// piece by piece.
const LANES: u32 = 2;

/// A range of the buckets of a table, loaded piece by piece.
#[derive(Debug)]
struct Lane {
    table: Table,
    next: u32,
    end: u32,
    is_asked: bool,
}

/// A piece that is to be asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct PieceAsked {
    lane: usize,
    table: Table,
    first: u32,
}

/// A loading on its way.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) image: Image,
    pub(super) tables: Tables,
    /// Where it began: pieces are at least of then.
    begun: String,
    /// Up to where changes were received since.
    pub(super) cursor: String,
    /// Changes that were received and not yet taken in.
    pub(super) queue: VecDeque<Change>,
    /// The last change that was received.
    pub(super) received: u64,
    /// The change that the set in use has already: not before the loading has it is it used.
    pub(super) must_reach: u64,
    /// When the sidecar said last that nothing more has changed.
    pub(super) caught_up: Option<u64>,
    /// Whether a change could not be written where it belongs.
    pub(super) is_flawed: bool,
    lanes: Vec<Lane>,
    next_copy: u64,
}

impl Load {
    pub(super) fn new(
        vault: &Vault,
        set: Set,
        layouts: Layouts,
        cursor: String,
        fence: u64,
    ) -> Self {
        let id = vault.draw_image();
        let start = Position::start(id);
        let image = Image {
            id: Fingerprint(id.0),
            set,
            layouts,
            head: start,
            copied: start,
            copied_fence: fence,
            records: [0; 2],
        };
        Self {
            image,
            tables: Tables::new(layouts),
            begun: cursor.clone(),
            cursor,
            queue: VecDeque::new(),
            received: 0,
            must_reach: 0,
            caught_up: None,
            is_flawed: false,
            lanes: Table::ALL.into_iter().flat_map(|table| lanes(layouts, table)).collect(),
            next_copy: 0,
        }
    }

    /// Whether all buckets are there, as they were at some time after the beginning.
    pub(super) fn has_buckets(&self) -> bool {
        self.lanes.iter().all(|lane| lane.next >= lane.end)
    }

    /// Whether the pieces for the other VMs are written.
    pub(super) fn is_copied(&self) -> bool {
        self.next_copy >= self.tables.pieces().1
    }

    /// Whether the set in use has nothing that this one lacks.
    pub(super) fn is_even(&self) -> bool {
        self.has_buckets()
            && self.queue.is_empty()
            && self.caught_up.is_some()
            && self.received >= self.must_reach
    }

    /// The next piece to ask for.
    pub(super) fn wanted(&mut self) -> Option<PieceAsked> {
        let mut lanes = self.lanes.iter_mut().enumerate();
        let (index, lane) = lanes.find(|(_, lane)| !lane.is_asked && lane.next < lane.end)?;
        lane.is_asked = true;
        Some(PieceAsked { lane: index, table: lane.table, first: lane.next })
    }

    /// The path that a piece is asked for with.
    pub(super) fn path(&self, asked: PieceAsked) -> String {
        let bits = layout(self.image.layouts, asked.table).bucket_bits;
        let (table, first) = (asked.table.word(), asked.first);
        let (image, cursor) = (base64url::encode(&self.image.id.0), &self.begun);
        format!(
            "{BUCKETS_PATH}?table={table}&bits={bits}&first={first}&image={image}&cursor={cursor}"
        )
    }

    /// A piece did not come; it will be asked for again.
    pub(super) fn not_answered(&mut self, asked: PieceAsked) {
        if let Some(lane) = self.lanes.get_mut(asked.lane) {
            lane.is_asked = false;
        }
    }

    /// Takes a piece in; `false` if it is none.
    pub(super) fn answered(
        &mut self,
        memory: &dyn SharedMemory,
        vault: &Vault,
        asked: PieceAsked,
        bytes: &[u8],
    ) -> bool {
        self.not_answered(asked);
        let all = layout(self.image.layouts, asked.table).buckets();
        let Some(piece) = Piece::read(bytes, asked.first, all) else { return false };
        let end = self.lanes.get(asked.lane).map_or(0, |lane| lane.end);
        let mut records = 0_u64;
        for (index, sealed) in piece.buckets.iter().filter(|(index, _)| *index < end) {
            let name = vault.bucket_name(self.image.set, asked.table, *index);
            if memory.set(&name, sealed, None).is_err() {
                return false;
            }
            for fingerprint in fingerprints(sealed) {
                self.tables.insert(asked.table, &fingerprint);
                records = records.saturating_add(1);
            }
        }
        count(&mut self.image.records, asked.table, records);
        if let Some(lane) = self.lanes.get_mut(asked.lane) {
            lane.next = lane.next.max(piece.next);
        }
        true
    }

    /// Writes the next piece for the other VMs. What changes from then on stands in the ring.
    pub(super) fn copy_next(&mut self, memory: &dyn SharedMemory, vault: &Vault, fence: u64) {
        if self.next_copy == 0 {
            self.image.copied = self.image.head;
            self.image.copied_fence = fence;
        }
        let stamp = Stamp { image: self.image.id, fence, number: self.image.copied.number };
        let bytes = self.tables.piece(self.next_copy);
        if write_piece(memory, vault, self.image.set, self.next_copy, stamp, &bytes) {
            self.next_copy = self.next_copy.saturating_add(1);
        }
    }
}

/// Adds to the number of records of a table.
pub(super) fn count(records: &mut [u64; 2], table: Table, more: u64) {
    let [revocations, api_keys] = records;
    let records = match table {
        Table::Revocations => revocations,
        Table::ApiKeys => api_keys,
    };
    *records = records.saturating_add(more);
}

fn lanes(layouts: Layouts, table: Table) -> impl Iterator<Item = Lane> {
    let all = layout(layouts, table).buckets();
    let width = all.div_ceil(LANES).max(1);
    (0..LANES).map(move |lane| {
        let next = lane.saturating_mul(width).min(all);
        Lane { table, next, end: next.saturating_add(width).min(all), is_asked: false }
    })
}
