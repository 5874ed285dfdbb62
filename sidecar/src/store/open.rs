//! Opens the store that the configuration names.

use std::fmt;
use std::sync::Arc;

use super::{Embedded, Redis, Store};
use crate::config::StoreSettings;
use crate::random::Random;

/// Why a store cannot be used. It is left as it was.
#[derive(Debug, thiserror::Error)]
#[error("the store {place} {problem}")]
pub struct OpenStoreError {
    place: String,
    problem: OpenProblem,
}

/// What is wrong with a store.
#[derive(Debug)]
pub enum OpenProblem {
    /// Another process has the file.
    InUse,
    /// The layout is another.
    Format {
        /// The one found.
        found: u64,
        /// The one of this version.
        known: u64,
    },
    /// The file is something else.
    NotAStore,
    /// The file is damaged.
    Damaged(String),
    /// It cannot be reached or read.
    Failed(String),
}

impl fmt::Display for OpenProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => formatter.write_str(
                "is in use by another process: the embedded store serves exactly one sidecar",
            ),
            Self::Format { found, known } => write!(
                formatter,
                "has format {found}, this version knows {known}: run the version that wrote it, or newer"
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
    pub(super) fn new(place: String, problem: OpenProblem) -> Self {
        Self { place, problem }
    }

    /// Whether another process has the file.
    pub fn is_in_use(&self) -> bool {
        matches!(self.problem, OpenProblem::InUse)
    }
}

/// Opens the store, or makes it if there is none.
///
/// # Errors
///
/// [`OpenStoreError`] when it cannot be reached, is in use, damaged or of another format.
pub async fn open(settings: &StoreSettings) -> Result<Arc<dyn Store>, OpenStoreError> {
    Ok(match settings {
        StoreSettings::Embedded(path) => Arc::new(Embedded::open(path)?),
        StoreSettings::Redis(settings) => Arc::new(Redis::open(settings, Random::system()).await?),
    })
}
