//! The arrivals of everybody, in a table of fixed size in memory that workers share.
//!
//! Shared memory forgets nothing by itself, so the table has a fixed number of sets of
//! [`WAYS`] entries. Who is not in the set yet takes the place of the entry with the earliest
//! arrival **and goes on from that arrival**. So the earliest arrival of a set never becomes
//! earlier, and whoever was displaced comes back to one that is no better than what he left: no
//! crowd, however large, gets anyone more than the limit. Where all entries of a set are in use at
//! once, a newcomer begins with the debt of another.
//!
//! # Who else writes there
//! A proxy may give other plugins the same memory. Each set is under a MAC with its place, so what
//! they write counts as an empty set. An enemy there can empty sets, or put older states of them
//! back: both give a budget anew, and no more than that. Every worker remembers what it wrote last
//! for those that it sees often, so that an emptied set does not help with it. Limits keep clients in
//! bounds, not plugins.
//!
//! # Batches
//! Who comes often is charged for several requests at once, which the worker then admits without
//! looking. What is not used within [`BATCH_NANOSECONDS`] is lost to him, so in any time `t` no more
//! than `burst + (t + BATCH_NANOSECONDS) / interval` are admitted.

use std::hash::Hasher as _;

use super::{Limit, LocalMemory, Standing};
use crate::feed::live::SharedMemory;
use crate::sealed_table::{MAC_BYTES, SealedTable};
use crate::secret::Secret;

/// Sets of a table that workers share: 65,536 entries, at most about 4 MB once per proxy.
const SHARED_SETS: u64 = 16_384;
/// Sets of a table of one worker alone, which has less memory.
const LOCAL_SETS: u64 = 1024;
/// Entries of a set.
const WAYS: usize = 4;
/// Times that a worker tries to write before it gives in: another worker wins each time, so with
/// eight of them all had their turn.
const MAX_TRIES: u32 = 8;
/// How long requests that were charged ahead may be used.
pub const BATCH_NANOSECONDS: u64 = 100_000_000;
/// Requests that are charged ahead at most, and the part of a burst that they may be: what a worker
/// does not use is lost to others.
const MAX_BATCH: u64 = 32;
const BATCH_PART: u64 = 64;
/// Entries that a worker remembers, 48 bytes each.
const REMEMBERED: u64 = 1024;

const ENTRY_BYTES: usize = 16;
const SET_BYTES: usize = WAYS * ENTRY_BYTES + MAC_BYTES;

/// Whom a limit is about: a keyed hash, so that nobody can choose whose set he falls into.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Who {
    /// Of addresses there are as many as an attacker likes: they have a table of their own.
    table: u8,
    place: u64,
    tag: u64,
}

impl Who {
    /// The hash as bytes: the same in every proxy with the same secret.
    pub fn bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        let both = self.place.to_be_bytes().into_iter().chain(self.tag.to_be_bytes());
        for (to, from) in bytes.iter_mut().zip(both) {
            *to = from;
        }
        bytes
    }
}

/// The arrivals of everybody.
#[derive(Debug)]
pub struct Slots {
    table: SealedTable,
    remembered: Vec<Remembered>,
    /// In place of shared memory where the host has none: each worker counts alone.
    local: LocalMemory,
    sets: u64,
}

/// What a worker knows of one by itself.
#[derive(Clone, Copy, Debug, Default)]
struct Remembered {
    tag: u64,
    /// The latest that this worker has written.
    arrival: u64,
    /// Charged and not used yet, until a time.
    left: u64,
    until: u64,
    /// How many were charged together last.
    batch: u64,
}

type Set = [(u64, u64); WAYS];
const EMPTY: Set = [(0, 0); WAYS];

impl Slots {
    /// A table under keys from `secret`. Workers with the same secret share it.
    pub fn new(secret: &Secret) -> Self {
        Self {
            table: SealedTable::new(secret, "wardgate rate limits", "wardgate1.limits"),
            remembered: Vec::new(),
            local: LocalMemory::default(),
            sets: SHARED_SETS,
        }
    }

    /// The same with another number of sets, for tests.
    #[cfg(test)]
    pub(super) fn with_sets(self, sets: u64) -> Self {
        Self { sets, ..self }
    }

    /// Whom a limit of this name is about. Addresses have a table of their own.
    pub fn who(&self, limit: &str, is_address: bool, parts: &[&[u8]]) -> Who {
        let (place, tag) = self.table.place_of(|hasher| {
            for part in [&[u8::from(is_address)], limit.as_bytes()].iter().chain(parts) {
                // The length first, so that no two lists of parts make the same bytes.
                hasher.write_u64(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le());
                hasher.write(part);
            }
        });
        Who { table: u8::from(is_address), place, tag }
    }

    /// Counts one request, if it is admitted.
    ///
    /// # Errors
    ///
    /// How the one stands who is refused; nothing was counted.
    pub fn take(
        &mut self,
        who: Who,
        limit: Limit,
        now: u64,
        memory: &dyn SharedMemory,
    ) -> Result<Standing, Standing> {
        let known = self.remembered(who.tag);
        if known.left > 0 && now < known.until {
            let left = known.left.saturating_sub(1);
            self.remember(Remembered { left, ..known });
            return Ok(limit.standing(known.arrival, now));
        }
        let batch = next_batch(&known, limit, now);
        let (batch, arrival) = match self.take_somewhere(who, limit, batch, now, memory) {
            Ok(arrival) => (batch, arrival),
            // Not so many any more; one perhaps.
            Err(_) if batch > 1 => (1, self.take_somewhere(who, limit, 1, now, memory)?),
            Err(standing) => return Err(standing),
        };
        let until = now.saturating_add(BATCH_NANOSECONDS);
        let left = batch.saturating_sub(1);
        self.remember(Remembered { tag: who.tag, arrival, left, until, batch });
        Ok(limit.standing(arrival, now))
    }

