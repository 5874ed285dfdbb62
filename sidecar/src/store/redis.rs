//! The Redis store: for several sidecars, which it makes one system.
//!
//! A table whose entries have no end is a hash. In one whose entries may have an end each is a key of
//! its own, which the server removes in time, and an index by end lists them. What changes together
//! is changed by one script. All keys of one system share a hash tag and with it a slot of a
//! Cluster, so that any of them can change in one step.

mod keys;
mod link;
mod locate;
mod log;
mod scripts;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use redis::{Cmd, FromRedisValue, InfoDict, RedisError, RedisResult};
use wardgate_core::time::UnixSeconds;

use self::keys::Keys;
use self::link::{Link, Repeat};
use super::cursor::{self, Kind};
use super::log::link_digits;
use super::open::{OpenProblem, OpenStoreError};
use super::{
    Answer, CleanedUp, Entry, InvalidTransaction, LOG_ENTRIES, LogPage, LogPosition, Page, Store,
    StoreError, StoreStat, Table, Transaction, failed,
};
use crate::config::RedisSettings;
use crate::random::Random;

/// The layout of the keys. A store with another number than this and the one before is left alone.
const FORMAT: u64 = 2;
/// Entries that one page asks for: a millisecond of the server's time.
const PAGE_ENTRIES: usize = 1000;
/// Entries that one clean-up removes at most, for the same reason.
const MAX_CLEAN_UP: usize = 1000;

/// A store in a Redis.
pub struct Redis {
    /// For reads, so that they do not stand behind a `WAIT`.
    reads: Link,
    writes: Link,
    keys: Keys,
    random: Random,
    place: String,
    wait_replicas: u64,
    wait_milliseconds: u64,
}

/// Not enough replicas have a change. It stands on the master and may be lost with it.
#[derive(Debug, thiserror::Error)]
#[error(
    "the change reached {reached} of {wanted} replicas in time: it stands, but may be lost at a failover"
)]
struct NotReplicated {
    reached: u64,
    wanted: u64,
}

/// The server has lost the store, or another version has changed its layout.
#[derive(Debug, thiserror::Error)]
#[error("the store has another format than when it was opened, or was emptied")]
struct NotOurs;

/// A script or a command gave an answer that it never gives.
#[derive(Debug, thiserror::Error)]
#[error("the server gave an unknown answer")]
struct Unknown;

impl Redis {
    /// Connects, and makes the store if there is none.
    ///
    /// # Errors
    ///
    /// [`OpenStoreError`] when no master answers in time or the store has another format.
    pub async fn open(settings: &RedisSettings, random: Random) -> Result<Self, OpenStoreError> {
        let keys = Keys::new(&settings.key_prefix);
        let urls: Vec<String> = settings.urls.iter().map(ToString::to_string).collect();
        let place = urls.join(" ");
        let store = Self {
            reads: Link::new(settings, keys.numbers(), random),
            writes: Link::new(settings, keys.numbers(), random),
            keys,
            random,
            place: place.clone(),
            wait_replicas: settings.wait_replicas,
            wait_milliseconds: u64::try_from(settings.wait_timeout.as_millis()).unwrap_or(u64::MAX),
        };
        let wrong = |problem| OpenStoreError::new(place.clone(), problem);
        let link = store.link().map_err(|error| wrong(OpenProblem::Failed(error.to_string())))?;
        let prepare = script(scripts::PREPARE, &store.keys.log(), [link]);
        // Not waited for: a store must open, to be read, while its replicas are away.
        let format: RedisResult<u64> = store.send(&store.writes, Repeat::Harmless, prepare).await;
        match format {
            Ok(FORMAT) => Ok(store),
            Ok(found) => Err(wrong(OpenProblem::Format { found, known: FORMAT })),
            Err(error) => Err(wrong(OpenProblem::Failed(said(&error)))),
        }
    }

    /// Random bytes as the scripts take them.
    fn link(&self) -> Result<String, StoreError> {
        Ok(link_digits(&self.random.bytes().map_err(failed)?))
    }

    async fn send<T: FromRedisValue>(
        &self,
        link: &Link,
        repeat: Repeat,
        command: Cmd,
    ) -> RedisResult<T> {
        let answer = link
            .run(repeat, async |mut connection| command.query_async(&mut connection).await)
            .await;
        if answer.is_ok() {
            link.healthy().await;
        }
        answer
    }

    async fn read<T: FromRedisValue>(&self, command: Cmd) -> Result<T, StoreError> {
        self.send(&self.reads, Repeat::Harmless, command)
            .await
            .map_err(|error| redis_failed(&error))
    }

