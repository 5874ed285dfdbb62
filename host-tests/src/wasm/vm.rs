//! One VM: start, callbacks, time, and what a test may see of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use anyhow::{Result, anyhow, bail};
use wasmtime::{Instance, Store, Val};

use super::abi::{Headers, lower_names};
use super::artifact::{Artifact, artifact};
use super::cost::{Cost, Costs, SharedUse};
use super::state::{Root, Setup, State};
use super::stream::{Outcome, Progress, Request, Stream, StreamId};
use super::world::World;

/// Fuel of one callback of a request; about one unit per wasm instruction, so a second of work.
/// An endless loop traps instead of hanging the test.
const CALLBACK_FUEL: u64 = 2_000_000_000;
/// Fuel of start and configuration, which parse policies and keys.
const START_FUEL: u64 = 100_000_000_000;
/// Finished streams whose filter state can still be asked for.
const KEPT_STREAMS: usize = 64;

/// A VM of one worker of an Envoy process.
pub struct Vm {
    setup: Arc<Setup>,
    world: Arc<Mutex<World>>,
    configuration: Vec<u8>,
    pub(super) store: Store<State>,
    pub(super) instance: Instance,
    pub(super) root: u32,
    next_context: u32,
    pub(super) trap: Option<String>,
    pub(super) fuel_used: u64,
    pub(super) costs: Costs,
    pub(super) finished: BTreeMap<StreamId, Stream>,
    pub(super) hung: Vec<StreamId>,
    pub(super) generation: u64,
}

/// How a callback ended.
pub(super) enum Ran {
    Returned(u32),
    NotCalled,
    Trapped,
}

impl Vm {
    pub(super) fn start(
        setup: Arc<Setup>,
        world: Arc<Mutex<World>>,
        configuration: Vec<u8>,
        first_context: u32,
    ) -> Result<Self> {
        // Each VM of a process has randomness of its own.
        let generation = {
            let mut world = world.lock().map_err(|_| anyhow!("a VM died in a host call"))?;
            world.next_generation()
        };
        let (store, instance) = instantiate(artifact()?, &setup, &world, generation)?;
        let mut vm = Self {
            setup,
            world,
            configuration: Vec::new(),
            store,
            instance,
            root: 0,
            next_context: first_context,
            trap: None,
            fuel_used: 0,
            costs: Costs::default(),
            finished: BTreeMap::new(),
            hung: Vec::new(),
            generation,
        };
        vm.initialize()?;
        vm.configure(configuration)?;
        Ok(vm)
    }

    fn initialize(&mut self) -> Result<()> {
        let start = self.instance.get_func(&mut self.store, "_initialize");
        if let Some(start) = start {
            start.call(&mut self.store, &[], &mut []).map_err(|error| anyhow!("{error:?}"))?;
        }
        self.store.data_mut().initialized = true;
        Ok(())
    }

    /// Configures the plugin anew, as an ECDS update does: a new root context in the same VM. New
    /// streams go to it; an open one stays with the root context that it began with.
    ///
    /// # Errors
    ///
    /// When the VM refuses the configuration, which Envoy answers with a NACK; the old one stays.
    pub fn reconfigure(&mut self, configuration: &serde_json::Value) -> Result<()> {
        self.configure(configuration.to_string().into_bytes())
    }

    fn configure(&mut self, configuration: Vec<u8>) -> Result<()> {
        let root = self.take_context();
        let size = u32::try_from(configuration.len())?;
        let vm_size = u32::try_from(self.setup.vm_configuration.len())?;
        let fresh =
            Root { configuration: configuration.clone(), tick_period: None, next_tick: None };
        self.store.data_mut().roots.insert(root, fresh);
        let steps = [
            ("proxy_on_context_create", 0, 1),
            ("proxy_on_vm_start", vm_size, 0),
            ("proxy_on_configure", size, 0),
        ];
        for (step, argument, accepted_anyway) in steps {
            match self.run_with(START_FUEL, root, step, &[argument]) {
                Ran::Returned(answer) if answer.max(accepted_anyway) == 1 => {}
                Ran::NotCalled => {}
                Ran::Returned(_) => {
                    self.drop_root(root);
                    bail!("{step} refused: {}", self.log_text());
                }
                Ran::Trapped => bail!(
                    "{step} trapped: {} {}",
                    self.trap.clone().unwrap_or_default(),
                    self.log_text()
                ),
            }
        }
        let old = std::mem::replace(&mut self.root, root);
        self.configuration = configuration;
        self.drop_root_without_streams(old);
        Ok(())
    }

