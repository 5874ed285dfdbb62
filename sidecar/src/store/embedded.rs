//! The embedded store: one file, one process, every commit on disk before it returns.

mod apply;
mod file;
mod layout;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redb::{
    Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _,
    ReadableTableMetadata as _, WriteTransaction,
};
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::sync::watch;
use wardgate_core::time::UnixSeconds;

use self::layout::{ENDS, FORMAT, LOG, head, is_over, value_and_end, values};
use super::cursor::{self, Kind};
use super::open::{OpenProblem, OpenStoreError};
use super::{
    Answer, CleanedUp, Entry, LogPage, LogPosition, MAX_LOG_PAGE, Page, Store, StoreError,
    StoreStat, Table, Transaction, failed,
};
use crate::clock::Clock;
use crate::random::Random;

/// Entries of one page: some hundred KiB.
const PAGE_ENTRIES: usize = 1000;
/// Transactions that go to disk together: each waits for the others, some microseconds apiece.
const GROUP: usize = 256;

/// A store in one file.
#[derive(Clone)]
pub struct Embedded(Arc<Inner>);

struct Inner {
    database: Database,
    path: Box<Path>,
    clock: Clock,
    random: Random,
    /// Transactions that wait for the disk. Those that wait at once go there with one sync.
    waiting: Mutex<Vec<Waiting>>,
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Wakes those who wait for the log; another head only after it is on disk.
    head: watch::Sender<LogPosition>,
}

struct Waiting {
    transaction: Transaction,
    answer: oneshot::Sender<Result<LogPosition, StoreError>>,
}

/// A transaction failed together with others.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Together(String);

impl Embedded {
    /// Opens the file, or makes it if there is none.
    ///
    /// # Errors
    ///
    /// [`OpenStoreError`] when another process has the file, or it is damaged, cut, of another
    /// format or no store at all.
    pub fn open(path: &Path) -> Result<Self, OpenStoreError> {
        Self::open_with(path, Clock::system(), Random::system())
    }

    /// The same, with a clock of the caller.
    ///
    /// # Errors
    ///
    /// As of [`Embedded::open`].
    pub fn open_with(path: &Path, clock: Clock, random: Random) -> Result<Self, OpenStoreError> {
        let wrong = |problem| OpenStoreError::new(path.display().to_string(), problem);
        let database = file::open_database(path).map_err(wrong)?;
        let failed = |error: &dyn fmt::Display| wrong(OpenProblem::Failed(error.to_string()));
        let link = random.bytes().map_err(|error| failed(&error))?;
        let head = prepared(&database, link).map_err(|error| failed(&error))?;
        let (head, _) = watch::channel(head);
        let (waiting, turn) = (Mutex::default(), Arc::default());
        let path = path.into();
        Ok(Self(Arc::new(Inner { database, path, clock, random, waiting, turn, head })))
    }

    fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, StoreError>,
    ) -> Answer<'_, T> {
        // Reads come from memory or one page of the file: too short to be worth another thread.
        let begun = self.0.database.begin_read().map_err(failed);
        Box::pin(std::future::ready(begun.and_then(|begun| read(&begun))))
    }

    /// Does something to the file alone. What is done is on disk when this returns.
    async fn alone<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Inner, &WriteTransaction) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = Arc::clone(&self.0.turn).lock_owned().await;
        let inner = Arc::clone(&self.0);
        let task = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let transaction = inner.database.begin_write().map_err(failed)?;
            let result = write(&inner, &transaction)?;
            // The default durability: on disk when this returns.
            transaction.commit().map_err(failed)?;
            inner.tell_head()?;
            Ok(result)
        });
        task.await.map_err(failed)?
    }

    async fn commit_in_group(&self, transaction: Transaction) -> Result<LogPosition, StoreError> {
        transaction.check()?;
        let (sender, mut answer) = oneshot::channel();
        self.0.waiting().push(Waiting { transaction, answer: sender });
        let mut turn = Arc::clone(&self.0.turn).lock_owned().await;
        loop {
            // Whoever had the turn before may have taken this one along.
            match answer.try_recv() {
                Ok(answer) => return answer,
                Err(TryRecvError::Empty) => {}
                Err(error @ TryRecvError::Closed) => return Err(failed(error)),
            }
            let inner = Arc::clone(&self.0);
            // Waited for to its end, so that the file is free once nobody commits.
            let task = tokio::task::spawn_blocking(move || {
                inner.write_group();
                turn
            });
            turn = task.await.map_err(failed)?;
        }
    }
}

