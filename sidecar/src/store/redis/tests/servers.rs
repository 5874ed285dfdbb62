//! Real servers on free ports, in directories of their own; killed when they go out of scope.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::{Connection, FromRedisValue};

/// Longest wait for what takes seconds at most, on a machine with much else to do.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// Asks again and again until the answer is yes.
#[track_caller]
pub(crate) fn until(what: &str, mut yes: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !yes() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// A running redis-server, or another that `REDIS_SERVER` names (valkey-server).
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    pub(crate) directory: PathBuf,
    arguments: Vec<String>,
    _owned: Option<tempfile::TempDir>,
}

impl Server {
    /// A server that keeps nothing.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::plain(&["--save", "", "--appendonly", "no"], arguments)
    }

    /// A server that has every change on disk before it answers.
    pub(crate) fn durable() -> Self {
        Self::plain(&["--appendonly", "yes", "--appendfsync", "always"], &[])
    }

    fn plain(first: &[&str], more: &[&str]) -> Self {
        let port = free_port();
        let port_text = port.to_string();
        let base = ["--port", &port_text, "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0"];
        let arguments: Vec<&str> = [&base, first, more].concat();
        Self::run(port, tempfile::tempdir().unwrap(), &arguments)
    }

    /// A server with these arguments only; it must listen on `port`, in clear.
    pub(crate) fn run(port: u16, owned: tempfile::TempDir, arguments: &[&str]) -> Self {
        let server = Self::unready(port, owned, arguments);
        server.ready();
        server
    }

    /// The same, not waited for.
    pub(crate) fn unready(port: u16, owned: tempfile::TempDir, arguments: &[&str]) -> Self {
        let directory = owned.path().to_owned();
        let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        let child = spawn(&directory, &arguments);
        Self { child, port, directory, arguments, _owned: Some(owned) }
    }

    fn ready(&self) {
        until("a server that answers", || {
            self.try_ask::<String>(&["PING"]).is_ok_and(|pong| pong == "PONG")
        });
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn connection(&self) -> redis::RedisResult<Connection> {
        redis::Client::open(self.url())?.get_connection_with_timeout(Duration::from_secs(1))
    }

    pub(crate) fn try_ask<T: FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(word);
        }
        command.query(&mut self.connection()?)
    }

    #[track_caller]
    pub(crate) fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_ask(words).unwrap()
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Holds it up, as a machine that was suspended; what is sent to it waits.
    pub(crate) fn hold(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn go_on(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal)
            .unwrap();
    }

    /// A replica of it that is in line.
    pub(crate) fn replica(&self) -> Self {
        let replica = Self::start(&["--replicaof", "127.0.0.1", &self.port.to_string()]);
        until("a replica in line", || {
            replica.ask::<String>(&["INFO", "replication"]).contains("master_link_status:up")
        });
        replica
    }

    /// Starts it again, on the same port and directory.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(&self.directory, &self.arguments);
        self.ready();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(directory: &Path, arguments: &[String]) -> Child {
    let program = std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
    let log = fs::File::create(directory.join("log")).unwrap();
    Command::new(&program)
        .args(arguments)
        .current_dir(directory)
        .stdout(Stdio::from(log))
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}: apt-get install redis-server"))
}

/// A master with two replicas, and three Sentinels.
pub(crate) struct Trio {
    pub(crate) servers: Vec<Server>,
    pub(crate) sentinels: Vec<Server>,
}

impl Trio {
    pub(crate) fn start() -> Self {
        let mut servers = vec![Server::start(&[])];
        let master = servers[0].port.to_string();
        for _ in 0..2 {
            servers.push(Server::start(&["--replicaof", "127.0.0.1", &master]));
        }
        until("replicas in line", || {
            servers[1..].iter().all(|replica| {
                replica.ask::<String>(&["INFO", "replication"]).contains("master_link_status:up")
            })
        });
        let sentinels: Vec<Server> = (0..3).map(|_| sentinel(&master)).collect();
        until("Sentinels that know each other and the replicas", || {
            sentinels.iter().all(|sentinel| {
                let count =
                    |what| sentinel.ask::<Vec<redis::Value>>(&["SENTINEL", what, "wardgate"]).len();
                (count("sentinels"), count("replicas")) == (2, 2)
            })
        });
        Self { servers, sentinels }
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.sentinels.iter().map(Server::url).collect()
    }
}

fn sentinel(master: &str) -> Server {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let file = directory.path().join("sentinel.conf");
    let text = format!(
        "port {port}\nbind 127.0.0.1\nsentinel monitor wardgate 127.0.0.1 {master} 2\n\
         sentinel down-after-milliseconds wardgate 1000\n\
         sentinel failover-timeout wardgate 3000\n"
    );
    fs::write(&file, text).unwrap();
    Server::run(port, directory, &[file.to_str().unwrap(), "--sentinel"])
}

/// A Cluster of three masters with a replica each.
pub(crate) struct Six {
    pub(crate) nodes: Vec<Server>,
}

impl Six {
    pub(crate) fn start() -> Self {
        let node = || {
            // By itself it takes its port and 10000, which another may have or which may not be.
            let bus = free_port().to_string();
            Server::start(&[
                "--cluster-enabled",
                "yes",
                "--cluster-port",
                &bus,
                "--cluster-node-timeout",
                "1500",
                "--cluster-replica-validity-factor",
                "0",
            ])
        };
        let nodes: Vec<Server> = (0..6).map(|_| node()).collect();
        let bus = |node: &Server| {
            node.arguments
                [node.arguments.iter().position(|word| word == "--cluster-port").unwrap() + 1]
                .clone()
        };
        for (node, epoch) in nodes.iter().zip(1..) {
            node.ask::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch.to_string()]);
            let port = node.port.to_string();
            nodes[0].ask::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus(node)]);
        }
        for (node, range) in
            nodes.iter().zip([["0", "5460"], ["5461", "10922"], ["10923", "16383"]])
        {
            node.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", range[0], range[1]]);
        }
        until("nodes that know each other", || {
            nodes.iter().all(|node| {
                node.ask::<String>(&["CLUSTER", "INFO"]).contains("cluster_known_nodes:6")
            })
        });
        for (master, replica) in nodes[..3].iter().zip(&nodes[3..]) {
            let id: String = master.ask(&["CLUSTER", "MYID"]);
            until("a master that is known", || {
                replica.try_ask::<()>(&["CLUSTER", "REPLICATE", &id]).is_ok()
            });
        }
        until("a Cluster that is up, with replicas in line", || {
            let up = |node: &Server| {
                node.ask::<String>(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
            };
            let in_line = |node: &Server| {
                node.ask::<String>(&["INFO", "replication"]).contains("master_link_status:up")
            };
            nodes.iter().all(up) && nodes[3..].iter().all(in_line)
        });
        Self { nodes }
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Server::url).collect()
    }

    /// The place of the master that has the slot of `key`.
    pub(crate) fn master_of(&self, key: &str) -> usize {
        let slot: u16 = self.nodes[0].ask(&["CLUSTER", "KEYSLOT", key]);
        usize::from(slot > 5460) + usize::from(slot > 10922)
    }
}
