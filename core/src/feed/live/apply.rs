//! Writes changes into the tables in shared memory.

use super::load::count;
use super::memory::SharedMemory;
use super::meta::{Image, Noted, Position, write_slot};
use super::tables::Tables;
use super::vault::Vault;
use super::view::is_recent;
use crate::feed::bucket::{Bucket, Record};
use crate::feed::{Fingerprint, Revocation, Table, encode_api_key};
use crate::wire::feed::{Change, ChangeKind};

/// Changes that are taken in in one callback: each costs reading, checking, sealing and writing a
/// bucket, about 25 microseconds in wasm, and a callback must stay below a millisecond.
pub(super) const CHANGES_AT_ONCE: usize = 24;
/// How often a bucket is tried that another writes at the same time.
const TRIES: usize = 8;

/// How a batch of changes went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Applied {
    /// Where the ring stands then; `None` if the batch could not be announced.
    pub(super) head: Option<Position>,
    /// Whether every bucket could be read. One that could not keeps whoever it decides about out
    /// until it is loaded anew.
    pub(super) is_whole: bool,
}

/// Takes changes in, and tells the other VMs of them. Doing it twice does nothing more.
pub(super) fn apply(
    memory: &dyn SharedMemory,
    vault: &Vault,
    (image, tables): (&mut Image, &mut Tables),
    changes: &[Change],
    now_seconds: u64,
) -> Applied {
    let mut noted = Vec::new();
    let mut is_whole = true;
    for change in changes {
        let Some((record, content)) = record_of(change) else { continue };
        let least = tables.version(record.table, &record.fingerprint);
        let is_recent = |bucket: Bucket<'_>| is_recent(bucket, least);
        is_whole &=
            write_record(memory, vault, (image, &is_recent), &record, &content, now_seconds);
        tables.note(record.table, &record.fingerprint, record.sequence);
        // Announced even if it could not be written: a bucket without it is then not believed.
        noted.push(record);
    }
    if noted.is_empty() {
        return Applied { head: Some(image.head), is_whole };
    }
    let oldest = changes.iter().map(|change| change.entry.at_milliseconds).min().unwrap_or(0);
    let head = write_slot(memory, vault, image.set, image.head, &noted, oldest);
    Applied { head, is_whole }
}

/// What a change says of which record. A key that is gone leaves a record without content, so that
/// an old bucket with the key in it is older than this one.
pub(super) fn record_of(change: &Change) -> Option<(Noted, Vec<u8>)> {
    let (table, fingerprint, content) = match &change.entry.kind {
        ChangeKind::Revoked { revocation } => {
            (Table::Revocations, revocation.fingerprint, revocation.content().to_vec())
        }
        ChangeKind::ApiKey { fingerprint, record } => {
            // A record that cannot be written is one that nobody can be let in by.
            (Table::ApiKeys, *fingerprint, encode_api_key(record).unwrap_or_default())
        }
        ChangeKind::ApiKeyGone { fingerprint } => (Table::ApiKeys, *fingerprint, Vec::new()),
        ChangeKind::Settings => return None,
    };
    Some((Noted { table, fingerprint, sequence: change.sequence }, content))
}

fn write_record(
    memory: &dyn SharedMemory,
    vault: &Vault,
    (image, is_recent): (&mut Image, &dyn Fn(Bucket<'_>) -> bool),
    noted: &Noted,
    content: &[u8],
    now_seconds: u64,
) -> bool {
    let Noted { table, fingerprint, sequence } = *noted;
    let index = super::tables::layout(image.layouts, table).bucket_of(&fingerprint);
    let name = vault.bucket_name(image.set, table, index);
    let place = Vault::place(image.id(), table, index);
    let record = Record { fingerprint, sequence, content };
    for _ in 0..TRIES {
        let Some((sealed, version)) = memory.get(&name) else { return false };
        let Some(bucket) = vault.buckets().open(&place, &sealed) else { return false };
        // Into an old bucket that somebody has put back nothing is written: it would look like new,
        // and what it lacks would be forgotten.
        if !is_recent(bucket) {
            return false;
        }
        let changed = bucket.with(&record, |kept| stays(bucket, kept, table, now_seconds));
        if changed == bucket.0 {
            return true;
        }
        let is_new = bucket.find(&fingerprint).is_none();
        if memory.set(&name, &vault.buckets().seal(&place, changed), Some(version)).is_ok() {
            count(&mut image.records, table, u64::from(is_new));
            return true;
        }
    }
    false
}

/// Whether a record stays when another comes: revocations leave when nothing that they could match
/// is alive. The newest stays in any case, because the age of a bucket is judged by it.
fn stays(bucket: Bucket<'_>, record: &Record<'_>, table: Table, now_seconds: u64) -> bool {
    if table == Table::ApiKeys {
        return true;
    }
    let read = Revocation::from_content(record.fingerprint, record.content);
    let is_over = read.is_some_and(|revocation| revocation.until < now_seconds);
    !is_over || bucket.records().map(|one| one.sequence).max() == Some(record.sequence)
}

/// A piece of a table as the sidecar serves it: where the next begins, and the sealed buckets.
pub(super) struct Piece<'a> {
    pub(super) next: u32,
    pub(super) buckets: Vec<(u32, &'a [u8])>,
}

impl<'a> Piece<'a> {
    /// Reads a piece that begins with the bucket `first` of `all`.
    pub(super) fn read(bytes: &'a [u8], first: u32, all: u32) -> Option<Self> {
        let (next, mut rest) = bytes.split_first_chunk()?;
        let next = u32::from_be_bytes(*next);
        if next <= first || next > all {
            return None;
        }
        let mut buckets = Vec::new();
        for index in first..next {
            let (length, tail) = rest.split_first_chunk()?;
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            let (sealed, tail) = tail.split_at_checked(length)?;
            buckets.push((index, sealed));
            rest = tail;
        }
        rest.is_empty().then_some(Self { next, buckets })
    }
}

/// The fingerprints in a sealed bucket. Its MAC is that of whoever answers for the whole piece.
pub(super) fn fingerprints(sealed: &[u8]) -> impl Iterator<Item = Fingerprint> {
    const MAC_BYTES: usize = 16;
    let records = sealed.get(..sealed.len().saturating_sub(MAC_BYTES)).unwrap_or_default();
    Bucket(records).records().map(|record| record.fingerprint)
}