impl Inner {
    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Waiting>> {
        // Nothing is left half done under this lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes those that wait, first come first served.
    fn write_group(&self) {
        let mut waiting = self.waiting();
        let size = waiting.len().min(GROUP);
        let group = waiting.drain(..size).filter(|one| !one.answer.is_closed()).collect();
        drop(waiting);
        self.write_together(group);
    }

    fn write_together(&self, group: Vec<Waiting>) {
        let written = self.database.begin_write().map_err(failed).and_then(|file| {
            let mut answers = Vec::with_capacity(group.len());
            let mut something = false;
            for one in &group {
                let answer = self.apply(&file, one);
                if let Err(StoreError::Failed(_)) = &answer {
                    // It may have been done in part: nobody's is kept.
                    answer?;
                    continue;
                }
                something |= answer.is_ok() && !one.transaction.is_empty();
                answers.push(answer);
            }
            if something {
                // The default durability: on disk when this returns.
                file.commit().map_err(failed)?;
                self.tell_head()?;
            }
            Ok(answers)
        });
        match written {
            Ok(answers) => group.into_iter().zip(answers).for_each(|(one, answer)| {
                // Nobody may wait any more.
                let _ = one.answer.send(answer);
            }),
            Err(error) => group.into_iter().for_each(|one| {
                let _ = one.answer.send(Err(failed(Together(error.to_string()))));
            }),
        }
    }

    fn apply(&self, file: &WriteTransaction, one: &Waiting) -> Result<LogPosition, StoreError> {
        let nonce = self.random.bytes().map_err(failed)?;
        apply::apply(file, &one.transaction, nonce, self.clock.now())
    }

    /// Tells those who wait for the log of what is on disk now.
    fn tell_head(&self) -> Result<(), StoreError> {
        let begun = self.database.begin_read().map_err(failed)?;
        let log = begun.open_table(LOG).map_err(failed)?;
        let now = head(&log).map_err(failed)?;
        self.head.send_if_modified(|head| std::mem::replace(head, now) != now);
        Ok(())
    }
}

/// Makes what the file lacks, and says where its log ends.
fn prepared(database: &Database, link: [u8; 16]) -> Result<LogPosition, redb::Error> {
    let transaction = database.begin_write()?;
    layout::prepare(&transaction, link)?;
    let head = head(&transaction.open_table(LOG)?)?;
    transaction.commit()?;
    Ok(head)
}

impl fmt::Debug for Embedded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Embedded")
    }
}

impl Store for Embedded {
    fn get<'a>(&'a self, table: Table, key: &'a str) -> Answer<'a, Option<Vec<u8>>> {
        let now = self.0.clock.now();
        self.read(|transaction| {
            let entries = transaction.open_table(values(table)).map_err(failed)?;
            let found = entries.get(key).map_err(failed)?;
            Ok(found.and_then(|found| {
                let (value, end) = value_and_end(table, found.value());
                (!is_over(end, now)).then(|| value.to_vec())
            }))
        })
    }

