//! What a file of the audit log says of the events that it has.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom};

use serde::Deserialize;

use super::watermarks::Watermarks;

/// A line longer than this is not ours: the texts of an event are cut.
const MAX_LINE_BYTES: u64 = 1024 * 1024;

pub(super) struct Recovered {
    pub(super) watermarks: Watermarks,
    /// Length of the part that ends with a line feed.
    pub(super) whole_bytes: u64,
    /// What stands after it.
    pub(super) torn: Vec<u8>,
    /// Lines that are no JSON objects of ours.
    pub(super) unreadable: u64,
    /// Length of the checkpoint, 0 if there is none or not all of it.
    pub(super) checkpoint_bytes: u64,
}

/// The members of a line that matter here.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    incarnation: Option<String>,
    #[serde(default)]
    sequence: Option<u64>,
    #[serde(default)]
    received_at: Option<u64>,
}

/// A part of a checkpoint: which events are in the files before this one.
#[derive(Deserialize)]
struct Checkpoint {
    decision: String,
    part: u64,
    parts: u64,
    watermarks: BTreeMap<String, CheckpointMark>,
}

#[derive(Deserialize)]
struct CheckpointMark {
    sequence: u64,
    heard_at: u64,
}

/// The checkpoint that a line is. Lines with an incarnation come from a filter, which is not
/// believed about others.
fn checkpoint(line: &[u8]) -> Option<Checkpoint> {
    let Line { incarnation: None, .. } = serde_json::from_slice(line).ok()? else { return None };
    let found: Checkpoint = serde_json::from_slice(line).ok()?;
    (found.decision == "checkpoint").then_some(found)
}

/// Whether the line is for the start of the sidecar only.
pub(super) fn is_checkpoint(line: &str) -> bool {
    // Most lines are none, and are not read twice.
    line.contains("\"checkpoint\"") && checkpoint(line.as_bytes()).is_some()
}

impl Recovered {
    /// Reads the file once from the start, one line in memory at a time, and adds what it has to
    /// what is known already.
    pub(super) fn read(file: &File, watermarks: Watermarks) -> io::Result<Self> {
        let mut reader = BufReader::with_capacity(64 * 1024, file);
        reader.seek(SeekFrom::Start(0))?;
        let mut recovered = Self {
            watermarks,
            whole_bytes: 0,
            torn: Vec::new(),
            unreadable: 0,
            checkpoint_bytes: 0,
        };
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = io::Read::take(&mut reader, MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
            let bytes = u64::try_from(read).unwrap_or(u64::MAX);
            if line.last() != Some(&b'\n') && bytes < MAX_LINE_BYTES {
                recovered.torn.append(&mut line);
                return Ok(recovered);
            }
            recovered.whole_bytes = recovered.whole_bytes.saturating_add(bytes);
            recovered.line(&line);
        }
    }

    fn line(&mut self, line: &[u8]) {
        match serde_json::from_slice(line) {
            Ok(Line { incarnation: Some(incarnation), sequence: Some(sequence), received_at }) => {
                self.watermarks.raise(&incarnation, sequence, received_at.unwrap_or(0));
            }
            Ok(Line { incarnation: None, .. }) => {
                if let Some(checkpoint) = checkpoint(line) {
                    self.checkpoint(checkpoint);
                }
            }
            Ok(Line { .. }) => {}
            Err(_) => self.unreadable = self.unreadable.saturating_add(1),
        }
    }

    fn checkpoint(&mut self, checkpoint: Checkpoint) {
        for (incarnation, mark) in checkpoint.watermarks {
            self.watermarks.raise(&incarnation, mark.sequence, mark.heard_at);
        }
        // Without the last part some marks are missing.
        if checkpoint.part == checkpoint.parts {
            self.checkpoint_bytes = self.whole_bytes;
        }
    }
}
