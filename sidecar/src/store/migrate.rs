//! Copies everything from one store into another, and shows that it arrived.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{Context, SHA256};
use serde::Serialize;
use wardgate_core::base64url;

use super::{Entry, Store, StoreError, StoredSigningKey, Table, from_json};
use crate::seal::{Sealed, StoreKeys};

/// Entries that are added at once: one sync of the disk, one wait for replicas.
const BATCH_ENTRIES: usize = 1000;

/// What a migration did.
#[derive(Debug, Serialize)]
pub struct Migrated {
    /// Entries that were copied; none when the target had everything.
    pub copied: u64,
    /// Entries of each table, the same in both stores.
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

/// Digests of all entries, by table and key. A million entries take some 100 MB.
type Survey = BTreeMap<(Table, String), [u8; 32]>;

/// Copies all entries. Everything that is in the target must be in the source too, so that a
/// migration which was broken off goes on.
///
/// # Errors
///
/// [`MigrateError`]; the target then has a part of the entries at most.
pub async fn migrate(
    source: &dyn Store,
    target: &dyn Store,
    target_keys: &StoreKeys,
    mut progress: impl FnMut(Table, u64, u64),
) -> Result<Migrated, MigrateError> {
    let wanted = survey(source).await.map_err(MigrateError::Source)?;
    let revision = source.api_key_revision().await.map_err(MigrateError::Source)?;
    let there = survey(target).await.map_err(MigrateError::Target)?;
    if let Some(((table, _), _)) = there.iter().find(|(key, hash)| wanted.get(key) != Some(*hash)) {
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
            let new: Vec<Entry> = entries
                .into_iter()
                .filter(|(key, _)| !there.contains_key(&(table, key.clone())))
                .collect();
            for batch in new.chunks(BATCH_ENTRIES) {
                let size = u64::try_from(batch.len()).unwrap_or(u64::MAX);
                let added = target.add_entries(table, batch.to_vec()).await;
                added.map_err(MigrateError::Target)?;
                (copied, done) = (copied.saturating_add(size), done.saturating_add(size));
                progress(table, done, total);
            }
        }
    }
    // A filter that moves along must not take the old revision for the state of the new store.
    let raised = target.api_key_revision().await.map_err(MigrateError::Target)? > revision;
    if copied > 0 || !raised {
        let floor = revision.saturating_add(1);
        target.raise_api_key_revision(floor).await.map_err(MigrateError::Target)?;
    }
    verify(source, target, &wanted, revision).await?;
    let records = Table::ALL.map(|table| (table.name().to_owned(), count(&wanted, table)));
    Ok(Migrated { copied, records: records.into(), digest: digest(&wanted) })
}

async fn verify(
    source: &dyn Store,
    target: &dyn Store,
    wanted: &Survey,
    revision: u64,
) -> Result<(), MigrateError> {
    let again = survey(source).await.map_err(MigrateError::Source)?;
    let now = source.api_key_revision().await.map_err(MigrateError::Source)?;
    if again != *wanted || now != revision {
        return Err(MigrateError::SourceChanged);
    }
    let arrived = survey(target).await.map_err(MigrateError::Target)?;
    for table in Table::ALL {
        let of_table = |survey: &Survey| -> Vec<[u8; 32]> {
            survey.iter().filter(|((of, _), _)| *of == table).map(|(_, hash)| *hash).collect()
        };
        if of_table(&arrived) != of_table(wanted) {
            return Err(MigrateError::Differs(table.name()));
        }
    }
    Ok(())
}

/// Secrets that nobody can open are no migration.
async fn check_secrets(source: &dyn Store, keys: &StoreKeys) -> Result<(), MigrateError> {
    for table in [Table::Secrets, Table::SigningKeys] {
        let mut pages = Pages::of(source, table);
        while let Some(entries) = pages.next().await.map_err(MigrateError::Source)? {
            for (_, value) in entries {
                let sealed: Result<Sealed, StoreError> = match table {
                    Table::SigningKeys => {
                        from_json::<StoredSigningKey>(&value).map(|key| key.private)
                    }
                    Table::Secrets | Table::ApiKeys | Table::ApiKeyNames => from_json(&value),
                };
                if !keys.can_open(&sealed.map_err(MigrateError::Source)?) {
                    return Err(MigrateError::Keys);
                }
            }
        }
    }
    Ok(())
}

/// The pages of a table, one after the other.
struct Pages<'a> {
    store: &'a dyn Store,
    table: Table,
    cursor: Option<String>,
    ended: bool,
}

impl<'a> Pages<'a> {
    fn of(store: &'a dyn Store, table: Table) -> Self {
        Self { store, table, cursor: None, ended: false }
    }

    async fn next(&mut self) -> Result<Option<Vec<Entry>>, StoreError> {
        if self.ended {
            return Ok(None);
        }
        let page = self.store.page(self.table, self.cursor.take()).await?;
        self.ended = page.next.is_none();
        self.cursor = page.next;
        Ok(Some(page.entries))
    }
}

async fn survey(store: &dyn Store) -> Result<Survey, StoreError> {
    let mut survey = Survey::new();
    for table in Table::ALL {
        let mut pages = Pages::of(store, table);
        while let Some(entries) = pages.next().await? {
            survey.extend(entries.into_iter().map(|(key, value)| {
                let hash = hash(table, &key, &value);
                ((table, key), hash)
            }));
        }
    }
    Ok(survey)
}

fn hash(table: Table, key: &str, value: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in [table.name().as_bytes(), key.as_bytes(), value] {
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
    for hash in survey.values() {
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
