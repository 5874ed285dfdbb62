//! The Redis store: for several sidecars, which it makes one system.
//!
//! Each table is a hash; what belongs together is changed by a script. All keys of one system
//! share a hash tag and with it a slot of a Cluster, so that any of them can change in one step.

mod link;
mod locate;
mod scripts;

use std::collections::BTreeMap;
use std::fmt;

use redis::{Cmd, FromRedisValue, InfoDict, RedisError, RedisResult};
use wardgate_core::wire::ApiKeyState;

use self::link::{Link, Repeat};
use super::open::{OpenProblem, OpenStoreError};
use super::{
    Answer, Entry, Page, Store, StoreError, StoreStat, StoredApiKey, StoredSigningKey, Table,
    failed, from_json, to_json,
};
use crate::config::RedisSettings;
use crate::random::Random;
use crate::seal::Sealed;

/// The layout of the keys. A store with another number is left alone.
const FORMAT: u64 = 1;
/// Entries that one HSCAN asks for, and one script adds: a millisecond of the server's time.
const PAGE_ENTRIES: usize = 1000;

/// A store in a Redis.
pub struct Redis {
    /// For reads, so that they do not stand behind a `WAIT`.
    reads: Link,
    writes: Link,
    keys: Vec<String>,
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

/// The keys: the numbers and the tables. Scripts count on the order.
fn keys(prefix: &str) -> Vec<String> {
    let names = ["numbers", "secrets", "signing_keys", "api_keys", "api_key_names"];
    names.iter().map(|name| format!("{{{prefix}}}:{name}")).collect()
}

/// The place of a table in the keys, from 1 as Lua counts.
fn place(table: Table) -> usize {
    match table {
        Table::Secrets => 2,
        Table::SigningKeys => 3,
        Table::ApiKeys => 4,
        Table::ApiKeyNames => 5,
    }
}

impl Redis {
    /// Connects, and makes the store if there is none.
    ///
    /// # Errors
    ///
    /// [`OpenStoreError`] when no master answers in time or the store has another format.
    pub async fn open(settings: &RedisSettings, random: Random) -> Result<Self, OpenStoreError> {
        let keys = keys(&settings.key_prefix);
        let slot_key = keys.first().cloned().unwrap_or_default();
        let urls: Vec<String> = settings.urls.iter().map(ToString::to_string).collect();
        let place = urls.join(" ");
        let store = Self {
            reads: Link::new(settings, slot_key.clone(), random),
            writes: Link::new(settings, slot_key, random),
            keys,
            place: place.clone(),
            wait_replicas: settings.wait_replicas,
            wait_milliseconds: u64::try_from(settings.wait_timeout.as_millis()).unwrap_or(u64::MAX),
        };
        let prepare = store.script(scripts::PREPARE, [FORMAT.to_string()]);
        // Not waited for: a store must open, to be read, while its replicas are away.
        let format: RedisResult<u64> = store.send(&store.writes, Repeat::Harmless, prepare).await;
        match format {
            Ok(FORMAT) => Ok(store),
            Ok(found) => {
                Err(OpenStoreError::new(place, OpenProblem::Format { found, known: FORMAT }))
            }
            Err(error) => Err(OpenStoreError::new(place, OpenProblem::Failed(said(&error)))),
        }
    }

    fn key(&self, place: usize) -> &str {
        self.keys.get(place.saturating_sub(1)).map_or("", String::as_str)
    }

