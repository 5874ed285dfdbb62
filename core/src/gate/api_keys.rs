//! API keys: decided from what the gate holds, asked for once if it holds nothing.

use std::rc::Rc;

use subtle::ConstantTimeEq as _;

use crate::api_key::{ApiKey, ApiKeyDigest};
use crate::reason::Reason;
use crate::secret::Secret;
use crate::wire::{ApiKeyLookupAnswer, ApiKeyRecord, ApiKeyState};

use super::{Authentication, Case, Edge, Gate, Principal, Refused};

/// What the sidecar said of one id that exists.
#[derive(Debug)]
pub(super) struct Answered {
    record: Record,
    until_nanoseconds: u64,
    /// The revision of all API keys that the answer belongs to.
    revision: u64,
}

/// That there is no key of an id: until when, and at which revision.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unknown {
    until_nanoseconds: u64,
    revision: u64,
}

/// A record, ready to decide with.
#[derive(Debug)]
struct Record {
    digest: ApiKeyDigest,
    state: ApiKeyState,
    expires_at: Option<u64>,
    principal: Rc<Principal>,
    /// The key in clear, once its digest was found right: the next request compares in place of
    /// computing the digest again.
    proven: Option<Secret>,
}

/// What an entry holds beside the principal.
const RECORD_BYTES: usize = size_of::<Answered>() + 256;
/// The sidecar's word on how long an answer stands is bounded: a mistake must not last for ever.
const MAX_VALID_SECONDS: u64 = 3600;

impl Gate {
    pub(super) fn by_api_key(
        &mut self,
        text: &[u8],
        case: &Case<'_>,
        edge: &dyn Edge,
    ) -> Authentication {
        let Ok(key) = ApiKey::parse(text) else {
            // Junk costs no look-up and no digest, so it is not counted against the address.
            return Authentication::failed(Reason::ApiKeyMalformed);
        };
        if let Err(reason) = self.feed_state() {
            return Authentication::failed(reason);
        }
        match self.holds(&key) {
            Held::Proven => return self.prove(&key, case.request.now_nanoseconds).into(),
            Held::Current => {}
            // Each time it is shown it counts: whoever tries keys is to be limited for it.
            Held::Unknown => {
                return self.limit_failures(edge, |_| Err(Reason::ApiKeyUnknown.into())).into();
            }
            held @ (Held::Outdated | Held::Overtaken | Held::Nothing) => {
                if let Some(step) = self.ask(&key, held, case, edge) {
                    return step;
                }
            }
        }
        let now = case.request.now_nanoseconds;
        self.limit_failures(edge, |gate| gate.prove(&key, now)).into()
    }

    /// Has the sidecar asked, if it may be; `None` if what is held, though out of date, decides.
    fn ask(
        &mut self,
        key: &ApiKey,
        held: Held,
        case: &Case<'_>,
        edge: &dyn Edge,
    ) -> Option<Authentication> {
        let unless_outdated =
            |reason| (held != Held::Outdated).then_some(Authentication::failed(reason));
        if !case.request.may_look_up {
            return unless_outdated(Reason::SidecarUnreachable);
        }
        // Whoever guessed too often makes no more calls either.
        let id = key.id();
        let is_known = matches!(held, Held::Outdated | Held::Overtaken);
        let now = self.monotonic_nanoseconds;
        if !is_known && self.failures.any(now) && !self.failures.admits(&edge.source_address(), now)
        {
            return Some(Authentication::failed(Reason::TooManyFailures));
        }
        // One call serves all that wait for one key. A key that is known to exist is asked for
        // again once per change, and needs no place in the bucket that floods of unknown ones empty.
        if !self.asking.contains(id) {
            if let Err(reason) = self.lookups.admit(now, is_known) {
                return unless_outdated(reason);
            }
            self.asking.insert(id.to_owned());
        }
        Some(Authentication::LookUp(id.to_owned()))
    }

    fn holds(&mut self, key: &ApiKey) -> Held {
        let id = key.id().as_bytes();
        let (now, revision) = (self.monotonic_nanoseconds, self.api_key_revision());
        if let Some(answered) = self.api_keys.find(id) {
            return match answered {
                answered if Some(answered.revision) < revision => Held::Overtaken,
                answered if answered.until_nanoseconds <= now => Held::Outdated,
                answered if answered.record.is_proven(key) => Held::Proven,
                _ => Held::Current,
            };
        }
        match self.unknown_api_keys.find(id) {
            Some(unknown) if Some(unknown.revision) < revision => Held::Nothing,
            Some(unknown) if unknown.until_nanoseconds <= now => Held::Nothing,
            Some(_) => Held::Unknown,
            None => Held::Nothing,
        }
    }

