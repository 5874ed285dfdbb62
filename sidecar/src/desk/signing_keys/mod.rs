//! The ring of the sidecar's own signing keys: read from the store again and again, so that all
//! sidecars of it publish the same keys and sign with the same one.

mod keep;
mod rotate;
mod view;

use std::sync::{Arc, PoisonError, RwLock};

use wardgate_core::reason::Reason;
use wardgate_core::time::UnixSeconds;
use wardgate_core::token::{
    Algorithm, IssuerRules, SoftwareSignatures, UnverifiedToken, VerifiedToken, verify,
};
use wardgate_core::wire::IssuerKeySet;

pub use keep::KeyEvent;
pub use rotate::{RotateKeysError, RotateSigningKeys, RotatedSigningKeys};
pub use view::{SigningKeyList, SigningKeyView};

use super::Desk;
use crate::keys::{
    HeldKey, Schedule, SigningAlgorithm, SigningKey, SigningKeyError, SigningKeys, generate,
};
use crate::seal::UnsealError;
use crate::store::records::{StandingKey, StoredSigningKey, signing_keys};
use crate::store::{StoreError, Table, Transaction};

/// How often a change is tried again when somebody else changes the keys too.
const TRIES: usize = 16;
/// Longest token that is read, as long as the longest that any gate takes.
const MAX_TOKEN_BYTES: usize = 64 * 1024;

/// The keys that are held here.
pub(super) struct KeyRing {
    held: RwLock<Arc<SigningKeys>>,
    /// Held while the store is read, so that an older state never comes last.
    turn: tokio::sync::Mutex<()>,
    pub(super) schedule: Schedule,
}