    /// Sends a change and waits for the replicas; the error is for when they do not have it, if the
    /// change was made.
    async fn write<T: FromRedisValue>(
        &self,
        repeat: Repeat,
        command: Cmd,
    ) -> Result<(T, Result<(), StoreError>), StoreError> {
        if self.wait_replicas == 0 {
            let answer = self.send(&self.writes, repeat, command).await;
            return answer.map(|answer| (answer, Ok(()))).map_err(|error| redis_failed(&error));
        }
        // In one go on one connection: WAIT speaks of what its own connection has written.
        let mut pipeline = redis::pipe();
        pipeline.add_command(command);
        pipeline.cmd("WAIT").arg(self.wait_replicas).arg(self.wait_milliseconds);
        let answer: RedisResult<(T, u64)> = self
            .writes
            .run(repeat, async |mut connection| pipeline.query_async(&mut connection).await)
            .await;
        let (answer, reached) = answer.map_err(|error| redis_failed(&error))?;
        self.writes.healthy().await;
        let wanted = self.wait_replicas;
        let replicated =
            if reached < wanted { Err(failed(NotReplicated { reached, wanted })) } else { Ok(()) };
        Ok((answer, replicated))
    }

    async fn value(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let mut command = redis::cmd(if table.may_expire() { "GET" } else { "HGET" });
        if table.may_expire() {
            command.arg(self.keys.entry(table, key));
        } else {
            command.arg(self.keys.table(table)).arg(key);
        }
        self.read(command).await
    }

    /// Entries that are keys of their own; of a hash each is asked for by itself.
    async fn values(
        &self,
        table: Table,
        keys: &[String],
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let mut values = Vec::with_capacity(keys.len());
        if !table.may_expire() {
            for key in keys {
                values.push(self.value(table, key).await?);
            }
            return Ok(values);
        }
        for keys in keys.chunks(PAGE_ENTRIES) {
            let mut command = redis::cmd("MGET");
            for key in keys {
                command.arg(self.keys.entry(table, key));
            }
            values.append(&mut self.read(command).await?);
        }
        Ok(values)
    }

    async fn scan(&self, table: Table, cursor: Option<String>) -> Result<Page, StoreError> {
        let mut command = redis::cmd(if table.may_expire() { "ZSCAN" } else { "HSCAN" });
        let place = cursor.map_or(Ok(0), |cursor| place(table, &cursor))?;
        command.arg(self.keys.table(table)).arg(place).arg("COUNT").arg(PAGE_ENTRIES);
        let (next, pairs): (u64, Vec<(String, Vec<u8>)>) = self.read(command).await?;
        let next = (next != 0).then(|| cursor::write(Kind::Redis, table, &next.to_string()));
        let entries = if table.may_expire() {
            self.listed(table, pairs).await?
        } else {
            let entry = |(key, value)| Entry { key, value, expires_at: None };
            pairs.into_iter().map(entry).collect()
        };
        Ok(Page { entries, next })
    }

    /// The values of keys from an index.
    async fn listed(
        &self,
        table: Table,
        pairs: Vec<(String, Vec<u8>)>,
    ) -> Result<Vec<Entry>, StoreError> {
        // A small index comes whole, whatever was asked for.
        let mut entries = Vec::with_capacity(pairs.len());
        let (keys, scores): (Vec<String>, Vec<Vec<u8>>) = pairs.into_iter().unzip();
        let values = self.values(table, &keys).await?;
        for ((key, score), value) in keys.into_iter().zip(scores).zip(values) {
            // Listed, but its time is over, or it was removed in between.
            let Some(value) = value else { continue };
            entries.push(Entry { key, value, expires_at: ends(&score)? });
        }
        Ok(entries)
    }

    async fn change(&self, transaction: &Transaction) -> Result<LogPosition, StoreError> {
        transaction.check()?;
        let nonce = self.link()?;
        let command = self.keys.commit(transaction, FORMAT, LOG_ENTRIES, &nonce);
        let repeat = if transaction.is_repeatable() { Repeat::Harmless } else { Repeat::Never };
        let (answer, replicated) = self.write::<Vec<String>>(repeat, command).await?;
        let counter = |operation: usize| {
            let write = operation.checked_sub(transaction.checks.len());
            let write = write.and_then(|write| transaction.writes.get(write));
            write.map_or(failed(Unknown), |it| InvalidTransaction::Counter(it.table()).into())
        };
        match answer.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["conflict", check] => {
                Err(StoreError::Conflict { check: check.parse().map_err(failed)? })
            }
            ["counter", operation] => Err(counter(operation.parse().map_err(failed)?)),
            answer => {
                let head = done(answer)?;
                replicated.map(|()| head)
            }
        }
    }

    async fn statistics(&self) -> Result<StoreStat, StoreError> {
        let mut records = BTreeMap::new();
        for table in Table::ALL {
            let mut command = redis::cmd(if table.may_expire() { "ZCARD" } else { "HLEN" });
            command.arg(self.keys.table(table));
            records.insert(table.name().to_owned(), self.read(command).await?);
        }
        let mut details = BTreeMap::from([
            ("format".to_owned(), FORMAT.to_string()),
            ("server".to_owned(), self.place.clone()),
            ("wait_replicas".to_owned(), self.wait_replicas.to_string()),
        ]);
        // An ACL may keep INFO from us; everything else works without.
        if let Ok(info) = self.read::<InfoDict>(redis::cmd("INFO")).await {
            for name in [
                "redis_version",
                "valkey_version",
                "redis_mode",
                "connected_slaves",
                "used_memory",
                "maxmemory",
                "maxmemory_policy",
                "aof_enabled",
                "master_replid",
            ] {
                if let Some(value) = info.get::<String>(name) {
                    details.insert(name.to_owned(), value);
                }
            }
        }
        let log_head = self.head().await?;
        Ok(StoreStat { kind: "redis".to_owned(), records, log_head, details })
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Redis({})", self.place)
    }
}

