//! One request: headers in, step out.

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use wardgate_core::answer::{Answer, Offer, deny};
use wardgate_core::gate::{Edge, Forward, Note, Request, Step};
use wardgate_core::jwk::Key;
use wardgate_core::reason::Reason;
use wardgate_core::token::{Algorithm, SignatureCheck, SignatureVerdict};
use wardgate_core::wire::mac::RequestParts;
use wardgate_core::wire::{API_KEY_LOOKUP_PATH, ApiKeyLookup};

use crate::host::{self, HostResult, Map};
use crate::pairs;
use crate::sidecar::{Purpose, Waiting};
use crate::signatures::HostSignatures;
use crate::state::{Shared, State};

/// One stream of the proxy.
pub(crate) struct Stream {
    /// The id of its context.
    pub(crate) context: u32,
    /// What it shares with the others.
    pub(crate) shared: Shared,
    /// Whether it waits for the sidecar, or did.
    pub(crate) has_waited: bool,
}

impl Context for Stream {
    fn on_http_call_response(&mut self, token: u32, fields: usize, body: usize, _trailers: usize) {
        crate::root::answered(&self.shared, token, fields, body, Some(self.context));
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _fields: usize, _end_of_stream: bool) -> Action {
        let Ok(mut shared) = self.shared.try_borrow_mut() else { return fail() };
        let Some(state) = shared.as_mut() else { return fail() };
        let Ok(headers) = host::fields(Map::RequestHeaders) else { return fail() };
        let (action, waits) = state.begin(self.context, headers);
        self.has_waited = waits;
        action
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

impl Drop for Stream {
    fn drop(&mut self) {
        // Most requests never wait, and pay nothing for those that do.
        if self.has_waited
            && let Ok(mut shared) = self.shared.try_borrow_mut()
            && let Some(state) = shared.as_mut()
        {
            state.forget(self.context);
        }
    }
}

impl State {
    /// Decides a request that has just come; also tells whether it waits for the sidecar.
    fn begin(&mut self, context: u32, headers: Vec<u8>) -> (Action, bool) {
        match self.step(&headers, true) {
            Some(Step::LookUpApiKey(id)) => (self.look_up(&id, Waiting { context, headers }), true),
            None => {
                self.gate.host_failed();
                (fail(), false)
            }
            step => (act(step), false),
        }
    }

    fn step(&mut self, headers: &[u8], may_look_up: bool) -> Option<Step> {
        let fields = pairs::decode(headers)?;
        let now_nanoseconds = host::now_nanoseconds().ok()?;
        let request = Request { fields: &fields, now_nanoseconds, may_look_up };
        Some(self.gate.decide(request, &HostEdge(self.signatures)))
    }

    /// Has the request wait for the answer about a key; one call serves all that wait for one key.
    fn look_up(&mut self, id: &str, waiting: Waiting) -> Action {
        match self.ask(id, waiting) {
            Ok(()) => Action::Pause,
            // Decided at once by what the gate holds, in the stream that is running anyway.
            Err(waiting) => act(self.step(&waiting.headers, false)),
        }
    }

    fn ask(&mut self, id: &str, waiting: Waiting) -> Result<(), Waiting> {
        let Some(sidecar) = &mut self.sidecar else { return Err(waiting) };
        let is_calling = sidecar.is_calling(&Purpose::ApiKey(id.to_owned()));
        if !is_calling && !self.call_for_api_key(id, Some(waiting.context)) {
            return Err(waiting);
        }
        let Some(sidecar) = &mut self.sidecar else { return Err(waiting) };
        sidecar.wait(id, waiting)
    }

    /// Calls the sidecar for the key of `id`, from a stream or from the root context; whether the
    /// call is on its way.
    pub(crate) fn call_for_api_key(&mut self, id: &str, stream: Option<u32>) -> bool {
        let Some(sidecar) = &mut self.sidecar else { return false };
        let body = serde_json::to_vec(&ApiKeyLookup { id: id.to_owned() }).unwrap_or_default();
        let purpose = Purpose::ApiKey(id.to_owned());
        let parts = RequestParts { method: "POST", path: API_KEY_LOOKUP_PATH, body: &body };
        let called = sidecar.call(purpose, parts, stream).is_ok();
        if !called {
            self.gate.api_key_not_answered(id);
            self.metrics.call_failed();
        }
        called
    }

    /// Forgets a stream that is gone.
    fn forget(&mut self, context: u32) {
        let ids = self.sidecar.as_mut().map(|sidecar| sidecar.forget(context));
        for id in ids.unwrap_or_default() {
            self.gate.api_key_not_asked(&id);
        }
    }

    /// Decides a request that has waited.
    pub(crate) fn resume(&mut self, waiting: &Waiting) {
        // The stream may be gone; then there is nobody to answer.
        if host::set_effective_context(waiting.context).is_err() {
            return;
        }
        let action = act(self.step(&waiting.headers, false));
        if action == Action::Continue && host::resume_request().is_err() {
            fail();
        }
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
        Some(Step::Forward(_) | Step::LookUpApiKey(_)) | None => fail(),
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
    let offer = Offer { realm: "wardgate", bearer: false, api_key: false, scope: None };
    let reason = Reason::HostFailure;
    let note = Note { decision: "deny", reason: Some(reason), route: None, forged: Vec::new() };
    send(&deny(reason, offer, false), &note)
}
