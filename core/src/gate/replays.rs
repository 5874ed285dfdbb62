//! Which proofs were used: each is good for one request in a proxy, whichever worker gets it.
//!
//! Shared memory forgets nothing by itself, so the table has a fixed number of sets, and each set at
//! most [`SET_ENTRIES`] proofs, which are remembered until they would be too old anyway. A set that
//! is full of them takes no more: the request is refused. Memory is taken only as sets fill: at
//! most about 14 MB in a proxy.
//!
//! # Who else writes there
//! A proxy may give other plugins the same memory. Everything that could make a used proof look new
//! refuses instead: a set without the right MAC, one that is older than what this worker has seen,
//! memory that cannot be written. An enemy there can so close the gate for proofs. What he can
//! open: by putting an older state of a set back he makes a proof look new to a worker that has not
//! touched the set since; he needs the proof and its token to use that, and one who reads requests
//! in the proxy has both anyway.
//!
//! # Clocks
//! Entries end by the wall clock, as proofs do. A clock that is set back could make a proof good
//! again that is forgotten already. So each set keeps its *horizon*, the latest end among what it
//! has forgotten, and a proof that would end no later is refused.

use std::hash::Hasher as _;

use crate::dpop::VerifiedProof;
use crate::feed::live::SharedMemory;
use crate::sealed_table::{MAC_BYTES, SealedTable};
use crate::secret::Secret;
use crate::time::UnixSeconds;

/// Sets of the table.
const SETS: u64 = 16_384;
/// Proofs of a set: a million in all, 9,000 per second for two minutes before one in ten thousand
/// requests meets a full set.
const SET_ENTRIES: usize = 64;
/// Times that a worker tries to write before it gives in: another worker wins each time.
const MAX_TRIES: u32 = 16;

const HEAD_BYTES: usize = 12;
const ENTRY_BYTES: usize = 12;

/// Why a proof is not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refusal {
    /// It was used before.
    Replayed,
    /// It may have been used and forgotten before the clock was set back.
    Forgotten,
    /// No place is left to remember it.
    Full,
    /// The memory cannot be written, or what stands there is not what was written.
    Unreadable,
}

/// The used proofs of a proxy.
#[derive(Debug)]
pub(super) struct Replays {
    table: SealedTable,
    /// The latest version of each set that this worker has seen; empty until there is a proof.
    seen: Vec<u32>,
    sets: u64,
}

/// A set as it stands in memory.
#[derive(Clone, Debug, Default)]
struct Set {
    /// Grows with each change.
    version: u32,
    horizon: u64,
    /// Tags of proofs, and the last second of each.
    entries: Vec<(u64, u64)>,
}

impl Replays {
    /// A table under keys from `secret`. Workers with the same secret share it.
    pub(super) fn new(secret: &Secret) -> Self {
        let table = SealedTable::new(secret, "wardgate dpop replays", "wardgate1.proofs");
        Self { table, seen: Vec::new(), sets: SETS }
    }

    /// The same with another number of sets, for tests.
    #[cfg(test)]
    pub(super) fn with_sets(self, sets: u64) -> Self {
        Self { sets, ..self }
    }

    /// Remembers that `proof` was used.
    ///
    /// # Errors
    ///
    /// [`Refusal`]; then the request must not go on.
    pub(super) fn take(
        &mut self,
        proof: &VerifiedProof,
        now: UnixSeconds,
        memory: &dyn SharedMemory,
    ) -> Result<(), Refusal> {
        let (place, tag) = self.place_of(proof);
        let key = format!("{}.{place:x}", self.table.prefix());
        let until = proof.valid_until().0;
        for _ in 0..MAX_TRIES {
            let held = memory.get(&key);
            let mut set = match &held {
                Some((value, _)) => self.open(&key, value).ok_or(Refusal::Unreadable)?,
                None => Set::default(),
            };
            // Also one that is gone: nobody takes a set away.
            if set.version < self.seen(place) {
                return Err(Refusal::Unreadable);
            }
            set.add(tag, until, now.0)?;
            let sealed = self.seal(&key, &set);
            // Two workers must not both write the first value: each would lose what the other
            // remembers.
            let written = match held {
                Some((_, version)) => memory.set(&key, &sealed, Some(version)),
                None => memory.create(&key, &sealed),
            };
            if written.is_ok() {
                self.note(place, set.version);
                return Ok(());
            }
        }
        Err(Refusal::Unreadable)
    }

