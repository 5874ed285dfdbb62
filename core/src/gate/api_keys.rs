//! API keys: decided from what the gate holds, asked for once if it holds nothing.

use std::rc::Rc;

use crate::api_key::{ApiKey, ApiKeyDigest};
use crate::reason::Reason;
use crate::secret::Secret;
use crate::wire::{ApiKeyLookupAnswer, ApiKeyRecord, ApiKeyState};

use super::{Authentication, Case, Edge, Gate, Principal};

/// What the sidecar said of one id.
#[derive(Debug)]
pub(super) struct Answered {
    record: Option<Record>,
    until_nanoseconds: u64,
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
            return Authentication::Failed(Reason::ApiKeyMalformed);
        };
        if let Err(reason) = self.feed_state() {
            return Authentication::Failed(reason);
        }
        match self.holds(&key) {
            Held::Current => {}
            // What is out of date decides only when nobody can be asked.
            Held::Outdated if !self.may_ask(case) => {}
            Held::Nothing if !self.may_ask(case) => {
                return Authentication::Failed(Reason::SidecarUnreachable);
            }
            Held::Outdated | Held::Nothing => return Authentication::LookUp(key.id().to_owned()),
        }
        let now = case.request.now_nanoseconds;
        match self.limit_failures(edge, |gate| gate.prove(&key, now)) {
            Ok(principal) => Authentication::Principal(principal),
            Err(reason) => Authentication::Failed(reason),
        }
    }

    fn holds(&mut self, key: &ApiKey) -> Held {
        match self.api_keys.find(key.id().as_bytes()) {
            Some(answered) if self.monotonic_nanoseconds < answered.until_nanoseconds => {
                Held::Current
            }
            Some(_) => Held::Outdated,
            None => Held::Nothing,
        }
    }

    fn may_ask(&mut self, case: &Case<'_>) -> bool {
        case.request.may_look_up && self.lookups.admit(self.monotonic_nanoseconds)
    }

    /// Compares the key with its record.
    fn prove(&mut self, key: &ApiKey, now_nanoseconds: u64) -> Result<Rc<Principal>, Reason> {
        let digest_key = self.api_key_digest_key.clone().ok_or(Reason::NotReady)?;
        let record = self.api_keys.find_mut(key.id().as_bytes());
        let Some(Answered { record: Some(record), .. }) = record else {
            return Err(Reason::ApiKeyUnknown);
        };
        let shown = Secret::new(key.expose().as_bytes().to_vec());
        if record.proven.as_ref() != Some(&shown) {
            if key.digest(&digest_key) != record.digest {
                return Err(Reason::ApiKeyUnknown);
            }
            record.proven = Some(shown);
        }
        // State and expiry only after the secret: who does not know it learns nothing about the key.
        match record.state {
            ApiKeyState::Active => {}
            ApiKeyState::Disabled => return Err(Reason::ApiKeyDisabled),
            ApiKeyState::Revoked => return Err(Reason::ApiKeyRevoked),
        }
        let now_seconds = now_nanoseconds / 1_000_000_000;
        if record.expires_at.is_some_and(|expires_at| now_seconds >= expires_at) {
            return Err(Reason::ApiKeyExpired);
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
        if self.api_key_revision().is_some_and(|revision| answer.api_key_revision < revision) {
            return Err(Overtaken);
        }
        let valid = answer.valid_for_seconds.min(MAX_VALID_SECONDS);
        let until_nanoseconds =
            self.monotonic_nanoseconds.saturating_add(valid.saturating_mul(1_000_000_000));
        let record = answer.record.as_ref().filter(|record| record.id == id);
        let record = record.and_then(|record| self.record_of(record));
        let bytes = record.as_ref().map_or(0, |record| record.principal.memory_bytes());
        let answered = Answered { record, until_nanoseconds };
        self.api_keys.insert(id.as_bytes(), answered, bytes.saturating_add(RECORD_BYTES));
        Ok(())
    }

    /// Notes that the sidecar did not answer.
    pub fn api_key_not_answered(&mut self) {
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

/// What the gate holds of a key.
enum Held {
    Current,
    Outdated,
    Nothing,
}
