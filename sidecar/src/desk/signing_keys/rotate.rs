//! Rotation by hand.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wardgate_core::feed::RevocationTarget;
use wardgate_core::time::UnixSeconds;

use super::keep::{KeyEvent, next, of, times};
use super::{SigningKeyView, SigningKeysError, TRIES};
use crate::desk::{Desk, RevocationView, RevokeError};
use crate::keys::{KeyState, RETIRED_SECONDS, SigningAlgorithm, signer};
use crate::store::StoreError;
use crate::store::records::{StandingKey, StoredRevocation, StoredSigningKey, signing_keys};

/// Keys of all algorithms that may stand: a filter takes no set of more than 64, and refuses one
/// that is longer as a whole.
const MAX_KEYS: usize = 48;

/// What is asked: body of `POST /admin/v1/keys`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RotateSigningKeys {
    /// The algorithm; all of the configuration when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
    /// Whether the new key signs without having been published before.
    #[serde(default)]
    pub at_once: bool,
    /// Whether all tokens of all older keys of the algorithm are revoked.
    #[serde(default)]
    pub revoke_old: bool,
    /// Why, for those who read it later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who does it, for those who read it later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What a rotation came to.
#[derive(Debug, Default, Deserialize, JsonSchema, Serialize)]
pub struct RotatedSigningKeys {
    /// Keys that were made.
    pub made: Vec<SigningKeyView>,
    /// Keys that were already waiting to sign, so that none was made of their algorithm.
    pub waiting: Vec<SigningKeyView>,
    /// Revocations of older keys.
    pub revoked: Vec<RevocationView>,
    /// For the audit log.
    #[serde(skip)]
    pub events: Vec<KeyEvent>,
}

