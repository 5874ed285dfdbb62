//! The sidecar as a guard object: the real binary, in a directory of its own.

use std::{
    env,
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{
    Builder, Envoy,
    bootstrap::socket_cluster,
    client::{Connection, Request},
    repository,
    wait::wait_for,
    wasm_file,
};
use crate::network::Place;

/// Making an RSA key in a debug build takes seconds on a loaded machine.
const START_DEADLINE: Duration = Duration::from_mins(1);
/// The environment variable with the feed secret.
pub const FEED_SECRET: &str = "WARDGATE_FEED_SECRET";
/// The cluster of the sidecar in Envoy configurations.
pub const SIDECAR_CLUSTER: &str = "wardgate_sidecar";
/// What `wardgate init` writes.
const DEFAULT_LISTEN: &str = "127.0.0.1:8180";

/// A sidecar; killed when dropped, while its directory stays.
pub struct Sidecar {
    directory: PathBuf,
    issuer: String,
    listen: SocketAddr,
    place: Place,
    process: Option<Child>,
}

impl Sidecar {
    /// Makes the directory with `wardgate init`, then puts `policy` in place of the first one; it
    /// listens on `listen`, or on a free port. It does not run yet.
    ///
    /// # Errors
    ///
    /// When the binary is missing or refuses.
    pub fn init(
        directory: &Path,
        listen: Option<SocketAddr>,
        policy: Option<&str>,
    ) -> Result<Self> {
        let sidecar = Self::init_as(directory, listen, &format!("http://{DEFAULT_LISTEN}"))?;
        if let Some(policy) = policy {
            fs::write(directory.join("policy.yaml"), policy)?;
        }
        Ok(sidecar)
    }

    /// The same with the first policy, for tokens of this issuer.
    ///
    /// # Errors
    ///
    /// When the binary is missing or refuses.
    pub fn init_as(directory: &Path, listen: Option<SocketAddr>, issuer: &str) -> Result<Self> {
        let listen = listen.map_or_else(free_address, Ok)?;
        let mut command = Command::new(binary()?);
        run(command.args(["init", "--issuer", issuer, "--dir"]).arg(directory))?;
        let file = directory.join("wardgate.yaml");
        let text = fs::read_to_string(&file)?;
        // Only where it listens: the issuer keeps its name, which need not be an address.
        let lines = text.lines().map(|line| match line.strip_prefix("listen: ") {
            Some(_) => format!("listen: {listen}\n"),
            None => format!("{line}\n"),
        });
        fs::write(&file, lines.collect::<String>())?;
        let place = Place::LOOPBACK;
        Ok(Self {
            directory: directory.to_owned(),
            issuer: issuer.to_owned(),
            listen,
            place,
            process: None,
        })
    }

    /// The `iss` of its tokens.
    pub fn issuer(&self) -> String {
        self.issuer.clone()
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    ///
    /// When it ends or does not become ready; the text ends with its log.
    pub fn start(&mut self) -> Result<()> {
        let log = self.directory.join("sidecar.log");
        let output = File::options().create(true).append(true).open(&log)?;
        let mut command = self.place.command(&binary()?);
        command.arg("serve").arg("--config").arg(self.config());
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let mut child = command.spawn()?;
        let listen = self.listen;
        let ready = wait_for("the sidecar to be ready", START_DEADLINE, || {
            if let Some(status) = child.try_wait()? {
                bail!("the sidecar ended with {status}");
            }
            let answer = Request::get("/readyz").send(listen).ok();
            Ok(answer.filter(|answer| answer.status == 200))
        });
        self.process = Some(child);
        let shown =
            || format!("the sidecar's log:\n{}", fs::read_to_string(&log).unwrap_or_default());
        ready.map(drop).with_context(shown)
    }

    /// The same directory of secrets and the same policy in a directory of its own: another sidecar
    /// of the same system, once both have one store.
    ///
    /// # Errors
    ///
    /// When the binary is missing or refuses.
    pub fn beside(&self, directory: &Path) -> Result<Self> {
        let other = Self::init(directory, None, None)?;
        for name in ["secrets/feed.secret", "secrets/store.keys", "policy.yaml"] {
            fs::copy(self.directory.join(name), directory.join(name))?;
        }
        Ok(other)
    }

    /// Replaces a text of the configuration file, which must be there.
    ///
    /// # Errors
    ///
    /// When it is not.
    pub fn edit(&self, from: &str, to: &str) -> Result<()> {
        let text = fs::read_to_string(self.config())?;
        ensure!(text.contains(from), "the configuration has no `{from}`:\n{text}");
        Ok(fs::write(self.config(), text.replace(from, to))?)
    }

    /// Appends to the configuration file.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn append(&self, lines: &str) -> Result<()> {
        let text = fs::read_to_string(self.config())?;
        Ok(fs::write(self.config(), format!("{text}\n{lines}\n"))?)
    }

    /// Keeps its records in this Redis: the lines under `redis:` as YAML in braces.
    ///
    /// # Errors
    ///
    /// When the configuration is not the one that `wardgate init` writes.
    pub fn store_in_redis(&self, section: &str) -> Result<()> {
        self.edit("  path: data/wardgate.redb", &format!("  redis: {section}"))
    }

    /// Lets it run in a network; its sockets stay where they are.
    ///
    /// # Errors
    ///
    /// When the configuration is not the one that `wardgate init` writes.
    pub fn move_to(&mut self, place: Place) -> Result<()> {
        let listen = place.free_address()?;
        self.edit(&format!("listen: {}\n", self.listen), &format!("listen: {listen}\n"))?;
        (self.listen, self.place) = (listen, place);
        Ok(())
    }

    /// Where it runs.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Opens the internal listener on a free port of loopback too, and gives it.
    ///
    /// # Errors
    ///
    /// When the configuration is not the one that `wardgate init` writes.
    pub fn listen_internally(&self) -> Result<SocketAddr> {
        let address = free_address()?;
        self.edit("internal:\n", &format!("internal:\n  address: {address}\n"))?;
        Ok(address)
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A connection to its admin listener.
    ///
    /// # Errors
    ///
    /// When nothing listens there.
    pub fn admin(&self) -> Result<Connection> {
        Connection::open_socket(&self.directory.join("run/admin.sock"))
    }

    /// Asks the admin listener; the answer must be of the 200s.
    ///
    /// # Errors
    ///
    /// When it is not, with its body.
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        ask_on(&mut self.admin()?, method, path, body)
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        super::tail(&self.directory.join("sidecar.log"))
    }

    /// Kills it at once, as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.process.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Whether it runs.
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// The process id, while it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listen
    }

    /// Runs a command with `--output json` and gives what it prints.
    ///
    /// # Errors
    ///
    /// When the command fails; with what it said.
    pub fn command(&self, arguments: &[&str]) -> Result<Value> {
        let mut command = Command::new(binary()?);
        command.args(arguments).arg("--config").arg(self.config()).args(["--output", "json"]);
        Ok(serde_json::from_str(&run(&mut command)?)?)
    }

    /// An Envoy as `wardgate envoy config` describes it, in front of `upstream`.
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub fn envoy(
        &self,
        listen: SocketAddr,
        admin: SocketAddr,
        upstream: SocketAddr,
    ) -> Result<Builder> {
        let yaml = self.envoy_config(listen, admin, upstream)?;
        Ok(Envoy::of_yaml(yaml).environment(FEED_SECRET, &self.feed_secret()?))
    }

    /// The secret that filter and sidecar share.
    ///
    /// # Errors
    ///
    /// When its file cannot be read.
    pub fn feed_secret(&self) -> Result<String> {
        let text = fs::read_to_string(self.directory.join("secrets/feed.secret"))?;
        Ok(text.trim().to_owned())
    }

    /// Its internal listener as a cluster of Envoy.
    pub fn cluster(&self) -> Value {
        socket_cluster(SIDECAR_CLUSTER, &self.directory.join("run/internal.sock"))
    }

    /// What `wardgate envoy config` prints, for an Envoy in front of `upstream`.
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub fn envoy_config(
        &self,
        listen: SocketAddr,
        admin: SocketAddr,
        upstream: SocketAddr,
    ) -> Result<String> {
        let mut command = Command::new(binary()?);
        command.args(["envoy", "config", "--config"]).arg(self.config());
        command.arg("--wasm").arg(wasm_file()?);
        command.arg("--access-log").arg(self.directory.join("access.log"));
        for (name, address) in [("--listen", listen), ("--admin", admin), ("--upstream", upstream)]
        {
            command.args([name, &address.to_string()]);
        }
        run(&mut command)
    }

    /// The events of the audit file, oldest first.
    ///
    /// # Errors
    ///
    /// When a line is not JSON.
    pub fn audit(&self) -> Result<Vec<Value>> {
        let text = fs::read_to_string(self.directory.join("data/audit.jsonl")).unwrap_or_default();
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    fn config(&self) -> PathBuf {
        self.directory.join("wardgate.yaml")
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Asks on a connection to an admin listener; the answer must be of the 200s.
///
/// # Errors
///
/// When it is not, with its body.
pub fn ask_on(admin: &mut Connection, method: &str, path: &str, body: &Value) -> Result<Value> {
    let mut request = Request::new(method, path);
    if !body.is_null() {
        request = request.header("content-type", "application/json").body(body.to_string());
    }
    let answer = admin.exchange(&request)?;
    let text = String::from_utf8_lossy(&answer.body);
    ensure!((200..300).contains(&answer.status), "{method} {path}: {} {text}", answer.status);
    Ok(answer.json())
}

/// The sidecar's binary: `WARDGATE_BIN`, or the one built beside what runs here.
///
/// # Errors
///
/// When there is none.
pub fn binary() -> Result<PathBuf> {
    if let Some(named) = env::var_os("WARDGATE_BIN") {
        return Ok(named.into());
    }
    let own = env::current_exe()?;
    // Binaries stand in target/<profile>, tests one below in deps.
    let found = own.ancestors().skip(1).take(2).map(|directory| directory.join("wardgate"));
    let found = found.into_iter().find(|path| path.is_file());
    found.with_context(|| format!("no `wardgate` near {}: cargo build -p wardgate", own.display()))
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.current_dir(repository()).output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {error}");
    Ok(String::from_utf8(output.stdout)?)
}

/// A port of loopback that was free a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Place::LOOPBACK.free_address()
}
