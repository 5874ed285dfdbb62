//! `store …`.

use std::path::Path;
use std::sync::Arc;

use super::arguments::{Format, MigrateStore, StatStore, Store as Command};
use super::office::running;
use super::{Failure, loaded, note, runtime, show};
use crate::clock::Clock;
use crate::config::{Loaded, StoreSettings};
use crate::store::migrate::migrate;
use crate::store::{Store, StoreStat, open};

pub(super) fn run(command: Command) -> Result<(), Failure> {
    runtime()?.block_on(async {
        match command {
            Command::Stat(asked) => stat(&asked).await,
            Command::Migrate(asked) => copy(&asked).await,
        }
    })
}

async fn stat(asked: &StatStore) -> Result<(), Failure> {
    let loaded = loaded(&asked.from.config)?;
    let embedded = matches!(loaded.store, StoreSettings::Embedded(_));
    // The embedded store serves one process; a Redis can be asked beside its sidecars.
    let admin = if embedded { running(&loaded).await? } else { None };
    let stat: StoreStat = match admin {
        Some(admin) => admin.get("/admin/v1/store").await?,
        None => opened(&loaded, true).await?.stat().await.map_err(Failure::failed)?,
    };
    if asked.output.output == Format::Json {
        return show::json(&stat);
    }
    let mut lines = vec![("kind", stat.kind.clone())];
    lines.extend(stat.records.iter().map(|(name, count)| (name.as_str(), count.to_string())));
    lines.push(("log_head", stat.log_head.to_string()));
    lines.extend(stat.details.iter().map(|(name, value)| (name.as_str(), value.clone())));
    show::pairs(&lines)
}

async fn copy(asked: &MigrateStore) -> Result<(), Failure> {
    let from = loaded(&asked.source)?;
    let to = loaded(&asked.target)?;
    let source = opened(&from, true).await?;
    let target = opened(&to, false).await?;
    let clock = Clock::system();
    let migrated = migrate(&*source, &*target, &to.store_keys, &clock, |table, done, total| {
        note(&format!("{}: {done} of {total}", table.name()));
    });
    let migrated = migrated.await.map_err(Failure::failed)?;
    if asked.output.output == Format::Json {
        return show::json(&migrated);
    }
    let mut lines = vec![("copied", migrated.copied.to_string())];
    lines.extend(migrated.records.iter().map(|(name, count)| (name.as_str(), count.to_string())));
    lines.push(("digest of both", migrated.digest.clone()));
    show::pairs(&lines)
}

/// Opens the store; one to be read must be there, since opening would make it.
async fn opened(loaded: &Loaded, must_exist: bool) -> Result<Arc<dyn Store>, Failure> {
    if let StoreSettings::Embedded(path) = &loaded.store
        && must_exist
        && !Path::new(path).exists()
    {
        return Err(Failure::Failed(format!("there is no store {}", path.display())));
    }
    open(&loaded.store).await.map_err(Failure::Store)
}
