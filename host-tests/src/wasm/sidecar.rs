//! A sidecar for the VMs of a process: answers their calls with right MACs, or with wrong ones on
//! purpose.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use wardgate_core::api_key::ApiKey;
use wardgate_core::base64url;
use wardgate_core::feed::RevocationTarget;
use wardgate_core::secret::Secret;
use wardgate_core::time::UnixSeconds;
use wardgate_core::wire::mac::{self, MAC_HEADER, Nonce, RequestParts};
use wardgate_core::wire::{
    AUDIT_PATH, ApiKeyRecord, ApiKeyState, BUCKETS_PATH, FEED_PATH, FILTER_PATH, UNKNOWN_KEY_PATH,
};

use super::call::{HttpAnswer, HttpCall};
use super::vm::Vm;
use super::world::START;
use crate::feed::FakeFeed;

/// Seconds that the clocks of filter and sidecar may differ.
const WINDOW_SECONDS: u64 = 30;

/// How the sidecar answers the calls of one path.
#[derive(Clone, Debug, Default)]
pub enum Mood {
    /// Truly, with a right MAC.
    #[default]
    Honest,
    /// Truly, with a MAC under another secret.
    OtherSecret,
    /// Truly, without a MAC: someone else sits on the port.
    NoMac,
    /// Truly, but the body is changed behind the MAC.
    Tampered,
    /// Truly, with the MAC of an answer to an earlier question.
    Replayed,
    /// With this status and body under a right MAC.
    Says(u16, Vec<u8>),
    /// As Envoy does when it made up an answer.
    MadeUp(HttpAnswer),
    /// Not at all: the calls wait.
    Silent,
}

/// The sidecar's side of the internal interface, in memory.
#[derive(Debug)]
pub struct FakeSidecar {
    secret: Secret,
    digest_key: Secret,
    /// Key sets by issuer; a change goes into the feed with the next call that is served.
    pub key_sets: BTreeMap<String, Value>,
    /// API key records by id; a change goes into the feed likewise.
    pub api_keys: BTreeMap<String, ApiKeyRecord>,
    /// The log and the tables.
    pub feed: FakeFeed,
    /// The records that the feed has.
    told: BTreeMap<String, ApiKeyRecord>,
    /// Events taken: incarnation and event, in order, each once.
    pub events: Vec<(String, Value)>,
    /// Every call that was answered, in order: path without its query, and body.
    pub seen: Vec<(String, Value)>,
    /// Highest sequence on disk, by incarnation.
    on_disk: BTreeMap<String, u64>,
    moods: BTreeMap<String, Mood>,
    last_nonce: Option<Nonce>,
    nonces: BTreeSet<Nonce>,
}

/// Every path that a filter calls.
const PATHS: [&str; 5] = [FEED_PATH, BUCKETS_PATH, FILTER_PATH, AUDIT_PATH, UNKNOWN_KEY_PATH];

impl FakeSidecar {
    /// A sidecar with this feed secret (at least 32 bytes) and nothing in it.
    pub fn new(secret: &[u8]) -> Self {
        let secret = Secret::new(secret.to_vec());
        let digest_key = Secret::new(b"key of the digests of api keys!!".to_vec());
        Self {
            feed: FakeFeed::new(&secret, &digest_key),
            secret,
            digest_key,
            key_sets: BTreeMap::new(),
            api_keys: BTreeMap::new(),
            told: BTreeMap::new(),
            events: Vec::new(),
            seen: Vec::new(),
            on_disk: BTreeMap::new(),
            moods: BTreeMap::new(),
            last_nonce: None,
            nonces: BTreeSet::new(),
        }
    }

    /// The same sidecar with this key for the digests of API keys (at least 32 bytes).
    #[must_use]
    pub fn with_digest_key(mut self, key: &[u8]) -> Self {
        self.digest_key = Secret::new(key.to_vec());
        self.feed = FakeFeed::new(&self.secret, &self.digest_key);
        self
    }

    /// The secret as the environment variable holds it.
    pub fn secret_text(&self) -> String {
        base64url::encode(self.secret.expose())
    }

    /// From now on answers the calls of `path` in this mood.
    pub fn mood(&mut self, path: &str, mood: Mood) {
        self.moods.insert(path.to_owned(), mood);
    }

    /// From now on answers every call in this mood.
    pub fn mood_everywhere(&mut self, mood: &Mood) {
        for path in PATHS {
            self.mood(path, mood.clone());
        }
    }

    /// Revokes everything of the target.
    pub fn revoke(&mut self, target: &RevocationTarget) {
        self.feed.revoke(target, None, milliseconds(START));
    }

    /// Makes a key of this name with these roles from `seed`; answers the key in clear.
    ///
    /// # Panics
    ///
    /// Never for fewer than 256 keys of distinct seeds: a key is made of bytes below 248.
    pub fn add_api_key(&mut self, seed: u8, name: &str, roles: &[&str]) -> ApiKey {
        let mut random = [0_u8; wardgate_core::api_key::GENERATE_RANDOM_BYTES];
        let mut byte = seed;
        for slot in &mut random {
            byte = byte.wrapping_mul(73).wrapping_add(41);
            *slot = byte % 248;
        }
        #[expect(clippy::expect_used, reason = "the bytes above are all usable")]
        let key = ApiKey::generate("test", &random).expect("enough usable bytes");
        let record = ApiKeyRecord {
            id: key.id().to_owned(),
            environment: key.environment().to_owned(),
            name: name.to_owned(),
            digest: key.digest(&self.digest_key).text(),
            issuer: None,
            subject: None,
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            scopes: None,
            expires_at: None,
            state: ApiKeyState::Active,
            previous: None,
            networks: Vec::new(),
            rate_limit: None,
        };
        self.api_keys.insert(record.id.clone(), record);
        key
    }