    /// Set and tag of a proof: a keyed hash of key and id, so that nobody can choose whose set he
    /// falls into, nor use up the ids of others.
    fn place_of(&self, proof: &VerifiedProof) -> (u64, u64) {
        let (place, tag) = self.table.place_of(|hasher| {
            // Thumbprints all have one length, so no two pairs make the same bytes.
            hasher.write(proof.thumbprint().as_bytes());
            hasher.write(proof.token_id().as_bytes());
        });
        (place.checked_rem(self.sets).unwrap_or(0), tag)
    }

    fn seen(&self, place: u64) -> u32 {
        let index = usize::try_from(place).unwrap_or(usize::MAX);
        self.seen.get(index).copied().unwrap_or(0)
    }

    fn note(&mut self, place: u64, version: u32) {
        if self.seen.is_empty() {
            // 64 KiB, only where there are proofs.
            self.seen.resize(usize::try_from(self.sets).unwrap_or(0), 0);
        }
        let index = usize::try_from(place).unwrap_or(usize::MAX);
        if let Some(seen) = self.seen.get_mut(index) {
            *seen = version;
        }
    }

    /// A set as it stands in memory, unless it was not written under this key for this place.
    fn open(&self, key: &str, value: &[u8]) -> Option<Set> {
        let payload = self.table.open(key, value)?;
        let (head, entries) = payload.split_first_chunk::<HEAD_BYTES>()?;
        let (version, horizon) = head.split_first_chunk::<4>()?;
        let entry = |bytes: &[u8]| {
            let (tag, until) = bytes.split_first_chunk::<8>()?;
            let until = u32::from_be_bytes(until.try_into().ok()?);
            Some((u64::from_be_bytes(*tag), u64::from(until)))
        };
        Some(Set {
            version: u32::from_be_bytes(*version),
            horizon: u64::from_be_bytes(horizon.try_into().ok()?),
            entries: entries.chunks_exact(ENTRY_BYTES).map(entry).collect::<Option<_>>()?,
        })
    }

    fn seal(&self, key: &str, set: &Set) -> Vec<u8> {
        let entries = set.entries.len().saturating_mul(ENTRY_BYTES);
        let mut bytes = Vec::with_capacity(entries.saturating_add(HEAD_BYTES + MAC_BYTES));
        bytes.extend_from_slice(&set.version.to_be_bytes());
        bytes.extend_from_slice(&set.horizon.to_be_bytes());
        for (tag, until) in &set.entries {
            bytes.extend_from_slice(&tag.to_be_bytes());
            // Until the year 2106; after that it is remembered for ever, which refuses.
            let until = u32::try_from(*until).unwrap_or(u32::MAX);
            bytes.extend_from_slice(&until.to_be_bytes());
        }
        self.table.seal(key, bytes)
    }
}

impl Set {
    /// Adds a proof that is not there, after forgetting what has ended.
    fn add(&mut self, tag: u64, until: u64, now: u64) -> Result<(), Refusal> {
        if self.entries.iter().any(|(known, _)| *known == tag) {
            return Err(Refusal::Replayed);
        }
        let ended = self.entries.iter().map(|(_, until)| *until).filter(|until| *until < now);
        self.horizon = ended.max().unwrap_or(0).max(self.horizon);
        self.entries.retain(|(_, until)| *until >= now);
        if until <= self.horizon {
            return Err(Refusal::Forgotten);
        }
        if self.entries.len() >= SET_ENTRIES {
            return Err(Refusal::Full);
        }
        self.entries.push((tag, until));
        self.version = self.version.saturating_add(1);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
