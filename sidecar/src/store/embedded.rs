//! The embedded store: one file, one process, every commit on disk before it returns.

use std::fmt;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{
    Builder, Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, StorageError,
    TableDefinition, TableError, WriteTransaction,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wardgate_core::wire::ApiKeyState;

use super::{Answer, Store, StoreError, StoredApiKey, StoredSigningKey};
use crate::seal::Sealed;

/// The layout of the tables below. A file with another number is left alone.
const FORMAT: u64 = 1;
/// Memory for pages: the working set of a small store; the default of the library is 1 GiB.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

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
}

/// Why the file cannot be used. The file is left as it was.
#[derive(Debug, thiserror::Error)]
#[error("the store {} {problem}", path.display())]
pub struct OpenStoreError {
    path: PathBuf,
    problem: OpenProblem,
}

#[derive(Debug)]
enum OpenProblem {
    InUse,
    Format(u64),
    NotAStore,
    Damaged(String),
    Failed(String),
}

impl fmt::Display for OpenProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => formatter.write_str(
                "is in use by another process: the embedded store serves exactly one sidecar",
            ),
            Self::Format(found) => write!(
                formatter,
                "has format {found}, this version knows {FORMAT}: run the version that wrote it, or newer"
            ),
            Self::NotAStore => {
                formatter.write_str("is not a store: `store.path` names another file")
            }
            Self::Damaged(why) => write!(
                formatter,
                "is damaged ({why}): it was left as it is; restore it from a backup"
            ),
            Self::Failed(why) => write!(formatter, "cannot be opened: {why}"),
        }
    }
}

impl OpenStoreError {
    /// Whether another process has the file.
    pub fn is_in_use(&self) -> bool {
        matches!(self.problem, OpenProblem::InUse)
    }
}

impl Embedded {
    /// Opens the file, or makes it if there is none.
    ///
    /// # Errors
    ///
    /// [`OpenStoreError`] when another process has the file, or it is damaged, cut, of another
    /// format or no store at all.
    pub fn open(path: &Path) -> Result<Self, OpenStoreError> {
        let failed = |problem| OpenStoreError { path: path.to_owned(), problem };
        let database = open_database(path).map_err(failed)?;
        let store = Self { database: Arc::new(database) };
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
        Some(found) => Err(OpenProblem::Format(found)),
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
}

fn bump_revision(transaction: &WriteTransaction) -> Result<(), StoreError> {
    let mut numbers = transaction.open_table(NUMBERS).map_err(failed)?;
    let revision =
        numbers.get("api_key_revision").map_err(failed)?.map_or(0, |found| found.value());
    numbers.insert("api_key_revision", revision.saturating_add(1)).map_err(failed)?;
    Ok(())
}

fn all_json<T: DeserializeOwned>(
    range: redb::Range<'_, &'static str, &'static [u8]>,
) -> Result<Vec<T>, StoreError> {
    range.map(|entry| from_json(entry.map_err(failed)?.1.value())).collect()
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

#[cfg(test)]
mod tests;
