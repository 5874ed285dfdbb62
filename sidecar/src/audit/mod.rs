//! The audit log: events of filters as JSON lines, on disk before they are acknowledged.
//!
//! A file that is full is put aside under the time, and never removed from here. The new file begins
//! with a checkpoint: which events the older ones have.
//!
//! One thread writes. Whatever waits when it comes round is written and synced together, so that
//! many filters cost one sync.

mod file;
mod recovery;
mod rotation;
mod tail;
mod watermarks;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, oneshot};
use wardgate_core::wire::AuditBatch;

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::random::Random;
pub use file::OpenAuditError;
use file::{AppendError, AuditFile};
pub use tail::tail;
pub use watermarks::BatchError;
use watermarks::{Accepted, Watermarks};

/// Batches that may wait for the disk; a filter that finds no room tries again.
const MAX_WAITING: usize = 1024;
/// Batches written with one sync: bounds the memory and the delay of the first of them.
const MAX_GROUP: usize = 256;

/// Takes events and answers once they are on disk.
pub struct AuditSink {
    requests: mpsc::Sender<Request>,
    failed: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    own: Mutex<Own>,
}

/// How the events of the sidecar itself are numbered: as those of a worker.
struct Own {
    incarnation: String,
    next: u64,
}

/// Hears of events that are on disk. It must not wait: the disk waits for it.
pub type Observer = Box<dyn Fn(&Map<String, Value>) + Send>;

struct Request {
    batch: AuditBatch,
    done: oneshot::Sender<Result<u64, AuditError>>,
}

/// Why events were not acknowledged.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AuditError {
    /// The batch itself is wrong.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// Too many batches wait for the disk.
    #[error("too many batches wait for the disk")]
    Busy,
    /// The file could not be written; nothing of the batch is acknowledged.
    #[error("the audit file cannot be written")]
    Failed,
}

impl AuditSink {
    /// Opens the file, which is put aside when it has `rotate_bytes` (0: never), finds out what it has, and starts the thread that writes.
    ///
    /// # Errors
    ///
    /// [`OpenAuditError`] when the file cannot be opened or another process has it.
    pub fn open(
        path: &Path,
        rotate_bytes: u64,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Result<Self, OpenAuditError> {
        Self::open_observed(path, rotate_bytes, clock, metrics, Box::new(|_| {}))
    }

    /// As [`Self::open`]; `observer` hears of each event, once, when it is on disk.
    ///
    /// # Errors
    ///
    /// As of [`Self::open`].
    pub fn open_observed(
        path: &Path,
        rotate_bytes: u64,
        clock: Clock,
        metrics: Arc<Metrics>,
        observer: Observer,
    ) -> Result<Self, OpenAuditError> {
        let (file, watermarks) = AuditFile::open(path, rotate_bytes, &clock)?;
        let (requests, received) = mpsc::channel(MAX_WAITING);
        let failed = Arc::new(AtomicBool::new(false));
        let writer = Writer {
            file,
            watermarks,
            clock,
            metrics,
            observer,
            failed: Arc::clone(&failed),
            failed_since: None,
            broken: false,
        };
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run(received))
            .map_err(|error| OpenAuditError::new(path, &error))?;
        let name =
            Random::system().text::<16>().map_err(|error| OpenAuditError::new(path, &error))?;
        let own = Mutex::new(Own { incarnation: format!("sidecar-{name}"), next: 1 });
        Ok(Self { requests, failed, thread: Some(thread), own })
    }

    /// Writes the events that are new and returns the highest sequence on disk.
    ///
    /// # Errors
    ///
    /// [`AuditError`] when the batch is wrong or the file cannot be written.
    pub async fn append(&self, batch: AuditBatch) -> Result<u64, AuditError> {
        self.send(batch)?.await.unwrap_or(Err(AuditError::Failed))
    }

    /// Writes an event of the sidecar itself; it is on disk when this returns. One that cannot be
    /// written is missing in its numbers, which the next one shows.
    ///
    /// # Errors
    ///
    /// [`AuditError`] when the file cannot be written.
    pub async fn record(&self, mut event: Map<String, Value>) -> Result<(), AuditError> {
        let answer = {
            // Numbered and sent under one lock: events out of order would be refused.
            let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
            event.insert("sequence".to_owned(), own.next.into());
            own.next = own.next.saturating_add(1);
            let incarnation = own.incarnation.clone();
            self.send(AuditBatch { incarnation, events: vec![event] })?
        };
        answer.await.unwrap_or(Err(AuditError::Failed)).map(|_| ())
    }

    fn send(
        &self,
        batch: AuditBatch,
    ) -> Result<oneshot::Receiver<Result<u64, AuditError>>, AuditError> {
        let (done, answer) = oneshot::channel();
        self.requests.try_send(Request { batch, done }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AuditError::Busy,
            mpsc::error::TrySendError::Closed(_) => AuditError::Failed,
        })?;
        Ok(answer)
    }

    /// Whether events can be written. After a failure it is tried again, so that a sidecar that
    /// nobody asks, because it is not ready, finds out when it is.
    pub async fn is_working(&self) -> bool {
        if !self.failed.load(Ordering::SeqCst) {
            return true;
        }
        let nothing = AuditBatch { incarnation: "readiness".to_owned(), events: Vec::new() };
        self.append(nothing).await.is_ok()
    }

    /// Writes what waits and stops the thread.
    pub fn close(self) {
        let Self { requests, failed: _, thread, own: _ } = self;
        drop(requests);
        if let Some(thread) = thread {
            // The thread has no panic of its own to pass on; a failed write is recorded in `failed`.
            let _ = thread.join();
        }
    }
}

