//! The file of the audit log: append, sync, what a crash may leave, and a new file when it is full.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::recovery::Recovered;
use super::rotation::{beside, directory, next_name, put_aside};
use super::watermarks::Watermarks;
use crate::clock::Clock;

/// How much more is written before it is tried again to put a full file aside.
const RETRY_BYTES: u64 = 1024 * 1024;

/// An open audit file whose end is on disk.
#[derive(Debug)]
pub(super) struct AuditFile {
    path: PathBuf,
    file: File,
    /// What is on disk; a write that fails in the middle is cut back to here.
    length: u64,
    /// How much may stand in a file besides its checkpoint; 0 is no bound.
    rotate_bytes: u64,
    /// The length above which the file is put aside.
    rotate_at: u64,
}

/// The audit file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the audit file {}: {reason}", path.display())]
pub struct OpenAuditError {
    path: PathBuf,
    reason: String,
}

/// Why lines are not in the file, or the file is not a new one.
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

impl From<AppendError> for io::Error {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::CutBack(error) | AppendError::Unknown(error) => error,
        }
    }
}

impl AuditFile {
    /// Opens the file and reads which events the log has. A last line that a crash has cut is moved
    /// to a file beside it, and that is recorded.
    pub(super) fn open(
        path: &Path,
        rotate_bytes: u64,
        clock: &Clock,
    ) -> Result<(Self, Watermarks), OpenAuditError> {
        let failed = |error: io::Error| OpenAuditError::new(path, &error);
        let file = options().read(true).create(true).open(path).map_err(failed)?;
        // Two writers would mix their lines and know nothing of each other's events.
        file.try_lock().map_err(|_| OpenAuditError::new(path, &"another process writes to it"))?;
        let recovered = recover(path, &file).map_err(failed)?;
        if recovered.unreadable > 0 {
            tracing::warn!(
                lines = recovered.unreadable,
                "the audit file has lines that are no events"
            );
        }
        let mut opened = Self {
            path: path.to_owned(),
            file,
            length: recovered.whole_bytes,
            rotate_bytes,
            rotate_at: rotate_at(rotate_bytes, recovered.checkpoint_bytes),
        };
        if !recovered.torn.is_empty() {
            opened.cut(&recovered.torn, clock).map_err(failed)?;
        }
        // After a crash in the middle of a rotation: the next start need not read the old file.
        if opened.length == 0 && !recovered.watermarks.is_empty() {
            let lines = recovered.watermarks.checkpoint(clock.now_milliseconds());
            opened.append(&lines).map_err(|error| failed(error.into()))?;
            opened.rotate_at = rotate_at(rotate_bytes, opened.length);
        }
        // The name of a new file is on disk only when its directory is.
        sync_directory(path).map_err(failed)?;
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
        self.length = self.length.saturating_add(length_of(lines));
        Ok(())
    }

    /// Whether it is time for a new file.
    pub(super) fn is_full(&self) -> bool {
        self.length > self.rotate_at
    }

    /// Puts the file aside under the time and goes on in a new one that begins with `checkpoint`.
    pub(super) fn rotate(&mut self, now: u64, checkpoint: &[u8]) -> Result<(), AppendError> {
        match self.replace(now, checkpoint) {
            Ok(file) => {
                self.file = file;
                self.length = length_of(checkpoint);
                self.rotate_at = rotate_at(self.rotate_bytes, self.length);
            }
            Err(error) => {
                self.rotate_at = self.length.saturating_add(RETRY_BYTES);
                return Err(AppendError::CutBack(error));
            }
        }
        // Which file has which name must be on disk before the next event is acknowledged.
        sync_directory(&self.path).map_err(AppendError::Unknown)
    }

    /// Makes the new file whole under another name first: until the names change, the old one
    /// stands; between the two changes, a start finds the old one by its new name.
    fn replace(&self, now: u64, checkpoint: &[u8]) -> io::Result<File> {
        let new = beside(&self.path, "new");
        // What a crash left behind: it never had an event.
        let _ = fs::remove_file(&new);
        let mut file = options().create_new(true).open(&new)?;
        file.try_lock().map_err(io::Error::other)?;
        file.write_all(checkpoint)?;
        file.sync_all()?;
        let aside = next_name(&self.path, now)?;
        fs::rename(&self.path, &aside)?;
        if let Err(error) = fs::rename(&new, &self.path) {
            let _ = fs::rename(&aside, &self.path);
            return Err(error);
        }
        tracing::info!(file = %aside.display(), "the audit file was full and put aside");
        Ok(file)
    }

    fn cut(&mut self, torn: &[u8], clock: &Clock) -> io::Result<()> {
        let now = clock.now_milliseconds();
        let name = beside(&self.path, &format!("torn-{now}"));
        let mut options = OpenOptions::new();
        let mut side = options.write(true).create_new(true).mode(0o600).open(&name)?;
        side.write_all(torn)?;
        side.sync_all()?;
        self.file.set_len(self.length)?;
        let side = name.file_name().unwrap_or_default().to_string_lossy();
        tracing::warn!(bytes = torn.len(), moved_to = %side, "the last line of the audit file was cut by a crash");
        let record = json!({
            "decision": "torn-line", "bytes": torn.len(), "moved_to": side, "received_at": now,
        });
        Ok(self.append(format!("{record}\n").as_bytes())?)
    }
}

/// Reads the current file; and, unless it begins with all that is known of those before it, the
/// newest of them first.
fn recover(path: &Path, file: &File) -> io::Result<Recovered> {
    let current = Recovered::read(file, Watermarks::default())?;
    if current.checkpoint_bytes > 0 {
        return Ok(current);
    }
    let Some(newest) = put_aside(path)?.pop() else { return Ok(current) };
    tracing::info!(file = %newest.display(), "the events before the audit file are read from this");
    let before = Recovered::read(&File::open(newest)?, Watermarks::default())?;
    Recovered::read(file, before.watermarks)
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    // What people did is nobody else's business.
    options.append(true).mode(0o600);
    options
}

fn rotate_at(rotate_bytes: u64, checkpoint_bytes: u64) -> u64 {
    if rotate_bytes == 0 { u64::MAX } else { rotate_bytes.saturating_add(checkpoint_bytes) }
}

fn length_of(lines: &[u8]) -> u64 {
    u64::try_from(lines.len()).unwrap_or(u64::MAX)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory(path))?.sync_all()
}
