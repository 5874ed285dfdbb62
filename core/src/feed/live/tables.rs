//! What each VM holds of the tables: a filter, and for each bucket the least that it must know.

use crate::feed::{Filter, Fingerprint, Layout, Table};
use crate::wire::feed::Layouts;

/// Bytes of a piece of this in shared memory: a few of them pass the MAC in a callback of a
/// millisecond, in wasm.
pub(super) const PIECE_BYTES: usize = 32 * 1024;
/// Bytes of the version of a bucket.
const VERSION_BYTES: usize = 4;
/// Versions of a piece.
const PIECE_VERSIONS: usize = PIECE_BYTES / VERSION_BYTES;

/// Filters and versions of all tables.
///
/// The version of a bucket is the sequence of the last change in it that this VM has heard of. An
/// enemy who puts an old bucket back, under its own right MAC, is found out by it.
#[derive(Debug)]
pub(super) struct Tables {
    layouts: Layouts,
    filters: [Filter; 2],
    versions: [Vec<u32>; 2],
}

/// A piece of [`Tables`], by its number: versions first, because nothing is decided without them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Piece {
    Versions { table: Table, first: usize },
    Filter { table: Table, offset: usize },
}

pub(super) fn layout(layouts: Layouts, table: Table) -> Layout {
    match table {
        Table::Revocations => layouts.revocations,
        Table::ApiKeys => layouts.api_keys,
    }
}

fn of<T>(pair: &[T; 2], table: Table) -> &T {
    let [revocations, api_keys] = pair;
    match table {
        Table::Revocations => revocations,
        Table::ApiKeys => api_keys,
    }
}

fn of_mut<T>(pair: &mut [T; 2], table: Table) -> &mut T {
    let [revocations, api_keys] = pair;
    match table {
        Table::Revocations => revocations,
        Table::ApiKeys => api_keys,
    }
}

impl Tables {
    pub(super) fn new(layouts: Layouts) -> Self {
        let all = [layouts.revocations, layouts.api_keys];
        let buckets = |layout: Layout| usize::try_from(layout.buckets()).unwrap_or(0);
        Self {
            layouts,
            filters: all.map(Filter::new),
            versions: all.map(|layout| vec![0; buckets(layout)]),
        }
    }

    pub(super) fn bucket_of(&self, table: Table, fingerprint: &Fingerprint) -> u32 {
        layout(self.layouts, table).bucket_of(fingerprint)
    }

    /// Takes up that a record of this change stands in its bucket.
    pub(super) fn note(&mut self, table: Table, fingerprint: &Fingerprint, sequence: u64) {
        of_mut(&mut self.filters, table).insert(fingerprint);
        let index = usize::try_from(self.bucket_of(table, fingerprint)).unwrap_or(usize::MAX);
        if let Some(version) = of_mut(&mut self.versions, table).get_mut(index) {
            *version = later(*version, version_of(sequence));
        }
    }

    /// Takes up a record that came with the loading.
    pub(super) fn insert(&mut self, table: Table, fingerprint: &Fingerprint) {
        of_mut(&mut self.filters, table).insert(fingerprint);
    }

    pub(super) fn may_contain(&self, table: Table, fingerprint: &Fingerprint) -> bool {
        of(&self.filters, table).may_contain(fingerprint)
    }

    /// The version that the bucket of `fingerprint` has at least.
    pub(super) fn version(&self, table: Table, fingerprint: &Fingerprint) -> u32 {
        let index = usize::try_from(self.bucket_of(table, fingerprint)).unwrap_or(usize::MAX);
        of(&self.versions, table).get(index).copied().unwrap_or(u32::MAX)
    }

    /// The bytes in use.
    pub(super) fn bytes(&self) -> usize {
        let filters = self.filters.iter().map(Filter::len_bytes);
        let versions = self.versions.iter().map(|all| all.len().saturating_mul(VERSION_BYTES));
        filters.chain(versions).fold(0, usize::saturating_add)
    }

    /// How many pieces have versions, and how many there are in all.
    pub(super) fn pieces(&self) -> (u64, u64) {
        let versions = self.version_pieces().count();
        let all = versions.saturating_add(self.filter_pieces().count());
        (u64::try_from(versions).unwrap_or(0), u64::try_from(all).unwrap_or(0))
    }

    /// The bytes of a piece.
    pub(super) fn piece(&self, number: u64) -> Vec<u8> {
        match self.piece_at(number) {
            Some(Piece::Versions { table, first }) => {
                let versions = of(&self.versions, table).iter().skip(first).take(PIECE_VERSIONS);
                versions.flat_map(|version| version.to_be_bytes()).collect()
            }
            Some(Piece::Filter { table, offset }) => {
                of(&self.filters, table).bytes(offset, PIECE_BYTES)
            }
            None => Vec::new(),
        }
    }

