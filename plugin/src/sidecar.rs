//! Calls to the sidecar: what is on its way, and for whom.

use std::collections::HashMap;

use wardgate_core::config::plugin::Feed;
use wardgate_core::secret::Secret;
use wardgate_core::time::UnixSeconds;
use wardgate_core::wire::mac::{self, MAC_HEADER, Nonce, RequestParts};

use crate::host::{self, Buffer, HostResult, Map};

/// Longest answer that is read; settings with the keys of many issuers are far below.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// What a call was made for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Purpose {
    /// The question of this id, for the feed.
    Feed(u64),
    /// Delivery of audit events.
    Audit,
    /// A key that no issuer has; the answer says nothing.
    UnknownKey,
    /// Pieces of limits across proxies.
    RateLeases,
}

/// A call on its way.
#[derive(Debug)]
struct Call {
    purpose: Purpose,
    nonce: Nonce,
    /// When it is given up here, by the monotonic clock, whatever the host does.
    until_nanoseconds: u64,
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
            next_delivery_nanoseconds: 0,
        }
    }

    /// The feed secret.
    pub(crate) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Whether a call for this purpose is on its way.
    pub(crate) fn is_calling(&self, purpose: Purpose) -> bool {
        self.calls.values().any(|call| call.purpose == purpose)
    }

    /// Calls the sidecar, which may wait so long before it answers.
    pub(crate) fn call(
        &mut self,
        purpose: Purpose,
        parts: RequestParts<'_>,
        wait_milliseconds: u64,
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
        let timeout = self.feed.timeout_milliseconds.0.saturating_add(wait_milliseconds);
        let token = host::call(&self.feed.cluster, headers, body, timeout)?;
        // A second more than the deadline: only for an answer that the host will never bring.
        let patience = timeout.saturating_mul(1_000_000).saturating_add(1_000_000_000);
        let until_nanoseconds = monotonic.saturating_add(patience);
        self.calls.insert(token, Call { purpose, nonce, until_nanoseconds });
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

    /// Gives up the calls that the host never answered. Returns their purposes.
    pub(crate) fn give_up(&mut self, monotonic_nanoseconds: u64) -> Vec<Purpose> {
        let late = self.calls.extract_if(|_, call| call.until_nanoseconds <= monotonic_nanoseconds);
        late.map(|(_, call)| call.purpose).collect()
    }

    /// Gives up all calls: their answers will not come, because the configuration is gone.
    pub(crate) fn give_up_all(&mut self) -> Vec<Purpose> {
        self.calls.drain().map(|(_, call)| call.purpose).collect()
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
