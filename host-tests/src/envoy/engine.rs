//! What runs Envoy: a binary of this machine, or an image by Docker (`ENVOY`, `ENVOY_IMAGE`).

use std::{
    env,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, Result, bail};

/// The version that `make envoy` brings.
const PINNED: &str = ".tools/envoy-1.40.0/envoy";
/// What `ENVOY=docker` runs unless `ENVOY_IMAGE` says otherwise.
const OFFICIAL_IMAGE: &str = "envoyproxy/envoy:v1.40.0";

/// What runs Envoy.
pub(super) enum Engine {
    Binary(PathBuf),
    Docker { image: String },
}

impl Engine {
    /// As the environment says; the pinned binary by default.
    pub(super) fn from_environment() -> Result<Self> {
        match env::var("ENVOY").unwrap_or_default().as_str() {
            "docker" => {
                let image = env::var("ENVOY_IMAGE").ok().filter(|image| !image.is_empty());
                Ok(Self::Docker { image: image.unwrap_or_else(|| OFFICIAL_IMAGE.to_owned()) })
            }
            "" => Self::binary(&repository().join(PINNED)),
            path => Self::binary(&repository().join(path)),
        }
    }

    fn binary(path: &Path) -> Result<Self> {
        if !path.exists() {
            bail!("no Envoy at {}; `make envoy` downloads one", path.display());
        }
        Ok(Self::Binary(path.to_owned()))
    }

    /// Starts Envoy with these arguments; `work` is what it may write to.
    pub(super) fn spawn(
        &self,
        arguments: &[String],
        environment: &[(String, String)],
        work: &Path,
        output: File,
        core: Option<usize>,
    ) -> Result<Process> {
        let (mut command, container) = match self {
            Self::Binary(path) => (Self::binary_command(path, core), None),
            Self::Docker { image } => Self::docker_command(image, environment, work),
        };
        command.args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        Ok(Process { child, container })
    }

    fn binary_command(path: &Path, core: Option<usize>) -> Command {
        let Some(core) = core else { return Command::new(path) };
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", &core.to_string()]).arg(path);
        command
    }

    /// The host's network, so that ports and loopback are the same as for a binary; the paths of
    /// the repository, of `work` and of temporary files too, where tests have sockets and access
    /// logs, so that one configuration fits both.
    fn docker_command(
        image: &str,
        environment: &[(String, String)],
        work: &Path,
    ) -> (Command, Option<String>) {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("wardgate-test-{}-{number}", std::process::id());
        let user = format!(
            "{}:{}",
            rustix::process::getuid().as_raw(),
            rustix::process::getgid().as_raw()
        );
        let (repository, temporary) = (repository(), env::temp_dir());
        let mut command = Command::new("docker");
        command.args(["run", "--rm", "--network", "host", "--name", &name, "--user", &user]);
        for (path, mode) in [(repository.as_path(), "ro"), (&temporary, "rw"), (work, "rw")] {
            command.args(["--volume", &format!("{0}:{0}:{mode}", path.display())]);
        }
        // Names only: docker takes the values from its own environment, not from a command line
        // that every user of the machine can read.
        command.args(environment.iter().flat_map(|(name, _)| ["--env", name.as_str()]));
        command.args(["--entrypoint", "envoy", image]);
        (command, Some(name))
    }
}

/// A running Envoy.
pub(super) struct Process {
    child: Child,
    container: Option<String>,
}

impl Process {
    /// The status, if it has ended.
    pub(super) fn exited(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// The id of the process itself, unless it is hidden in a container.
    pub(super) fn id(&self) -> Option<u32> {
        self.container.is_none().then(|| self.child.id())
    }

    /// Ends it at once.
    pub(super) fn kill(&mut self) {
        if let Some(container) = &self.container {
            let _ = Command::new("docker").args(["kill", container]).output();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The root of the repository.
pub(super) fn repository() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}