struct Writer {
    file: AuditFile,
    watermarks: Watermarks,
    clock: Clock,
    metrics: Arc<Metrics>,
    observer: Observer,
    /// Whether the last write failed.
    failed: Arc<AtomicBool>,
    /// Since when writes fail, in milliseconds since the epoch.
    failed_since: Option<u64>,
    /// Nobody knows what is on disk: only a restart reads what is really there.
    broken: bool,
}

impl Writer {
    fn run(mut self, mut received: mpsc::Receiver<Request>) {
        while let Some(first) = received.blocking_recv() {
            let mut group = vec![first];
            while group.len() < MAX_GROUP {
                match received.try_recv() {
                    Ok(next) => group.push(next),
                    Err(_) => break,
                }
            }
            self.write(group);
        }
    }

    /// Writes a group with one sync, then answers each.
    fn write(&mut self, group: Vec<Request>) {
        let received_at = self.clock.now_milliseconds();
        let mut lines = self.interruption(received_at);
        let mut answers = Vec::with_capacity(group.len());
        for Request { batch, done } in group {
            let accepted = self.watermarks.accept(&batch.incarnation, batch.events, received_at);
            if let Ok(accepted) = &accepted {
                accepted.write(&batch.incarnation, received_at, &mut lines);
            }
            answers.push((done, accepted));
        }
        let written = self.sync(&lines, received_at);
        if written {
            self.watermarks.keep();
        } else {
            self.watermarks.take_back();
        }
        for (done, accepted) in answers {
            let answer = match (accepted, written) {
                (Err(error), _) => Err(AuditError::Batch(error)),
                (Ok(_), false) => Err(AuditError::Failed),
                (Ok(accepted), true) => {
                    self.count(&accepted);
                    Ok(accepted.acknowledged)
                }
            };
            // The filter may have gone; the events are on disk all the same.
            let _ = done.send(answer);
        }
        // After the answers: what they say is on disk whatever becomes of this.
        if written && self.file.is_full() {
            self.rotate(received_at);
        }
    }

    fn rotate(&mut self, now: u64) {
        match self.file.rotate(now, &self.watermarks.checkpoint(now)) {
            Ok(()) => {}
            Err(AppendError::CutBack(error)) => {
                tracing::error!(%error, "the full audit file cannot be put aside; it grows on");
            }
            Err(AppendError::Unknown(error)) => {
                self.broken = true;
                self.failed.store(true, Ordering::SeqCst);
                tracing::error!(%error, "the names of the audit files may not be on disk; restart");
            }
        }
    }

    /// The line that tells of failed writes, once it can be written.
    fn interruption(&self, now: u64) -> Vec<u8> {
        let mut lines = Vec::new();
        if let Some(since) = self.failed_since {
            let record = json!({
                "decision": "unwritable", "from": since, "to": now, "received_at": now,
            });
            write_line(&record.as_object().cloned().unwrap_or_default(), &mut lines);
        }
        lines
    }

    /// Whether the lines are on disk, and all before them.
    fn sync(&mut self, lines: &[u8], now: u64) -> bool {
        if self.broken {
            return false;
        }
        if lines.is_empty() {
            return true;
        }
        let appended = self.file.append(lines);
        self.failed.store(appended.is_err(), Ordering::SeqCst);
        match appended {
            Ok(()) => {
                self.metrics.audit_syncs.inc();
                if self.failed_since.take().is_some() {
                    tracing::info!("the audit file can be written again");
                }
                true
            }
            Err(AppendError::CutBack(error)) => {
                // Once: filters try again and again.
                if self.failed_since.is_none() {
                    tracing::error!(%error, "the audit file cannot be written; filters keep events");
                    self.failed_since = Some(now);
                }
                false
            }
            Err(AppendError::Unknown(error)) => {
                // Asking again may lie: the kernel drops the pages that it could not write.
                self.broken = true;
                tracing::error!(%error, "the audit file cannot be written; restart when it can be");
                false
            }
        }
    }

    fn count(&self, accepted: &Accepted) {
        let events = u64::try_from(accepted.events.len()).unwrap_or(u64::MAX);
        self.metrics.audit_events.inc_by(events);
        self.metrics.audit_duplicates.inc_by(accepted.duplicates);
        self.metrics.audit_missing.inc_by(accepted.missing());
        accepted.events.iter().for_each(|event| (self.observer)(event));
    }
}

/// Appends one line to `lines`: the object with `more` members at its end.
fn write_line(object: &Map<String, Value>, lines: &mut Vec<u8>) {
    if let Ok(text) = serde_json::to_vec(object) {
        lines.extend_from_slice(&text);
        lines.push(b'\n');
    }
}

#[cfg(test)]
mod tests;
