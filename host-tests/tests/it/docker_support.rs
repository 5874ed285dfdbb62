//! A Docker engine, where one answers, and images for it, where no registry does.

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{Write as _, stderr},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use wardgate_host_tests::envoy::{repository, sidecar::binary, wait::wait_for};

/// The official images are about 150 MB together.
const PULL_DEADLINE: Duration = Duration::from_mins(3);
/// Where `make envoy` puts it.
const PINNED_ENVOY: &str = ".tools/envoy-1.40.0/envoy";
const OFFICIAL_ENVOY: &str = "envoyproxy/envoy:v1.40.0";
const OFFICIAL_REDIS: &str = "redis:7";
/// What the entry points and health checks of the services call.
const PROGRAMS: [&str; 8] = ["bash", "cat", "cp", "install", "mkdir", "mv", "rm", "sh"];

/// Whether a Docker engine answers. Where none does, says what was not tested, past the test
/// runner, which shows nothing of tests that pass.
///
/// # Panics
///
/// When none answers but one is required: `ENVOY=docker` or `WARDGATE_DOCKER=required`.
pub(crate) fn engine_answers(tested: &str) -> bool {
    let reply = docker(["version", "--format", "{{.Server.Version}}"]);
    match reply {
        Ok(version) => {
            say(&format!("Docker engine {}: {tested}", version.trim()));
            true
        }
        Err(error) => missing(&format!("no Docker engine answers ({error:#})"), tested),
    }
}

/// Says that something is missing, so that `tested` was not; `false`, for convenience.
pub(crate) fn missing(what: &str, tested: &str) -> bool {
    let set = |name, value: &str| env::var(name).is_ok_and(|found| found == value);
    let required = set("ENVOY", "docker") || set("WARDGATE_DOCKER", "required");
    assert!(!required, "{what}, but it is required: {tested}");
    say(&format!("!!! {what}: {tested} was NOT TESTED"));
    false
}

/// A line that the test runner does not swallow.
pub(crate) fn say(line: &str) {
    let _ = writeln!(stderr(), "{line}");
}

/// Runs `docker` and gives its output.
pub(crate) fn docker<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Result<String> {
    run(Command::new("docker").args(arguments))
}

/// Runs a command and gives its output, or an error with all that it said.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}", said.trim());
    Ok(String::from_utf8(output.stdout)?)
}

/// Images for a test; those made for it are removed when dropped.
#[derive(Default)]
pub(crate) struct Images {
    pub(crate) sidecar: String,
    pub(crate) envoy: String,
    /// `None` where no Redis is to be had.
    pub(crate) redis: Option<String>,
    made: Vec<String>,
}

impl Images {
    /// Takes the official images where they are at hand or a registry answers, and makes the rest
    /// from programs of this machine.
    pub(crate) fn prepare() -> Result<Self> {
        let mut images = Self::default();
        let later = [binary()?, repository().join(PINNED_ENVOY)];
        let base = images.import("base", &PROGRAMS, &later)?;
        images.sidecar = images.build_sidecar(&base)?;
        images.envoy = images.find_envoy(&base)?;
        images.redis = images.find_redis()?;
        Ok(images)
    }

    /// A name that no other run uses, noted for removal.
    pub(crate) fn name(&mut self, part: &str) -> String {
        let name = format!("wardgate-test-{part}:{}", std::process::id());
        self.made.push(name.clone());
        name
    }

    /// Always on a base from this machine: the binary was linked against its C library.
    fn build_sidecar(&mut self, base: &str) -> Result<String> {
        let context = tempfile::tempdir()?;
        fs::copy(binary()?, context.path().join("wardgate"))?;
        let name = self.name("sidecar");
        build(&name, "Dockerfile", &["--build-arg", &format!("BASE={base}")], context.path())?;
        Ok(name)
    }