    fn script<A: redis::ToSingleRedisArg>(
        &self,
        script: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(script).arg(self.keys.len());
        for key in &self.keys {
            command.arg(key);
        }
        for argument in arguments {
            command.arg(argument);
        }
        command
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

    /// Sends a change and waits for the replicas.
    async fn write<T: FromRedisValue>(
        &self,
        repeat: Repeat,
        command: Cmd,
    ) -> Result<T, StoreError> {
        if self.wait_replicas == 0 {
            return self
                .send(&self.writes, repeat, command)
                .await
                .map_err(|error| redis_failed(&error));
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
        if reached < self.wait_replicas {
            return Err(failed(NotReplicated { reached, wanted: self.wait_replicas }));
        }
        Ok(answer)
    }

    async fn number(&self, name: &str) -> Result<u64, StoreError> {
        let mut command = redis::cmd("HGET");
        command.arg(self.key(1)).arg(name);
        Ok(self.read::<Option<u64>>(command).await?.unwrap_or(0))
    }

    async fn field(&self, table: Table, field: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let mut command = redis::cmd("HGET");
        command.arg(self.key(place(table))).arg(field);
        self.read(command).await
    }

    async fn scan(&self, table: Table, cursor: Option<String>) -> Result<Page, StoreError> {
        let mut command = redis::cmd("HSCAN");
        let cursor = cursor.unwrap_or_else(|| "0".to_owned());
        command.arg(self.key(place(table))).arg(cursor).arg("COUNT").arg(PAGE_ENTRIES);
        let (next, entries): (String, Vec<Entry>) = self.read(command).await?;
        Ok(Page { entries, next: (next != "0").then_some(next) })
    }

    /// Everything in a table, by key.
    async fn all(&self, table: Table) -> Result<BTreeMap<String, Vec<u8>>, StoreError> {
        let (mut all, mut cursor) = (BTreeMap::new(), None);
        loop {
            let page = self.scan(table, cursor).await?;
            all.extend(page.entries);
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(all),
            }
        }
    }

    async fn get_or_insert(
        &self,
        table: Table,
        field: &str,
        value: Vec<u8>,
    ) -> Result<Vec<u8>, StoreError> {
        let arguments = [place(table).to_string().into_bytes(), field.as_bytes().to_vec(), value];
        let command = self.script(scripts::GET_OR_INSERT, arguments);
        self.write(Repeat::Harmless, command).await
    }

    async fn replace(&self, before: &StoredApiKey, after: &StoredApiKey) -> Result<(), StoreError> {
        let (id, name) = (&before.record.id, &before.record.name);
        if (&after.record.id, &after.record.name) != (id, name) {
            return Err(StoreError::Changed);
        }
        // The script compares bytes; what they mean is compared here, so that a record which
        // another version has written, with its keys in another order, can be changed.
        let stands = self.field(Table::ApiKeys, id).await?.ok_or(StoreError::Changed)?;
        if from_json::<StoredApiKey>(&stands)? != *before {
            return Err(StoreError::Changed);
        }
        let freed = if after.record.state == ApiKeyState::Revoked { "1" } else { "0" };
        let arguments = [
            id.as_bytes().to_vec(),
            name.as_bytes().to_vec(),
            stands,
            to_json(after)?,
            freed.as_bytes().to_vec(),
        ];
        let command = self.script(scripts::REPLACE_API_KEY, arguments);
        outcome(&self.write::<String>(Repeat::Never, command).await?)
    }

    async fn insert(&self, key: &StoredApiKey) -> Result<(), StoreError> {
        let (id, name) = (key.record.id.as_bytes(), key.record.name.as_bytes());
        let arguments = [id.to_vec(), name.to_vec(), to_json(key)?];
        let command = self.script(scripts::INSERT_API_KEY, arguments);
        outcome(&self.write::<String>(Repeat::Never, command).await?)
    }

    async fn add(&self, table: Table, entries: Vec<Entry>) -> Result<(), StoreError> {
        let mut arguments = vec![place(table).to_string().into_bytes()];
        for (key, value) in entries {
            arguments.push(key.into_bytes());
            arguments.push(value);
        }
        let command = self.script(scripts::ADD_ENTRIES, arguments);
        outcome(&self.write::<String>(Repeat::Harmless, command).await?)
    }

    async fn statistics(&self) -> Result<StoreStat, StoreError> {
        let mut records = BTreeMap::new();
        for table in Table::ALL {
            let mut command = redis::cmd("HLEN");
            command.arg(self.key(place(table)));
            records.insert(table.name().to_owned(), self.read(command).await?);
        }
        let mut details = BTreeMap::from([
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
        let api_key_revision = self.number("api_key_revision").await?;
        Ok(StoreStat { kind: "redis".to_owned(), records, api_key_revision, details })
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Redis({})", self.place)
    }
}

impl Store for Redis {
    fn api_key<'a>(&'a self, id: &'a str) -> Answer<'a, Option<StoredApiKey>> {
        Box::pin(async move {
            let found = self.field(Table::ApiKeys, id).await?;
            found.map(|found| from_json(&found)).transpose()
        })
    }

    fn api_key_named<'a>(&'a self, name: &'a str) -> Answer<'a, Option<String>> {
        Box::pin(async move {
            let found = self.field(Table::ApiKeyNames, name).await?;
            found.map(|id| String::from_utf8(id).map_err(failed)).transpose()
        })
    }

    fn api_keys(&self) -> Answer<'_, Vec<StoredApiKey>> {
        Box::pin(async move {
            let all = self.all(Table::ApiKeys).await?;
            all.values().map(|record| from_json(record)).collect()
        })
    }

    fn api_key_revision(&self) -> Answer<'_, u64> {
        Box::pin(self.number("api_key_revision"))
    }

    fn insert_api_key<'a>(&'a self, key: &'a StoredApiKey) -> Answer<'a, ()> {
        Box::pin(self.insert(key))
    }

    fn replace_api_key<'a>(
        &'a self,
        before: &'a StoredApiKey,
        after: &'a StoredApiKey,
    ) -> Answer<'a, ()> {
        Box::pin(self.replace(before, after))
    }

