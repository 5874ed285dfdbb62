//! Opens the file of the embedded store, without harm to one that is not ours.

use std::fmt;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use redb::{Builder, Database, DatabaseError, StorageError, TableError};

use super::layout::{FORMAT, FORMAT_BEFORE, NUMBERS};
use crate::store::open::OpenProblem;

/// Memory for pages: the working set of a small store; the default of the library is 1 GiB.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// Opens the file so that nothing is written before it is known to be a whole store of our format.
pub(super) fn open_database(path: &Path) -> Result<Database, OpenProblem> {
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
        Some(FORMAT_BEFORE | FORMAT) | None => Ok(()),
        Some(found) => Err(OpenProblem::Format { found, known: FORMAT }),
    }
}
