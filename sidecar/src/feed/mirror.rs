//! The tables of live state in memory, and the changes that came last.

use std::collections::VecDeque;

use wardgate_core::feed::bucket::Record;
use wardgate_core::feed::{Fingerprint, Revocation, Table, encode_api_key};
use wardgate_core::time::UnixSeconds;
use wardgate_core::wire::ApiKeyRecord;
use wardgate_core::wire::feed::{Change, ChangeKind, Layouts, LogEntry, MAX_BEHIND};

use super::table::MirrorTable;
use crate::store::LogPosition;

/// What filters are told of, as it was at a place of the log.
#[derive(Debug)]
pub(super) struct Mirror {
    revocations: MirrorTable,
    api_keys: MirrorTable,
    /// The place before the first of [`Self::recent`].
    first: LogPosition,
    /// The last changes, [`MAX_BEHIND`] at most: nobody is told more than that one by one.
    recent: VecDeque<Recent>,
}

/// A change that was taken in.
#[derive(Debug)]
pub(super) struct Recent {
    /// Its place.
    pub(super) position: LogPosition,
    /// When it was made, in milliseconds since the epoch.
    pub(super) at_milliseconds: u64,
    /// As filters are told of it, encoded once for all of them. `None` for what this version does
    /// not understand, and filters of it neither.
    pub(super) json: Option<Box<str>>,
}

/// What a mirror knows of a place in the log.
#[derive(Debug)]
pub(super) enum Place {
    /// So many of the recent changes come before it.
    Here(usize),
    /// Before the first of them, or after the last.
    Elsewhere,
    /// It is of another log.
    Foreign,
}

/// The log has a gap: the tables are to be read anew.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the log has a gap")]
pub(super) struct GapError;

impl Mirror {
    /// A mirror of empty tables.
    pub(super) fn new(position: LogPosition) -> Self {
        Self {
            revocations: MirrorTable::new(),
            api_keys: MirrorTable::new(),
            first: position,
            recent: VecDeque::new(),
        }
    }

    /// The place of the newest change that is in here.
    pub(super) fn head(&self) -> LogPosition {
        self.recent.back().map_or(self.first, |recent| recent.position)
    }

    /// A table.
    pub(super) fn table(&self, table: Table) -> &MirrorTable {
        match table {
            Table::Revocations => &self.revocations,
            Table::ApiKeys => &self.api_keys,
        }
    }

    /// How the tables are best laid out.
    pub(super) fn layouts(&self) -> Layouts {
        Layouts { revocations: self.revocations.layout(), api_keys: self.api_keys.layout() }
    }

    /// Takes in a revocation that stood in the store after the change `sequence`.
    pub(super) fn put_revocation(&mut self, sequence: u64, revocation: &Revocation) {
        let content = revocation.content();
        let fingerprint = revocation.fingerprint;
        self.revocations.put(&Record { fingerprint, sequence, content: &content });
    }

    /// Takes in an API key that stood in the store after the change `sequence`.
    pub(super) fn put_api_key(
        &mut self,
        sequence: u64,
        fingerprint: Fingerprint,
        record: &ApiKeyRecord,
    ) {
        match encode_api_key(record) {
            Ok(content) => {
                self.api_keys.put(&Record { fingerprint, sequence, content: &content });
            }
            // What filters cannot be told they must not go on believing.
            Err(error) => {
                tracing::error!(id = %record.id, %error, "no filter will know this API key");
                self.api_keys.remove(&fingerprint, sequence);
            }
        }
    }

    /// Takes in the next entry of the log. Says whether the settings are others now.
    ///
    /// # Errors
    ///
    /// [`GapError`] when it is not the next one.
    pub(super) fn apply(&mut self, position: LogPosition, entry: &[u8]) -> Result<(), GapError> {
        if self.head().sequence.checked_add(1) != Some(position.sequence) {
            return Err(GapError);
        }
        let entry = read_entry(position, entry);
        if let Some(entry) = &entry {
            self.apply_kind(position.sequence, &entry.kind);
        }
        self.recent.push_back(Recent::new(position, entry));
        while u64::try_from(self.recent.len()).unwrap_or(u64::MAX) > MAX_BEHIND {
            if let Some(left) = self.recent.pop_front() {
                self.first = left.position;
            }
        }
        Ok(())
    }

    fn apply_kind(&mut self, sequence: u64, kind: &ChangeKind) {
        match kind {
            ChangeKind::Revoked { revocation } => self.put_revocation(sequence, revocation),
            ChangeKind::ApiKey { fingerprint, record } => {
                self.put_api_key(sequence, *fingerprint, record);
            }
            ChangeKind::ApiKeyGone { fingerprint } => self.api_keys.remove(fingerprint, sequence),
            ChangeKind::Settings => {}
        }
    }

    /// Removes what has nothing left to match from the next few buckets.
    pub(super) fn sweep(&mut self, now: UnixSeconds, buckets: usize) {
        self.revocations.sweep(buckets, |record| {
            let read = Revocation::from_content(record.fingerprint, record.content);
            read.is_some_and(|revocation| revocation.until >= now.0)
        });
    }

    /// Where a place of the log is, seen from here.
    pub(super) fn place(&self, position: &LogPosition) -> Place {
        let Some(after) = position.sequence.checked_sub(self.first.sequence) else {
            return Place::Elsewhere;
        };
        let after = usize::try_from(after).unwrap_or(usize::MAX);
        let known = match after.checked_sub(1) {
            None => Some(self.first),
            Some(index) => self.recent.get(index).map(|recent| recent.position),
        };
        match known {
            Some(known) if known == *position => Place::Here(after),
            Some(_) => Place::Foreign,
            None => Place::Elsewhere,
        }
    }

    /// The changes after so many of the recent ones.
    pub(super) fn recent_after(&self, before: usize) -> impl Iterator<Item = &Recent> {
        self.recent.iter().skip(before)
    }
}

impl Recent {
    /// An entry of the log as filters are told of it.
    pub(super) fn new(position: LogPosition, entry: Option<LogEntry>) -> Self {
        let at_milliseconds = entry.as_ref().map_or(0, |entry| entry.at_milliseconds);
        let change = entry.map(|entry| Change { sequence: position.sequence, entry });
        let json = change.and_then(|change| serde_json::to_string(&change).ok());
        Self { position, at_milliseconds, json: json.map(String::into_boxed_str) }
    }
}

/// Reads an entry of the log.
pub(super) fn read_entry(position: LogPosition, entry: &[u8]) -> Option<LogEntry> {
    let read = serde_json::from_slice(entry);
    if let Err(error) = &read {
        let sequence = position.sequence;
        tracing::error!(sequence, %error, "an entry of the log is not understood: a newer sidecar?");
    }
    read.ok()
}
