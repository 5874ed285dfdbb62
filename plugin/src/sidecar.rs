//! Calls to the sidecar: what is on its way, and for whom.

use std::collections::{HashMap, HashSet};

use wardgate_core::config::plugin::Feed;
use wardgate_core::secret::Secret;
use wardgate_core::time::UnixSeconds;
use wardgate_core::wire::mac::{self, MAC_HEADER, Nonce, RequestParts};

use crate::host::{self, Buffer, HostResult, Map};

/// Longest answer that is read; a snapshot with the keys of many issuers is far below.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;
/// Headers of the requests that may wait for answers at once in one worker, in bytes.
const MAX_WAITING_BYTES: usize = 1024 * 1024;

/// What a call was made for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Purpose {
    /// News for the gate.
    Snapshot,
    /// Delivery of audit events.
    Audit,
    /// The API key of this id.
    ApiKey(String),
}

/// A call on its way.
#[derive(Debug)]
struct Call {
    purpose: Purpose,
    nonce: Nonce,
    /// When it is given up here, by the monotonic clock, whatever the host does.
    until_nanoseconds: u64,
    /// The stream that made it. The SDK drops the answer when the stream is gone.
    stream: Option<u32>,
}

impl Call {
    fn api_key(&self) -> Option<&str> {
        match &self.purpose {
            Purpose::ApiKey(id) => Some(id),
            Purpose::Snapshot | Purpose::Audit => None,
        }
    }
}

/// A request that waits for the answer about an API key.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// Its stream.
    pub(crate) context: u32,
    /// Its headers as they came, so that they need not be read again from a host that has moved on.
    pub(crate) headers: Vec<u8>,
}

/// The way to the sidecar.
#[derive(Debug)]
pub(crate) struct Sidecar {
    /// The configuration of the feed.
    pub(crate) feed: Feed,
    secret: Secret,
    nonce_base: [u8; 16],
    nonces: u64,
    calls: HashMap<u32, Call>,
    waiting: HashMap<String, Vec<Waiting>>,
    waiting_bytes: usize,
    /// When to ask for news next, by the monotonic clock.
    pub(crate) next_poll_nanoseconds: u64,
    /// When to deliver events next, by the monotonic clock.
    pub(crate) next_delivery_nanoseconds: u64,
}

impl Sidecar {
    /// A way to the sidecar by `feed`, authenticated with `secret`. `nonce_base` is random.
    pub(crate) fn new(feed: Feed, secret: Secret, nonce_base: [u8; 16]) -> Self {
        Self {
            feed,
            secret,
            nonce_base,
            nonces: 0,
            calls: HashMap::new(),
            waiting: HashMap::new(),
            waiting_bytes: 0,
            next_poll_nanoseconds: 0,
            next_delivery_nanoseconds: 0,
        }
    }

    /// Whether a call for this purpose is on its way.
    pub(crate) fn is_calling(&self, purpose: &Purpose) -> bool {
        self.calls.values().any(|call| call.purpose == *purpose)
    }

    /// Calls the sidecar, from a stream or from the root context.
    pub(crate) fn call(
        &mut self,
        purpose: Purpose,
        parts: RequestParts<'_>,
        stream: Option<u32>,
    ) -> HostResult<()> {
        let nonce = self.take_nonce();
        let now = UnixSeconds(host::now_nanoseconds()? / 1_000_000_000);
        let monotonic = host::monotonic_nanoseconds()?;
        let RequestParts { method, path, body } = parts;
        let header = mac::sign_request(&self.secret, parts, now, nonce);
        let headers = vec![
            (":method", method),
            (":path", path),
            (":authority", "wardgate"),
            ("content-type", "application/json"),
            (MAC_HEADER, header.as_str()),
        ];
        let timeout = self.feed.timeout_milliseconds.0;
        let token = host::call(&self.feed.cluster, headers, body, timeout)?;
        // Twice the deadline: only for an answer that the host will never bring.
        let patience = timeout.saturating_mul(2_000_000).saturating_add(1_000_000_000);
        let until_nanoseconds = monotonic.saturating_add(patience);
        self.calls.insert(token, Call { purpose, nonce, until_nanoseconds, stream });
        Ok(())
    }