    /// How somebody stands, without counting anything.
    pub fn look(&self, who: Who, limit: Limit, now: u64, memory: &dyn SharedMemory) -> Standing {
        let known = self.remembered(who.tag);
        let arrival_in = |sets: u64, memory: &dyn SharedMemory| {
            let key = self.key(who, sets);
            let set = memory.get(&key).map_or(EMPTY, |(value, _)| self.open(&key, &value));
            entry_of(&set, who.tag).1
        };
        let arrival = arrival_in(self.sets, memory).max(arrival_in(LOCAL_SETS, &self.local));
        let mut standing = limit.standing(arrival.max(known.arrival), now);
        if known.left > 0 && now < known.until {
            standing.retry_nanoseconds = 0;
        }
        standing
    }

    /// Charges `count` requests to the set in shared memory or, where there is none, to one of this
    /// worker's own.
    fn take_somewhere(
        &self,
        who: Who,
        limit: Limit,
        count: u64,
        now: u64,
        memory: &dyn SharedMemory,
    ) -> Result<u64, Standing> {
        let known = self.remembered(who.tag).arrival;
        let charge = |arrival: u64| limit.take(arrival.max(known), count, now);
        let shared = self.change(&self.key(who, self.sets), who.tag, charge, memory)?;
        if let Some(arrival) = shared {
            return Ok(arrival);
        }
        let own = self.change(&self.key(who, LOCAL_SETS), who.tag, charge, &self.local)?;
        // This memory takes everything.
        own.map_or_else(|| charge(0), Ok)
    }

    /// Changes the arrival of `tag` in a set; nothing when the memory takes no value.
    fn change(
        &self,
        key: &str,
        tag: u64,
        charge: impl Fn(u64) -> Result<u64, Standing>,
        memory: &dyn SharedMemory,
    ) -> Result<Option<u64>, Standing> {
        let mut last = 0;
        for _ in 0..MAX_TRIES {
            let held = memory.get(key);
            let mut set = held.as_ref().map_or(EMPTY, |(value, _)| self.open(key, value));
            let (index, arrival) = entry_of(&set, tag);
            last = charge(arrival)?;
            if let Some(entry) = set.get_mut(index) {
                *entry = (tag, last);
            }
            let version = held.map(|(_, version)| version);
            match memory.set(key, &self.seal(key, &set), version) {
                Ok(()) => return Ok(Some(last)),
                // Nobody can have been in the way of the first value.
                Err(_) if version.is_none() => return Ok(None),
                Err(_) => {}
            }
        }
        // So many workers are at this set that this one does not get its turn. It goes on with what
        // it remembers, so that each of them keeps the limit alone.
        Ok(Some(last))
    }

    fn key(&self, who: Who, sets: u64) -> String {
        let place = who.place.checked_rem(sets).unwrap_or(0);
        format!("{}.{}.{place:x}", self.table.prefix(), who.table)
    }

    fn remembered(&self, tag: u64) -> Remembered {
        let held = self.remembered.get(remembered_index(tag)).copied();
        held.filter(|held| held.tag == tag).unwrap_or(Remembered { tag, ..Remembered::default() })
    }

    fn remember(&mut self, what: Remembered) {
        if self.remembered.is_empty() {
            // Only once there is a limit: a worker without any pays nothing.
            let size = usize::try_from(REMEMBERED).unwrap_or(1);
            self.remembered.resize(size, Remembered::default());
        }
        if let Some(held) = self.remembered.get_mut(remembered_index(what.tag)) {
            *held = what;
        }
    }

    /// A set as it stands in memory; empty when it was not written under this key for this place.
    fn open(&self, key: &str, value: &[u8]) -> Set {
        let mut set = EMPTY;
        // A MAC guessed right would gain what emptying the set gains anyway.
        let entries = self.table.open(key, value).unwrap_or_default();
        for (entry, bytes) in set.iter_mut().zip(entries.chunks_exact(ENTRY_BYTES)) {
            let mut halves = bytes.chunks_exact(8).filter_map(|half| half.try_into().ok());
            let mut half = || halves.next().map_or(0, u64::from_be_bytes);
            *entry = (half(), half());
        }
        set
    }

    fn seal(&self, key: &str, set: &Set) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SET_BYTES);
        for (tag, arrival) in set {
            bytes.extend_from_slice(&tag.to_be_bytes());
            bytes.extend_from_slice(&arrival.to_be_bytes());
        }
        self.table.seal(key, bytes)
    }
}

/// Where an entry stands or, when it is not there, is to stand; and the arrival to go on from.
fn entry_of(set: &Set, tag: u64) -> (usize, u64) {
    let entries = || set.iter().enumerate();
    let own = entries().find(|(_, entry)| entry.0 == tag && entry.1 > 0);
    let earliest = || entries().min_by_key(|(_, entry)| entry.1);
    own.or_else(earliest).map_or((0, 0), |(index, entry)| (index, entry.1))
}

/// How many to charge together: twice as many as the last time, if those were used up in time.
fn next_batch(known: &Remembered, limit: Limit, now: u64) -> u64 {
    let most = (limit.burst() / BATCH_PART).clamp(1, MAX_BATCH);
    let used_up = known.batch > 0 && known.left == 0 && now < known.until;
    if used_up { known.batch.saturating_mul(2).min(most) } else { 1 }
}

fn remembered_index(tag: u64) -> usize {
    usize::try_from(tag % REMEMBERED).unwrap_or(0)
}
