//! API keys: decided from the tables of the feed. No key is ever asked for.

use std::rc::Rc;

use ring::{digest, hmac};
use subtle::ConstantTimeEq as _;

use crate::api_key::{ApiKey, ApiKeyDigest};
use crate::feed::live::{Freshness, Unreadable};
use crate::feed::{Fingerprint, Table, decode_api_key};
use crate::reason::Reason;
use crate::secret::Secret;
use crate::wire::{ApiKeyRecord, ApiKeyState};

use super::networks::{Network, any_contains};
use super::revocation::Marks;
use super::{Authentication, Case, Edge, Gate, Principal, Refused};

/// An imported key has at least so many letters after its prefix: 128 bits of base64.
const MIN_IMPORTED_SECRET_BYTES: usize = 22;
/// The longest imported key: hashing a longer one is work that anyone could ask for.
const MAX_IMPORTED_BYTES: usize = 256;

/// A record, ready to decide with.
#[derive(Debug)]
pub(super) struct Held {
    /// What the record belongs to; when that is another, the record is read anew.
    freshness: Freshness,
    digest: ApiKeyDigest,
    previous: Option<(ApiKeyDigest, u64)>,
    state: ApiKeyState,
    expires_at: Option<u64>,
    networks: Option<Vec<Network>>,
    owner: Marks,
    principal: Rc<Principal>,
    proven: Option<Proven>,
}

/// The key in clear, once its digest was found right: the next request compares in place of
/// computing the digest again.
#[derive(Debug)]
struct Proven {
    secret: Secret,
    principal: Rc<Principal>,
    /// When it stops working, if it is the secret before the last rotation.
    until: Option<u64>,
}

/// What an entry holds beside the principals.
const HELD_BYTES: usize = size_of::<Held>() + Marks::BYTES + MAX_IMPORTED_BYTES + 256;

/// A key as it was shown.
struct Shown<'a> {
    text: &'a [u8],
    fingerprint: Fingerprint,
    /// SHA-256 of a key that was made elsewhere.
    sha256: Option<[u8; 32]>,
}

impl<'a> Shown<'a> {
    /// What has the form of a key, ours or one that was imported.
    fn parse(text: &'a [u8], prefixes: &[String]) -> Option<Self> {
        if let Ok(key) = ApiKey::parse(text) {
            let fingerprint = Fingerprint::of_api_key(key.id());
            return Some(Self { text, fingerprint, sha256: None });
        }
        let is_imported = |prefix: &String| {
            let secret = text.strip_prefix(prefix.as_bytes());
            !prefix.is_empty()
                && secret.is_some_and(|secret| secret.len() >= MIN_IMPORTED_SECRET_BYTES)
        };
        if text.len() > MAX_IMPORTED_BYTES || !prefixes.iter().any(is_imported) {
            return None;
        }
        let digest = digest::digest(&digest::SHA256, text);
        let sha256: [u8; 32] = digest.as_ref().try_into().ok()?;
        let fingerprint = Fingerprint::of_imported_api_key(&sha256);
        Some(Self { text, fingerprint, sha256: Some(sha256) })
    }

    /// The keyed digest that a record has of the key: of all of it, or of the SHA-256 that was
    /// imported.
    fn digest(&self, digest_key: &Secret) -> Option<ApiKeyDigest> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, digest_key.expose());
        let input = self.sha256.as_ref().map_or(self.text, |sha256| &sha256[..]);
        let tag = hmac::sign(&key, input);
        tag.as_ref().try_into().ok().map(ApiKeyDigest::from_bytes)
    }
}

impl Held {
    fn of_record(record: &ApiKeyRecord, freshness: Freshness, gate: &Gate) -> Option<Self> {
        let scopes = record.scopes.as_deref();
        let grants = gate.policy.api_key_grants(&record.name, &record.roles, scopes);
        let previous = record.previous.as_ref();
        let previous = previous
            .and_then(|previous| Some((ApiKeyDigest::parse(&previous.digest)?, previous.until)));
        // A network that cannot be read is none: the key works from fewer places, not from more.
        let networks: Vec<Network> =
            record.networks.iter().filter_map(|text| Network::parse(text)).collect();
        let owner = match (&record.issuer, &record.subject) {
            (Some(issuer), Some(subject)) => Marks::of_owner(issuer, subject),
            _ => Marks::default(),
        };
        Some(Self {
            freshness,
            digest: ApiKeyDigest::parse(&record.digest)?,
            previous,
            state: record.state,
            expires_at: record.expires_at,
            networks: (!record.networks.is_empty()).then_some(networks),
            owner,
            principal: Rc::new(Principal::of_api_key(record, grants)),
            proven: None,
        })
    }

    fn memory_bytes(&self) -> usize {
        // Twice: the principal of the previous secret is one of its own.
        let networks = self.networks.as_ref().map_or(0, Vec::len);
        let networks = networks.saturating_mul(size_of::<Network>());
        self.principal.memory_bytes().saturating_mul(2).saturating_add(networks)
    }

    /// Whether this very key was found right before, and still is.
    fn is_proven(&self, text: &[u8], now_seconds: u64) -> bool {
        self.proven.as_ref().is_some_and(|proven| {
            bool::from(proven.secret.expose().ct_eq(text))
                && proven.until.is_none_or(|until| now_seconds < until)
        })
    }

