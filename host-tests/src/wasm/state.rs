//! What the host keeps for one VM: its contexts, streams, calls and the controls of a test.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wasmtime::{StoreLimits, StoreLimitsBuilder};

use super::abi::{Headers, MapKind, Status};
use super::call::{HttpAnswer, HttpCall};
use super::cost::SharedUse;
use super::faults::Faults;
use super::stream::{LocalResponse, Progress, Stream};
use super::world::World;

/// Most linear memory of one VM, as Envoy allows it (`PROXY_WASM_HOST_MAX_WASM_MEMORY_SIZE_BYTES`).
const MAX_MEMORY_BYTES: usize = 1024 * 1024 * 1024;

/// What does not change while a VM lives.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) name: String,
    pub(super) vm_id: String,
    pub(super) root_id: String,
    pub(super) vm_configuration: Vec<u8>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) clusters: BTreeSet<String>,
    pub(super) capabilities: Option<BTreeSet<String>>,
    pub(super) log_level: u32,
    pub(super) verify_signature: bool,
    pub(super) seed: u64,
}

/// One plugin configuration in the VM.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) configuration: Vec<u8>,
    pub(super) tick_period: Option<Duration>,
    pub(super) next_tick: Option<Duration>,
}

/// What a callback asked for and the host does when the callback has ended.
#[derive(Debug)]
pub(super) enum Deferred {
    Respond(u32, LocalResponse),
    Continue(u32, u32),
    Close(u32),
}

/// One line that the VM logged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogLine {
    /// 0 trace, 1 debug, 2 info, 3 warning, 4 error, 5 critical.
    pub level: u32,
    /// The text, bytes outside of UTF-8 replaced.
    pub text: String,
}

/// The host's side of one VM.
pub(super) struct State {
    pub(super) world: Arc<Mutex<World>>,
    pub(super) setup: Arc<Setup>,
    /// Before `_initialize` has ended only logging is allowed.
    pub(super) initialized: bool,
    pub(super) roots: BTreeMap<u32, Root>,
    pub(super) streams: BTreeMap<u32, Stream>,
    pub(super) current: u32,
    pub(super) effective: u32,
    pub(super) calls: BTreeMap<u32, HttpCall>,
    pub(super) next_token: u32,
    /// The answer whose callback is running.
    pub(super) answer: Option<HttpAnswer>,
    pub(super) last_status: (u32, Vec<u8>),
    pub(super) deferred: Vec<Deferred>,
    pub(super) logs: Vec<LogLine>,
    pub(super) console: Vec<u8>,
    pub(super) misuse: Vec<String>,
    pub(super) faults: Faults,
    pub(super) calls_fail: bool,
    pub(super) random: u64,
    pub(super) limits: StoreLimits,
    /// What the callback that runs has done with shared data.
    pub(super) shared: SharedUse,
}

