//! Lines that go together.

use serde::Serialize;
use serde_json::Value;

use super::{MAX_LINE_BYTES, Problems, Records};
use crate::cli::Failure;

/// Bytes of a batch: what a running sidecar takes at the least as a body, less the frame around it.
const MAX_BATCH_BYTES: usize = 200_000;

/// What lines came to, until there is enough of it to be sent.
pub(in crate::cli) struct Batch<T> {
    items: Vec<T>,
    lines: Vec<u64>,
    bytes: usize,
    max_items: usize,
    max_item_bytes: usize,
}

impl<T: Serialize> Batch<T> {
    /// For at most so many items, each of at most so many bytes as JSON.
    pub(in crate::cli) fn new(max_items: usize, max_item_bytes: usize) -> Self {
        Self { items: Vec::new(), lines: Vec::new(), bytes: 0, max_items, max_item_bytes }
    }

    /// Adds what a line came to.
    pub(in crate::cli) fn add(&mut self, line: u64, item: T) {
        let bytes = serde_json::to_vec(&item).map_or(0, |bytes| bytes.len());
        self.bytes = self.bytes.saturating_add(bytes).saturating_add(1);
        self.items.push(item);
        self.lines.push(line);
    }

    /// Whether one more might not fit.
    pub(in crate::cli) fn is_full(&self) -> bool {
        self.items.len() >= self.max_items
            || self.bytes >= MAX_BATCH_BYTES.saturating_sub(self.max_item_bytes)
    }

    /// What is in it, and the line of each; it is empty afterwards.
    pub(in crate::cli) fn take(&mut self) -> (Vec<T>, Vec<u64>) {
        self.bytes = 0;
        (std::mem::take(&mut self.items), std::mem::take(&mut self.lines))
    }
}

/// Reads records to their end, and hands on what they came to in batches, each with its lines. A last
/// batch may be empty.
pub(in crate::cli) async fn in_batches<T: Serialize>(
    mut records: Records,
    max_items: usize,
    problems: &mut Problems,
    read: impl Fn(Value) -> Result<T, String>,
    mut send: impl AsyncFnMut(Vec<T>, &[u64], &mut Problems) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut batch = Batch::new(max_items, MAX_LINE_BYTES);
    loop {
        let next = records.next()?;
        let ended = next.is_none();
        if let Some((line, record)) = next {
            match record.and_then(&read) {
                Ok(item) => batch.add(line, item),
                Err(problem) => problems.add(line, &problem),
            }
        }
        if !batch.is_full() && !ended {
            continue;
        }
        let (items, lines) = batch.take();
        send(items, &lines, problems).await?;
        if ended {
            return Ok(());
        }
    }
}
