//! Real Redis servers on free ports, each in a directory of its own; killed when dropped.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::{
    envoy::wait::wait_until,
    network::{Network, Place},
};

/// Starting, copying and electing take seconds on a loaded machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// A command is answered at once, or the server is not there.
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);
/// The name that the Sentinels know the master by.
const MASTER: &str = "wardgate";
/// Its configuration file.
const FILE: &str = "redis.conf";

/// A running `redis-server`, or another program that `REDIS_SERVER` names.
pub struct Server {
    place: Place,
    address: SocketAddr,
    arguments: Vec<String>,
    directory: TempDir,
    child: Option<Child>,
}

impl Server {
    /// A server at this place that has every change on disk before it answers.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn start(place: Place, more: &[&str]) -> Result<Self> {
        let durable: [&str; 6] = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""];
        let replication = ["--repl-diskless-sync-delay", "0", "--repl-timeout", "10"];
        Self::run(place, "", &[&durable[..], &replication, more].concat())
    }

    /// With this text as its configuration file, which a Sentinel goes on writing into.
    fn run(place: Place, configuration: &str, arguments: &[&str]) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("wardgate-redis-").tempdir()?;
        fs::write(directory.path().join(FILE), configuration)?;
        let address = place.free_address()?;
        let arguments = arguments.iter().map(|text| (*text).to_owned()).collect();
        let mut server = Self { place, address, arguments, directory, child: None };
        server.restart()?;
        Ok(server)
    }

    /// Starts it (again), on the same port and directory, and waits until it answers.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub fn restart(&mut self) -> Result<()> {
        let program = std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
        let log = File::create(self.directory.path().join("log"))?;
        let mut command = self.place.command(program.as_ref());
        command.args([FILE, "--port", &self.address.port().to_string()]);
        // Nobody else is in these networks; elsewhere than on loopback it would take no command.
        command.args(["--bind", &self.address.ip().to_string(), "--protected-mode", "no"]);
        command.args(&self.arguments);
        command.current_dir(self.directory.path()).stdin(Stdio::null()).stdout(log);
        let child = command
            .spawn()
            .with_context(|| format!("cannot run {program}: apt-get install redis-server"))?;
        self.child = Some(child);
        wait_until("a Redis that answers", PATIENCE, || {
            Ok(self.ask("PING").is_ok_and(|answer| answer == "PONG"))
        })
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Holds it up, or lets it go on: alive to the operating system, silent to everyone else.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn hold(&self, held: bool) -> Result<()> {
        hold(self.child.as_ref().context("it does not run")?.id(), held)
    }

    /// Where it runs.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whether it was killed.
    pub fn is_dead(&self) -> bool {
        self.child.is_none()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The answer to a command without arguments of many words: a line, a text, or the words of a
    /// list one below the other.
    ///
    /// # Errors
    ///
    /// When there is no answer, or an error.
    pub fn ask(&self, command: &str) -> Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.address, ANSWER_DEADLINE)?;
        stream.set_read_timeout(Some(ANSWER_DEADLINE))?;
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        read_answer(&mut BufReader::new(stream))
    }

    fn is_master(&self) -> bool {
        self.ask("INFO replication").is_ok_and(|text| text.contains("role:master"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Stops a process where it stands, or lets it go on.
pub(super) fn hold(process: u32, held: bool) -> Result<()> {
    use rustix::process::{Pid, Signal, kill_process};
    let process = Pid::from_raw(i32::try_from(process)?).context("no process")?;
    Ok(kill_process(process, if held { Signal::STOP } else { Signal::CONT })?)
}

fn read_answer(stream: &mut BufReader<TcpStream>) -> Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let (kind, rest) = line.trim_end().split_at_checked(1).context("an empty answer")?;
    match kind {
        "+" | ":" => Ok(rest.to_owned()),
        "$" => {
            let Ok(length) = rest.parse::<usize>() else { return Ok(String::new()) };
            let mut bytes = vec![0; length.saturating_add(2)];
            stream.read_exact(&mut bytes)?;
            bytes.truncate(length);
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        }
        "*" => {
            let words = (0..rest.parse::<usize>()?).map(|_| read_answer(stream));
            Ok(words.collect::<Result<Vec<_>>>()?.join("\n"))
        }
        _ => bail!("{}", line.trim_end()),
    }
}

/// A master with two replicas, and three Sentinels that watch it.
pub struct Trio {
    servers: Vec<Server>,
    sentinels: Vec<Server>,
    held: Option<usize>,
}

impl Trio {
    /// Starts all six and waits until they know each other. In a network each server has a place of
    /// its own, and the Sentinels are at that of the host.
    ///
    /// # Errors
    ///
    /// When one does not start.
    pub fn start(mut network: Option<&mut Network>) -> Result<Self> {
        let watchers = network.as_ref().map_or(Place::LOOPBACK, |network| network.host());
        let mut place = || network.as_mut().map_or(Ok(Place::LOOPBACK), |network| network.add());
        let guard = ["--min-replicas-to-write", "1", "--min-replicas-max-lag", "10"];
        let master = Server::start(place()?, &guard)?;
        let (host, port) = (master.address.ip().to_string(), master.address.port().to_string());
        let mut replica =
            || Server::start(place()?, &[&["--replicaof", &host, &port], &guard[..]].concat());
        let servers = vec![master, replica()?, replica()?];
        wait_until("replicas in line", PATIENCE, || {
            let up = |server: &Server| {
                Ok::<_, anyhow::Error>(
                    server.ask("INFO replication")?.contains("master_link_status:up"),
                )
            };
            servers.iter().skip(1).try_fold(true, |all, server| Ok(all && up(server)?))
        })?;
        let sentinels =
            (0..3).map(|_| sentinel(watchers.clone(), &host, &port)).collect::<Result<Vec<_>>>()?;
        wait_until("Sentinels that know each other and the replicas", PATIENCE, || {
            let knows = |sentinel: &Server| {
                let seen = sentinel.ask(&format!("SENTINEL CKQUORUM {MASTER}"));
                let replicas = sentinel.ask(&format!("SENTINEL replicas {MASTER}"));
                seen.is_ok_and(|text| text.starts_with("OK 3"))
                    && replicas.is_ok_and(|text| text.matches("slave-priority").count() == 2)
            };
            Ok(sentinels.iter().all(knows))
        })?;
        Ok(Self { servers, sentinels, held: None })
    }

    /// The section `redis` of a sidecar's configuration.
    pub fn section(&self) -> String {
        let urls: Vec<_> =
            self.sentinels.iter().map(|server| format!("\"redis://{}\"", server.address)).collect();
        format!(
            "{{urls: [{}], mode: sentinel, master_name: {MASTER}, wait_replicas: 1, \
             wait_timeout_milliseconds: 1000, timeout_milliseconds: 1000}}",
            urls.join(", ")
        )
    }

    /// Kills the master that stands now.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn kill_master(&mut self) -> Result<()> {
        let mut alive = self.servers.iter_mut().filter(|server| !server.is_dead());
        alive.find(|server| server.is_master()).context("no master")?.kill();
        Ok(())
    }

    /// The master that stands now.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn master(&self) -> Result<&Server> {
        let mut alive = self.servers.iter().filter(|server| !server.is_dead());
        alive.find(|server| server.is_master()).context("no master")
    }

    /// Holds up the master that stands now; what `heal` lets go on.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn hold_master(&mut self) -> Result<()> {
        let master = self.servers.iter().position(|server| !server.is_dead() && server.is_master());
        self.held = Some(master.context("no master")?);
        self.hold_held(true)
    }

    fn hold_held(&self, held: bool) -> Result<()> {
        let server = self.held.and_then(|number| self.servers.get(number));
        server.map_or(Ok(()), |server| server.hold(held))
    }

    /// Starts what was killed and lets go on what was held up; the Sentinels make replicas of those that come back.
    ///
    /// # Errors
    ///
    /// When one does not start.
    pub fn heal(&mut self) -> Result<()> {
        self.hold_held(false)?;
        self.held = None;
        self.servers.iter_mut().filter(|server| server.is_dead()).try_for_each(Server::restart)
    }
}

fn sentinel(place: Place, host: &str, port: &str) -> Result<Server> {
    let text = format!(
        "sentinel monitor {MASTER} {host} {port} 2\n\
         sentinel down-after-milliseconds {MASTER} 1000\n\
         sentinel failover-timeout {MASTER} 3000\n"
    );
    Server::run(place, &text, &["--sentinel"])
}
