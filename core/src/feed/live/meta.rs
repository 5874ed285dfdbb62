//! The small values in shared memory: what is the newest, what changed last, who polls.

use serde::{Deserialize, Serialize};

use super::memory::SharedMemory;
use super::vault::{Set, Vault};
use crate::feed::bucket::ImageId;
use crate::feed::{Fingerprint, Table};
use crate::wire::feed::Layouts;

/// Slots of a ring: a VM that was away for as many batches of changes copies the tables anew.
pub(super) const RING_SLOTS: u64 = 1024;

/// What is the newest. Each is written in place of exactly the one that was read before it, so the
/// metas of a feed are one chain; a VM never takes an older one for a newer.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Meta {
    /// Counts the pollers; a poller that was replaced writes no meta any more.
    pub(super) fence: u64,
    /// Who wrote it.
    pub(super) holder: Fingerprint,
    /// Counts the metas.
    pub(super) serial: u64,
    /// When the sidecar's last answer came of which all is taken in, by the monotonic clock of the
    /// process, in nanoseconds.
    pub(super) heard: u64,
    /// Whether nothing that was announced before can be missing. A poller that found an older meta
    /// than its predecessor knew is not sure until the sidecar has told it everything again.
    pub(super) is_sure: bool,
    /// Where the log goes on after the changes that are taken in.
    pub(super) cursor: Option<String>,
    /// The generation of the settings.
    pub(super) generation: Option<String>,
    /// What the settings in shared memory are, in a word.
    pub(super) settings: Option<Fingerprint>,
    /// The tables, once they are loaded.
    pub(super) image: Option<Image>,
}

impl Meta {
    pub(super) fn first(fence: u64, holder: Fingerprint) -> Self {
        Self {
            fence,
            holder,
            serial: 1,
            heard: 0,
            is_sure: true,
            cursor: None,
            generation: None,
            settings: None,
            image: None,
        }
    }

    /// What orders metas: nothing older is ever taken.
    pub(super) fn age(&self) -> (u64, u64) {
        (self.fence, self.serial)
    }

    pub(super) fn read(memory: &dyn SharedMemory, vault: &Vault) -> (Option<Self>, Option<u32>) {
        read(memory, vault, META)
    }
}

/// Tables in shared memory.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Image {
    /// The loading, as 16 bytes.
    pub(super) id: Fingerprint,
    pub(super) set: Set,
    pub(super) layouts: Layouts,
    /// The last slot of the ring.
    pub(super) head: Position,
    /// Where whoever copies the pieces goes on in the ring.
    pub(super) copied: Position,
    /// Who made the pieces.
    pub(super) copied_fence: u64,
    /// How many records the tables have, revocations and API keys.
    pub(super) records: [u64; 2],
}

impl Image {
    pub(super) fn id(&self) -> ImageId {
        ImageId(self.id.0)
    }
}

/// A place in the ring. The link is a hash over all slots up to it: what a poller that was replaced
/// writes into a slot, late, is no part of the chain.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Position {
    pub(super) number: u64,
    pub(super) link: Fingerprint,
}

impl Position {
    /// Where the ring of an image begins.
    pub(super) fn start(image: ImageId) -> Self {
        Self { number: 0, link: Fingerprint(image.0) }
    }

    fn after(self, payload: &[u8]) -> Self {
        Self {
            number: self.number.saturating_add(1),
            link: Fingerprint::of("ring", &[&self.link.0, payload]),
        }
    }
}

pub(super) const META: &str = "meta";
pub(super) const SETTINGS: &str = "settings";
pub(super) const LEASE: &str = "lease";
/// What VMs could not read; anyone may write it, and it does little.
pub(super) const WISH: &str = "wish";

/// Reads a value; also the version that it has, readable or not.
pub(super) fn read<T: for<'a> Deserialize<'a>>(
    memory: &dyn SharedMemory,
    vault: &Vault,
    what: &str,
) -> (Option<T>, Option<u32>) {
    let name = vault.name(what);
    let Some((sealed, version)) = memory.get(&name) else { return (None, None) };
    let value = vault.open(&name, &sealed).and_then(|text| serde_json::from_slice(text).ok());
    (value, Some(version))
}

/// Writes a value in place of that of `version`; `false` if another was faster.
pub(super) fn write<T: Serialize>(
    memory: &dyn SharedMemory,
    vault: &Vault,
    what: &str,
    value: &T,
    version: Option<u32>,
) -> bool {
    let name = vault.name(what);
    let Ok(text) = serde_json::to_vec(value) else { return false };
    memory.set(&name, &vault.seal(&name, text), version).is_ok()
}