    fn drop_root_without_streams(&mut self, root: u32) {
        let state = self.store.data();
        let in_use = state.streams.values().any(|stream| stream.root == root);
        if root != 0 && root != self.root && state.roots.contains_key(&root) && !in_use {
            self.drop_root(root);
        }
    }

    fn drop_root(&mut self, root: u32) {
        self.run(root, "proxy_on_done", &[]);
        self.run(root, "proxy_on_delete", &[]);
        let state = self.store.data_mut();
        state.roots.remove(&root);
        // A call belongs to its root context and is cancelled with it.
        state.calls.retain(|_, call| call.root != root);
    }

    /// Starts another worker's VM in the same process: same clock, shared data and metrics.
    ///
    /// # Errors
    ///
    /// As [`super::Host::start`].
    pub fn another_worker(&self) -> Result<Self> {
        Self::start(self.setup.clone(), self.world.clone(), self.configuration.clone(), 1)
    }

    /// What `FAIL_RELOAD` does: a new VM in place of a dead one. Streams that were paused hang.
    ///
    /// # Errors
    ///
    /// As [`super::Host::start`].
    pub fn restart_after_trap(&mut self) -> Result<()> {
        // Stream ids stay unique over restarts.
        let (setup, world) = (self.setup.clone(), self.world.clone());
        let mut fresh = Self::start(setup, world, self.configuration.clone(), self.next_context)?;
        fresh.hung = std::mem::take(&mut self.hung);
        fresh.hung.extend(self.store.data().streams.keys().copied().map(StreamId));
        fresh.finished = std::mem::take(&mut self.finished);
        fresh.costs = std::mem::take(&mut self.costs);
        *self = fresh;
        Ok(())
    }

    fn take_context(&mut self) -> u32 {
        let id = self.next_context;
        self.next_context = id.saturating_add(1);
        id
    }

    pub(super) fn run(&mut self, context: u32, name: &'static str, arguments: &[u32]) -> Ran {
        self.run_with(CALLBACK_FUEL, context, name, arguments)
    }

    /// Calls a callback on a context, unless it is restricted, missing, or the VM is dead.
    fn run_with(&mut self, fuel: u64, context: u32, name: &'static str, arguments: &[u32]) -> Ran {
        if self.trap.is_some() {
            return Ran::Trapped;
        }
        let allowed = self.store.data().faults.allows(name);
        let export = self.instance.get_func(&mut self.store, name);
        let Some(export) = export.filter(|_| allowed) else { return Ran::NotCalled };
        let state = self.store.data_mut();
        state.current = context;
        state.effective = 0;
        state.shared = SharedUse::default();
        let all: Vec<Val> = std::iter::once(&context)
            .chain(arguments)
            .map(|argument| Val::I32(argument.cast_signed()))
            .collect();
        let results = export.ty(&self.store).results().len();
        let mut results = vec![Val::I32(0); results];
        let fuelled = self.store.set_fuel(fuel);
        let ended = fuelled.and_then(|()| export.call(&mut self.store, &all, &mut results));
        self.fuel_used = fuel.saturating_sub(self.store.get_fuel().unwrap_or(0));
        self.costs.add(name, Cost { fuel: self.fuel_used, shared: self.store.data().shared });
        if let Err(error) = ended {
            self.trap = Some(format!("{error:?}"));
            self.store.data_mut().deferred.clear();
            return Ran::Trapped;
        }
        let answer = results.first().and_then(Val::i32).map_or(0, i32::cast_unsigned);
        Ran::Returned(answer)
    }

    pub(super) fn perform(&mut self) {
        self.store.data_mut().perform_deferred();
    }

    /// Sends a request and, unless it pauses, ends its stream.
    pub fn request(&mut self, request: Request) -> Outcome {
        let stream = self.open(request);
        let outcome = self.outcome(stream);
        if outcome != Outcome::Paused {
            self.close(stream);
        }
        outcome
    }

    /// Sends the headers of a request; the stream stays open.
    pub fn open(&mut self, request: Request) -> StreamId {
        let id = self.take_context();
        let count = u32::try_from(request.headers.len()).unwrap_or(u32::MAX);
        let end_of_stream = u32::from(request.end_of_stream);
        let stream = Stream::new(self.root, id, request);
        let root = self.root;
        self.store.data_mut().streams.insert(id, stream);
        self.run(id, "proxy_on_context_create", &[root]);
        self.set_open(id, true);
        let ran = self.run(id, "proxy_on_request_headers", &[count, end_of_stream]);
        self.perform_headers(id, &ran);
        StreamId(id)
    }