/// Why keys were not rotated.
#[derive(Debug, thiserror::Error)]
pub enum RotateKeysError {
    /// Something of what was asked is wrong.
    #[error("{0}")]
    Invalid(&'static str),
    /// The algorithm is not in the configuration.
    #[error("{} is not in `issuer.algorithms`: nothing signs with it", .0.word())]
    NotConfigured(SigningAlgorithm),
    /// Too many keys.
    #[error("there are {MAX_KEYS} keys already; retired ones go by themselves within two days")]
    TooMany,
    /// The keys cannot be read or made.
    #[error(transparent)]
    Keys(#[from] SigningKeysError),
    /// The older keys cannot be revoked.
    #[error(transparent)]
    Revoke(#[from] RevokeError),
}

impl From<StoreError> for RotateKeysError {
    fn from(error: StoreError) -> Self {
        Self::Keys(error.into())
    }
}

/// What became of one algorithm.
struct Rotated {
    kid: String,
    event: Option<KeyEvent>,
    revoked: Vec<RevocationView>,
}

impl Desk {
    /// Makes a new key of one algorithm or of all. Filters hear of it by the log, and of the
    /// revocation of older keys in the same step.
    ///
    /// # Errors
    ///
    /// [`RotateKeysError`] when the request is wrong, the store fails or a key cannot be made.
    pub async fn rotate_signing_keys(
        &self,
        asked: &RotateSigningKeys,
    ) -> Result<RotatedSigningKeys, RotateKeysError> {
        let mut rotated = Vec::new();
        for algorithm in self.asked_algorithms(asked)? {
            rotated.push(self.rotate_one(algorithm, asked).await?);
        }
        self.refresh_signing_keys().await?;
        let (keys, now) = (self.signing_keys(), self.clock.now());
        let mut all = RotatedSigningKeys::default();
        for one in rotated {
            let view = keys.key(&one.kid).map(|held| SigningKeyView::of(held, now));
            let list = if one.event.is_some() { &mut all.made } else { &mut all.waiting };
            list.extend(view);
            all.revoked.extend(one.revoked);
            all.events.extend(one.event);
        }
        Ok(all)
    }

    fn asked_algorithms(
        &self,
        asked: &RotateSigningKeys,
    ) -> Result<Vec<SigningAlgorithm>, RotateKeysError> {
        if asked.revoke_old && !asked.at_once {
            // What is signed until the new key signs would be refused everywhere.
            return Err(RotateKeysError::Invalid("`revoke_old` needs `at_once`"));
        }
        crate::desk::revocations::check_texts(asked.reason.as_ref(), asked.by.as_ref())?;
        let configured = &self.issuer.algorithms;
        let Some(word) = &asked.algorithm else {
            // Each once, however often it stands there.
            let all = SigningAlgorithm::ALL.iter().filter(|it| configured.contains(it));
            return Ok(all.copied().collect());
        };
        let algorithm = SigningAlgorithm::from_word(word)
            .ok_or(RotateKeysError::Invalid("`algorithm` is not ES256, EdDSA or RS256"))?;
        if configured.contains(&algorithm) {
            Ok(vec![algorithm])
        } else {
            Err(RotateKeysError::NotConfigured(algorithm))
        }
    }

    async fn rotate_one(
        &self,
        algorithm: SigningAlgorithm,
        asked: &RotateSigningKeys,
    ) -> Result<Rotated, RotateKeysError> {
        let begun = self.clock.now();
        for attempt in 0..TRIES {
            let standing = signing_keys::standing(&*self.store).await?;
            let keys = of(&standing, algorithm);
            // After a conflict: somebody who began later than we did may have done the same.
            let begun = (attempt > 0).then_some(begun);
            if let Some(kid) = as_asked(&keys, asked, self.clock.now(), begun) {
                return Ok(Rotated { kid, event: None, revoked: Vec::new() });
            }
            if standing.len() >= MAX_KEYS {
                return Err(RotateKeysError::TooMany);
            }
            if let Some(rotated) = self.try_rotate(algorithm, &keys, asked).await? {
                return Ok(rotated);
            }
        }
        Err(StoreError::Changed.into())
    }

    /// One attempt; `None` when somebody else changed the keys in between.
    async fn try_rotate(
        &self,
        algorithm: SigningAlgorithm,
        keys: &[&StandingKey],
        asked: &RotateSigningKeys,
    ) -> Result<Option<Rotated>, RotateKeysError> {
        let now = self.clock.now();
        let ahead = if asked.at_once { 0 } else { self.keys.schedule.publish_ahead_seconds };
        let signs_from = now.plus(ahead);
        let new = self.new_signing_key(algorithm, next(keys), signs_from).await?;
        let old = replaced(keys, asked, now, signs_from);
        let now_milliseconds = self.clock.now_milliseconds();
        let mut change = signing_keys::rotation(&old, Some(&new), now_milliseconds)?;
        let mut revoked = Vec::new();
        if asked.revoke_old {
            for (_, key) in &old {
                let revocation = self.revocation_of_key(key, asked, now);
                let view;
                (change, view) = self.with_revocation(change, revocation).await?;
                revoked.push(view);
            }
        }
        match self.store.commit(change).await {
            Ok(_) => {}
            Err(StoreError::Conflict { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        tracing::info!(kid = new.kid, algorithm = algorithm.word(), "a new signing key");
        let replaces = old.iter().map(|(_, key)| key.kid.clone()).collect();
        let event = KeyEvent {
            revoked: asked.revoke_old,
            reason: asked.reason.clone(),
            by: asked.by.clone(),
            ..KeyEvent::made(&new, replaces)
        };
        Ok(Some(Rotated { kid: new.kid, event: Some(event), revoked }))
    }

    fn revocation_of_key(
        &self,
        key: &StoredSigningKey,
        asked: &RotateSigningKeys,
        now: UnixSeconds,
    ) -> StoredRevocation {
        let issuer = self.issuer.issuer.0.clone();
        StoredRevocation {
            target: RevocationTarget::SigningKey { issuer, key_id: key.kid.clone() },
            issued_until: None,
            until: now.plus(RETIRED_SECONDS).0,
            reason: asked.reason.clone(),
            by: asked.by.clone(),
            revoked_at: now.0,
        }
    }
}

/// The key that already is what is asked for, if there is one.
fn as_asked(
    keys: &[&StandingKey],
    asked: &RotateSigningKeys,
    now: UnixSeconds,
    begun: Option<UnixSeconds>,
) -> Option<String> {
    let found = if asked.at_once {
        // Whoever wants older keys revoked wants that of all that stood when they asked.
        let begun = begun.filter(|_| !asked.revoke_old)?;
        let signing = keys.get(signer(&times(keys), now)?)?;
        Some(signing).filter(|signing| signing.key.created_at >= begun.0)?
    } else {
        keys.iter().find(|it| it.key.times().state(now) == KeyState::Published)?
    };
    Some(found.key.kid.clone())
}

/// The older keys with what becomes of them.
fn replaced<'a>(
    keys: &[&'a StandingKey],
    asked: &RotateSigningKeys,
    now: UnixSeconds,
    signs_from: UnixSeconds,
) -> Vec<(&'a StandingKey, StoredSigningKey)> {
    let after = |standing: &StandingKey| {
        let key = &standing.key;
        let mut after = key.clone();
        match key.times().state(now) {
            // Of what was stolen together with the key that signs, one that waits is no better.
            KeyState::Published | KeyState::Signing => after.retires_at = Some(signs_from.0),
            KeyState::Retired => {}
            KeyState::Revoked | KeyState::Gone => return None,
        }
        if asked.revoke_old {
            after.revoked_at = Some(now.0);
        }
        Some(after)
    };
    let all = keys.iter().filter_map(|standing| Some((*standing, after(standing)?)));
    // Those that stay as they are need no writing.
    all.filter(|(standing, after)| standing.key != *after).collect()
}
