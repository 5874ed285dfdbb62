//! A real Envoy as a guard object: started on free ports, stopped when dropped, its log shown when
//! a test fails.

pub mod bootstrap;
pub mod client;
pub mod client_key;
pub mod desk;
mod engine;
pub mod grpc;
pub mod issuer;
pub mod sidecar;
pub mod wait;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::Value;
use tempfile::TempDir;

use self::{
    client::{Answer, Request},
    engine::{Engine, Process},
    wait::wait_for,
};

/// Compiling the filter takes about half a second; a machine with a full load takes many times that.
const START_DEADLINE: Duration = Duration::from_mins(1);
/// How much of the log is shown when something goes wrong.
const LOG_TAIL_BYTES: usize = 16 * 1024;

/// What to start; made by [`Envoy::builder`].
#[must_use]
pub struct Builder {
    bootstrap: String,
    file_name: &'static str,
    concurrency: u32,
    environment: Vec<(String, String)>,
    work: Option<PathBuf>,
    log_level: String,
    core: Option<usize>,
}

impl Builder {
    /// Sets how many workers serve requests; one unless said otherwise.
    pub fn concurrency(mut self, workers: u32) -> Self {
        self.concurrency = workers;
        self
    }

    /// Sets an environment variable, such as the feed secret.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Keeps configuration and logs in this directory instead of a temporary one.
    pub fn directory(mut self, directory: &Path) -> Self {
        self.work = Some(directory.to_owned());
        self
    }

    /// Sets the log level; `warning` unless said otherwise.
    pub fn log_level(mut self, level: &str) -> Self {
        level.clone_into(&mut self.log_level);
        self
    }

    /// Pins the process to one processor core, for measurements.
    pub fn core(mut self, core: usize) -> Self {
        self.core = Some(core);
        self
    }

    /// Starts Envoy and waits until it serves.
    ///
    /// # Errors
    ///
    /// When Envoy refuses the configuration or does not become ready; the text ends with its log.
    pub fn start(self) -> Result<Envoy> {
        let temporary = tempfile::Builder::new().prefix("wardgate-envoy-").tempdir()?;
        let work = self.work.clone().unwrap_or_else(|| temporary.path().to_owned());
        let engine = Engine::from_environment()?;
        let log = work.join("envoy.log");
        let address_file = work.join("admin-address");
        let _ = fs::remove_file(&address_file);
        let mut arguments = self.arguments(&work)?;
        arguments.extend(["--admin-address-path".to_owned(), address_file.display().to_string()]);
        arguments.extend(["--concurrency".to_owned(), self.concurrency.to_string()]);
        let output = File::create(&log)?;
        let mut process = engine.spawn(&arguments, &self.environment, &work, output, self.core)?;
        let admin = wait_for("Envoy to be ready", START_DEADLINE, || {
            if let Some(status) = process.exited()? {
                bail!("Envoy ended with {status}:\n{}", tail(&log));
            }
            Ok(ready_admin(&address_file))
        })
        .map_err(|error| error.context(format!("Envoy's log:\n{}", tail(&log))))?;
        let listeners = listener_addresses(admin)?;
        Ok(Envoy { process, admin, listeners, log, work, _temporary: temporary })
    }

    /// Lets Envoy judge the configuration without serving (`--mode validate`).
    ///
    /// # Errors
    ///
    /// What Envoy says against the configuration.
    pub fn validate(self) -> Result<()> {
        let work = tempfile::Builder::new().prefix("wardgate-envoy-").tempdir()?;
        let log = work.path().join("envoy.log");
        let mut arguments = self.arguments(work.path())?;
        arguments.extend(["--mode".to_owned(), "validate".to_owned()]);
        let mut process = Engine::from_environment()?.spawn(
            &arguments,
            &self.environment,
            work.path(),
            File::create(&log)?,
            None,
        )?;
        let status =
            wait_for("Envoy to judge the configuration", START_DEADLINE, || process.exited())?;
        if status.success() { Ok(()) } else { Err(anyhow!("{}", tail(&log))) }
    }

    fn arguments(&self, work: &Path) -> Result<Vec<String>> {
        let file = work.join(self.file_name);
        fs::write(&file, &self.bootstrap)?;
        let arguments = [
            "--config-path",
            &file.display().to_string(),
            "--log-level",
            &self.log_level,
            // Several Envoys run side by side; without this they would share memory by number.
            "--disable-hot-restart",
            // Counters are read by tests: no need to wait for the usual five seconds.
            "--file-flush-interval-msec",
            "50",
        ];
        Ok(arguments.map(ToOwned::to_owned).to_vec())
    }
}

/// A running Envoy; killed when dropped.
pub struct Envoy {
    process: Process,
    admin: SocketAddr,
    listeners: BTreeMap<String, SocketAddr>,
    log: PathBuf,
    work: PathBuf,
    _temporary: TempDir,
}

