//! The embedded store: one file, one process, every commit on disk before it returns.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::ops::Bound;
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use redb::{
    Builder, Database, DatabaseError, ReadableDatabase as _, ReadableTable as _,
    ReadableTableMetadata as _, StorageError, TableDefinition, TableError, WriteTransaction,
};
use serde::de::DeserializeOwned;
use wardgate_core::wire::ApiKeyState;

use super::open::{OpenProblem, OpenStoreError};
use super::{
    Answer, Entry, Page, Store, StoreError, StoreStat, StoredApiKey, StoredSigningKey, Table,
    failed, from_json, to_json,
};
use crate::seal::Sealed;

/// The layout of the tables below. A file with another number is left alone.
const FORMAT: u64 = 1;
/// Memory for pages: the working set of a small store; the default of the library is 1 GiB.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// Entries of one page: some hundred KiB.
const PAGE_ENTRIES: usize = 1000;

/// `format` and `api_key_revision`.
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");
/// `api_key_digest_key`, sealed.
const SECRETS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("secrets");
/// Id to record, as JSON.
const API_KEYS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("api_keys");
/// Name to id, of keys that are not revoked.
const API_KEY_NAMES: TableDefinition<'_, &str, &str> = TableDefinition::new("api_key_names");
/// Algorithm to key, as JSON.
const SIGNING_KEYS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("signing_keys");

/// A store in one file.
#[derive(Clone)]
pub struct Embedded {
    database: Arc<Database>,
    path: Arc<Path>,
}

impl Embedded {
    /// Opens the file, or makes it if there is none.
    ///
    /// # Errors
    ///
    /// [`OpenStoreError`] when another process has the file, or it is damaged, cut, of another
    /// format or no store at all.
    pub fn open(path: &Path) -> Result<Self, OpenStoreError> {
        let failed = |problem| OpenStoreError::new(path.display().to_string(), problem);
        let database = open_database(path).map_err(failed)?;
        let store = Self { database: Arc::new(database), path: path.into() };
        store.prepare().map_err(|error| failed(OpenProblem::Failed(error.to_string())))?;
        Ok(store)
    }

    /// Makes the tables of a new file.
    fn prepare(&self) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            let mut numbers = transaction.open_table(NUMBERS)?;
            if numbers.get("format")?.is_none() {
                numbers.insert("format", FORMAT)?;
                numbers.insert("api_key_revision", 1)?;
            }
            transaction.open_table(SECRETS)?;
            transaction.open_table(API_KEYS)?;
            transaction.open_table(API_KEY_NAMES)?;
            transaction.open_table(SIGNING_KEYS)?;
        }
        transaction.commit()?;
        Ok(())
    }

    fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&redb::ReadTransaction) -> Result<T, StoreError>,
    ) -> Answer<'_, T> {
        // Reads come from memory or one page of the file: too short to be worth another thread.
        let result = self.database.begin_read().map_err(failed).and_then(|begun| read(&begun));
        Box::pin(std::future::ready(result))
    }

    fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&WriteTransaction) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<'_, T> {
        let database = Arc::clone(&self.database);
        Box::pin(async move {
            let task = tokio::task::spawn_blocking(move || {
                let transaction = database.begin_write().map_err(failed)?;
                let result = write(&transaction)?;
                // The default durability: on disk when this returns.
                transaction.commit().map_err(failed)?;
                Ok(result)
            });
            task.await.map_err(failed)?
        })
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Embedded")
    }
}