    fn set_open(&mut self, id: u32, open: bool) {
        if let Some(stream) = self.store.data_mut().streams.get_mut(&id) {
            stream.open.request_headers = open;
        }
    }

    fn perform_headers(&mut self, id: u32, ran: &Ran) {
        let state = self.store.data_mut();
        let answers = state.has_local_response(id);
        let Some(stream) = state.streams.get_mut(&id) else { return };
        match ran {
            // A local response stops the iteration whatever the callback returned.
            Ran::Returned(0) | Ran::NotCalled if !answers => {
                stream.progress = Progress::Forwarded;
                stream.open.request_headers = false;
            }
            Ran::Returned(_) | Ran::NotCalled => stream.progress = Progress::Paused,
            Ran::Trapped => stream.progress = Progress::Closed,
        }
        self.perform();
    }

    /// What became of a stream so far.
    pub fn outcome(&self, stream: StreamId) -> Outcome {
        let known = self.store.data().streams.get(&stream.0).or_else(|| self.finished.get(&stream));
        let outcome = known.map_or(Outcome::Failed { trap: None }, Stream::outcome);
        match outcome {
            Outcome::Failed { .. } => Outcome::Failed { trap: self.trap.clone() },
            Outcome::Forwarded { .. } | Outcome::Answered(_) | Outcome::Paused => outcome,
        }
    }

    /// Sends the trailers of a forwarded request; answers them as the upstream gets them.
    pub fn trailers(&mut self, stream: StreamId, trailers: Headers) -> Headers {
        let count = u32::try_from(trailers.len()).unwrap_or(u32::MAX);
        self.with_stream(stream, |known| {
            known.request_trailers = Some(lower_names(trailers));
            known.open.trailers = true;
        });
        self.run(stream.0, "proxy_on_request_trailers", &[count]);
        self.perform();
        let mut left = Headers::new();
        self.with_stream(stream, |known| {
            known.open.trailers = false;
            left = known.request_trailers.clone().unwrap_or_default();
        });
        left
    }

    /// Sends the headers of the upstream's response; answers them as the client gets them.
    pub fn response(&mut self, stream: StreamId, headers: Headers) -> Headers {
        let count = u32::try_from(headers.len()).unwrap_or(u32::MAX);
        self.with_stream(stream, |known| {
            known.response_headers = Some(lower_names(headers));
            known.open.response_headers = true;
        });
        self.run(stream.0, "proxy_on_response_headers", &[count, 1]);
        self.perform();
        let mut left = Headers::new();
        self.with_stream(stream, |known| {
            known.open.response_headers = false;
            left = known.response_headers.clone().unwrap_or_default();
        });
        left
    }

    fn with_stream(&mut self, stream: StreamId, change: impl FnOnce(&mut Stream)) {
        if let Some(known) = self.store.data_mut().streams.get_mut(&stream.0) {
            change(known);
        }
    }

    /// Ends a stream: done, log, delete. A paused one is a client that went away.
    pub fn close(&mut self, stream: StreamId) {
        for step in ["proxy_on_done", "proxy_on_log", "proxy_on_delete"] {
            self.run(stream.0, step, &[]);
            self.perform();
        }
        if let Some(known) = self.store.data_mut().streams.remove(&stream.0) {
            let root = known.root;
            self.finished.insert(stream, known);
            self.drop_root_without_streams(root);
        }
        while self.finished.len() > KEPT_STREAMS {
            self.finished.pop_first();
        }
    }
}

fn instantiate(
    artifact: &Artifact,
    setup: &Arc<Setup>,
    world: &Arc<Mutex<World>>,
    generation: u64,
) -> Result<(Store<State>, Instance)> {
    let state = State::new(setup.clone(), world.clone(), generation);
    let mut store = Store::new(&artifact.engine, state);
    store.limiter(|state| &mut state.limits);
    store.set_fuel(START_FUEL).map_err(|error| anyhow!("{error:?}"))?;
    let instance = artifact.linked.instantiate(&mut store).map_err(|error| anyhow!("{error:?}"))?;
    Ok((store, instance))
}