impl Envoy {
    /// Prepares an Envoy with this bootstrap configuration.
    pub fn builder(bootstrap: &Value) -> Builder {
        Self::of_text(bootstrap.to_string(), "envoy.json")
    }

    /// Prepares an Envoy with this bootstrap configuration in YAML.
    pub fn of_yaml(bootstrap: String) -> Builder {
        Self::of_text(bootstrap, "envoy.yaml")
    }

    fn of_text(bootstrap: String, file_name: &'static str) -> Builder {
        Builder {
            bootstrap,
            file_name,
            concurrency: 1,
            environment: Vec::new(),
            work: None,
            log_level: "warning".to_owned(),
            core: None,
        }
    }

    /// The address that the listener of this name got.
    ///
    /// # Errors
    ///
    /// When there is no such listener.
    pub fn listener(&self, name: &str) -> Result<SocketAddr> {
        self.listeners.get(name).copied().with_context(|| format!("no listener `{name}`"))
    }

    /// The address of the administration interface.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The process id, where Envoy runs as a process of this machine.
    pub fn process_id(&self) -> Option<u32> {
        self.process.id()
    }

    /// The directory of its configuration and log.
    pub fn directory(&self) -> &Path {
        &self.work
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        tail(&self.log)
    }

    /// Sends a request to the administration interface and gives the body of the answer.
    ///
    /// # Errors
    ///
    /// When it does not answer, or not with 200.
    pub fn ask_admin(&self, method: &str, path: &str) -> Result<String> {
        ask_admin(self.admin, method, path)
    }

    /// All counters and gauges whose name begins with `prefix`.
    ///
    /// # Errors
    ///
    /// When the administration interface does not answer.
    pub fn stats(&self, prefix: &str) -> Result<BTreeMap<String, u64>> {
        let text = self.ask_admin("GET", "/stats")?;
        let pairs = text.lines().filter_map(|line| line.split_once(": "));
        let pairs = pairs.filter(|(name, _)| name.starts_with(prefix));
        Ok(pairs
            .filter_map(|(name, value)| Some((name.to_owned(), value.trim().parse().ok()?)))
            .collect())
    }

    /// The sum of all `wasm.…vm_reload…` counters: anything but 0 means that the filter trapped.
    ///
    /// # Errors
    ///
    /// When the administration interface does not answer.
    pub fn traps(&self) -> Result<u64> {
        let stats = self.stats("wasm.")?;
        let reloads = stats.iter().filter(|(name, _)| name.contains("vm_reload"));
        Ok(reloads.map(|(_, value)| *value).sum())
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        self.process.kill();
        if std::thread::panicking() {
            eprintln!("--- Envoy's log ---\n{}--- end ---", self.log());
        }
    }
}

/// The filter as `make wasm` builds it; `WARDGATE_WASM` names another file.
///
/// # Errors
///
/// When there is none.
pub fn wasm_file() -> Result<PathBuf> {
    let named = std::env::var_os("WARDGATE_WASM").map(PathBuf::from);
    let file = named.unwrap_or_else(|| repository().join("target/wardgate.wasm"));
    if file.exists() { Ok(file) } else { bail!("no filter at {}: `make wasm`", file.display()) }
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    engine::repository()
}

fn ready_admin(address_file: &Path) -> Option<SocketAddr> {
    let address = fs::read_to_string(address_file).ok()?.trim().parse().ok()?;
    ask_admin(address, "GET", "/ready").ok()?;
    Some(address)
}

fn ask_admin(admin: SocketAddr, method: &str, path: &str) -> Result<String> {
    let Answer { status, body, .. } = Request::new(method, path).send(admin)?;
    let text = String::from_utf8_lossy(&body).into_owned();
    if status == 200 { Ok(text) } else { bail!("{method} {path} of the admin: {status} {text}") }
}

fn listener_addresses(admin: SocketAddr) -> Result<BTreeMap<String, SocketAddr>> {
    let text = ask_admin(admin, "GET", "/listeners?format=json")?;
    let found: Value = serde_json::from_str(&text)?;
    let mut addresses = BTreeMap::new();
    for listener in
        found.pointer("/listener_statuses").and_then(Value::as_array).into_iter().flatten()
    {
        let name = listener.pointer("/name").and_then(Value::as_str);
        let socket = listener.pointer("/local_address/socket_address");
        let host = socket.and_then(|socket| socket.pointer("/address")).and_then(Value::as_str);
        let port = socket.and_then(|socket| socket.pointer("/port_value")).and_then(Value::as_u64);
        if let (Some(name), Some(host), Some(port)) = (name, host, port) {
            addresses.insert(name.to_owned(), format!("{host}:{port}").parse()?);
        }
    }
    Ok(addresses)
}

fn tail(file: &Path) -> String {
    let bytes = fs::read(file).unwrap_or_default();
    let start = bytes.len().saturating_sub(LOG_TAIL_BYTES);
    String::from_utf8_lossy(bytes.get(start..).unwrap_or_default()).into_owned()
}
