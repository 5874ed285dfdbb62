//! The root context: configuration, ticks and answers of the sidecar.

use std::cell::RefCell;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;
use wardgate_core::base64url;
use wardgate_core::config::plugin::{Feed, MAX_CONFIGURATION_BYTES, PluginConfig};
use wardgate_core::config::{Problem, Problems};
use wardgate_core::gate::{Gate, Overtaken, Seed};
use wardgate_core::json::parse_strict;
use wardgate_core::secret::Secret;
use wardgate_core::wire::mac::{MIN_SECRET_BYTES, RequestParts};
use wardgate_core::wire::{AUDIT_PATH, ApiKeyLookupAnswer, AuditAnswer, SNAPSHOT_PATH, Snapshot};

use crate::audit;
use crate::host::{self, Buffer, Level};
use crate::metrics::Metrics;
use crate::request::Stream;
use crate::sidecar::{Purpose, Sidecar};
use crate::signatures::HostSignatures;
use crate::state::{Shared, State};

/// Time between two ticks: what waits for one waits this long at most.
const TICK_MILLISECONDS: u32 = 50;
/// Time between two deliveries of audit events.
const DELIVERY_NANOSECONDS: u64 = 200_000_000;
/// Time until the next try when the sidecar did not take a delivery.
const RETRY_NANOSECONDS: u64 = 1_000_000_000;

