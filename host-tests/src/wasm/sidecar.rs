//! A sidecar for one VM: answers its calls with right MACs, or with wrong ones on purpose.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use wardgate_core::api_key::ApiKey;
use wardgate_core::base64url;
use wardgate_core::secret::Secret;
use wardgate_core::time::UnixSeconds;
use wardgate_core::wire::mac::{self, MAC_HEADER, Nonce, RequestParts};
use wardgate_core::wire::{
    API_KEY_LOOKUP_PATH, AUDIT_PATH, ApiKeyRecord, ApiKeyState, SNAPSHOT_PATH,
};

use super::call::{HttpAnswer, HttpCall};
use super::vm::Vm;

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
    /// Key sets by issuer.
    pub key_sets: BTreeMap<String, Value>,
    /// API key records by id.
    pub api_keys: BTreeMap<String, ApiKeyRecord>,
    /// Seconds that answers about API keys stand.
    pub valid_for_seconds: u64,
    /// Changes with every change of a key.
    pub api_key_revision: u64,
    /// Events taken: incarnation and event, in order, each once.
    pub events: Vec<(String, Value)>,
    /// Every call that was answered, in order: path and body.
    pub seen: Vec<(String, Value)>,
    /// Highest sequence on disk, by incarnation.
    on_disk: BTreeMap<String, u64>,
    moods: BTreeMap<String, Mood>,
    last_nonce: Option<Nonce>,
    nonces: BTreeSet<Nonce>,
}

impl FakeSidecar {
    /// A sidecar with this feed secret (at least 32 bytes) and nothing in it.
    pub fn new(secret: &[u8]) -> Self {
        Self {
            secret: Secret::new(secret.to_vec()),
            digest_key: Secret::new(b"key of the digests of api keys!!".to_vec()),
            key_sets: BTreeMap::new(),
            api_keys: BTreeMap::new(),
            valid_for_seconds: 300,
            api_key_revision: 1,
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
        for path in [SNAPSHOT_PATH, API_KEY_LOOKUP_PATH, AUDIT_PATH] {
            self.mood(path, mood.clone());
        }
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
                if let Some(answer) = self.answer(&call, vm.wall_clock().as_secs()) {
                    vm.answer(&call, answer);
                    served = served.saturating_add(1);
                }
            }
            if served == before {
                return served;
            }
        }
    }

    /// The answer to one call in the mood of its path; `None` is silence.
    pub fn answer(&mut self, call: &HttpCall, now_seconds: u64) -> Option<HttpAnswer> {
        let mood = self.moods.get(call.path()).cloned().unwrap_or_default();
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
        self.seen.push((call.path().to_owned(), call.json()));
        let request = RequestParts { method: call.method(), path: call.path(), body: &call.body };
        let header = call.header(MAC_HEADER).unwrap_or_default().as_bytes();
        let now = UnixSeconds(now_seconds);
        let verified = mac::verify_request(&self.secret, request, header, now, WINDOW_SECONDS);
        let nonce = match verified {
            Ok(nonce) if !self.nonces.contains(&nonce) => nonce,
            Ok(_) | Err(_) => return Some(HttpAnswer::new(401, &[], "")),
        };
        self.nonces.insert(nonce);
        let (status, body) = if let Mood::Says(status, body) = &mood {
            (*status, body.clone())
        } else {
            (200, self.truth(call).to_string().into_bytes())
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

    /// What an honest sidecar has to say.
    fn truth(&mut self, call: &HttpCall) -> Value {
        match call.path() {
            SNAPSHOT_PATH => self.snapshot(),
            API_KEY_LOOKUP_PATH => {
                let asked = call.json();
                let id = asked.get("id").and_then(Value::as_str).unwrap_or_default();
                json!({
                    "record": self.api_keys.get(id),
                    "valid_for_seconds": self.valid_for_seconds,
                    "api_key_revision": self.api_key_revision,
                })
            }
            AUDIT_PATH => self.take_events(&call.json()),
            _ => Value::Null,
        }
    }

    fn snapshot(&self) -> Value {
        let sets = self.key_sets.iter();
        let sets: Vec<Value> =
            sets.map(|(issuer, jwks)| json!({"issuer": issuer, "jwks": jwks})).collect();
        json!({
            "generation": format!("{}.{}", self.api_key_revision, self.key_sets.len()),
            "api_key_revision": self.api_key_revision,
            "api_key_digest_key": base64url::encode(self.digest_key.expose()),
            "key_sets": sets,
        })
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
