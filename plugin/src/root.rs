//! The root context: configuration, ticks and answers of the sidecar.

use std::cell::RefCell;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;
use wardgate_core::base64url;
use wardgate_core::config::plugin::{Feed, MAX_CONFIGURATION_BYTES, PluginConfig};
use wardgate_core::config::{Problem, Problems};
use wardgate_core::feed::live::{Ask, Now};
use wardgate_core::gate::{Around, Environment, Gate, Seed};
use wardgate_core::secret::Secret;
use wardgate_core::wire::mac::{MIN_SECRET_BYTES, RequestParts};
use wardgate_core::wire::{AUDIT_PATH, AuditAnswer, UNKNOWN_KEY_PATH};

use crate::audit;
use crate::feed;
use crate::host::{self, Buffer, Level};
use crate::memory::HostMemory;
use crate::metrics::Metrics;
use crate::request::Stream;
use crate::sidecar::{Purpose, Sidecar};
use crate::signatures::HostSignatures;
use crate::state::{Shared, State};

/// Time between two ticks: so long it takes at most until a change that one VM has written is known
/// to the others.
const TICK_MILLISECONDS: u32 = 10;
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
        answered(&self.shared, token, fields, body);
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, _bytes: usize) -> bool {
        match configure() {
            Ok(mut state) => {
                state.begin();
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

    fn create_http_context(&self, _context: u32) -> Option<Box<dyn HttpContext>> {
        let shared = Rc::clone(&self.shared);
        Some(Box::new(Stream { shared, answer_headers: Vec::new() }))
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
    let seed = Seed([random()?, random()?, random()?, random()?].map(u64::from_ne_bytes));
    let audit = config.feed.as_ref().map(|feed| audit::shared(feed, &config.limits)).transpose()?;
    let sidecar = config.feed.clone().map(sidecar).transpose();
    let member = match &sidecar {
        Ok(Some(sidecar)) => Some(feed::shared(&sidecar.feed, sidecar.secret())?),
        Ok(None) | Err(_) => None,
    };
    let environment = Environment::new(|name| std::env::var(name).ok());
    let gate = Gate::new(&config, environment, seed, Around { audit, feed: member.clone() });
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
    let metrics = Metrics::default();
    Ok(State { gate, signatures, sidecar, member, metrics, requests: 0 })
}

fn sidecar(feed: Feed) -> Result<Sidecar, Problems> {
    let secret = std::env::var(&*feed.secret_env)
        .ok()
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

/// Takes the answer to a call.
fn answered(shared: &Shared, token: u32, fields: usize, body_bytes: usize) {
    let Ok(mut shared) = shared.try_borrow_mut() else { return };
    let Some(state) = shared.as_mut() else { return };
    let Some(sidecar) = &mut state.sidecar else { return };
    let Some((purpose, body)) = sidecar.answered(token, fields, body_bytes) else { return };
    if let Some(now) = feed::now() {
        state.gate.advance(now.monotonic);
        state.take_answer(purpose, body, now);
        state.take_settings();
    }
}

impl State {
    /// Reads what other VMs have left. Nothing is asked yet: a proxy configures a VM that it throws
    /// away again, and whose lease everyone would have to wait for.
    fn begin(&mut self) {
        let Some(now) = feed::now() else { return };
        self.gate.advance(now.monotonic);
        if let Some(member) = &self.member {
            feed::catch_up(member);
        }
        self.take_settings();
    }

    /// Does what is due.
    fn tick(&mut self) {
        let Some(now) = feed::now() else { return };
        self.gate.advance(now.monotonic);
        self.give_up(now);
        self.follow(now);
        self.take_settings();
        self.tell_unknown_keys();
        self.ask_for_leases();
        self.deliver(now.monotonic);
        self.metrics.update(&self.gate, now.monotonic);
        self.update_feed_metrics();
    }

    /// Ends the wait for answers that will not come.
    fn give_up(&mut self, now: Now) {
        let Some(sidecar) = &mut self.sidecar else { return };
        for purpose in sidecar.give_up(now.monotonic) {
            self.take_answer(purpose, None, now);
        }
    }

    fn follow(&mut self, now: Now) {
        let requests = self.gate.requests();
        let serves = requests != self.requests;
        self.requests = requests;
        let asks = self
            .member
            .as_ref()
            .and_then(|member| Some(member.try_borrow_mut().ok()?.tick(&HostMemory, now, serves)));
        self.ask(asks.unwrap_or_default(), now);
    }

    /// Asks the sidecar what the feed wants to know.
    fn ask(&mut self, asks: Vec<Ask>, now: Now) {
        for ask in asks {
            let Some(sidecar) = &mut self.sidecar else { return };
            let parts = RequestParts { method: "GET", path: &ask.path, body: b"" };
            if sidecar.call(Purpose::Feed(ask.id), parts, ask.wait_milliseconds).is_err() {
                // What it asks in place of it comes with a tick: not before the time to try again.
                self.metrics.call_failed();
                self.member_answered(ask.id, None, now);
            }
        }
    }

    fn member_answered(&self, id: u64, body: Option<&[u8]>, now: Now) -> Vec<Ask> {
        let member = self.member.as_ref().and_then(|member| member.try_borrow_mut().ok());
        member.map(|mut member| member.answered(&HostMemory, id, body, now)).unwrap_or_default()
    }

    fn take_settings(&mut self) {
        for problem in self.gate.take_settings() {
            host::log(Level::Error, &format!("wardgate: {problem}"));
        }
    }

    /// Tells the sidecar of keys that issuers seem to have made lately. What comes of it comes with
    /// the settings.
    fn tell_unknown_keys(&mut self) {
        for unknown in self.gate.take_unknown_keys() {
            let Some(sidecar) = &mut self.sidecar else { return };
            let body = serde_json::to_vec(&unknown).unwrap_or_default();
            let parts = RequestParts { method: "POST", path: UNKNOWN_KEY_PATH, body: &body };
            if sidecar.call(Purpose::UnknownKey, parts, 0).is_err() {
                self.metrics.call_failed();
            }
        }
    }

    fn update_feed_metrics(&mut self) {
        let member = self.member.as_ref().and_then(|member| member.try_borrow_mut().ok());
        if let (Some(mut member), Ok(time)) = (member, host::now_nanoseconds()) {
            self.metrics.update_feed(&mut member, time / 1_000_000);
        }
    }

    fn deliver(&mut self, now: u64) {
        let Some(sidecar) = &mut self.sidecar else { return };
        if now < sidecar.next_delivery_nanoseconds || sidecar.is_calling(Purpose::Audit) {
            return;
        }
        sidecar.next_delivery_nanoseconds = now.saturating_add(DELIVERY_NANOSECONDS);
        let Some(audit) = self.gate.audit() else { return };
        let Ok(time) = host::now_nanoseconds() else { return };
        let Ok(mut audit) = audit.try_borrow_mut() else { return };
        let Some(body) = audit.next_delivery(time / 1_000_000) else { return };
        let parts = RequestParts { method: "POST", path: AUDIT_PATH, body: &body };
        if sidecar.call(Purpose::Audit, parts, 0).is_err() {
            sidecar.next_delivery_nanoseconds = now.saturating_add(RETRY_NANOSECONDS);
            self.metrics.call_failed();
        }
    }

    fn take_answer(&mut self, purpose: Purpose, body: Option<Vec<u8>>, now: Now) {
        let understood = match purpose {
            Purpose::Feed(id) => {
                let asks = self.member_answered(id, body.as_deref(), now);
                self.ask(asks, now);
                body.map(drop)
            }
            Purpose::Audit => self.take_acknowledgement(body, now.monotonic),
            Purpose::UnknownKey => body.map(drop),
            Purpose::RateLeases => self.take_leases(body.as_deref()),
        };
        if understood.is_none() {
            self.metrics.call_failed();
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
}

impl Drop for State {
    /// The answers to what is on its way go with the configuration: the next one must not wait for
    /// them before it asks again.
    fn drop(&mut self) {
        let purposes = self.sidecar.as_mut().map(Sidecar::give_up_all).unwrap_or_default();
        let Some(now) = feed::now() else { return };
        for purpose in purposes {
            if let Purpose::Feed(id) = purpose {
                self.member_answered(id, None, now);
            }
        }
    }
}
