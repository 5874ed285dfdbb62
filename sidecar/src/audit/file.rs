//! The file of the audit log: append, sync, and what a crash may leave.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::json;

use super::watermarks::Watermarks;
use crate::clock::Clock;

/// A line longer than this is not ours: the texts of an event are cut.
const MAX_LINE_BYTES: u64 = 1024 * 1024;

/// An open audit file whose end is on disk.
#[derive(Debug)]
pub(super) struct AuditFile {
    file: File,
    /// What is on disk; a write that fails in the middle is cut back to here.
    length: u64,
}

/// The audit file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the audit file {}: {reason}", path.display())]
pub struct OpenAuditError {
    path: PathBuf,
    reason: String,
}

/// Why lines are not in the file.
#[derive(Debug)]
pub(super) enum AppendError {
    /// They could not be written (the disk is full); the file is as it was before.
    CutBack(io::Error),
    /// After a failed sync, or when half a line may stand there, nobody knows what is on disk.
    Unknown(io::Error),
}

impl OpenAuditError {
    pub(super) fn new(path: &Path, reason: &dyn std::fmt::Display) -> Self {
        Self { path: path.to_owned(), reason: reason.to_string() }
    }
}

impl AuditFile {
    /// Opens the file and reads which events it has. A last line that a crash has cut is moved to a
    /// file beside it, and that is recorded.
    pub(super) fn open(path: &Path, clock: &Clock) -> Result<(Self, Watermarks), OpenAuditError> {
        let failed = |error: io::Error| OpenAuditError::new(path, &error);
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            // What people did is nobody else's business.
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        // Two writers would mix their lines and know nothing of each other's events.
        file.try_lock().map_err(|_| OpenAuditError::new(path, &"another process writes to it"))?;
        let recovered = recover(&file).map_err(failed)?;
        let mut opened = Self { file, length: recovered.whole_bytes };
        if !recovered.torn.is_empty() {
            opened.cut(path, &recovered.torn, clock).map_err(failed)?;
        }
        // The name of a new file is on disk only when its directory is.
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = File::open(directory.unwrap_or(Path::new("."))).map_err(failed)?;
        directory.sync_all().map_err(failed)?;
        if recovered.unreadable > 0 {
            tracing::warn!(
                lines = recovered.unreadable,
                "the audit file has lines that are no events"
            );
        }
        Ok((opened, recovered.watermarks))
    }

    /// Appends whole lines and returns when they are on disk.
    pub(super) fn append(&mut self, lines: &[u8]) -> Result<(), AppendError> {
        if let Err(error) = self.file.write_all(lines) {
            // No half line in the middle of the log; if this fails too the next start cuts it.
            return Err(match self.file.set_len(self.length) {
                Ok(()) => AppendError::CutBack(error),
                Err(_) => AppendError::Unknown(error),
            });
        }
        if let Err(error) = self.file.sync_data() {
            let _ = self.file.set_len(self.length);
            return Err(AppendError::Unknown(error));
        }
        self.length = self.length.saturating_add(u64::try_from(lines.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    fn cut(&mut self, path: &Path, torn: &[u8], clock: &Clock) -> io::Result<()> {
        let now = clock.now_milliseconds();
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".torn-{now}"));
        let mut options = OpenOptions::new();
        let mut side = options.write(true).create_new(true).mode(0o600).open(&name)?;
        side.write_all(torn)?;
        side.sync_all()?;
        self.file.set_len(self.length)?;
        let side = Path::new(&name).file_name().unwrap_or_default().to_string_lossy();
        tracing::warn!(bytes = torn.len(), moved_to = %side, "the last line of the audit file was cut by a crash");
        let record = json!({
            "decision": "torn-line", "bytes": torn.len(), "moved_to": side, "received_at": now,
        });
        self.append(format!("{record}\n").as_bytes()).map_err(|error| match error {
            AppendError::CutBack(error) | AppendError::Unknown(error) => error,
        })
    }
}

struct Recovered {
    watermarks: Watermarks,
    /// Length of the part that ends with a line feed.
    whole_bytes: u64,
    /// What stands after it.
    torn: Vec<u8>,
    /// Lines that are no JSON objects of ours.
    unreadable: u64,
}

/// The members of a line that matter here.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    incarnation: Option<String>,
    #[serde(default)]
    sequence: Option<u64>,
}

/// Reads the file once from the start, one line in memory at a time.
fn recover(file: &File) -> io::Result<Recovered> {
    let mut reader = BufReader::with_capacity(64 * 1024, file);
    reader.seek(SeekFrom::Start(0))?;
    let mut recovered = Recovered {
        watermarks: Watermarks::default(),
        whole_bytes: 0,
        torn: Vec::new(),
        unreadable: 0,
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
        match serde_json::from_slice(&line) {
            Ok(Line { incarnation: Some(incarnation), sequence: Some(sequence) }) => {
                recovered.watermarks.raise(&incarnation, sequence);
            }
            Ok(Line { .. }) => {}
            Err(_) => recovered.unreadable = recovered.unreadable.saturating_add(1),
        }
    }
}

/// The last `count` lines of the file, the oldest first.
///
/// # Errors
///
/// When the file cannot be read.
pub fn tail(path: &Path, count: usize) -> io::Result<Vec<String>> {
    let mut file = File::open(path)?;
    let mut start = file.metadata()?.len();
    let mut text: Vec<u8> = Vec::new();
    while start > 0 {
        let size = start.min(64 * 1024);
        start = start.saturating_sub(size);
        file.seek(SeekFrom::Start(start))?;
        let mut block = vec![0; usize::try_from(size).unwrap_or(0)];
        io::Read::read_exact(&mut file, &mut block)?;
        block.append(&mut text);
        text = block;
        let lines = text.split(|byte| *byte == b'\n').count().saturating_sub(1);
        if lines > count {
            break;
        }
    }
    let text = String::from_utf8_lossy(&text);
    // A line without its end is still being written.
    let whole: Vec<&str> = text.split_inclusive('\n').filter(|line| line.ends_with('\n')).collect();
    let skip = whole.len().saturating_sub(count);
    Ok(whole.into_iter().skip(skip).map(|line| line.trim_end().to_owned()).collect())
}
