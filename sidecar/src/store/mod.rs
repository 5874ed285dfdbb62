//! The store: what must survive a restart.
//!
//! One trait, so that every store behaves alike; the same conformance tests run against each. It
//! knows tables of keys and values, transactions over them, and a log; what the values are is said
//! in [`records`]. A change is acknowledged when it is on disk: what the sidecar acknowledges must
//! survive `kill -9`. Nothing here is secret in clear: keys of clients are keyed digests, own keys
//! are sealed.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wardgate_core::time::UnixSeconds;

mod cursor;
mod embedded;
mod log;
pub mod migrate;
mod open;
pub mod records;
mod redis;
mod table;
mod transaction;
pub mod upkeep;

#[cfg(test)]
mod conformance;
#[cfg(test)]
pub(crate) mod shared;

pub use embedded::Embedded;
pub use log::{LOG_ENTRIES, LogEntry, LogPage, LogPosition, MAX_LOG_PAGE, ParseLogPositionError};
pub use open::{OpenProblem, OpenStoreError, open};
pub use redis::Redis;
#[cfg(test)]
pub(crate) use redis::tests::servers as redis_servers;
pub use table::Table;
pub use transaction::{
    Check, InvalidTransaction, MAX_COUNTER, MAX_EXPIRES_AT, MAX_KEY_BYTES, MAX_OPERATIONS,
    MAX_TRANSACTION_BYTES, MAX_VALUE_BYTES, Transaction, Write,
};

/// What a method of the store returns. Boxed, so that the store is chosen by configuration.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Keeps tables and a log.
pub trait Store: Send + Sync + 'static {
    /// The value at rest; an entry whose time is over is not there.
    fn get<'a>(&'a self, table: Table, key: &'a str) -> Answer<'a, Option<Vec<u8>>>;

    /// The same of several keys, in their order, by one question where the store can.
    fn get_all<'a>(&'a self, table: Table, keys: &'a [String]) -> Answer<'a, Vec<Option<Vec<u8>>>> {
        Box::pin(async move {
            let mut values = Vec::with_capacity(keys.len());
            for key in keys {
                values.push(self.get(table, key).await?);
            }
            Ok(values)
        })
    }

    /// Some entries of a table, and the cursor for more; `None` begins. Over all pages every entry
    /// that stands throughout appears at least once. A cursor that no page of this table named is
    /// [`StoreError::CursorUnknown`].
    fn page(&self, table: Table, cursor: Option<String>) -> Answer<'_, Page>;

    /// Checks all, then writes all and appends to the log, in one step, also between several
    /// sidecars; the head of the log after it. With [`StoreError::Conflict`] a check did not hold
    /// and nothing was written. With [`StoreError::Failed`] nobody knows.
    fn commit(&self, transaction: Transaction) -> Answer<'_, LogPosition>;

    /// The place of the newest entry of the log.
    fn log_head(&self) -> Answer<'_, LogPosition>;

    /// The place of the newest entry of the log, on a server that has shown since the call that it is
    /// not cut off from the others, as far as the store can tell. A server that is cut off goes on
    /// answering reads by an old state: what is read may only be called new together with this.
    fn confirm(&self) -> Answer<'_, LogPosition>;

    /// At most `limit` entries after a place, and no more than [`MAX_LOG_PAGE`]; fewer only if there
    /// are no more.
    fn log_after(&self, position: LogPosition, limit: usize) -> Answer<'_, LogPage>;

    /// Returns when the head is another than `position`, or after `wait`.
    fn log_changed(&self, position: LogPosition, wait: Duration) -> Answer<'_, ()>;

    /// Begins the log anew: no place that was ever given is in it, so every reader reads the tables.
    /// For changes that are not in the log. The sequence goes on.
    fn begin_log_anew(&self) -> Answer<'_, LogPosition>;

    /// Removes at most `limit` entries whose time is over. Several sidecars may do it at once.
    fn clean_up(&self, now: UnixSeconds, limit: usize) -> Answer<'_, CleanedUp>;

    /// What is in the store and what it runs on.
    fn stat(&self) -> Answer<'_, StoreStat>;
}

/// An entry of a table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value at rest.
    pub value: Vec<u8>,
    /// When it is no more; `None` for never.
    pub expires_at: Option<UnixSeconds>,
}

/// Some entries of a table.
#[derive(Debug)]
pub struct Page {
    /// The entries.
    pub entries: Vec<Entry>,
    /// Where the next page begins, if there may be one.
    pub next: Option<String>,
}

/// What a clean-up did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CleanedUp {
    /// Entries that were removed.
    pub removed: u64,
    /// Whether there are more.
    pub more: bool,
}

/// What is in a store and what it runs on.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct StoreStat {
    /// `embedded` or `redis`.
    pub kind: String,
    /// Entries of each table; those whose time is over count until they are cleaned up.
    pub records: BTreeMap<String, u64>,
    /// The place of the newest entry of the log.
    #[schemars(with = "String")]
    pub log_head: LogPosition,
    /// What else there is to say, by name.
    pub details: BTreeMap<String, String>,
}

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A page was asked for that begins where no page has said that the next one does.
    #[error("`cursor`: expected the `next` of a page of this list, as it came")]
    CursorUnknown,
    /// A check of the transaction does not hold: nothing was written.
    #[error("somebody else changed the store in between")]
    Conflict {
        /// Which one.
        check: usize,
    },
    /// The transaction is a mistake: nothing was written.
    #[error("a change that no store takes: {0}")]
    Invalid(#[from] InvalidTransaction),
    /// Another key, not revoked, has the name.
    #[error("another API key has this name")]
    NameTaken,
    /// A key with this id exists.
    #[error("an API key with this id exists")]
    IdTaken,
    /// Somebody else changed the record in between.
    #[error("the record was changed by somebody else in between")]
    Changed,
    /// The store itself failed.
    #[error("the store failed: {0}")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The pages of a table, one after the other.
#[derive(Debug)]
pub struct Pages<'a> {
    store: &'a dyn Store,
    table: Table,
    cursor: Option<String>,
    ended: bool,
}

impl std::fmt::Debug for dyn Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Store")
    }
}

impl<'a> Pages<'a> {
    /// Begins.
    pub fn of(store: &'a dyn Store, table: Table) -> Self {
        Self { store, table, cursor: None, ended: false }
    }

    /// The entries of the next page, which may be none; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn next(&mut self) -> Result<Option<Vec<Entry>>, StoreError> {
        if self.ended {
            return Ok(None);
        }
        let page = self.store.page(self.table, self.cursor.take()).await?;
        self.ended = page.next.is_none();
        self.cursor = page.next;
        Ok(Some(page.entries))
    }
}

fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(failed)
}

fn to_json(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(failed)
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Failed(Box::new(error))
}