    fn digest_key_or_insert<'a>(&'a self, new: &'a Sealed) -> Answer<'a, Sealed> {
        Box::pin(async move {
            let value = to_json(new)?;
            from_json(&self.get_or_insert(Table::Secrets, "api_key_digest_key", value).await?)
        })
    }

    fn signing_keys(&self) -> Answer<'_, Vec<StoredSigningKey>> {
        Box::pin(async move {
            let all = self.all(Table::SigningKeys).await?;
            let keys: Result<Vec<StoredSigningKey>, StoreError> =
                all.values().map(|key| from_json(key)).collect();
            let mut keys = keys?;
            keys.sort_by(|a, b| (a.created_at, &a.kid).cmp(&(b.created_at, &b.kid)));
            Ok(keys)
        })
    }

    fn signing_key_or_insert<'a>(
        &'a self,
        new: &'a StoredSigningKey,
    ) -> Answer<'a, StoredSigningKey> {
        Box::pin(async move {
            let value = to_json(new)?;
            from_json(&self.get_or_insert(Table::SigningKeys, &new.algorithm, value).await?)
        })
    }

    fn page(&self, table: Table, cursor: Option<String>) -> Answer<'_, Page> {
        Box::pin(self.scan(table, cursor))
    }

    fn add_entries(&self, table: Table, entries: Vec<Entry>) -> Answer<'_, ()> {
        Box::pin(self.add(table, entries))
    }

    fn raise_api_key_revision(&self, floor: u64) -> Answer<'_, ()> {
        Box::pin(async move {
            let command = self.script(scripts::RAISE_REVISION, [floor.to_string()]);
            outcome(&self.write::<String>(Repeat::Harmless, command).await?)
        })
    }

    fn stat(&self) -> Answer<'_, StoreStat> {
        Box::pin(self.statistics())
    }
}

fn outcome(word: &str) -> Result<(), StoreError> {
    match word {
        "done" => Ok(()),
        "name" => Err(StoreError::NameTaken),
        "id" => Err(StoreError::IdTaken),
        "changed" => Err(StoreError::Changed),
        _ => Err(failed(std::io::Error::other("a script gave an unknown answer"))),
    }
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
mod tests;