    fn find_envoy(&mut self, base: &str) -> Result<String> {
        if let Some(named) = env::var("ENVOY_IMAGE").ok().filter(|_| env_is_docker()) {
            return Ok(named);
        }
        if at_hand(OFFICIAL_ENVOY) {
            return Ok(OFFICIAL_ENVOY.to_owned());
        }
        let name = self.name("envoy");
        say("no registry answers: an image is made from the pinned Envoy, NOT the official one");
        let mut make = Command::new("make");
        make.current_dir(repository()).arg("envoy-image");
        // What an outer make hands on is not meant for this one.
        make.args([format!("BASE={base}"), format!("ENVOY_IMAGE={name}")]);
        run(make.env_remove("MAKEFLAGS").env_remove("MAKELEVEL").env_remove("ENVOY"))?;
        Ok(name)
    }

    fn find_redis(&mut self) -> Result<Option<String>> {
        if at_hand(OFFICIAL_REDIS) {
            return Ok(Some(OFFICIAL_REDIS.to_owned()));
        }
        let programs = ["redis-server", "redis-cli"];
        if programs.iter().any(|program| which(program).is_err()) {
            missing("no registry answers and no redis-server is installed", "Redis in Compose");
            return Ok(None);
        }
        say("no registry answers: an image is made from the Redis of this machine");
        self.import("redis", &programs, &[]).map(Some)
    }

    /// An image of programs of this machine with their shared libraries, and the libraries of those
    /// that come later.
    fn import(&mut self, part: &str, programs: &[&str], later: &[PathBuf]) -> Result<String> {
        let root = tempfile::tempdir()?;
        fs::create_dir_all(root.path().join("usr/bin"))?;
        symlink("usr/bin", root.path().join("bin"))?;
        for program in programs {
            let source = which(program)?;
            fs::copy(&source, root.path().join("usr/bin").join(program))?;
            copy_libraries(&source, root.path())?;
        }
        for program in later.iter().filter(|path| path.is_file()) {
            copy_libraries(program, root.path())?;
        }
        let archive = tempfile::NamedTempFile::new()?;
        run(Command::new("tar")
            .arg("-C")
            .arg(root.path())
            .arg("-cf")
            .arg(archive.path())
            .arg("."))?;
        let name = self.name(part);
        docker([OsStr::new("import"), archive.path().as_os_str(), OsStr::new(&name)])?;
        Ok(name)
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        // The base last: the others stand on it.
        for name in self.made.iter().rev() {
            let _ = docker(["rmi", "--force", name]);
        }
    }
}

/// Builds an image by a file of `envoy/`.
pub(crate) fn build(name: &str, file: &str, more: &[&str], context: &Path) -> Result<String> {
    let mut command = Command::new("docker");
    command.args(["build", "--tag", name]).args(more);
    command.arg("--file").arg(repository().join("envoy").join(file)).arg(context);
    run(&mut command)
}

fn env_is_docker() -> bool {
    env::var("ENVOY").is_ok_and(|engine| engine == "docker")
}

/// Whether the engine has the image, or gets it from a registry.
fn at_hand(image: &str) -> bool {
    if docker(["image", "inspect", image]).is_ok() {
        return true;
    }
    let mut command = Command::new("docker");
    command.args(["pull", "--quiet", image]).stdin(Stdio::null());
    let Ok(mut pull) = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
        return false;
    };
    let ended = wait_for("a registry", PULL_DEADLINE, || Ok(pull.try_wait()?));
    if ended.is_err() {
        let _ = pull.kill();
        let _ = pull.wait();
    }
    ended.is_ok_and(|status| status.success())
}

fn which(program: &str) -> Result<PathBuf> {
    let folders = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&folders).map(|folder| folder.join(program));
    let found = found.into_iter().find(|path| path.is_file());
    found.with_context(|| format!("no {program} on this machine"))
}

fn copy_libraries(program: &Path, root: &Path) -> Result<()> {
    // A line is `libc.so.6 => /lib/…/libc.so.6 (0x…)` or `/lib64/ld-linux-x86-64.so.2 (0x…)`.
    let libraries = run(Command::new("ldd").arg(program))?;
    for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
        let target = root.join(library.trim_start_matches('/'));
        fs::create_dir_all(target.parent().context("no folder")?)?;
        fs::copy(library, target)?;
    }
    Ok(())
}