/// Why the keys cannot be read or made.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeysError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key does not open.
    #[error("a secret in the store cannot be opened: {0}")]
    Unseal(#[from] UnsealError),
    /// A key cannot be sealed.
    #[error("a new secret cannot be sealed")]
    Seal,
    /// A key cannot be made or read.
    #[error(transparent)]
    Key(#[from] SigningKeyError),
}

impl KeyRing {
    /// A ring without keys.
    pub(super) fn new(schedule: Schedule) -> Self {
        Self { held: RwLock::default(), turn: tokio::sync::Mutex::default(), schedule }
    }

    // Nothing panics under this lock.
    fn current(&self) -> Arc<SigningKeys> {
        Arc::clone(&self.held.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, keys: SigningKeys) {
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }
}

impl Desk {
    /// The signing keys as they are now.
    pub fn signing_keys(&self) -> Arc<SigningKeys> {
        self.keys.current()
    }

    /// The keys of the tokens that are issued here.
    pub fn own_key_set(&self) -> IssuerKeySet {
        let jwks = self.keys.current().filter_set();
        IssuerKeySet { issuer: self.issuer.issuer.0.clone(), jwks }
    }

    /// Reads the keys anew. Says whether they are others than before; with an error they are as
    /// before.
    ///
    /// # Errors
    ///
    /// [`SigningKeysError`] when the store fails or a key does not open.
    pub async fn refresh_signing_keys(&self) -> Result<bool, SigningKeysError> {
        let _turn = self.keys.turn.lock().await;
        let before = self.keys.current();
        for _ in 0..TRIES {
            let standing = signing_keys::standing(&*self.store).await?;
            if !self.affirm(&standing, &before).await? {
                continue;
            }
            let after = self.opened(&standing, &before)?;
            let is_other = !same(&before, &after);
            if is_other {
                self.keys.replace(after);
            }
            return Ok(is_other);
        }
        Err(StoreError::Changed.into())
    }

    /// Writes keys that are new to this sidecar once more as they stand, before it signs with them:
    /// so the acknowledgement, replicas included, is for them too. Whoever made one may still wait
    /// for that in vain, and tokens of a key that is then lost would be lost with it. Says whether
    /// they still stood so.
    async fn affirm(
        &self,
        standing: &[StandingKey],
        held: &SigningKeys,
    ) -> Result<bool, StoreError> {
        let new = standing.iter().filter(|standing| held.key(&standing.key.kid).is_none());
        let again = new.fold(Transaction::new(), |transaction, standing| {
            let (place, value) = standing.as_it_stands();
            transaction.same(Table::SigningKeys, place, value).put(Table::SigningKeys, place, value)
        });
        if again == Transaction::new() {
            return Ok(true);
        }
        match self.store.commit(again).await {
            Ok(_) => Ok(true),
            Err(StoreError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Opens the keys that are not held already.
    fn opened(
        &self,
        standing: &[StandingKey],
        held: &SigningKeys,
    ) -> Result<SigningKeys, SigningKeysError> {
        let mut keys = Vec::new();
        for StandingKey { key: stored, .. } in standing {
            // Of a newer version of the sidecar, which signs with it and publishes it.
            let Some(algorithm) = SigningAlgorithm::from_word(&stored.algorithm) else { continue };
            let key = if let Some(held) = held.key(&stored.kid) {
                Arc::clone(&held.key)
            } else {
                let context = seal_context(&stored.kid);
                let pkcs8 = self.store_keys.open(&context, &stored.private)?;
                let made_at = UnixSeconds(stored.created_at);
                Arc::new(SigningKey::from_pkcs8(algorithm, &pkcs8, made_at)?)
            };
            keys.push(HeldKey { key, generation: stored.generation, times: stored.times() });
        }
        Ok(SigningKeys::new(keys))
    }

    /// Makes a key, sealed as the store has it.
    async fn new_signing_key(
        &self,
        algorithm: SigningAlgorithm,
        generation: u64,
        signs_from: UnixSeconds,
    ) -> Result<StoredSigningKey, SigningKeysError> {
        // An RSA key takes a good part of a second; requests are not to wait for it.
        let pkcs8 = tokio::task::spawn_blocking(move || generate(algorithm)).await;
        let pkcs8 = pkcs8.map_err(|_| SigningKeyError::Generate)??;
        let now = self.clock.now();
        let key = SigningKey::from_pkcs8(algorithm, &pkcs8, now)?;
        let sealed = self.store_keys.seal(&seal_context(key.kid()), &pkcs8, now);
        let sealed = sealed.ok_or(SigningKeysError::Seal)?;
        let (kid, algorithm) = (key.kid().to_owned(), algorithm.word().to_owned());
        let mut new = StoredSigningKey::first(kid, algorithm, sealed, now.0);
        (new.generation, new.signs_from) = (generation, Some(signs_from.0));
        Ok(new)
    }

    /// Verifies that this sidecar, or another one of its store, signed this access token (RFC 9068),
    /// and not with a key that is revoked. Says nothing of times, audience and other revocations.
    ///
    /// # Errors
    ///
    /// The [`Reason`] that a filter would have.
    pub fn verify_own_token(&self, token: &str) -> Result<VerifiedToken, Reason> {
        let unverified = UnverifiedToken::parse(token.as_bytes(), MAX_TOKEN_BYTES)?;
        let mut rules = IssuerRules::new(self.issuer.issuer.0.clone(), Vec::new());
        rules.token_types = vec!["at+jwt".to_owned()];
        rules.allow_absent_token_type = false;
        rules.algorithms = vec![Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256];
        let keys = self.keys.current();
        let verified = verify(&unverified, &rules, keys.verifying(), &SoftwareSignatures)?;
        let held = verified.key_id().and_then(|kid| keys.key(kid));
        match held {
            Some(held) if held.times.revoked_at.is_none() => Ok(verified),
            Some(_) | None => Err(Reason::TokenRevoked),
        }
    }
}

/// Whether both have the same keys with the same times.
fn same(one: &SigningKeys, other: &SigningKeys) -> bool {
    let parts = |held: &HeldKey| (held.key.kid().to_owned(), held.generation, held.times);
    one.iter().map(parts).eq(other.iter().map(parts))
}

fn seal_context(kid: &str) -> String {
    format!("signing-key {kid}")
}

#[cfg(test)]
mod tests;
