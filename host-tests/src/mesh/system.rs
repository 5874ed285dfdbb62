//! Sidecars, Envoys and the links between them, made from a few numbers.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Cut, Link, Target, Trio, redis::hold};
use crate::envoy::{
    Envoy,
    bootstrap::{Listener, balanced_cluster, bootstrap, wardgate},
    client::Request,
    issuer::{Algorithm, Issuer},
    sidecar::{FEED_SECRET, SIDECAR_CLUSTER, Sidecar, free_address},
    wait::wait_until,
    wasm_file,
};
use crate::network::Network;

/// What the gate itself answers: 200 once it has heard a sidecar.
const HEALTH_PATH: &str = "/.wardgate/healthz";
/// Compiling and loading take a second; a machine with a full load takes many times that.
const PATIENCE: Duration = Duration::from_mins(1);
/// Looks at the health of a gate, each on a connection of its own.
const LOOKS: usize = 24;
/// The listener of every Envoy.
const GATE: &str = "gate";

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Sidecars; more than one share a Redis of three with Sentinels.
    pub sidecars: usize,
    /// Whether a single sidecar uses that Redis too.
    pub redis: bool,
    /// Envoys.
    pub envoys: usize,
    /// Workers of each Envoy.
    pub workers: u32,
    /// How long a gate goes on unheard, in seconds.
    pub max_stale_seconds: u64,
    /// Whether Envoys reach sidecars by links that can be cut; they cost time.
    pub links: bool,
}

/// The running system; everything ends when it is dropped.
pub struct System {
    layout: Layout,
    envoys: Vec<Gate>,
    sidecars: Vec<Sidecar>,
    trio: Option<Trio>,
    internal: Vec<SocketAddr>,
    policy: Value,
    /// Who signs the tokens of the tests.
    pub issuer: Arc<Issuer>,
    directory: TempDir,
    /// Last, so that it goes after all that runs in it.
    network: Option<Network>,
}

/// An Envoy, with its links to each sidecar.
struct Gate {
    envoy: Option<Envoy>,
    address: SocketAddr,
    links: Vec<Link>,
    /// Where it finds the sidecars.
    sidecars: Vec<SocketAddr>,
}

impl System {
    /// Starts everything and waits until every gate is ready.
    ///
    /// # Errors
    ///
    /// When something does not start.
    pub fn start(layout: Layout) -> Result<Self> {
        Self::build(layout, None, |_| {})
    }

    /// The same with a policy that is changed before anything starts.
    ///
    /// # Errors
    ///
    /// When something does not start.
    pub fn start_with(layout: Layout, change: impl FnOnce(&mut Value)) -> Result<Self> {
        Self::build(layout, None, change)
    }

    /// The same with each sidecar and each Redis server at a place of its own in this network. Envoys
    /// stay outside, and reach the sidecars by links to their sockets.
    ///
    /// # Errors
    ///
    /// When something does not start.
    pub fn start_in(network: Network, layout: Layout) -> Result<Self> {
        ensure!(layout.links, "only by links do Envoys reach into another network");
        Self::build(layout, Some(network), |_| {})
    }