    fn page(&self, table: Table, cursor: Option<String>) -> Answer<'_, Page> {
        let now = self.0.clock.now();
        self.read(|transaction| {
            let read = |cursor: String| cursor::read(Kind::Embedded, table, &cursor);
            let start = cursor.map(read).transpose()?;
            let start = start.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let entries = transaction.open_table(values(table)).map_err(failed)?;
            let range = entries.range::<&str>((start, Bound::Unbounded)).map_err(failed)?;
            let mut page = Page { entries: Vec::new(), next: None };
            for (number, found) in range.enumerate() {
                let (key, bytes) = found.map_err(failed)?;
                if number == PAGE_ENTRIES {
                    break;
                }
                page.next = (number == PAGE_ENTRIES.saturating_sub(1))
                    .then(|| cursor::write(Kind::Embedded, table, key.value()));
                let (value, expires_at) = value_and_end(table, bytes.value());
                if !is_over(expires_at, now) {
                    let (key, value) = (key.value().to_owned(), value.to_vec());
                    page.entries.push(Entry { key, value, expires_at });
                }
            }
            Ok(page)
        })
    }

    fn commit(&self, transaction: Transaction) -> Answer<'_, LogPosition> {
        Box::pin(self.commit_in_group(transaction))
    }

    fn log_head(&self) -> Answer<'_, LogPosition> {
        // From the file: whoever has read a change must find its place in the log, and those who wait
        // are told a moment after it is on disk.
        self.read(|transaction| head(&transaction.open_table(LOG).map_err(failed)?).map_err(failed))
    }

    /// There is no other that it could be cut off from.
    fn confirm(&self) -> Answer<'_, LogPosition> {
        self.log_head()
    }

    fn log_after(&self, position: LogPosition, limit: usize) -> Answer<'_, LogPage> {
        self.read(|transaction| {
            let log = transaction.open_table(LOG).map_err(failed)?;
            let after = apply::after(&log, position, limit.min(MAX_LOG_PAGE)).map_err(failed)?;
            Ok(after.map_or(LogPage::Unknown, |entries| LogPage::Entries { entries }))
        })
    }

    fn log_changed(&self, position: LogPosition, wait: Duration) -> Answer<'_, ()> {
        let mut head = self.0.head.subscribe();
        Box::pin(async move {
            // The sender is in the store that this borrows from.
            let _ = tokio::time::timeout(wait, head.wait_for(|head| *head != position)).await;
            Ok(())
        })
    }

    fn begin_log_anew(&self) -> Answer<'_, LogPosition> {
        Box::pin(self.alone(|inner, file| {
            apply::begin_log_anew(file, inner.random.bytes().map_err(failed)?)
        }))
    }

    fn clean_up(&self, now: UnixSeconds, limit: usize) -> Answer<'_, CleanedUp> {
        Box::pin(async move {
            // Looked at first: a write costs a sync of the disk, and mostly there is nothing.
            let due = self.read(|transaction| {
                let ends = transaction.open_table(ENDS).map_err(failed)?;
                let first = ends.first().map_err(failed)?;
                Ok(first.is_some_and(|(entry, _)| entry.value().0 <= now.0))
            });
            if !due.await? {
                return Ok(CleanedUp { removed: 0, more: false });
            }
            self.alone(move |_, file| apply::clean_up(file, now, limit)).await
        })
    }

    fn stat(&self) -> Answer<'_, StoreStat> {
        self.read(|transaction| {
            let mut records = BTreeMap::new();
            for table in Table::ALL {
                let length = transaction.open_table(values(table)).map_err(failed)?.len();
                records.insert(table.name().to_owned(), length.map_err(failed)?);
            }
            let log = transaction.open_table(LOG).map_err(failed)?;
            let entries = log.len().map_err(failed)?.saturating_sub(1);
            let bytes = std::fs::metadata(&self.0.path).map_or(0, |metadata| metadata.len());
            let details = [
                ("file", self.0.path.display().to_string()),
                ("file_bytes", bytes.to_string()),
                ("format", FORMAT.to_string()),
                ("log_entries", entries.to_string()),
            ];
            Ok(StoreStat {
                kind: "embedded".to_owned(),
                records,
                log_head: head(&log).map_err(failed)?,
                details: details.map(|(name, value)| (name.to_owned(), value)).into(),
            })
        })
    }
}

#[cfg(test)]
mod tests;
