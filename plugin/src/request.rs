//! One request: headers in, step out.

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use wardgate_core::answer::{Answer, Offer, deny};
use wardgate_core::feed::live::SharedMemory;
use wardgate_core::gate::{Edge, Forward, Note, Request, Step};
use wardgate_core::jwk::Key;
use wardgate_core::reason::Reason;
use wardgate_core::token::{Algorithm, SignatureCheck, SignatureVerdict};

use crate::host::{self, HostResult, Map};
use crate::memory::HostMemory;
use crate::pairs;
use crate::rate_limit;
use crate::signatures::HostSignatures;
use crate::state::{Shared, State};

/// One stream of the proxy.
pub(crate) struct Stream {
    /// What it shares with the others.
    pub(crate) shared: Shared,
    /// Headers to add to the answer; most requests have none.
    pub(crate) answer_headers: Vec<(&'static str, String)>,
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _fields: usize, _end_of_stream: bool) -> Action {
        let Ok(mut shared) = self.shared.try_borrow_mut() else { return fail() };
        let Some(state) = shared.as_mut() else { return fail() };
        let Ok(headers) = host::fields(Map::RequestHeaders) else { return fail() };
        let mut step = state.step(&headers);
        if let Some(Step::Forward(forward)) = &mut step {
            self.answer_headers = core::mem::take(&mut forward.answer_headers);
        }
        if step.is_none() {
            state.gate.host_failed();
        }
        act(step)
    }

    fn on_http_response_headers(&mut self, _fields: usize, _end_of_stream: bool) -> Action {
        // Called only where the configuration of the VM allows it.
        rate_limit::tell(&self.answer_headers);
        Action::Continue
    }

    fn on_http_request_trailers(&mut self, _fields: usize) -> Action {
        let Ok(shared) = self.shared.try_borrow() else { return fail() };
        let Some(state) = shared.as_ref() else { return fail() };
        match state.clean_trailers() {
            Ok(()) => Action::Continue,
            Err(_) => fail(),
        }
    }
}

impl State {
    fn step(&mut self, headers: &[u8]) -> Option<Step> {
        let fields = pairs::decode(headers)?;
        let now_nanoseconds = host::now_nanoseconds().ok()?;
        let request = Request { fields: &fields, now_nanoseconds };
        Some(self.gate.decide(request, &HostEdge(self.signatures)))
    }

    /// Removes forgeries from trailers, which an upstream may merge into the headers.
    fn clean_trailers(&self) -> HostResult<()> {
        let trailers = host::fields(Map::RequestTrailers)?;
        let fields = pairs::decode(&trailers).ok_or(host::NOT_FOUND)?;
        for name in self.gate.forged(&fields) {
            host::remove_field(Map::RequestTrailers, name)?;
        }
        Ok(())
    }
}

/// Does to the stream that is running what the gate has decided.
fn act(step: Option<Step>) -> Action {
    match step {
        Some(Step::Forward(forward)) if edit(&forward).is_ok() => Action::Continue,
        Some(Step::Answer(answer, note)) => send(&answer, &note),
        Some(Step::Forward(_)) | None => fail(),
    }
}

/// What the gate may ask of the proxy.
struct HostEdge(HostSignatures);

impl SignatureCheck for HostEdge {
    fn check(
        &self,
        algorithm: Algorithm,
        key: &Key,
        signing_input: &[u8],
        signature: &[u8],
    ) -> SignatureVerdict {
        self.0.check(algorithm, key, signing_input, signature)
    }
}

impl Edge for HostEdge {
    fn source_address(&self) -> Vec<u8> {
        host::property(b"source\0address").unwrap_or_default()
    }

    fn peer_certificate_digest(&self) -> Vec<u8> {
        host::property(b"connection\0sha256_peer_certificate_digest").unwrap_or_default()
    }

    fn shared_memory(&self) -> &dyn SharedMemory {
        &HostMemory
    }
}

/// Makes the changes to a request that goes on. An error means that it must not: a credential or a
/// forgery may still be there.
fn edit(forward: &Forward) -> HostResult<()> {
    for name in &forward.remove {
        host::remove_field(Map::RequestHeaders, name)?;
    }
    for (name, value) in &forward.principal.headers {
        // What the client sent under this name was removed above, so this is the only one.
        host::add_field(Map::RequestHeaders, name.as_bytes(), value)?;
    }
    leave_note(&forward.note);
    Ok(())
}

/// Leaves the decision in the filter state. It informs others and protects nothing, so a host that
/// cannot keep it is no reason to refuse.
///
/// One value, because each costs the request a microsecond; the subject stands in a header anyway.
fn leave_note(note: &Note) {
    let _ = host::set_property(b"wardgate.decision", note.line().as_bytes());
}

/// Answers in place of the upstream.
fn send(answer: &Answer, note: &Note) -> Action {
    leave_note(note);
    for name in &note.forged {
        // Only for the access log: the request goes no further.
        let _ = host::remove_field(Map::RequestHeaders, name);
    }
    let headers: Vec<(&str, &str)> =
        answer.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let headers = pairs::encode(&headers);
    // If the host refuses, the stream stays paused until the proxy's timeout: never let through.
    let sent =
        host::answer(answer.status, answer.details, &headers, &answer.body, answer.grpc_status);
    if sent.is_err() {
        host::log(host::Level::Error, "wardgate: the proxy refused an answer");
    }
    Action::Pause
}

/// Answers 503, because the proxy refused something that the decision needs.
fn fail() -> Action {
    let offer = Offer::none("wardgate");
    let reason = Reason::HostFailure;
    let note = Note { decision: "deny", reason: Some(reason), route: None, forged: Vec::new() };
    send(&deny(reason, offer, false), &note)
}
