//! What is at rest: the counts of a key and day under `<id>/<day>`, which end after some time, and
//! the last use of a key under `<id>`, which stays as long as the key. The counts of tokens of a day
//! stand under `(tokens)/<day>/<side>`, which is like no id of a key, and end as well.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wardgate_core::time::UnixSeconds;

use super::tally::Tally;
use super::tokens::Names;
use crate::store::{Store, StoreError, Table, Transaction};

/// When a key was last used, and from where.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct LastUse {
    /// In seconds since the epoch.
    pub at: u64,
    /// Address of the client, where filters know it.
    pub source: Option<String>,
}

/// What is to be added to an entry.
#[derive(Clone, Debug)]
pub(super) enum Addition {
    Day(Tally),
    Last(LastUse),
    Tokens(Names),
}

/// What the counts of tokens are kept by.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum Side {
    /// The client that they were issued to.
    Client,
    /// The user whose they are.
    User,
}

impl Side {
    pub(super) const ALL: [Self; 2] = [Self::Client, Self::User];

    fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::User => "user",
        }
    }
}

/// Clients and users of a day that are counted by name: an entry is 60 KB as a rule, and is read and
/// written whole every few seconds. What is beyond is counted together.
pub(super) const MAX_NAMES: usize = 256;

/// The key of the counts of tokens of a day.
pub(super) fn token_day_key(side: Side, day: u64) -> String {
    format!("(tokens)/{day}/{}", side.word())
}

/// The counts of tokens of a day.
pub(super) async fn token_day(
    store: &dyn Store,
    side: Side,
    day: u64,
) -> Result<Option<Names>, StoreError> {
    let found = store.get(Table::Usage, &token_day_key(side, day)).await?;
    Ok(read(found.as_deref()))
}

/// The key of the counts of a day, counted from 1970-01-01.
pub(super) fn day_key(id: &str, day: u64) -> String {
    format!("{id}/{day}")
}

/// When the counts of a day are no more.
pub(super) fn day_ends(day: u64, keep_days: u64) -> UnixSeconds {
    UnixSeconds(day.saturating_add(keep_days).saturating_add(1).saturating_mul(86_400))
}

impl Addition {
    /// The value that an entry has with this added. One that cannot be read is begun anew: counts
    /// are no reason to fail.
    pub(super) fn onto(&self, stands: Option<&[u8]>) -> Vec<u8> {
        let value = match self {
            Self::Day(tally) => {
                let mut sum: Tally = read(stands).unwrap_or_default();
                sum.add(tally);
                serde_json::to_vec(&sum)
            }
            Self::Last(last) => {
                let before: Option<LastUse> = read(stands);
                let later = before.filter(|before| before.at > last.at);
                serde_json::to_vec(&later.unwrap_or_else(|| last.clone()))
            }
            Self::Tokens(names) => {
                let mut sum: Names = read(stands).unwrap_or_default();
                sum.add(names);
                sum.keep_greatest(MAX_NAMES);
                serde_json::to_vec(&sum)
            }
        };
        // Maps of texts and numbers always are JSON.
        value.unwrap_or_default()
    }
}

fn read<T: serde::de::DeserializeOwned>(stands: Option<&[u8]>) -> Option<T> {
    stands.and_then(|stands| serde_json::from_slice(stands).ok())
}

/// The counts of a key on a day.
pub(super) async fn day(
    store: &dyn Store,
    id: &str,
    day: u64,
) -> Result<Option<Tally>, StoreError> {
    let found = store.get(Table::Usage, &day_key(id, day)).await?;
    Ok(read(found.as_deref()))
}

/// When the key of this id was last used.
///
/// # Errors
///
/// [`StoreError`] when the store fails.
pub async fn last_use(store: &dyn Store, id: &str) -> Result<Option<LastUse>, StoreError> {
    let found = store.get(Table::Usage, id).await?;
    Ok(read(found.as_deref()))
}

/// Forgets when a key was last used. Its counts end by themselves.
///
/// # Errors
///
/// [`StoreError`] when the store fails.
pub async fn forget(store: &dyn Store, id: &str) -> Result<(), StoreError> {
    store.commit(Transaction::new().delete(Table::Usage, id)).await.map(|_| ())
}