    /// Answers everything that waits, until nothing new comes; how many calls that were.
    pub fn serve(&mut self, vm: &mut Vm) -> usize {
        let mut served = 0_usize;
        loop {
            let before = served;
            for call in vm.calls() {
                if let Some(answer) = self.answer(&call, vm) {
                    vm.answer(&call, answer);
                    served = served.saturating_add(1);
                }
            }
            if served == before {
                return served;
            }
        }
    }

    /// When a question for news is answered even without any, in monotonic time.
    pub(super) fn due(&self, call: &HttpCall) -> Option<Duration> {
        let held = call.endpoint() == FEED_PATH && self.is_honest(FEED_PATH);
        held.then(|| deadline(call))
    }

    fn is_honest(&self, endpoint: &str) -> bool {
        self.moods.get(endpoint).is_none_or(|mood| matches!(mood, Mood::Honest))
    }

    /// The answer to one call in the mood of its path; `None` is silence, or no news yet.
    pub fn answer(&mut self, call: &HttpCall, vm: &Vm) -> Option<HttpAnswer> {
        self.tell_changes(milliseconds(vm.wall_clock()));
        let waits = call.endpoint() == FEED_PATH
            && self.is_honest(FEED_PATH)
            && vm.monotonic() < deadline(call)
            && !self.feed.news(call.path()).1;
        if waits { None } else { self.answer_now(call, vm) }
    }

    /// The same without waiting for news.
    pub fn answer_now(&mut self, call: &HttpCall, vm: &Vm) -> Option<HttpAnswer> {
        let mood = self.moods.get(call.endpoint()).cloned().unwrap_or_default();
        match &mood {
            Mood::Silent => return None,
            Mood::MadeUp(answer) => return Some(answer.clone()),
            Mood::Honest
            | Mood::OtherSecret
            | Mood::NoMac
            | Mood::Tampered
            | Mood::Replayed
            | Mood::Says(..) => {}
        }
        self.seen.push((call.endpoint().to_owned(), call.json()));
        let request = RequestParts { method: call.method(), path: call.path(), body: &call.body };
        let header = call.header(MAC_HEADER).unwrap_or_default().as_bytes();
        let now = UnixSeconds(vm.wall_clock().as_secs());
        let verified = mac::verify_request(&self.secret, request, header, now, WINDOW_SECONDS);
        let nonce = match verified {
            Ok(nonce) if !self.nonces.contains(&nonce) => nonce,
            Ok(_) | Err(_) => return Some(HttpAnswer::new(401, &[], "")),
        };
        self.nonces.insert(nonce);
        let (status, body) = match &mood {
            Mood::Says(status, body) => (*status, body.clone()),
            Mood::Honest
            | Mood::OtherSecret
            | Mood::NoMac
            | Mood::Tampered
            | Mood::Replayed
            | Mood::MadeUp(_)
            | Mood::Silent => self.truth(call).map_or((400, Vec::new()), |body| (200, body)),
        };
        Some(self.signed(&mood, nonce, status, body))
    }

    fn signed(&mut self, mood: &Mood, nonce: Nonce, status: u16, mut body: Vec<u8>) -> HttpAnswer {
        let other = Secret::new(vec![7; 32]);
        let earlier = self.last_nonce.replace(nonce).unwrap_or(Nonce([0; 16]));
        let secret = if matches!(mood, Mood::OtherSecret) { &other } else { &self.secret };
        let nonce = if matches!(mood, Mood::Replayed) { earlier } else { nonce };
        let header = mac::sign_answer(secret, nonce, status, &body);
        if matches!(mood, Mood::Tampered) {
            body.push(b' ');
        }
        if matches!(mood, Mood::NoMac) {
            return HttpAnswer::new(status, &[], body);
        }
        HttpAnswer::new(status, &[(MAC_HEADER, &header)], body)
    }

    /// What an honest sidecar has to say; `None` to a question without a meaning.
    fn truth(&mut self, call: &HttpCall) -> Option<Vec<u8>> {
        match call.endpoint() {
            AUDIT_PATH => Some(self.take_events(&call.json()).to_string().into_bytes()),
            UNKNOWN_KEY_PATH => Some(b"{}".to_vec()),
            _ => self.feed.body(call.path()).ok(),
        }
    }

    /// Brings what a test changed into the feed.
    fn tell_changes(&mut self, now_ms: u64) {
        self.feed.set_key_sets(&self.key_sets, now_ms);
        if self.told == self.api_keys {
            return;
        }
        let gone = self.told.keys().filter(|id| !self.api_keys.contains_key(*id));
        for id in gone {
            self.feed.forget_api_key(id, now_ms);
        }
        for (id, record) in &self.api_keys {
            if self.told.get(id) != Some(record) {
                // A record that cannot be written is one that no sidecar could have.
                let _ = self.feed.put_api_key(record, now_ms);
            }
        }
        self.told = self.api_keys.clone();
    }

    fn take_events(&mut self, batch: &Value) -> Value {
        let incarnation = batch.get("incarnation").and_then(Value::as_str).unwrap_or_default();
        let highest = self.on_disk.entry(incarnation.to_owned()).or_default();
        for event in batch.get("events").and_then(Value::as_array).into_iter().flatten() {
            let sequence = event.get("sequence").and_then(Value::as_u64).unwrap_or(0);
            if sequence > *highest {
                *highest = sequence;
                self.events.push((incarnation.to_owned(), event.clone()));
            }
        }
        json!({"acknowledged": *highest})
    }
}

fn deadline(call: &HttpCall) -> Duration {
    call.made_at.saturating_add(Duration::from_millis(FakeFeed::wait_of(call.path())))
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