/// A change, as the ring tells of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Noted {
    pub(super) table: Table,
    pub(super) fingerprint: Fingerprint,
    pub(super) sequence: u64,
}

/// Writes the slot after `head`, and returns its position. `at_milliseconds` is when the oldest of
/// the changes was made.
pub(super) fn write_slot(
    memory: &dyn SharedMemory,
    vault: &Vault,
    set: Set,
    head: Position,
    changes: &[Noted],
    at_milliseconds: u64,
) -> Option<Position> {
    let number = head.number.saturating_add(1);
    let mut payload = number.to_be_bytes().to_vec();
    payload.extend_from_slice(&at_milliseconds.to_be_bytes());
    for change in changes {
        payload.push(match change.table {
            Table::Revocations => 0,
            Table::ApiKeys => 1,
        });
        payload.extend_from_slice(&change.fingerprint.0);
        payload.extend_from_slice(&change.sequence.to_be_bytes());
    }
    let after = head.after(&payload);
    let name = slot_name(vault, set, number);
    memory.set(&name, &vault.seal(&name, payload), None).ok().map(|()| after)
}

/// A slot that was read.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) position: Position,
    pub(super) at_milliseconds: u64,
    pub(super) changes: Vec<Noted>,
}

/// Reads the slot after `position`, if it is there.
pub(super) fn read_slot(
    memory: &dyn SharedMemory,
    vault: &Vault,
    set: Set,
    position: Position,
) -> Option<Slot> {
    let number = position.number.saturating_add(1);
    let name = slot_name(vault, set, number);
    let (sealed, _) = memory.get(&name)?;
    let payload = vault.open(&name, &sealed)?;
    let (shown, rest) = payload.split_first_chunk::<8>()?;
    let (at_milliseconds, mut rest) = rest.split_first_chunk::<8>()?;
    if u64::from_be_bytes(*shown) != number {
        return None;
    }
    let mut changes = Vec::new();
    while let Some((change, tail)) = read_noted(rest) {
        changes.push(change);
        rest = tail;
    }
    let at_milliseconds = u64::from_be_bytes(*at_milliseconds);
    let position = position.after(payload);
    rest.is_empty().then_some(Slot { position, at_milliseconds, changes })
}

fn read_noted(bytes: &[u8]) -> Option<(Noted, &[u8])> {
    let (table, rest) = bytes.split_first()?;
    let table = match table {
        0 => Table::Revocations,
        1 => Table::ApiKeys,
        _ => return None,
    };
    let (fingerprint, rest) = rest.split_first_chunk()?;
    let (sequence, rest) = rest.split_first_chunk()?;
    let sequence = u64::from_be_bytes(*sequence);
    Some((Noted { table, fingerprint: Fingerprint(*fingerprint), sequence }, rest))
}

fn slot_name(vault: &Vault, set: Set, number: u64) -> String {
    vault.numbered_name(set, "s", number.checked_rem(RING_SLOTS).unwrap_or(0))
}

/// What a piece of the tables says of itself: that it has all of an image up to a slot, written by
/// the poller of this fence.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Stamp {
    pub(super) image: Fingerprint,
    pub(super) fence: u64,
    pub(super) number: u64,
}

/// Writes piece `number` of the tables.
pub(super) fn write_piece(
    memory: &dyn SharedMemory,
    vault: &Vault,
    set: Set,
    number: u64,
    stamp: Stamp,
    bytes: &[u8],
) -> bool {
    let mut payload = stamp.image.0.to_vec();
    payload.extend_from_slice(&stamp.fence.to_be_bytes());
    payload.extend_from_slice(&stamp.number.to_be_bytes());
    payload.extend_from_slice(bytes);
    let name = vault.numbered_name(set, "c", number);
    memory.set(&name, &vault.seal(&name, payload), None).is_ok()
}

/// Reads piece `number` of the tables, if it has at least what `least` says. A piece of a later
/// poller has all that was announced before it took over.
pub(super) fn read_piece(
    memory: &dyn SharedMemory,
    vault: &Vault,
    set: Set,
    number: u64,
    least: Stamp,
) -> Option<Vec<u8>> {
    let name = vault.numbered_name(set, "c", number);
    let (sealed, _) = memory.get(&name)?;
    let payload = vault.open(&name, &sealed)?;
    let (image, rest) = payload.split_first_chunk()?;
    let (fence, rest) = rest.split_first_chunk()?;
    let (shown, bytes) = rest.split_first_chunk()?;
    let (fence, shown) = (u64::from_be_bytes(*fence), u64::from_be_bytes(*shown));
    let is_enough = fence > least.fence || (fence == least.fence && shown >= least.number);
    (Fingerprint(*image) == least.image && is_enough).then(|| bytes.to_vec())
}