impl Store for Redis {
    fn get<'a>(&'a self, table: Table, key: &'a str) -> Answer<'a, Option<Vec<u8>>> {
        Box::pin(self.value(table, key))
    }

    fn get_all<'a>(&'a self, table: Table, keys: &'a [String]) -> Answer<'a, Vec<Option<Vec<u8>>>> {
        Box::pin(self.values(table, keys))
    }

    fn page(&self, table: Table, cursor: Option<String>) -> Answer<'_, Page> {
        Box::pin(self.scan(table, cursor))
    }

    fn commit(&self, transaction: Transaction) -> Answer<'_, LogPosition> {
        Box::pin(async move { self.change(&transaction).await })
    }

    fn log_head(&self) -> Answer<'_, LogPosition> {
        Box::pin(self.head())
    }

    fn confirm(&self) -> Answer<'_, LogPosition> {
        Box::pin(async move {
            if self.wait_replicas == 0 {
                return self.head().await;
            }
            let command = script(scripts::CONFIRM, &[self.keys.numbers()], [FORMAT]);
            let (answer, replicated) = self.write::<Vec<String>>(Repeat::Harmless, command).await?;
            replicated?;
            done(&answer.iter().map(String::as_str).collect::<Vec<_>>())
        })
    }

    fn log_after(&self, position: LogPosition, limit: usize) -> Answer<'_, LogPage> {
        Box::pin(self.after(position, limit))
    }

    fn log_changed(&self, position: LogPosition, wait: Duration) -> Answer<'_, ()> {
        Box::pin(self.changed(position, wait))
    }

    fn begin_log_anew(&self) -> Answer<'_, LogPosition> {
        Box::pin(async move {
            let arguments = [FORMAT.to_string(), self.link()?];
            let command = script(scripts::BEGIN_LOG_ANEW, &self.keys.log(), arguments);
            let (answer, replicated) = self.write::<Vec<String>>(Repeat::Harmless, command).await?;
            replicated?;
            done(&answer.iter().map(String::as_str).collect::<Vec<_>>())
        })
    }

    fn clean_up(&self, now: UnixSeconds, limit: usize) -> Answer<'_, CleanedUp> {
        Box::pin(async move {
            let indexes: Vec<String> = Table::expiring().map(|it| self.keys.table(it)).collect();
            let arguments = [now.0.to_string(), limit.min(MAX_CLEAN_UP).to_string()];
            let command = script(scripts::CLEAN_UP, &indexes, arguments);
            // Not waited for: what is not removed is removed the next time.
            let answer = self.send(&self.writes, Repeat::Harmless, command).await;
            let (removed, more): (u64, u8) = answer.map_err(|error| redis_failed(&error))?;
            Ok(CleanedUp { removed, more: more != 0 })
        })
    }

    fn stat(&self) -> Answer<'_, StoreStat> {
        Box::pin(self.statistics())
    }
}

fn script(
    script: &str,
    keys: &[String],
    arguments: impl IntoIterator<Item = impl redis::ToSingleRedisArg>,
) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(script).arg(keys.len());
    for key in keys {
        command.arg(key);
    }
    for argument in arguments {
        command.arg(argument);
    }
    command
}

/// What a script says that changes something.
fn done(answer: &[&str]) -> Result<LogPosition, StoreError> {
    match answer {
        ["done", sequence, link] => log::position(sequence.as_bytes(), link.as_bytes()),
        ["format"] => Err(failed(NotOurs)),
        _ => Err(failed(Unknown)),
    }
}

/// Where the server goes on. To what is no number it answers with an error, as if it had failed.
fn place(table: Table, cursor: &str) -> Result<u64, StoreError> {
    let place = cursor::read(Kind::Redis, table, cursor)?;
    place.parse().map_err(|_| StoreError::CursorUnknown)
}

/// The end that a score in an index is.
fn ends(score: &[u8]) -> Result<Option<UnixSeconds>, StoreError> {
    let score = core::str::from_utf8(score).map_err(failed)?;
    if score == "inf" { Ok(None) } else { Ok(Some(UnixSeconds(score.parse().map_err(failed)?))) }
}

fn redis_failed(error: &RedisError) -> StoreError {
    failed(Failed(said(error)))
}

/// An error of Redis as it is shown.
#[derive(Debug, thiserror::Error)]
#[error("Redis: {0}")]
struct Failed(String);

/// The code and text of an error. A script that fails is quoted by the server without its
/// arguments, so nothing of a record is in it.
fn said(error: &RedisError) -> String {
    error.to_string()
}

#[cfg(test)]
pub(crate) mod tests;