/// Opens the file so that nothing is written before it is known to be a whole store of our format.
fn open_database(path: &Path) -> Result<Database, OpenProblem> {
    let length = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => 0,
        Err(error) => return Err(OpenProblem::Failed(error.to_string())),
    };
    if length == 0 {
        let failed = |error: std::io::Error| OpenProblem::Failed(error.to_string());
        // Made here, so that nobody but the owner ever reads it.
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600).open(path).map_err(failed)?;
        return builder().create(path).map_err(open_problem);
    }
    // Read-only first: it refuses a file that needs repair, so what it opens was closed in order,
    // and looking does not change the file.
    let closed_in_order = guarded(|| match builder().open_read_only(path) {
        Ok(database) => check_format(&database),
        Err(DatabaseError::RepairAborted) => Ok(()),
        Err(error) => Err(open_problem(error)),
    });
    closed_in_order?;
    // All pages are checked, and only then is anything repaired.
    guarded(|| {
        let opened = builder().set_check_integrity_on_open(true).open(path);
        let database = opened.map_err(open_problem)?;
        check_format(&database)?;
        Ok(database)
    })
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// The library may panic on a damaged file; that must be an error like any other.
fn guarded<T>(open: impl FnOnce() -> Result<T, OpenProblem>) -> Result<T, OpenProblem> {
    catch_unwind(AssertUnwindSafe(open))
        .unwrap_or_else(|_| Err(OpenProblem::Damaged("its structure makes no sense".to_owned())))
}

fn open_problem(error: DatabaseError) -> OpenProblem {
    if let DatabaseError::Storage(StorageError::Io(error)) = &error {
        if error.kind() == ErrorKind::InvalidData {
            return OpenProblem::NotAStore;
        }
        if error.kind() == ErrorKind::UnexpectedEof {
            return OpenProblem::Damaged("it was cut".to_owned());
        }
    }
    if let DatabaseError::Storage(StorageError::Corrupted(why)) = error {
        return OpenProblem::Damaged(why);
    }
    if let DatabaseError::DatabaseAlreadyOpen = error {
        return OpenProblem::InUse;
    }
    OpenProblem::Failed(error.to_string())
}

fn check_format(database: &impl redb::ReadableDatabase) -> Result<(), OpenProblem> {
    let damaged = |error: &dyn fmt::Display| OpenProblem::Damaged(error.to_string());
    let transaction = database.begin_read().map_err(|error| damaged(&error))?;
    let numbers = match transaction.open_table(NUMBERS) {
        Ok(numbers) => numbers,
        // A crash between the making of the file and of its tables.
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        Err(error) => return Err(damaged(&error)),
    };
    let format = numbers.get("format").map_err(|error| damaged(&error))?;
    match format.map(|format| format.value()) {
        Some(FORMAT) | None => Ok(()),
        Some(found) => Err(OpenProblem::Format { found, known: FORMAT }),
    }
}

impl Store for Embedded {
    fn api_key<'a>(&'a self, id: &'a str) -> Answer<'a, Option<StoredApiKey>> {
        self.read(|transaction| {
            let table = transaction.open_table(API_KEYS).map_err(failed)?;
            let found = table.get(id).map_err(failed)?;
            found.map(|found| from_json(found.value())).transpose()
        })
    }

    fn api_key_named<'a>(&'a self, name: &'a str) -> Answer<'a, Option<String>> {
        self.read(|transaction| {
            let table = transaction.open_table(API_KEY_NAMES).map_err(failed)?;
            let found = table.get(name).map_err(failed)?;
            Ok(found.map(|id| id.value().to_owned()))
        })
    }

