//! Families of refresh tokens: what one login has come to, however often it is refreshed.
//!
//! A token rotates at every use (RFC 9700 §4.14.2), so that of two who have it one shows himself.
//! What that costs honest clients elsewhere is paid here: within a grace the last answer is given
//! again, byte for byte, to a client that has lost it. So a lost answer and two refreshes at once are
//! harmless, and a family has one live branch all the same. [`decide`] is the rule, alone and pure;
//! the rest reads and writes by compare and set, so that it holds over several sidecars.

mod answer;
mod begin;
mod decide;
mod end;
mod look;
mod refresh;
mod report;
mod revoked;
mod token;
mod usage;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use begin::{BeginError, Begun, NewFamily};
pub use decide::{EndCause, Refusal};
pub use end::{EndedFamily, EndedSessions};
pub use look::{FamilyPage, FamilyView, Looked};
pub use refresh::{Grant, Presenter, RefreshError, Refreshed};
pub use report::report;

use crate::clock::Clock;
use crate::config::RefreshTokensSection;
use crate::metrics::Metrics;
use crate::random::Random;
use crate::seal::StoreKeys;
use crate::store::Store;
use crate::store::records::StoredFamily;
use crate::store::records::secrets::{self, OpenSecretError};
use crate::usage::UsageRecorder;
use token::TokenKey;

/// How often a change is tried again when somebody else changes the same. Each time somebody else has
/// done theirs, so many at once come to their end; who has come this far meets a store that lies.
const TRIES: usize = 256;
/// How long a session stays revoked that ended, in seconds: an access token lives a day at most, and
/// is accepted up to 300 seconds after that where a policy says so.
const REVOKED_SECONDS: u64 = 86_400 + 300;

/// Begins, refreshes and ends families.
pub struct Families {
    store: Arc<dyn Store>,
    key: TokenKey,
    store_keys: StoreKeys,
    issuer: String,
    settings: RefreshTokensSection,
    clock: Clock,
    random: Random,
    metrics: Arc<Metrics>,
    usage: Option<Arc<UsageRecorder>>,
}

/// A family and its id.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Family {
    /// The id: the `sid` of its access tokens.
    pub id: String,
    /// What it is.
    pub stored: StoredFamily,
}

/// What families stand on.
pub struct Ground {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The keys of what is secret in it.
    pub store_keys: StoreKeys,
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl Families {
    /// Reads the key of refresh tokens; at the first start it is made. `issuer` is the `iss` of the
    /// access tokens that come with refresh tokens: sessions are revoked under it.
    ///
    /// # Errors
    ///
    /// [`OpenSecretError`] when the store fails or its secret does not open with the store keys.
    pub async fn open(
        ground: Ground,
        issuer: &str,
        settings: RefreshTokensSection,
    ) -> Result<Self, OpenSecretError> {
        let Ground { store, store_keys, clock, random, metrics } = ground;
        let name = secrets::REFRESH_TOKEN_KEY;
        let key = secrets::open_or_make(&*store, &store_keys, name, clock.now(), random).await?;
        let key = TokenKey::new(&key);
        let issuer = issuer.to_owned();
        let usage = None;
        Ok(Self { store, key, store_keys, issuer, settings, clock, random, metrics, usage })
    }

    /// The `iss` that sessions are revoked under.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }
}

/// A refresh token in clear.
pub type RefreshToken = Zeroizing<String>;

#[cfg(test)]
mod tests;
