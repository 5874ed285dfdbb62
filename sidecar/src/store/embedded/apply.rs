//! What a transaction does to the file.

use aws_lc_rs::digest::{Context, SHA256};
use redb::{ReadableTable as _, WriteTransaction};
use wardgate_core::time::UnixSeconds;

use super::layout::{ENDS, LOG, head, is_over, link_and_entry, value_and_end, values, with_end};
use crate::store::transaction::counter;
use crate::store::{
    CleanedUp, InvalidTransaction, LOG_ENTRIES, LogEntry, LogPosition, MAX_COUNTER, StoreError,
    Table, Transaction, Write, failed,
};

/// Checks, writes and appends. Checks come first, and so does whatever else can be refused: nothing
/// is written when this is an error that others need not share.
pub(super) fn apply(
    file: &WriteTransaction,
    transaction: &Transaction,
    nonce: [u8; 16],
    now: UnixSeconds,
) -> Result<LogPosition, StoreError> {
    transaction.check()?;
    for (index, check) in transaction.checks.iter().enumerate() {
        let stands = standing(file, check.table, &check.key, now)?;
        if stands.map(|(value, _)| value) != check.expected {
            return Err(StoreError::Conflict { check: index });
        }
    }
    let mut values = Vec::with_capacity(transaction.writes.len());
    for write in &transaction.writes {
        values.push(value_of(file, write, now)?);
    }
    for (write, value) in transaction.writes.iter().zip(values) {
        set(file, write.table(), write.key(), value)?;
    }
    append(file, &transaction.log, nonce)
}

/// A value and when it is no more.
type Value = (Vec<u8>, Option<UnixSeconds>);

fn standing(
    file: &WriteTransaction,
    table: Table,
    key: &str,
    now: UnixSeconds,
) -> Result<Option<Value>, StoreError> {
    let found = file.open_table(values(table)).map_err(failed)?;
    let found = found.get(key).map_err(failed)?;
    Ok(found.and_then(|found| {
        let (value, end) = value_and_end(table, found.value());
        (!is_over(end, now)).then(|| (value.to_vec(), end))
    }))
}

/// What an entry will be; `None` for none.
fn value_of(
    file: &WriteTransaction,
    write: &Write,
    now: UnixSeconds,
) -> Result<Option<Value>, StoreError> {
    let (table, key, end) = match write {
        Write::Put { value, expires_at, .. } => return Ok(Some((value.clone(), *expires_at))),
        Write::Delete { .. } => return Ok(None),
        Write::Add { table, key, expires_at, .. }
        | Write::Maximum { table, key, expires_at, .. } => (*table, key, *expires_at),
    };
    let stands = standing(file, table, key, now)?;
    let (before, end) = match &stands {
        None => (0, end),
        Some((value, before_end)) => {
            let before = counter(value).ok_or(InvalidTransaction::Counter(table))?;
            // The later of both; none is the latest.
            (before, end.zip(*before_end).map(|(one, other)| one.max(other)))
        }
    };
    let after = match write {
        Write::Add { amount, .. } => before.saturating_add(*amount),
        Write::Maximum { value, .. } => before.max(*value),
        Write::Put { .. } | Write::Delete { .. } => before,
    };
    Ok(Some((after.min(MAX_COUNTER).to_string().into_bytes(), end)))
}

fn set(
    file: &WriteTransaction,
    table: Table,
    key: &str,
    value: Option<Value>,
) -> Result<(), StoreError> {
    let mut entries = file.open_table(values(table)).map_err(failed)?;
    let before = match &value {
        Some((value, end)) => {
            entries.insert(key, with_end(table, value, *end).as_slice()).map_err(failed)?
        }
        None => entries.remove(key).map_err(failed)?,
    };
    let end_before = before.and_then(|before| value_and_end(table, before.value()).1);
    let end = value.and_then(|(_, end)| end);
    if end_before != end {
        let mut ends = file.open_table(ENDS).map_err(failed)?;
        if let Some(end) = end_before {
            ends.remove((end.0, table.code(), key)).map_err(failed)?;
        }
        if let Some(end) = end {
            ends.insert((end.0, table.code(), key), ()).map_err(failed)?;
        }
    }
    Ok(())
}