    fn build(
        layout: Layout,
        mut network: Option<Network>,
        change: impl FnOnce(&mut Value),
    ) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("wardgate-mesh-").tempdir()?;
        let issuer = Arc::new(Issuer::generate("https://login.example.com")?);
        let mut policy = policy(&issuer);
        change(&mut policy);
        let trio = (layout.sidecars > 1 || layout.redis).then(|| Trio::start(network.as_mut()));
        let trio = trio.transpose()?;
        let mut system = Self {
            layout,
            envoys: Vec::new(),
            sidecars: Vec::new(),
            trio,
            internal: Vec::new(),
            policy,
            issuer,
            directory,
            network,
        };
        let internal = (0..layout.sidecars)
            .map(|number| system.add_sidecar(number))
            .collect::<Result<Vec<_>>>()?;
        system.internal.clone_from(&internal);
        for _ in 0..layout.envoys {
            let links = system.links()?;
            let sidecars = if layout.links {
                links.iter().map(Link::address).collect()
            } else {
                internal.clone()
            };
            system.envoys.push(Gate { envoy: None, address: free_address()?, links, sidecars });
        }
        for number in 0..layout.envoys {
            system.start_envoy(number)?;
        }
        Ok(system)
    }

    fn add_sidecar(&mut self, number: usize) -> Result<SocketAddr> {
        let directory = self.directory.path().join(format!("sidecar-{number}"));
        let mut sidecar = match self.sidecars.first() {
            Some(first) => first.beside(&directory)?,
            None => Sidecar::init(&directory, None, Some(&self.policy.to_string()))?,
        };
        if let Some(trio) = &self.trio {
            sidecar.store_in_redis(&trio.section())?;
        }
        if let Some(network) = &mut self.network {
            sidecar.move_to(network.add()?)?;
        }
        let internal = sidecar.listen_internally()?;
        sidecar.start()?;
        self.sidecars.push(sidecar);
        Ok(internal)
    }

    /// Links for one more Envoy to all sidecars, if it is to have some.
    fn links(&self) -> Result<Vec<Link>> {
        let sidecars = if self.layout.links { self.sidecars.as_slice() } else { &[] };
        let socket = |sidecar: &Sidecar| sidecar.directory().join("run/internal.sock");
        sidecars.iter().map(|sidecar| Link::to(Target::Socket(socket(sidecar)))).collect()
    }

    /// Starts an Envoy (again), on its port, and waits until its gate is ready.
    ///
    /// # Errors
    ///
    /// When it does not become so.
    pub fn start_envoy(&mut self, number: usize) -> Result<()> {
        let secret = self.sidecars.first().context("no sidecar")?.feed_secret()?;
        let work = self.directory.path().join(format!("envoy-{number}"));
        std::fs::create_dir_all(&work)?;
        let max_stale = self.layout.max_stale_seconds;
        let gate = self.envoys.get_mut(number).context("no such Envoy")?;
        let configuration = configuration(&self.policy, max_stale);
        let envoy = start(gate, &configuration, &secret, self.layout.workers, &work)?;
        gate.envoy = Some(envoy);
        let address = gate.address;
        // Each connection is another worker's, by chance: all of them must have heard.
        let is_ready =
            || Request::get(HEALTH_PATH).send(address).is_ok_and(|answer| answer.status == 200);
        wait_until("the gate to be ready", PATIENCE, || Ok((0..LOOKS).all(|_| is_ready())))
            .with_context(|| format!("Envoy {number}: {}", self.logs()))
    }

    /// Kills an Envoy.
    pub fn kill_envoy(&mut self, number: usize) {
        if let Some(gate) = self.envoys.get_mut(number) {
            gate.envoy = None;
        }
    }

    /// Cuts or heals the links of one Envoy to all sidecars.
    pub fn cut_envoy(&self, number: usize, cut: Cut) {
        let links = self.envoys.get(number).map(|gate| gate.links.as_slice());
        links.into_iter().flatten().for_each(|link| link.set(cut));
    }

    /// Cuts or heals the links of all Envoys to one sidecar.
    pub fn cut_sidecar(&self, number: usize, cut: Cut) {
        self.envoys.iter().filter_map(|gate| gate.links.get(number)).for_each(|link| link.set(cut));
    }

    /// Parts a sidecar from Redis and the other sidecars; all Envoys still reach it.
    ///
    /// # Errors
    ///
    /// When there is no network.
    pub fn part_sidecar(&self, number: usize) -> Result<()> {
        let sidecar = self.sidecars.get(number).context("no such sidecar")?;
        self.network.as_ref().context("no network")?.part([sidecar.place()])
    }

    /// Parts the system in two: the master of Redis, the sidecar and the Envoy of this number, and
    /// everybody else.
    ///
    /// # Errors
    ///
    /// When there is no network, or no master.
    pub fn part_master(&self, number: usize) -> Result<()> {
        let sidecar = self.sidecars.get(number).context("no such sidecar")?;
        let master = self.trio.as_ref().context("no Redis")?.master()?;
        for (envoy, gate) in self.envoys.iter().enumerate() {
            let links = gate.links.iter().enumerate();
            let over = links.filter(|(sidecar, _)| (*sidecar == number) != (envoy == number));
            over.for_each(|(_, link)| link.set(Cut::Closed));
        }
        let places = [sidecar.place(), master.place()];
        self.network.as_ref().context("no network")?.part(places)
    }

    /// All hear all again.
    ///
    /// # Errors
    ///
    /// When there is no network.
    pub fn heal_network(&self) -> Result<()> {
        let links = self.envoys.iter().flat_map(|gate| &gate.links);
        links.for_each(|link| link.set(Cut::Healed));
        self.network.as_ref().context("no network")?.heal()
    }

    /// Stops a sidecar where it stands, or lets it go on.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn hold_sidecar(&self, number: usize, held: bool) -> Result<()> {
        let sidecar = self.sidecars.get(number).context("no such sidecar")?;
        hold(sidecar.process_id().context("it does not run")?, held)
    }

    /// A sidecar.
    ///
    /// # Errors
    ///
    /// When there is no such one.
    pub fn sidecar(&mut self, number: usize) -> Result<&mut Sidecar> {
        self.sidecars.get_mut(number).context("no such sidecar")
    }

    /// All sidecars.
    pub fn sidecars(&self) -> &[Sidecar] {
        &self.sidecars
    }

    /// Where their internal listeners are, beside their sockets.
    pub fn internal_addresses(&self) -> &[SocketAddr] {
        &self.internal
    }

    /// The sockets of their admin listeners.
    pub fn admin_sockets(&self) -> Vec<PathBuf> {
        self.sidecars.iter().map(|sidecar| sidecar.directory().join("run/admin.sock")).collect()
    }

    /// The Redis, if there is one.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn redis(&mut self) -> Result<&mut Trio> {
        self.trio.as_mut().context("no Redis")
    }

    /// Where each Envoy listens.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.envoys.iter().map(|gate| gate.address).collect()
    }

    /// The running Envoys.
    pub fn envoys(&self) -> impl Iterator<Item = &Envoy> {
        self.envoys.iter().filter_map(|gate| gate.envoy.as_ref())
    }

    /// A token of a viewer with these further claims.
    ///
    /// # Errors
    ///
    /// When it cannot be signed.
    pub fn token(&self, subject: &str, more: &Value) -> Result<String> {
        viewer_token(&self.issuer, subject, more)
    }

    /// The ends of all logs, for a failure.
    pub fn logs(&self) -> String {
        let sidecars = self.sidecars.iter().map(Sidecar::log);
        let envoys = self.envoys().map(Envoy::log);
        sidecars.chain(envoys).collect::<Vec<_>>().join("\n--- next ---\n")
    }
}