    fn api_keys(&self) -> Answer<'_, Vec<StoredApiKey>> {
        self.read(|transaction| {
            let table = transaction.open_table(API_KEYS).map_err(failed)?;
            all_json(table.iter().map_err(failed)?)
        })
    }

    fn api_key_revision(&self) -> Answer<'_, u64> {
        self.read(|transaction| {
            let table = transaction.open_table(NUMBERS).map_err(failed)?;
            let found = table.get("api_key_revision").map_err(failed)?;
            Ok(found.map_or(0, |revision| revision.value()))
        })
    }

    fn insert_api_key<'a>(&'a self, key: &'a StoredApiKey) -> Answer<'a, ()> {
        let key = key.clone();
        self.write(move |transaction| {
            let (id, name) = (key.record.id.as_str(), key.record.name.as_str());
            let mut names = transaction.open_table(API_KEY_NAMES).map_err(failed)?;
            if names.get(name).map_err(failed)?.is_some() {
                return Err(StoreError::NameTaken);
            }
            let mut keys = transaction.open_table(API_KEYS).map_err(failed)?;
            if keys.get(id).map_err(failed)?.is_some() {
                return Err(StoreError::IdTaken);
            }
            names.insert(name, id).map_err(failed)?;
            keys.insert(id, to_json(&key)?.as_slice()).map_err(failed)?;
            bump_revision(transaction)
        })
    }

    fn replace_api_key<'a>(
        &'a self,
        before: &'a StoredApiKey,
        after: &'a StoredApiKey,
    ) -> Answer<'a, ()> {
        let (before, after) = (before.clone(), after.clone());
        self.write(move |transaction| {
            let (id, name) = (before.record.id.as_str(), before.record.name.as_str());
            let mut keys = transaction.open_table(API_KEYS).map_err(failed)?;
            let stands = keys.get(id).map_err(failed)?.map(|found| from_json(found.value()));
            let same_identity = after.record.id == id && after.record.name == name;
            if !same_identity || stands.transpose()?.as_ref() != Some(&before) {
                return Err(StoreError::Changed);
            }
            keys.insert(id, to_json(&after)?.as_slice()).map_err(failed)?;
            if after.record.state == ApiKeyState::Revoked {
                let mut names = transaction.open_table(API_KEY_NAMES).map_err(failed)?;
                let owner = names.get(name).map_err(failed)?.map(|owner| owner.value() == id);
                if owner == Some(true) {
                    names.remove(name).map_err(failed)?;
                }
            }
            bump_revision(transaction)
        })
    }

    fn digest_key_or_insert<'a>(&'a self, new: &'a Sealed) -> Answer<'a, Sealed> {
        let new = new.clone();
        self.write(move |transaction| {
            let mut secrets = transaction.open_table(SECRETS).map_err(failed)?;
            let stands = secrets
                .get("api_key_digest_key")
                .map_err(failed)?
                .map(|key| from_json(key.value()));
            if let Some(stands) = stands {
                return stands;
            }
            secrets.insert("api_key_digest_key", to_json(&new)?.as_slice()).map_err(failed)?;
            Ok(new)
        })
    }

    fn signing_keys(&self) -> Answer<'_, Vec<StoredSigningKey>> {
        self.read(|transaction| {
            let table = transaction.open_table(SIGNING_KEYS).map_err(failed)?;
            let mut keys: Vec<StoredSigningKey> = all_json(table.iter().map_err(failed)?)?;
            keys.sort_by(|a, b| (a.created_at, &a.kid).cmp(&(b.created_at, &b.kid)));
            Ok(keys)
        })
    }

    fn signing_key_or_insert<'a>(
        &'a self,
        new: &'a StoredSigningKey,
    ) -> Answer<'a, StoredSigningKey> {
        let new = new.clone();
        self.write(move |transaction| {
            let mut keys = transaction.open_table(SIGNING_KEYS).map_err(failed)?;
            let algorithm = new.algorithm.as_str();
            let stands = keys.get(algorithm).map_err(failed)?.map(|key| from_json(key.value()));
            if let Some(stands) = stands {
                return stands;
            }
            keys.insert(algorithm, to_json(&new)?.as_slice()).map_err(failed)?;
            Ok(new)
        })
    }

    fn page(&self, table: Table, cursor: Option<String>) -> Answer<'_, Page> {
        self.read(|transaction| {
            let start = cursor.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let range = (start, Bound::Unbounded);
            let entries: Vec<Entry> = if let Some(table) = values(table) {
                let table = transaction.open_table(table).map_err(failed)?;
                let found = table.range::<&str>(range).map_err(failed)?.take(PAGE_ENTRIES);
                let entry = found.map(|entry| {
                    entry.map(|(key, value)| (key.value().to_owned(), value.value().to_vec()))
                });
                entry.collect::<Result<_, _>>().map_err(failed)?
            } else {
                let table = transaction.open_table(API_KEY_NAMES).map_err(failed)?;
                let found = table.range::<&str>(range).map_err(failed)?.take(PAGE_ENTRIES);
                let entry = found.map(|entry| {
                    entry.map(|(key, id)| (key.value().to_owned(), id.value().as_bytes().to_vec()))
                });
                entry.collect::<Result<_, _>>().map_err(failed)?
            };
            let full = entries.len() == PAGE_ENTRIES;
            let next = entries.last().filter(|_| full).map(|(key, _)| key.clone());
            Ok(Page { entries, next })
        })
    }

    fn add_entries(&self, table: Table, entries: Vec<Entry>) -> Answer<'_, ()> {
        self.write(move |transaction| {
            if let Some(table) = values(table) {
                let mut table = transaction.open_table(table).map_err(failed)?;
                for (key, value) in &entries {
                    let before = table.insert(key.as_str(), value.as_slice()).map_err(failed)?;
                    // What was written goes with the transaction.
                    if before.is_some_and(|before| before.value() != value) {
                        return Err(StoreError::Changed);
                    }
                }
                return Ok(());
            }
            let mut table = transaction.open_table(API_KEY_NAMES).map_err(failed)?;
            for (key, value) in &entries {
                let id = core::str::from_utf8(value).map_err(failed)?;
                let before = table.insert(key.as_str(), id).map_err(failed)?;
                if before.is_some_and(|before| before.value() != id) {
                    return Err(StoreError::Changed);
                }
            }
            Ok(())
        })
    }

    fn raise_api_key_revision(&self, floor: u64) -> Answer<'_, ()> {
        self.write(move |transaction| raise_revision(transaction, floor))
    }

    fn stat(&self) -> Answer<'_, StoreStat> {
        self.read(|transaction| {
            let mut records = BTreeMap::new();
            for table in Table::ALL {
                let length = if let Some(table) = values(table) {
                    transaction.open_table(table).map_err(failed)?.len()
                } else {
                    transaction.open_table(API_KEY_NAMES).map_err(failed)?.len()
                };
                records.insert(table.name().to_owned(), length.map_err(failed)?);
            }
            let numbers = transaction.open_table(NUMBERS).map_err(failed)?;
            let revision = numbers.get("api_key_revision").map_err(failed)?;
            let bytes = std::fs::metadata(&*self.path).map_or(0, |metadata| metadata.len());
            let details = [
                ("file", self.path.display().to_string()),
                ("file_bytes", bytes.to_string()),
                ("format", FORMAT.to_string()),
            ];
            Ok(StoreStat {
                kind: "embedded".to_owned(),
                records,
                api_key_revision: revision.map_or(0, |revision| revision.value()),
                details: details.map(|(name, value)| (name.to_owned(), value)).into(),
            })
        })
    }
}

/// The table, if its values are bytes; the names of API keys are text.
fn values(table: Table) -> Option<TableDefinition<'static, &'static str, &'static [u8]>> {
    match table {
        Table::Secrets => Some(SECRETS),
        Table::SigningKeys => Some(SIGNING_KEYS),
        Table::ApiKeys => Some(API_KEYS),
        Table::ApiKeyNames => None,
    }
}

fn bump_revision(transaction: &WriteTransaction) -> Result<(), StoreError> {
    raise_revision(transaction, 0)
}

fn raise_revision(transaction: &WriteTransaction, floor: u64) -> Result<(), StoreError> {
    let mut numbers = transaction.open_table(NUMBERS).map_err(failed)?;
    let revision =
        numbers.get("api_key_revision").map_err(failed)?.map_or(0, |found| found.value());
    numbers.insert("api_key_revision", revision.saturating_add(1).max(floor)).map_err(failed)?;
    Ok(())
}

fn all_json<T: DeserializeOwned>(
    range: redb::Range<'_, &'static str, &'static [u8]>,
) -> Result<Vec<T>, StoreError> {
    range.map(|entry| from_json(entry.map_err(failed)?.1.value())).collect()
}

#[cfg(test)]
mod tests;
