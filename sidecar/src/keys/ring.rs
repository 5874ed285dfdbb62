//! All signing keys of the sidecar, each at its time of life.

use std::sync::Arc;

use serde_json::{Map, Value};
use wardgate_core::jwk::{KeyOrigin, KeySet};
use wardgate_core::time::UnixSeconds;

use super::life::{KeyState, KeyTimes, signer};
use super::{SigningAlgorithm, SigningKey, SigningKeyError};

/// A signing key, and what is known of its life.
#[derive(Clone, Debug)]
pub struct HeldKey {
    /// The key.
    pub key: Arc<SigningKey>,
    /// Which one of its algorithm it is, counted from 1.
    pub generation: u64,
    /// Its times.
    pub times: KeyTimes,
}

/// All signing keys.
#[derive(Debug, Default)]
pub struct SigningKeys {
    /// In an order that is the same in every sidecar, so that all give filters the same settings.
    keys: Vec<HeldKey>,
    verifying: KeySet,
}

impl SigningKeys {
    /// Takes the keys.
    pub fn new(mut keys: Vec<HeldKey>) -> Self {
        keys.sort_by_key(|held| (held.key.algorithm(), held.generation));
        // What was made here a filter reads too; a set that is too long it refuses as a whole.
        let read = KeySet::parse(&set(keys.iter()), KeyOrigin::Fetched);
        let verifying = read.map(|(set, _)| set).unwrap_or_default();
        Self { keys, verifying }
    }

    /// The public halves of all keys, to verify with.
    pub fn verifying(&self) -> &KeySet {
        &self.verifying
    }

    /// The keys, by algorithm and in the order that they were made in.
    pub fn iter(&self) -> impl Iterator<Item = &HeldKey> {
        self.keys.iter()
    }

    /// The key of this name.
    pub fn key(&self, kid: &str) -> Option<&HeldKey> {
        self.keys.iter().find(|held| held.key.kid() == kid)
    }

    /// The public halves for anyone, as a JWK Set (RFC 7517 §5): those whose tokens may be good at
    /// `now`, and those that will sign. Who verifies by this set alone hears of a revoked key by its
    /// absence.
    pub fn jwks(&self, now: UnixSeconds) -> Map<String, Value> {
        set(self.keys.iter().filter(|held| match held.times.state(now) {
            KeyState::Published | KeyState::Signing | KeyState::Retired => true,
            KeyState::Revoked | KeyState::Gone => false,
        }))
    }

    /// The public halves for filters: all that there are, whatever the time is. The settings of
    /// filters change by an entry of the log and not by the passing of time, and a filter that has a
    /// revoked key says why it refuses its tokens.
    pub fn filter_set(&self) -> Map<String, Value> {
        set(self.keys.iter())
    }

    /// The key that signs by this algorithm at `now`.
    pub fn signer(&self, algorithm: SigningAlgorithm, now: UnixSeconds) -> Option<&HeldKey> {
        let keys: Vec<&HeldKey> =
            self.keys.iter().filter(|held| held.key.algorithm() == algorithm).collect();
        let times: Vec<KeyTimes> = keys.iter().map(|held| held.times).collect();
        if let Some(place) = signer(&times, now) {
            return keys.get(place).copied();
        }
        // The clock was set back to before the first of them began: it signs all the same.
        let mut unused = keys.into_iter().filter(|it| it.times.state(now) == KeyState::Published);
        unused.next()
    }

    /// Signs `claims` at `now`, as a compact JWS of type `typ`.
    ///
    /// # Errors
    ///
    /// [`SigningKeyError`] when there is no key for the algorithm or the library fails.
    pub fn sign(
        &self,
        algorithm: SigningAlgorithm,
        typ: &str,
        claims: &Map<String, Value>,
        now: UnixSeconds,
    ) -> Result<String, SigningKeyError> {
        let held = self.signer(algorithm, now).ok_or(SigningKeyError::Missing(algorithm))?;
        held.key.sign(typ, claims)
    }
}

fn set<'a>(keys: impl Iterator<Item = &'a HeldKey>) -> Map<String, Value> {
    let keys = keys.map(|held| Value::Object(held.key.jwk().clone())).collect();
    Map::from_iter([("keys".to_owned(), Value::Array(keys))])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::Map;
    use wardgate_core::time::UnixSeconds;

    use super::{HeldKey, SigningKeys};
    use crate::keys::{
        KeyTimes, RETIRED_SECONDS, SigningAlgorithm, SigningKey, SigningKeyError, generate,
    };

    fn held(algorithm: SigningAlgorithm, generation: u64, times: KeyTimes) -> HeldKey {
        let pkcs8 = generate(algorithm).unwrap();
        let key = SigningKey::from_pkcs8(algorithm, &pkcs8, UnixSeconds(1)).unwrap();
        HeldKey { key: Arc::new(key), generation, times }
    }

    fn times(signs_from: u64, retires_at: Option<u64>) -> KeyTimes {
        let retires_at = retires_at.map(UnixSeconds);
        KeyTimes { retires_at, ..KeyTimes::from(UnixSeconds(signs_from)) }
    }

    #[test]
    fn the_public_set_has_what_may_verify_and_the_set_of_filters_has_all() {
        let (ed, es) = (SigningAlgorithm::EdDsa, SigningAlgorithm::Es256);
        let mut revoked = times(100, Some(200));
        revoked.revoked_at = Some(UnixSeconds(200));
        let keys = SigningKeys::new(vec![
            held(ed, 1, times(100, None)),
            held(es, 3, times(500, None)),
            held(es, 1, revoked),
            held(es, 2, times(200, Some(500))),
        ]);
        let order: Vec<_> = keys.iter().map(|it| (it.key.algorithm(), it.generation)).collect();
        assert_eq!(order, [(es, 1), (es, 2), (es, 3), (ed, 1)]);
        let shown = |now| keys.jwks(UnixSeconds(now))["keys"].as_array().unwrap().len();
        assert_eq!((shown(300), shown(500), shown(500 + RETIRED_SECONDS)), (3, 3, 2));
        assert_eq!(keys.filter_set()["keys"].as_array().unwrap().len(), 4);
        let signs = |now| keys.signer(es, UnixSeconds(now)).map(|it| it.generation);
        assert_eq!((signs(499), signs(500)), (Some(2), Some(3)));
        assert_eq!(signs(0), Some(2), "the clock was set back");
    }

    #[test]
    fn without_a_key_of_the_algorithm_nothing_is_signed() {
        let keys = SigningKeys::default();
        let signed = keys.sign(SigningAlgorithm::Rs256, "at+jwt", &Map::new(), UnixSeconds(1));
        assert_eq!(signed, Err(SigningKeyError::Missing(SigningAlgorithm::Rs256)));
    }
}