/// One configuration in one VM.
#[derive(Default)]
pub(crate) struct Root {
    shared: Shared,
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, fields: usize, body: usize, _trailers: usize) {
        answered(&self.shared, token, fields, body, None);
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, _bytes: usize) -> bool {
        match configure() {
            Ok(mut state) => {
                state.tick();
                self.shared = Rc::new(RefCell::new(Some(state)));
                host::set_tick_period(TICK_MILLISECONDS).is_ok()
            }
            Err(problems) => {
                for problem in problems {
                    host::log(Level::Error, &format!("wardgate: configuration: {problem}"));
                }
                false
            }
        }
    }

    fn on_tick(&mut self) {
        if let Ok(mut shared) = self.shared.try_borrow_mut()
            && let Some(state) = shared.as_mut()
        {
            state.tick();
        }
    }

    fn create_http_context(&self, context: u32) -> Option<Box<dyn HttpContext>> {
        let shared = Rc::clone(&self.shared);
        Some(Box::new(Stream { context, shared, has_waited: false }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

fn configure() -> Result<State, Problems> {
    let text = host::buffer(Buffer::PluginConfiguration, MAX_CONFIGURATION_BYTES.saturating_add(1))
        .map_err(|_| {
            problem(
                "",
                "the proxy gave no configuration; it must be JSON in a google.protobuf.StringValue",
            )
        })?;
    let config = PluginConfig::parse(&text)?;
    let environment = |name: &str| std::env::var(name).ok();
    let seed = Seed([random()?, random()?, random()?, random()?].map(u64::from_ne_bytes));
    let audit = config.feed.as_ref().map(|feed| audit::shared(feed, &config.limits)).transpose()?;
    let gate = Gate::new(&config, &environment, seed, audit);
    let sidecar = config.feed.map(|feed| sidecar(feed, &environment)).transpose();
    let (gate, sidecar) = match (gate, sidecar) {
        (Ok(gate), Ok(sidecar)) => (gate, sidecar),
        (gate, sidecar) => {
            let problems = gate.err().into_iter().chain(sidecar.err());
            return Err(problems.flatten().collect());
        }
    };
    let signatures = HostSignatures::probe();
    if !signatures.host_has_function() {
        host::log(
            Level::Warning,
            "wardgate: the proxy has no verify_signature; RSA and ECDSA are verified in wasm, which takes longer",
        );
    }
    Ok(State { gate, signatures, sidecar, metrics: Metrics::default() })
}

fn sidecar(feed: Feed, environment: &dyn Fn(&str) -> Option<String>) -> Result<Sidecar, Problems> {
    let secret = environment(&feed.secret_env)
        .and_then(|text| base64url::decode(text.trim().as_bytes()))
        .filter(|secret| secret.len() >= MIN_SECRET_BYTES);
    match secret {
        Some(secret) => Ok(Sidecar::new(feed, Secret::new(secret), random()?)),
        None => Err(problem(
            "feed.secret_env",
            &format!(
                "the environment variable {} must hold at least {MIN_SECRET_BYTES} bytes as \
                 base64url, and be named in vm_config.environment_variables",
                &*feed.secret_env
            ),
        )),
    }
}

pub(crate) fn problem(path: &str, message: &str) -> Problems {
    vec![Problem { path: path.to_owned(), message: message.to_owned() }]
}

pub(crate) fn random<const BYTES: usize>() -> Result<[u8; BYTES], Problems> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|_| problem("", "the proxy gives no randomness"))?;
    Ok(bytes)
}

/// Takes the answer to a call, whichever context made it.
pub(crate) fn answered(
    shared: &Shared,
    token: u32,
    fields: usize,
    body_bytes: usize,
    stream: Option<u32>,
) {
    let Ok(mut shared) = shared.try_borrow_mut() else { return };
    let Some(state) = shared.as_mut() else { return };
    let Some(sidecar) = &mut state.sidecar else { return };
    let Some((purpose, body)) = sidecar.answered(token, fields, body_bytes) else { return };
    if let Ok(now) = host::monotonic_nanoseconds() {
        state.gate.advance(now);
        state.take_answer(purpose, body, now, stream);
    }
}

impl State {
    /// Does what is due.
    fn tick(&mut self) {
        let Ok(now) = host::monotonic_nanoseconds() else { return };
        self.gate.advance(now);
        self.give_up(now);
        self.poll(now);
        self.deliver(now);
        self.metrics.update(&self.gate);
    }

    /// Ends the wait for answers that will not come.
    fn give_up(&mut self, now: u64) {
        let Some(sidecar) = &mut self.sidecar else { return };
        for purpose in sidecar.give_up(now) {
            self.take_answer(purpose, None, now, None);
        }
        let abandoned = self.sidecar.as_ref().map(Sidecar::abandoned).unwrap_or_default();
        for id in abandoned {
            if !self.call_for_api_key(&id, None) {
                self.resume_all(&id);
            }
        }
    }

    fn poll(&mut self, now: u64) {
        let Some(sidecar) = &mut self.sidecar else { return };
        if now < sidecar.next_poll_nanoseconds || sidecar.is_calling(&Purpose::Snapshot) {
            return;
        }
        let interval = sidecar.feed.poll_interval_milliseconds.0.saturating_mul(1_000_000);
        sidecar.next_poll_nanoseconds = now.saturating_add(interval);
        let parts = RequestParts { method: "GET", path: SNAPSHOT_PATH, body: b"" };
        if sidecar.call(Purpose::Snapshot, parts, None).is_err() {
            self.metrics.call_failed();
        }
    }

    fn deliver(&mut self, now: u64) {
        let Some(sidecar) = &mut self.sidecar else { return };
        if now < sidecar.next_delivery_nanoseconds || sidecar.is_calling(&Purpose::Audit) {
            return;
        }
        sidecar.next_delivery_nanoseconds = now.saturating_add(DELIVERY_NANOSECONDS);
        let Some(audit) = self.gate.audit() else { return };
        let Ok(time) = host::now_nanoseconds() else { return };
        let Ok(mut audit) = audit.try_borrow_mut() else { return };
        let Some(body) = audit.next_delivery(time / 1_000_000) else { return };
        let parts = RequestParts { method: "POST", path: AUDIT_PATH, body: &body };
        if sidecar.call(Purpose::Audit, parts, None).is_err() {
            sidecar.next_delivery_nanoseconds = now.saturating_add(RETRY_NANOSECONDS);
            self.metrics.call_failed();
        }
    }

    fn take_answer(
        &mut self,
        purpose: Purpose,
        body: Option<Vec<u8>>,
        now: u64,
        stream: Option<u32>,
    ) {
        let understood = match purpose {
            Purpose::Snapshot => self.take_snapshot(body),
            Purpose::Audit => self.take_acknowledgement(body, now),
            Purpose::ApiKey(id) => {
                let understood = self.take_api_key(&id, body);
                let asked_again =
                    understood == Some(Err(Overtaken)) && self.call_for_api_key(&id, stream);
                if !asked_again {
                    self.resume_all(&id);
                }
                understood.map(drop)
            }
        };
        if understood.is_none() {
            self.metrics.call_failed();
        }
    }

    fn take_snapshot(&mut self, body: Option<Vec<u8>>) -> Option<()> {
        let snapshot: Snapshot = serde_json::from_value(parse_strict(&body?).ok()?).ok()?;
        match self.gate.apply_snapshot(&snapshot) {
            Ok(skipped) => {
                for issuer in skipped {
                    let message =
                        format!("wardgate: the sidecar's keys of {issuer} are no JWK Set");
                    host::log(Level::Error, &message);
                }
                Some(())
            }
            Err(error) => {
                host::log(Level::Error, &format!("wardgate: {error}"));
                None
            }
        }
    }

    fn take_acknowledgement(&mut self, body: Option<Vec<u8>>, now: u64) -> Option<()> {
        let answer = body.and_then(|body| serde_json::from_slice::<AuditAnswer>(&body).ok());
        let sidecar = self.sidecar.as_mut()?;
        let Some(answer) = answer else {
            sidecar.next_delivery_nanoseconds = now.saturating_add(RETRY_NANOSECONDS);
            return None;
        };
        let mut audit = self.gate.audit()?.try_borrow_mut().ok()?;
        audit.acknowledge(answer.acknowledged);
        let is_busy = audit.has_full_batch();
        drop(audit);
        // A busy worker fills batches faster than ticks come; a quiet one waits for a few events.
        if is_busy {
            sidecar.next_delivery_nanoseconds = now;
            self.deliver(now);
        }
        Some(())
    }

    fn take_api_key(&mut self, id: &str, body: Option<Vec<u8>>) -> Option<Result<(), Overtaken>> {
        let answer = body.and_then(|body| parse_strict(&body).ok());
        let answer =
            answer.and_then(|value| serde_json::from_value::<ApiKeyLookupAnswer>(value).ok());
        if answer.is_none() {
            self.gate.api_key_not_answered(id);
        }
        answer.map(|answer| self.gate.api_key_answered(id, &answer))
    }

    fn resume_all(&mut self, id: &str) {
        let waiting = self.sidecar.as_mut().map(|sidecar| sidecar.take_waiting(id));
        for waiting in waiting.unwrap_or_default() {
            self.resume(&waiting);
        }
    }
}