fn append(
    file: &WriteTransaction,
    entries: &[Vec<u8>],
    nonce: [u8; 16],
) -> Result<LogPosition, StoreError> {
    let mut log = file.open_table(LOG).map_err(failed)?;
    let mut at = head(&log).map_err(failed)?;
    for entry in entries {
        let sequence = at.sequence.saturating_add(1);
        let mut hash = Context::new(&SHA256);
        // With the nonce, for a store that was restored and is then told the same again: what stood
        // in between may have been something else.
        hash.update(&at.link);
        hash.update(&nonce);
        hash.update(entry);
        let mut link = [0; 16];
        hash.finish().as_ref().iter().zip(&mut link).for_each(|(byte, place)| *place = *byte);
        at = LogPosition { sequence, link };
        log.insert(sequence, [&link, entry.as_slice()].concat().as_slice()).map_err(failed)?;
        if let Some(oldest) = sequence.checked_sub(LOG_ENTRIES) {
            log.remove(oldest).map_err(failed)?;
        }
    }
    Ok(at)
}

/// Removes the log and begins another, with the next number.
pub(super) fn begin_log_anew(
    file: &WriteTransaction,
    link: [u8; 16],
) -> Result<LogPosition, StoreError> {
    let log = file.open_table(LOG).map_err(failed)?;
    let sequence = head(&log).map_err(failed)?.sequence.saturating_add(1);
    drop(log);
    file.delete_table(LOG).map_err(failed)?;
    let mut log = file.open_table(LOG).map_err(failed)?;
    log.insert(sequence, link.as_slice()).map_err(failed)?;
    Ok(LogPosition { sequence, link })
}

/// What came after a position; `None` if it is not in the log.
pub(super) fn after(
    log: &impl redb::ReadableTable<u64, &'static [u8]>,
    position: LogPosition,
    limit: usize,
) -> Result<Option<Vec<LogEntry>>, redb::StorageError> {
    let stands = log.get(position.sequence)?;
    if stands.map(|bytes| link_and_entry(bytes.value()).0) != Some(position.link) {
        return Ok(None);
    }
    let entries = log.range(position.sequence.saturating_add(1)..)?.take(limit);
    let entry = entries.map(|entry| {
        let (sequence, bytes) = entry?;
        let (link, entry) = link_and_entry(bytes.value());
        Ok((LogPosition { sequence: sequence.value(), link }, entry.to_vec()))
    });
    entry.collect::<Result<_, _>>().map(Some)
}

/// Removes entries whose time is over, the oldest first.
pub(super) fn clean_up(
    file: &WriteTransaction,
    now: UnixSeconds,
    limit: usize,
) -> Result<CleanedUp, StoreError> {
    let mut ends = file.open_table(ENDS).map_err(failed)?;
    let mut over: Vec<(u64, u8, String)> = Vec::new();
    for entry in ends.range(..=(now.0, u8::MAX, "")).map_err(failed)?.take(limit) {
        let (entry, ()) = entry.map(|(key, value)| (key, value.value())).map_err(failed)?;
        let (end, table, key) = entry.value();
        over.push((end, table, key.to_owned()));
    }
    for (end, code, key) in &over {
        ends.remove((*end, *code, key.as_str())).map_err(failed)?;
        if let Some(table) = Table::from_code(*code) {
            let mut entries = file.open_table(values(table)).map_err(failed)?;
            entries.remove(key.as_str()).map_err(failed)?;
        }
    }
    let next = ends.first().map_err(failed)?;
    let more = next.is_some_and(|(entry, _)| entry.value().0 <= now.0);
    Ok(CleanedUp { removed: u64::try_from(over.len()).unwrap_or(u64::MAX), more })
}