    /// Takes the answer to the call of this token: what for, and the body if it can be believed.
    ///
    /// Envoy makes up 503 and 504 itself, and a squatter may answer in the sidecar's place: without
    /// the right MAC an answer is no answer.
    pub(crate) fn answered(
        &mut self,
        token: u32,
        fields: usize,
        body_bytes: usize,
    ) -> Option<(Purpose, Option<Vec<u8>>)> {
        let call = self.calls.remove(&token)?;
        let body = self.believed(&call, fields, body_bytes);
        Some((call.purpose, body))
    }

    fn believed(&self, call: &Call, fields: usize, body_bytes: usize) -> Option<Vec<u8>> {
        // Without fields there was no answer, and reading would fail.
        if fields == 0 || body_bytes > MAX_ANSWER_BYTES {
            return None;
        }
        let status = host::field(Map::CallHeaders, b":status").ok()?;
        let status: u16 = core::str::from_utf8(&status).ok()?.parse().ok()?;
        let header = host::field(Map::CallHeaders, MAC_HEADER.as_bytes()).ok()?;
        let body = if body_bytes == 0 {
            Vec::new()
        } else {
            host::buffer(Buffer::CallBody, body_bytes).ok()?
        };
        mac::verify_answer(&self.secret, call.nonce, status, &body, &header).ok()?;
        (status == 200).then_some(body)
    }

    /// Gives up the calls that the host never answered: the stream that made the call is gone, and
    /// its answer with it. Returns their purposes.
    pub(crate) fn give_up(&mut self, monotonic_nanoseconds: u64) -> Vec<Purpose> {
        let late = self.calls.extract_if(|_, call| call.until_nanoseconds <= monotonic_nanoseconds);
        late.map(|(_, call)| call.purpose).collect()
    }

    /// Puts a request among those that wait for the key of `id`; gives it back if too many wait.
    pub(crate) fn wait(&mut self, id: &str, waiting: Waiting) -> Result<(), Waiting> {
        let bytes = self.waiting_bytes.saturating_add(waiting.headers.len());
        if bytes > MAX_WAITING_BYTES {
            return Err(waiting);
        }
        self.waiting_bytes = bytes;
        self.waiting.entry(id.to_owned()).or_default().push(waiting);
        Ok(())
    }

    /// The requests that wait for the key of `id`, which wait no longer.
    pub(crate) fn take_waiting(&mut self, id: &str) -> Vec<Waiting> {
        let waiting = self.waiting.remove(id).unwrap_or_default();
        let bytes = waiting.iter().map(|waiting| waiting.headers.len()).sum();
        self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes);
        waiting
    }

    /// Forgets a stream that is gone: its request, and its calls, whose answers will not come. Others
    /// that wait for the same key are then abandoned, and the next tick asks for them. Returns the ids
    /// of keys that are no longer asked for.
    pub(crate) fn forget(&mut self, context: u32) -> Vec<String> {
        let gone = self.calls.extract_if(|_, call| call.stream == Some(context));
        let ids = gone.filter_map(|(_, call)| call.api_key().map(str::to_owned)).collect();
        let bytes = &mut self.waiting_bytes;
        self.waiting.retain(|_, waiting| {
            waiting.retain(|waiting| {
                let stays = waiting.context != context;
                let freed = if stays { 0 } else { waiting.headers.len() };
                *bytes = bytes.saturating_sub(freed);
                stays
            });
            !waiting.is_empty()
        });
        ids
    }

    /// Ids of keys that requests wait for while no call is on its way.
    pub(crate) fn abandoned(&self) -> Vec<String> {
        let called: HashSet<&str> = self.calls.values().filter_map(Call::api_key).collect();
        let ids = self.waiting.keys();
        ids.filter(|id| !called.contains(id.as_str())).cloned().collect()
    }

    /// A nonce that this VM has not used; the base is random, so no other VM has either.
    fn take_nonce(&mut self) -> Nonce {
        self.nonces = self.nonces.wrapping_add(1);
        let mut nonce = self.nonce_base;
        for (byte, count) in nonce.iter_mut().zip(self.nonces.to_be_bytes()) {
            *byte ^= count;
        }
        Nonce(nonce)
    }
}
