//! Keeps events until they are acknowledged, up to a bound in bytes.

use std::collections::VecDeque;

use super::event::{self, Event};

/// Events are sent in batches of about this size: large enough to be cheap, small enough for the
/// deadline of one call.
const BATCH_BYTES: usize = 64 * 1024;

/// Events of one VM incarnation, numbered from 1 without a hole.
#[derive(Debug)]
pub struct AuditBuffer {
    incarnation: String,
    batches: VecDeque<Batch>,
    bytes: usize,
    limit_bytes: usize,
    next_sequence: u64,
    lost: Option<Lost>,
    counts: Counts,
}

/// What happened to the events, for metrics.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Events recorded, lost ones included.
    pub recorded: u64,
    /// Events acknowledged by the sidecar.
    pub acknowledged: u64,
    /// Events lost because the buffer was full.
    pub lost: u64,
}

/// Events in order, as JSON objects with commas between them.
#[derive(Debug)]
struct Batch {
    last: u64,
    count: u64,
    events: Vec<u8>,
}

/// The events from `first` to `last` could not be kept.
#[derive(Clone, Copy, Debug)]
struct Lost {
    first: u64,
    last: u64,
}

impl AuditBuffer {
    /// A buffer of at most `limit_bytes` for the VM incarnation of this random name.
    pub fn new(incarnation: String, limit_bytes: usize) -> Self {
        Self {
            incarnation,
            batches: VecDeque::new(),
            bytes: 0,
            limit_bytes,
            next_sequence: 1,
            lost: None,
            counts: Counts::default(),
        }
    }

    /// Changes the bound; events above it stay until they are delivered.
    pub fn set_limit(&mut self, limit_bytes: usize) {
        self.limit_bytes = limit_bytes;
    }

    /// Records an event. When the buffer is full the event is counted as lost, and the gap is itself
    /// recorded as soon as there is room.
    pub fn record(&mut self, event: &Event<'_>, unix_milliseconds: u64) {
        self.note_gap(unix_milliseconds);
        let sequence = self.take_sequence();
        self.append(sequence, |to| event.write(sequence, unix_milliseconds, to));
    }

    /// The body of the next delivery ([`crate::wire::AuditBatch`]), or `None` if there is nothing.
    pub fn next_delivery(&mut self, unix_milliseconds: u64) -> Option<Vec<u8>> {
        self.note_gap(unix_milliseconds);
        let batch = self.batches.front()?;
        let mut body = Vec::with_capacity(batch.events.len().saturating_add(128));
        body.extend_from_slice(b"{\"incarnation\":\"");
        body.extend_from_slice(self.incarnation.as_bytes());
        body.extend_from_slice(b"\",\"events\":[");
        body.extend_from_slice(&batch.events);
        body.extend_from_slice(b"]}");
        Some(body)
    }

    /// Forgets what the sidecar has on disk: everything up to `sequence`.
    ///
    /// Only whole batches go; a sidecar that acknowledges a part gets the batch again, and knows by
    /// the sequence what it has.
    pub fn acknowledge(&mut self, sequence: u64) {
        while let Some(batch) = self.batches.front().filter(|batch| batch.last <= sequence) {
            self.bytes = self.bytes.saturating_sub(batch.events.len());
            self.counts.acknowledged = self.counts.acknowledged.saturating_add(batch.count);
            self.batches.pop_front();
        }
    }

    /// Whether there is as much to deliver as one call carries.
    pub fn has_full_batch(&self) -> bool {
        self.batches.front().is_some_and(|batch| batch.events.len() >= BATCH_BYTES)
    }

    /// The events counted so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn take_sequence(&mut self) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence = sequence.saturating_add(1);
        self.counts.recorded = self.counts.recorded.saturating_add(1);
        sequence
    }

    /// Writes the event of a gap, if there was one and there is room now.
    fn note_gap(&mut self, unix_milliseconds: u64) {
        let Some(lost) = self.lost else { return };
        // Room for the gap and some events after it, or each event would bring a gap of its own.
        if self.bytes > self.limit_bytes / 2 {
            return;
        }
        self.lost = None;
        let sequence = self.take_sequence();
        let gap = event::gap(sequence, unix_milliseconds, lost.first, lost.last).to_string();
        self.append(sequence, |to| to.extend_from_slice(gap.as_bytes()));
    }

    fn append(&mut self, sequence: u64, write: impl FnOnce(&mut Vec<u8>)) {
        if self.lost.is_some() || self.bytes >= self.limit_bytes {
            self.lose(sequence);
            return;
        }
        let fits = self.batches.back().is_some_and(|batch| batch.events.len() < BATCH_BYTES);
        if !fits {
            self.batches.push_back(Batch { last: sequence, count: 0, events: Vec::new() });
        }
        let Some(batch) = self.batches.back_mut() else { return };
        let before = batch.events.len();
        if before > 0 {
            batch.events.push(b',');
        }
        write(&mut batch.events);
        batch.last = sequence;
        batch.count = batch.count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(batch.events.len().saturating_sub(before));
    }

    fn lose(&mut self, sequence: u64) {
        self.counts.lost = self.counts.lost.saturating_add(1);
        self.lost = Some(match self.lost {
            Some(lost) => Lost { last: sequence, ..lost },
            None => Lost { first: sequence, last: sequence },
        });
    }
}

#[cfg(test)]
mod tests;