impl State {
    pub(super) fn new(setup: Arc<Setup>, world: Arc<Mutex<World>>, generation: u64) -> Self {
        let mut faults = Faults::default();
        if let Some(allowed) = &setup.capabilities {
            faults.restrict(allowed.clone());
        }
        Self {
            random: setup.seed ^ generation.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            world,
            setup,
            initialized: false,
            roots: BTreeMap::new(),
            streams: BTreeMap::new(),
            current: 0,
            effective: 0,
            calls: BTreeMap::new(),
            next_token: 1,
            answer: None,
            last_status: (0, Vec::new()),
            deferred: Vec::new(),
            logs: Vec::new(),
            console: Vec::new(),
            misuse: Vec::new(),
            faults,
            calls_fail: false,
            limits: StoreLimitsBuilder::new().memory_size(MAX_MEMORY_BYTES).build(),
            shared: SharedUse::default(),
        }
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The context that a host call acts on: the effective one while it lives, else the called one.
    pub(super) fn context(&self) -> u32 {
        let chosen = self.effective != 0 && self.has_context(self.effective);
        if chosen { self.effective } else { self.current }
    }

    pub(super) fn has_context(&self, id: u32) -> bool {
        self.roots.contains_key(&id) || self.streams.contains_key(&id)
    }

    /// The stream that a host call acts on, if it acts on one.
    pub(super) fn stream(&mut self) -> Option<&mut Stream> {
        let id = self.context();
        self.streams.get_mut(&id)
    }

    /// The root context that a host call acts on: itself or that of its stream.
    pub(super) fn root_id(&self) -> u32 {
        let id = self.context();
        self.streams.get(&id).map_or(id, |stream| stream.root)
    }

    /// The header list of this kind; `None` where Envoy holds no such list at this moment.
    pub(super) fn map(&mut self, kind: MapKind) -> Option<&mut Headers> {
        match kind {
            MapKind::RequestHeaders => {
                self.stream().filter(|stream| stream.open.request_headers)?.request_headers.as_mut()
            }
            MapKind::RequestTrailers => {
                self.stream().filter(|stream| stream.open.trailers)?.request_trailers.as_mut()
            }
            MapKind::ResponseHeaders => self
                .stream()
                .filter(|stream| stream.open.response_headers)?
                .response_headers
                .as_mut(),
            MapKind::ResponseTrailers => None,
            MapKind::CallHeaders => self.answer.as_mut()?.headers_mut(),
            MapKind::CallTrailers => self.answer.as_mut()?.trailers_mut(),
        }
    }

    /// The bytes of this buffer; `None` where Envoy holds no such buffer at this moment.
    pub(super) fn buffer(&self, kind: u32) -> Option<&[u8]> {
        match kind {
            4 => self.answer.as_ref()?.body(),
            6 => Some(&self.setup.vm_configuration),
            7 => self.roots.get(&self.root_id()).map(|root| root.configuration.as_slice()),
            _ => None,
        }
    }

    pub(super) fn log(&mut self, level: u32, text: &[u8]) {
        self.logs.push(LogLine { level, text: String::from_utf8_lossy(text).into_owned() });
    }

    /// Random bytes that are the same in every run (splitmix64).
    pub(super) fn random_bytes(&mut self, size: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size.saturating_add(8));
        while bytes.len() < size {
            self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = self.random;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
        }
        bytes.truncate(size);
        bytes
    }

    /// Whether the callback that has just ended answers this stream.
    pub(super) fn has_local_response(&self, id: u32) -> bool {
        self.deferred.iter().any(|action| matches!(action, Deferred::Respond(to, _) if *to == id))
    }

    /// Does what the ended callback asked for, in its order.
    pub(super) fn perform_deferred(&mut self) {
        for action in std::mem::take(&mut self.deferred) {
            match action {
                Deferred::Respond(id, response) => self.respond(id, response),
                Deferred::Continue(id, kind) => self.go_on(id, kind),
                Deferred::Close(id) => {
                    if let Some(stream) = self.streams.get_mut(&id) {
                        stream.progress = Progress::Closed;
                    }
                }
            }
        }
    }

    fn respond(&mut self, id: u32, response: LocalResponse) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        match stream.progress {
            Progress::Deciding | Progress::Paused => {
                stream.open.request_headers = false;
                stream.progress = Progress::Answered(response);
            }
            Progress::Forwarded | Progress::Answered(_) | Progress::Closed => {
                // Envoy hangs the request or counts a second reply: never wanted.
                self.misuse.push(format!("local response on a finished stream {id}"));
            }
        }
    }

    fn go_on(&mut self, id: u32, kind: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        match stream.progress {
            Progress::Paused if kind == 0 => {
                stream.open.request_headers = false;
                stream.progress = Progress::Forwarded;
            }
            Progress::Deciding | Progress::Paused | Progress::Forwarded => {}
            Progress::Answered(_) | Progress::Closed => {
                self.misuse.push(format!("continue on an answered stream {id}"));
            }
        }
    }

    pub(super) fn refuse_unknown_cluster(&self, cluster: &[u8]) -> Result<String, Status> {
        let name = String::from_utf8(cluster.to_vec()).map_err(|_| Status::BAD_ARGUMENT)?;
        if self.setup.clusters.contains(&name) { Ok(name) } else { Err(Status::BAD_ARGUMENT) }
    }
}