    /// Compares a key with the digests.
    fn prove(&mut self, shown: &Shown<'_>, digest_key: &Secret, now_seconds: u64) -> bool {
        let Some(digest) = shown.digest(digest_key) else { return false };
        let secret = || Secret::new(shown.text.to_vec());
        if digest == self.digest {
            let principal = Rc::clone(&self.principal);
            self.proven = Some(Proven { secret: secret(), principal, until: None });
            return true;
        }
        let Some((previous, until)) = &self.previous else { return false };
        if digest != *previous || now_seconds >= *until {
            return false;
        }
        let principal = Principal { previous_secret: true, ..(*self.principal).clone() };
        let (principal, until) = (Rc::new(principal), Some(*until));
        self.proven = Some(Proven { secret: secret(), principal, until });
        true
    }
}

impl Gate {
    pub(super) fn by_api_key(
        &mut self,
        text: &[u8],
        case: &Case<'_>,
        edge: &dyn Edge,
    ) -> Authentication {
        let Some(shown) = Shown::parse(text, &self.api_key_prefixes) else {
            // Junk costs no look-up and no digest, so it is not counted against the address.
            return Authentication::failed(Reason::ApiKeyMalformed);
        };
        if let Err(reason) = self.feed_state() {
            return Authentication::failed(reason);
        }
        let now_seconds = case.request.now_nanoseconds / 1_000_000_000;
        let is_proven = match self.hold(&shown.fingerprint, edge) {
            Ok(held) => held.is_some_and(|held| held.is_proven(text, now_seconds)),
            Err(reason) => return Authentication::failed(reason),
        };
        if is_proven {
            return self.judge(&shown, now_seconds, edge).into();
        }
        // Each time it is shown it counts: whoever tries keys is to be limited for it.
        let proved = self.limit_failures(edge, |gate| gate.prove(&shown, now_seconds));
        match proved {
            Ok(()) => self.judge(&shown, now_seconds, edge).into(),
            Err(refused) => Authentication::Failed(refused),
        }
    }

    /// The record of a key, from the cache as long as nothing changes near it, otherwise from the
    /// tables; `None` if there is no such key.
    fn hold(
        &mut self,
        fingerprint: &Fingerprint,
        edge: &dyn Edge,
    ) -> Result<Option<&mut Held>, Reason> {
        let feed = self.feed_handle().ok_or(Reason::NotReady)?;
        let feed = feed.try_borrow().map_err(|_| Reason::HostFailure)?;
        let freshness = feed.replica().freshness(Table::ApiKeys, fingerprint);
        let known = self.api_keys.find(&fingerprint.0);
        if known.is_some_and(|held| held.freshness == freshness) {
            return Ok(self.api_keys.find_mut(&fingerprint.0));
        }
        self.api_keys.remove(&fingerprint.0);
        let found = feed.replica().find(edge.shared_memory(), Table::ApiKeys, fingerprint);
        let Some(found) = found.map_err(|Unreadable| Reason::FeedUnreadable)? else {
            return Ok(None);
        };
        let record = decode_api_key(&found.content).map_err(|_| Reason::FeedUnreadable)?;
        let Some(held) = Held::of_record(&record, freshness, self) else { return Ok(None) };
        let bytes = held.memory_bytes().saturating_add(HELD_BYTES);
        self.api_keys.insert(&fingerprint.0, held, bytes);
        Ok(self.api_keys.find_mut(&fingerprint.0))
    }

    fn prove(&mut self, shown: &Shown<'_>, now_seconds: u64) -> Result<(), Refused> {
        let digest_key = self.api_key_digest_key.clone().ok_or(Reason::NotReady)?;
        let held = self.api_keys.find_mut(&shown.fingerprint.0);
        let held = held.ok_or(Reason::ApiKeyUnknown)?;
        if held.prove(shown, &digest_key, now_seconds) {
            Ok(())
        } else {
            Err(Reason::ApiKeyUnknown.into())
        }
    }

    /// Judges a key that was proven. State and expiry only after the secret: who does not know it
    /// learns nothing about the key.
    fn judge(
        &mut self,
        shown: &Shown<'_>,
        now_seconds: u64,
        edge: &dyn Edge,
    ) -> Result<Rc<Principal>, Refused> {
        let feed = self.feed_handle();
        let held = self.api_keys.find_mut(&shown.fingerprint.0).ok_or(Reason::ApiKeyUnknown)?;
        let proven = held.proven.as_ref().ok_or(Reason::ApiKeyUnknown)?;
        let principal = Rc::clone(&proven.principal);
        let refused = |reason| Err(Refused::known(reason, Rc::clone(&principal)));
        match held.state {
            ApiKeyState::Active => {}
            ApiKeyState::Disabled => return refused(Reason::ApiKeyDisabled),
            ApiKeyState::Revoked => return refused(Reason::ApiKeyRevoked),
        }
        if held.expires_at.is_some_and(|expires_at| now_seconds >= expires_at) {
            return refused(Reason::ApiKeyExpired);
        }
        match held.owner.is_revoked(feed.as_ref(), edge) {
            Ok(false) => {}
            Ok(true) => return refused(Reason::ApiKeyRevoked),
            Err(reason) => return refused(reason),
        }
        if let Some(networks) = &held.networks
            && !any_contains(networks, &edge.source_address())
        {
            return refused(Reason::ApiKeyNetwork);
        }
        Ok(principal)
    }
}
