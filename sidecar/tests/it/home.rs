//! A directory as `wardgate init` makes it, and the sidecar that runs in it.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;
use wardgate_core::base64url;
use wardgate_core::secret::Secret;

/// Longest wait for something that takes milliseconds.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct Home {
    directory: tempfile::TempDir,
}

pub(crate) fn wardgate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wardgate"));
    command.env_remove("WARDGATE_CONFIG").env_remove("WARDGATE_FEED_SECRET");
    command
}

impl Home {
    /// A new directory; the sidecar takes any free port and logs JSON.
    pub(crate) fn new() -> Self {
        let home = Self { directory: tempfile::tempdir().unwrap() };
        let made = wardgate().arg("init").arg("--dir").arg(home.directory.path()).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        home.edit("127.0.0.1:8180\n\n", "127.0.0.1:0\n\n");
        home.edit("format: text", "format: json");
        // No proxy stands before it, and tests have limits of their own.
        home.edit("limits:\n  trusted_proxy_hops: 1\n", "");
        home
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Replaces a piece of the configuration.
    pub(crate) fn edit(&self, from: &str, to: &str) {
        let path = self.path("wardgate.yaml");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }

    pub(crate) fn feed_secret(&self) -> Secret {
        let text = fs::read_to_string(self.path("secrets/feed.secret")).unwrap();
        Secret::new(base64url::decode(text.trim().as_bytes()).unwrap())
    }

    /// Runs a command with the configuration of this home.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = wardgate();
        command.args(arguments).env("WARDGATE_CONFIG", self.path("wardgate.yaml")).output().unwrap()
    }

    /// Runs a command that must succeed and returns what it printed.
    #[track_caller]
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that must succeed, with this on its standard input.
    #[track_caller]
    pub(crate) fn done_with(&self, arguments: &[&str], input: &[u8]) {
        let mut command = wardgate();
        command.args(arguments).env("WARDGATE_CONFIG", self.path("wardgate.yaml"));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }

    /// Runs a command that must succeed and returns the JSON that it printed.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--output", "json"]).collect();
        serde_json::from_str(&self.done(&arguments)).unwrap()
    }

    /// Starts the sidecar and waits until it listens.
    #[track_caller]
    pub(crate) fn serve(&self) -> Sidecar {
        let mut command = wardgate();
        command.arg("serve").env("WARDGATE_CONFIG", self.path("wardgate.yaml"));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let (lines, log) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    break;
                }
            }
        });
        let mut sidecar =
            Sidecar { child, log, seen: Vec::new(), public: SocketAddr::from(([0, 0, 0, 0], 0)) };
        let line = sidecar.wait_for("\"message\":\"listening\"");
        let line: Value = serde_json::from_str(&line).unwrap();
        sidecar.public = line["public"].as_str().unwrap().parse().unwrap();
        sidecar
    }
}

/// A running sidecar; killed when it goes out of scope.
pub(crate) struct Sidecar {
    child: Child,
    log: mpsc::Receiver<String>,
    seen: Vec<String>,
    /// Address of the public listener.
    pub(crate) public: SocketAddr,
}

impl Sidecar {
    /// Waits for a line of the log.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, piece: &str) -> String {
        let until = Instant::now() + DEADLINE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(line) = self.log.recv_timeout(left) else {
                panic!("no `{piece}` in the log: {:#?}", self.seen);
            };
            self.seen.push(line.clone());
            if line.contains(piece) {
                return line;
            }
        }
    }

    /// Everything logged so far.
    pub(crate) fn log_text(&mut self) -> String {
        self.seen.extend(self.log.try_iter());
        self.seen.join("\n")
    }

    pub(crate) fn hang_up(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    }

    pub(crate) fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// Bounds the size of files that the sidecar writes, or lifts the bound.
    pub(crate) fn limit_file_size(&self, bytes: Option<u64>) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let limit = rustix::process::Rlimit { current: bytes, maximum: None };
        rustix::process::prlimit(Some(pid), rustix::process::Resource::Fsize, limit).unwrap();
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the end of the process, which closes its log.
    pub(crate) fn exit(mut self) -> (ExitStatus, String) {
        let until = Instant::now() + DEADLINE;
        while let Ok(line) = self.log.recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            self.seen.push(line);
        }
        assert!(Instant::now() < until, "the sidecar does not end");
        (self.child.wait().unwrap(), self.seen.join("\n"))
    }

    /// Memory that it has taken for itself, in KiB.
    pub(crate) fn allocated_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