/// A token of a viewer of this issuer.
pub(crate) fn viewer_token(issuer: &Issuer, subject: &str, more: &Value) -> Result<String> {
    let mut claims = json!({"roles": ["viewer"]});
    if let (Some(claims), Some(more)) = (claims.as_object_mut(), more.as_object()) {
        claims.extend(more.clone());
    }
    issuer.token(Algorithm::Es256, subject, &claims)
}

fn start(
    gate: &Gate,
    configuration: &Value,
    secret: &str,
    workers: u32,
    work: &Path,
) -> Result<Envoy> {
    let filters = vec![wardgate(&wasm_file()?, configuration, &[FEED_SECRET])];
    // Envoy answers itself: an upstream would only take time from what is looked at.
    let listener = Listener { name: GATE, filters, cluster: "", access_log: None, hardened: true };
    let mut listener = listener.to_json();
    if let Some(port) = listener.pointer_mut("/address/socket_address/port_value") {
        *port = gate.address.port().into();
    }
    let clusters = [balanced_cluster(SIDECAR_CLUSTER, &gate.sidecars)];
    let builder = Envoy::builder(&bootstrap(&[listener], &clusters));
    builder.environment(FEED_SECRET, secret).concurrency(workers).directory(work).start()
}

fn configuration(policy: &Value, max_stale_seconds: u64) -> Value {
    let feed = json!({
        "cluster": SIDECAR_CLUSTER, "secret_env": FEED_SECRET,
        "max_stale_seconds": max_stale_seconds,
    });
    // Revoked credentials are shown again and again here, all from one address.
    json!({"policy": policy, "feed": feed, "failure_limit": {"failures": 0}})
}

/// One route for viewers.
fn policy(issuer: &Issuer) -> Value {
    json!({
        "version": 1,
        "issuers": [{
            "name": "corp", "issuer": issuer.name(), "audiences": ["api"], "jwks": issuer.jwks(),
            "algorithms": ["ES256"], "claims": {"roles": ["roles"]}, "may_claim_roles": ["viewer"],
        }],
        "roles": {"viewer": {"permissions": ["read"]}},
        "routes": [{
            "name": "read", "match": {"methods": ["GET"], "path": "/things/{id}"},
            "credentials": ["jwt", "api_key"], "require": {"all": ["read"]},
        }],
        "default": "deny",
    })
}