    /// Compares the key with its record.
    fn prove(&mut self, key: &ApiKey, now_nanoseconds: u64) -> Result<Rc<Principal>, Refused> {
        let digest_key = self.api_key_digest_key.clone().ok_or(Reason::NotReady)?;
        let answered = self.api_keys.find_mut(key.id().as_bytes());
        let record = &mut answered.ok_or(Reason::ApiKeyUnknown)?.record;
        if !record.is_proven(key) {
            if key.digest(&digest_key) != record.digest {
                return Err(Reason::ApiKeyUnknown.into());
            }
            record.proven = Some(Secret::new(key.expose().as_bytes().to_vec()));
        }
        // State and expiry only after the secret: who does not know it learns nothing about the key.
        let refused = |reason| Err(Refused::known(reason, Rc::clone(&record.principal)));
        match record.state {
            ApiKeyState::Active => {}
            ApiKeyState::Disabled => return refused(Reason::ApiKeyDisabled),
            ApiKeyState::Revoked => return refused(Reason::ApiKeyRevoked),
        }
        let now_seconds = now_nanoseconds / 1_000_000_000;
        if record.expires_at.is_some_and(|expires_at| now_seconds >= expires_at) {
            return refused(Reason::ApiKeyExpired);
        }
        Ok(Rc::clone(&record.principal))
    }

    /// Takes in what the sidecar said of the key of this id. An answer for another id, or one that
    /// cannot be read, counts as none.
    ///
    /// # Errors
    ///
    /// [`Overtaken`] when a newer snapshot came before the answer; nothing is kept then.
    pub fn api_key_answered(
        &mut self,
        id: &str,
        answer: &ApiKeyLookupAnswer,
    ) -> Result<(), Overtaken> {
        self.lookups.succeeded();
        self.asking.remove(id);
        let revision = answer.api_key_revision;
        if Some(revision) < self.api_key_revision() {
            return Err(Overtaken);
        }
        let valid = answer.valid_for_seconds.min(MAX_VALID_SECONDS).saturating_mul(1_000_000_000);
        let until_nanoseconds = self.monotonic_nanoseconds.saturating_add(valid);
        let record = answer.record.as_ref().filter(|record| record.id == id);
        let record = record.and_then(|record| self.record_of(record));
        self.api_keys.remove(id.as_bytes());
        if let Some(record) = record {
            let bytes = record.principal.memory_bytes().saturating_add(RECORD_BYTES);
            let answered = Answered { record, until_nanoseconds, revision };
            self.api_keys.insert(id.as_bytes(), answered, bytes);
        } else {
            // A cache of their own: a flood of unknown ids must not push out those that exist.
            let unknown = Unknown { until_nanoseconds, revision };
            self.unknown_api_keys.insert(id.as_bytes(), unknown, size_of::<Unknown>());
        }
        Ok(())
    }

    /// Forgets that the sidecar is asked for the key of this id: whoever caused it is gone.
    pub fn api_key_not_asked(&mut self, id: &str) {
        self.asking.remove(id);
    }

    /// Notes that the sidecar did not answer about the key of this id.
    pub fn api_key_not_answered(&mut self, id: &str) {
        self.asking.remove(id);
        self.lookups.failed(self.monotonic_nanoseconds);
    }

    fn record_of(&self, record: &ApiKeyRecord) -> Option<Record> {
        let scopes = record.scopes.as_deref();
        let grants = self.policy.api_key_grants(&record.name, &record.roles, scopes);
        Some(Record {
            digest: ApiKeyDigest::parse(&record.digest)?,
            state: record.state,
            expires_at: record.expires_at,
            principal: Rc::new(Principal::of_api_key(record, grants)),
            proven: None,
        })
    }
}

/// An answer about an API key was overtaken by a change of API keys: it may be of before a
/// revocation, and must be asked for again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Overtaken;

impl Record {
    /// Whether this very key was found right before.
    fn is_proven(&self, key: &ApiKey) -> bool {
        let shown = key.expose().as_bytes();
        self.proven.as_ref().is_some_and(|proven| proven.expose().ct_eq(shown).into())
    }
}

/// What the gate holds of a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Held {
    /// Its record, and this very key was found right before.
    Proven,
    /// Its record.
    Current,
    /// Its record, whose time is over: it decides if the sidecar cannot be asked.
    Outdated,
    /// Its record of before a change of API keys: it decides nothing, for the change may be its own.
    Overtaken,
    /// That there is no such key.
    Unknown,
    /// Nothing.
    Nothing,
}
