//! What happens to signing keys by itself: the first ones are made, new ones are published ahead of
//! their time, and those that nobody needs any more go.

use serde::Serialize;
use wardgate_core::time::UnixSeconds;

use super::{SigningKeysError, TRIES};
use crate::desk::Desk;
use crate::keys::{Due, KeyState, KeyTimes, SigningAlgorithm, due};
use crate::store::StoreError;
use crate::store::records::{StandingKey, StoredSigningKey, signing_keys};

/// What became of a signing key, for the audit log. It names keys and holds none.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct KeyEvent {
    /// `signing-key-made`, `signing-key-retires` or `signing-key-removed`.
    pub event: &'static str,
    /// The key.
    pub credential_id: String,
    /// Its algorithm.
    pub algorithm: String,
    /// When it begins to sign, in seconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signs_from: Option<u64>,
    /// The keys that it replaces.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<String>,
    /// Whether all tokens of those were revoked.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub revoked: bool,
    /// Why, as whoever did it wrote; nothing for what happens by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who did it, as they say themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl KeyEvent {
    pub(super) fn of(event: &'static str, key: &StoredSigningKey) -> Self {
        Self {
            event,
            credential_id: key.kid.clone(),
            algorithm: key.algorithm.clone(),
            signs_from: None,
            replaces: Vec::new(),
            revoked: false,
            reason: None,
            by: None,
        }
    }

    pub(super) fn made(key: &StoredSigningKey, replaces: Vec<String>) -> Self {
        Self { signs_from: key.signs_from, replaces, ..Self::of("signing-key-made", key) }
    }
}

impl Desk {
    /// Makes the first key of each algorithm of the configuration that has none which signs.
    pub(in crate::desk) async fn make_first_signing_keys(&self) -> Result<(), SigningKeysError> {
        for algorithm in &self.issuer.algorithms {
            for _ in 0..TRIES {
                let standing = signing_keys::standing(&*self.store).await?;
                let keys = of(&standing, *algorithm);
                if due(&times(&keys), true, &self.keys.schedule, self.clock.now()) != Due::First {
                    break;
                }
                self.make_first(*algorithm, &keys).await?;
            }
        }
        Ok(())
    }

    /// Does what is due about all keys, unless another sidecar was faster, and reads them anew;
    /// what was done here.
    ///
    /// # Errors
    ///
    /// [`SigningKeysError`] when the store fails, or a key cannot be made or opened.
    pub async fn keep_signing_keys(&self) -> Result<Vec<KeyEvent>, SigningKeysError> {
        let mut events = Vec::new();
        let standing = signing_keys::standing(&*self.store).await?;
        for algorithm in SigningAlgorithm::ALL {
            events.extend(self.keep(*algorithm, &of(&standing, *algorithm)).await?);
        }
        for standing in &standing {
            let is_known = SigningAlgorithm::from_word(&standing.key.algorithm).is_some();
            if is_known && standing.key.times().state(self.clock.now()) == KeyState::Gone {
                events.extend(self.remove(standing).await?);
            }
        }
        Ok(events)
    }

    async fn keep(
        &self,
        algorithm: SigningAlgorithm,
        keys: &[&StandingKey],
    ) -> Result<Option<KeyEvent>, SigningKeysError> {
        let wanted = self.issuer.algorithms.contains(&algorithm);
        match due(&times(keys), wanted, &self.keys.schedule, self.clock.now()) {
            Due::Nothing => Ok(None),
            Due::First => self.make_first(algorithm, keys).await,
            Due::Successor { of, signs_from } => {
                let Some(old) = keys.get(of) else { return Ok(None) };
                let new = self.new_signing_key(algorithm, next(keys), signs_from).await?;
                let event = KeyEvent::made(&new, vec![old.key.kid.clone()]);
                self.supersede(old, Some(&new), signs_from, event).await
            }
            Due::Retirement { of } => {
                let Some(old) = keys.get(of) else { return Ok(None) };
                let event = KeyEvent::of("signing-key-retires", &old.key);
                self.supersede(old, None, self.clock.now(), event).await
            }
        }
    }

    async fn make_first(
        &self,
        algorithm: SigningAlgorithm,
        keys: &[&StandingKey],
    ) -> Result<Option<KeyEvent>, SigningKeysError> {
        let new = self.new_signing_key(algorithm, next(keys), self.clock.now()).await?;
        let change = signing_keys::rotation(&[], Some(&new), self.clock.now_milliseconds())?;
        Ok(done(self.store.commit(change).await)?.then(|| KeyEvent::made(&new, Vec::new())))
    }

    /// Puts `new` in the place of `old` at a time.
    async fn supersede(
        &self,
        old: &StandingKey,
        new: Option<&StoredSigningKey>,
        at: UnixSeconds,
        event: KeyEvent,
    ) -> Result<Option<KeyEvent>, SigningKeysError> {
        let retires = StoredSigningKey { retires_at: Some(at.0), ..old.key.clone() };
        let now = self.clock.now_milliseconds();
        let change = signing_keys::rotation(&[(old, retires)], new, now)?;
        Ok(done(self.store.commit(change).await)?.then_some(event))
    }

    async fn remove(&self, standing: &StandingKey) -> Result<Option<KeyEvent>, SigningKeysError> {
        let now = self.clock.now_milliseconds();
        let removed = done(signing_keys::remove(&*self.store, standing, now).await)?;
        Ok(removed.then(|| KeyEvent::of("signing-key-removed", &standing.key)))
    }
}

/// Whether it was done here; somebody else may have been faster.
fn done<T>(result: Result<T, StoreError>) -> Result<bool, StoreError> {
    match result {
        Ok(_) => Ok(true),
        Err(StoreError::Conflict { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The keys of one algorithm.
pub(super) fn of(standing: &[StandingKey], algorithm: SigningAlgorithm) -> Vec<&StandingKey> {
    standing.iter().filter(|standing| standing.key.algorithm == algorithm.word()).collect()
}

pub(super) fn times(keys: &[&StandingKey]) -> Vec<KeyTimes> {
    keys.iter().map(|standing| standing.key.times()).collect()
}

/// The generation after these.
pub(super) fn next(keys: &[&StandingKey]) -> u64 {
    let last = keys.iter().map(|standing| standing.key.generation).max();
    last.unwrap_or(0).saturating_add(1)
}
