//! How tables and log lie in the file.

use redb::{ReadableTable as _, TableDefinition, WriteTransaction};
use wardgate_core::time::UnixSeconds;

use crate::store::{LogPosition, Table};

/// The layout. A file with another number than this and the one before is left alone.
pub(super) const FORMAT: u64 = 2;
/// The layout of the release before, which is brought to this one.
pub(super) const FORMAT_BEFORE: u64 = 1;

/// `format`.
pub(super) const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");
/// End, number of the table and key, of every entry that has an end.
pub(super) const ENDS: TableDefinition<'_, (u64, u8, &str), ()> = TableDefinition::new("ends");
/// Sequence to link and entry. The first is the start of the log, and no entry.
pub(super) const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");

/// Key to value; in a table whose entries may have an end, to that and the value.
pub(super) type Values = TableDefinition<'static, &'static str, &'static [u8]>;

/// The end of an entry that has none.
const NEVER: u64 = u64::MAX;
/// Bytes of an end.
const END_BYTES: usize = 8;
/// Bytes of a link.
const LINK_BYTES: usize = 16;

pub(super) fn values(table: Table) -> Values {
    TableDefinition::new(table.name())
}

/// The value at rest of what stands in the file, and when it is no more.
pub(super) fn value_and_end(table: Table, bytes: &[u8]) -> (&[u8], Option<UnixSeconds>) {
    if !table.may_expire() {
        return (bytes, None);
    }
    let Some((end, value)) = bytes.split_first_chunk::<END_BYTES>() else {
        // Nothing that we have written; without a value it fails where it is read.
        return (&[], None);
    };
    let end = Some(u64::from_be_bytes(*end)).filter(|end| *end != NEVER);
    (value, end.map(UnixSeconds))
}

/// What stands in the file for a value.
pub(super) fn with_end(table: Table, value: &[u8], end: Option<UnixSeconds>) -> Vec<u8> {
    if !table.may_expire() {
        return value.to_vec();
    }
    let mut bytes = end.map_or(NEVER, |end| end.0).to_be_bytes().to_vec();
    bytes.extend_from_slice(value);
    bytes
}

/// Whether an end has come.
pub(super) fn is_over(end: Option<UnixSeconds>, now: UnixSeconds) -> bool {
    end.is_some_and(|end| end <= now)
}

/// Link and entry of what stands in the log.
pub(super) fn link_and_entry(bytes: &[u8]) -> ([u8; LINK_BYTES], &[u8]) {
    bytes.split_first_chunk().map_or(([0; LINK_BYTES], &[]), |(link, entry)| (*link, entry))
}

/// The head of a log.
pub(super) fn head(
    log: &impl redb::ReadableTable<u64, &'static [u8]>,
) -> Result<LogPosition, redb::StorageError> {
    let last = log.last()?;
    Ok(last.map_or(LogPosition { sequence: 0, link: [0; LINK_BYTES] }, |(sequence, bytes)| {
        LogPosition { sequence: sequence.value(), link: link_and_entry(bytes.value()).0 }
    }))
}

/// Makes the tables of a new file, and brings one of the format before to this one: all in one
/// transaction, so that a crash leaves the one or the other. `link` begins a new log.
pub(super) fn prepare(
    transaction: &WriteTransaction,
    link: [u8; LINK_BYTES],
) -> Result<(), redb::Error> {
    let mut numbers = transaction.open_table(NUMBERS)?;
    let found = numbers.get("format")?.map(|format| format.value());
    if found == Some(FORMAT) {
        return Ok(());
    }
    // Filters of the release before go by this number; it must not become less.
    let sequence = numbers.remove("api_key_revision")?.map_or(0, |revision| revision.value());
    numbers.insert("format", FORMAT)?;
    transaction.open_table(LOG)?.insert(sequence, link.as_slice())?;
    transaction.open_table(ENDS)?;
    if found == Some(FORMAT_BEFORE) {
        names_as_bytes(transaction)?;
    }
    for table in Table::ALL {
        transaction.open_table(values(table))?;
    }
    Ok(())
}

/// The names of API keys were text in the format before; everything else was bytes already.
fn names_as_bytes(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    let before: TableDefinition<'_, &str, &str> = TableDefinition::new(Table::ApiKeyNames.name());
    let mut names: Vec<(String, String)> = Vec::new();
    for entry in transaction.open_table(before)?.iter()? {
        let (name, id) = entry?;
        names.push((name.value().to_owned(), id.value().to_owned()));
    }
    transaction.delete_table(before)?;
    let mut table = transaction.open_table(values(Table::ApiKeyNames))?;
    for (name, id) in &names {
        table.insert(name.as_str(), id.as_bytes())?;
    }
    Ok(())
}
