//! Copies everything from one store into another, and shows that it arrived.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{Context, SHA256};
use serde::Serialize;
use wardgate_core::base64url;
use wardgate_core::time::UnixSeconds;

use super::records::sealed;
use super::{
    Entry, LogPosition, MAX_TRANSACTION_BYTES, Pages, Store, StoreError, Table, Transaction,
};
use crate::clock::Clock;
use crate::seal::StoreKeys;

/// Entries that are added at once: one sync of the disk, one wait for replicas.
const BATCH_ENTRIES: usize = 1000;
/// Bytes that are added at once; what is checked and written counts both.
const BATCH_BYTES: usize = MAX_TRANSACTION_BYTES / 4;
/// An entry that ends within this may be gone from one store and not from the other, whose clocks
/// differ: it is copied and not compared.
const ENDING_SECONDS: u64 = 60;

/// What a migration did.
#[derive(Debug, Serialize)]
pub struct Migrated {
    /// Entries that were copied; none when the target had everything.
    pub copied: u64,
    /// Entries of each table, the same in both stores; without those that end within a minute.
    pub records: BTreeMap<String, u64>,
    /// SHA-256 over all entries, the same in both stores.
    pub digest: String,
}

/// Why a migration did not happen, or cannot be trusted. The source is never changed.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The source failed.
    #[error("the source: {0}")]
    Source(#[source] StoreError),
    /// The target failed.
    #[error("the target: {0}; run the same command again to go on")]
    Target(#[source] StoreError),
    /// The target has something of its own.
    #[error("the target is not empty: its table {0} has entries that the source has not")]
    NotEmpty(&'static str),
    /// The target could not be used after the migration.
    #[error(
        "the store keys of the target do not open the secrets of the source: copy the store keys file as well"
    )]
    Keys,
    /// Somebody writes to the source.
    #[error("the source changed meanwhile: stop every sidecar on it, and run the command again")]
    SourceChanged,
    /// What arrived is not what was sent.
    #[error("the target differs from the source in its table {0}: do not use it")]
    Differs(&'static str),
}

/// Everything in a store, by table and key: its digest and end. A million entries take some 100 MB.
type Survey = BTreeMap<(Table, String), ([u8; 32], Option<UnixSeconds>)>;

/// Copies all entries. Everything that is in the target must be in the source too, so that a
/// migration which was broken off goes on. The log of the target begins anew: so whoever comes from
/// the source, or has followed the target, reads all of it.
///
/// # Errors
///
/// [`MigrateError`]; the target then has a part of the entries at most.
pub async fn migrate(
    source: &dyn Store,
    target: &dyn Store,
    target_keys: &StoreKeys,
    clock: &Clock,
    mut progress: impl FnMut(Table, u64, u64),
) -> Result<Migrated, MigrateError> {
    let wanted = survey(source).await.map_err(MigrateError::Source)?;
    let head = source.log_head().await.map_err(MigrateError::Source)?;
    let there = survey(target).await.map_err(MigrateError::Target)?;
    let strange = there.iter().find(|(key, entry)| wanted.get(key) != Some(*entry));
    if let Some(((table, _), _)) = strange {
        return Err(MigrateError::NotEmpty(table.name()));
    }
    check_secrets(source, target_keys).await?;
    let mut copied = 0_u64;
    for table in Table::ALL {
        let total = count(&wanted, table);
        let mut done = count(&there, table);
        progress(table, done, total);
        let mut pages = Pages::of(source, table);
        while let Some(entries) = pages.next().await.map_err(MigrateError::Source)? {
            let new = entries
                .into_iter()
                .filter(|entry| !there.contains_key(&(table, entry.key.clone())))
                .collect();
            for batch in batches(new) {
                let size = u64::try_from(batch.len()).unwrap_or(u64::MAX);
                add(target, table, batch).await.map_err(MigrateError::Target)?;
                (copied, done) = (copied.saturating_add(size), done.saturating_add(size));
                progress(table, done, total);
            }
        }
    }
    target.begin_log_anew().await.map_err(MigrateError::Target)?;
    let wanted = verify(source, target, wanted, head, clock).await?;
    let records = Table::ALL.map(|table| (table.name().to_owned(), count(&wanted, table)));
    Ok(Migrated { copied, records: records.into(), digest: digest(&wanted) })
}

/// Parts that a transaction holds. A page may show an entry twice.
fn batches(mut entries: Vec<Entry>) -> Vec<Vec<Entry>> {
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    entries.dedup_by(|a, b| a.key == b.key);
    let (mut batches, mut bytes) = (Vec::new(), usize::MAX);
    for entry in entries {
        let size = entry.key.len().saturating_add(entry.value.len());
        bytes = bytes.saturating_add(size);
        match batches.last_mut() {
            Some(batch) if bytes <= BATCH_BYTES && Vec::len(batch) < BATCH_ENTRIES => {
                batch.push(entry);
            }
            Some(_) | None => {
                batches.push(vec![entry]);
                bytes = size;
            }
        }
    }
    batches
}

async fn add(target: &dyn Store, table: Table, entries: Vec<Entry>) -> Result<(), StoreError> {
    let mut transaction = Transaction::new();
    for Entry { key, value, expires_at } in entries {
        transaction =
            transaction.absent(table, key.clone()).put_until(table, key, value, expires_at);
    }
    target.commit(transaction).await.map(drop)
}

/// Reads both stores again; what they have in common is what was wanted, less what has ended.
async fn verify(
    source: &dyn Store,
    target: &dyn Store,
    mut wanted: Survey,
    head: LogPosition,
    clock: &Clock,
) -> Result<Survey, MigrateError> {
    let mut again = survey(source).await.map_err(MigrateError::Source)?;
    let head_now = source.log_head().await.map_err(MigrateError::Source)?;
    let mut arrived = survey(target).await.map_err(MigrateError::Target)?;
    let soon = clock.now().plus(ENDING_SECONDS);
    for survey in [&mut wanted, &mut again, &mut arrived] {
        survey.retain(|_, (_, end)| end.is_none_or(|end| end > soon));
    }
    if again != wanted || head_now != head {
        return Err(MigrateError::SourceChanged);
    }
    for table in Table::ALL {
        let of_table = |survey: &Survey| -> Vec<[u8; 32]> {
            survey.iter().filter(|((of, _), _)| *of == table).map(|(_, (hash, _))| *hash).collect()
        };
        if of_table(&arrived) != of_table(&wanted) {
            return Err(MigrateError::Differs(table.name()));
        }
    }
    Ok(wanted)
}

/// Secrets that nobody can open are no migration.
async fn check_secrets(source: &dyn Store, keys: &StoreKeys) -> Result<(), MigrateError> {
    for table in sealed::tables() {
        let mut pages = Pages::of(source, table);
        while let Some(entries) = pages.next().await.map_err(MigrateError::Source)? {
            for Entry { value, .. } in entries {
                let mut opens = true;
                let looked = sealed::replaced(table, &value, |sealed| {
                    opens &= keys.can_open(sealed);
                    None
                });
                looked.map_err(MigrateError::Source)?;
                if !opens {
                    return Err(MigrateError::Keys);
                }
            }
        }
    }
    Ok(())
}

async fn survey(store: &dyn Store) -> Result<Survey, StoreError> {
    let mut survey = Survey::new();
    for table in Table::ALL {
        let mut pages = Pages::of(store, table);
        while let Some(entries) = pages.next().await? {
            survey.extend(entries.into_iter().map(|entry| {
                let hash = hash(table, &entry);
                ((table, entry.key), (hash, entry.expires_at))
            }));
        }
    }
    Ok(survey)
}

fn hash(table: Table, entry: &Entry) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    let end = entry.expires_at.map(|end| end.0.to_string()).unwrap_or_default();
    for part in [table.name().as_bytes(), entry.key.as_bytes(), &entry.value, end.as_bytes()] {
        // With its length, so that no two entries give the same bytes.
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

fn digest(survey: &Survey) -> String {
    let mut context = Context::new(&SHA256);
    for (hash, _) in survey.values() {
        context.update(hash);
    }
    base64url::encode(context.finish().as_ref())
}

fn count(survey: &Survey, table: Table) -> u64 {
    let count = survey.keys().filter(|(of, _)| *of == table).count();
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