    /// Takes up a piece of another's; `false` if it does not fit. Nothing is ever forgotten by it.
    #[must_use]
    pub(super) fn merge(&mut self, number: u64, bytes: &[u8]) -> bool {
        match self.piece_at(number) {
            Some(Piece::Versions { table, first }) => {
                let (versions, rest) = bytes.as_chunks::<VERSION_BYTES>();
                let mine = of_mut(&mut self.versions, table).iter_mut();
                let mine = mine.skip(first).take(PIECE_VERSIONS);
                let fits = rest.is_empty() && mine.len() == versions.len();
                for (mine, theirs) in mine.zip(versions) {
                    *mine = later(*mine, u32::from_be_bytes(*theirs));
                }
                fits
            }
            Some(Piece::Filter { table, offset }) => {
                let filter = of_mut(&mut self.filters, table);
                let expected = filter.len_bytes().saturating_sub(offset).min(PIECE_BYTES);
                bytes.len() == expected && filter.merge_bytes(offset, bytes)
            }
            None => false,
        }
    }

    fn piece_at(&self, number: u64) -> Option<Piece> {
        let number = usize::try_from(number).ok()?;
        self.version_pieces().chain(self.filter_pieces()).nth(number)
    }

    fn version_pieces(&self) -> impl Iterator<Item = Piece> {
        Table::ALL.into_iter().flat_map(|table| {
            let all = of(&self.versions, table).len();
            (0..all).step_by(PIECE_VERSIONS).map(move |first| Piece::Versions { table, first })
        })
    }

    fn filter_pieces(&self) -> impl Iterator<Item = Piece> {
        Table::ALL.into_iter().flat_map(|table| {
            let all = of(&self.filters, table).len_bytes();
            (0..all).step_by(PIECE_BYTES).map(move |offset| Piece::Filter { table, offset })
        })
    }
}

/// The version for a sequence: its last 32 bits, and never 0, which stands for 'from the loading'.
pub(super) fn version_of(sequence: u64) -> u32 {
    let [_, _, _, _, a, b, c, d] = sequence.to_be_bytes();
    // One less than 0 asks for less, never for a change that there is not.
    match u32::from_be_bytes([a, b, c, d]) {
        0 => u32::MAX,
        version => version,
    }
}

/// Whether `version` is `least` or later. Sequences wrap around after 2^32; two of one log and
/// loading are never 2^31 apart.
pub(super) fn reaches(version: u32, least: u32) -> bool {
    least == 0 || version.wrapping_sub(least) < 1 << 31
}

fn later(one: u32, other: u32) -> u32 {
    if other != 0 && (one == 0 || reaches(other, one)) { other } else { one }
}

#[cfg(test)]
mod tests {
    use super::{Tables, later, reaches, version_of};
    use crate::feed::{Fingerprint, Layout, Table};
    use crate::wire::feed::Layouts;

    fn layouts(records: u64) -> Layouts {
        let layout = Layout::for_records(records);
        Layouts { revocations: layout, api_keys: Layout::for_records(records / 3) }
    }

    #[test]
    fn pieces_make_the_same_tables_again_and_forget_nothing() {
        let mut tables = Tables::new(layouts(1_000_000));
        let mut copy = Tables::new(layouts(1_000_000));
        let of = |number: u32| Fingerprint::of("test", &[&number.to_be_bytes()]);
        for number in 0..3000 {
            tables.note(Table::Revocations, &of(number), u64::from(number));
            tables.note(Table::ApiKeys, &of(number), u64::from(number) + 7);
        }
        copy.note(Table::Revocations, &of(5), 1_000_000);
        let (versions, all) = tables.pieces();
        assert!(versions < all);
        for number in 0..all {
            assert!(copy.merge(number, &tables.piece(number)), "piece {number}");
            assert!(!copy.merge(number, &[0; 3]), "piece {number} cut");
        }
        assert!(!copy.merge(all, &[]), "behind the last");
        for number in 0..3000 {
            assert!(copy.may_contain(Table::ApiKeys, &of(number)));
            let least = tables.version(Table::Revocations, &of(number));
            assert!(reaches(copy.version(Table::Revocations, &of(number)), least));
        }
        assert_eq!(copy.version(Table::Revocations, &of(5)), 1_000_000, "never back");
    }

    #[test]
    fn versions_go_on_where_sequences_pass_the_end_of_32_bits() {
        let end = 1_u64 << 32;
        assert_eq!(version_of(end), u32::MAX);
        assert!(reaches(version_of(end + 1), version_of(end - 1)));
        assert!(!reaches(version_of(end - 1), version_of(end + 1)));
        assert!(reaches(7, 0), "nothing is asked of what came with the loading");
        assert_eq!(later(version_of(end - 5), version_of(end + 5)), 5);
        assert_eq!(later(5, version_of(end - 5)), 5);
        assert_eq!(later(0, 9), 9);
        assert_eq!(later(9, 0), 9);
    }
}
