//! What `envoy/` has for Docker, on a real engine where one answers.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    process::Command,
    time::Duration,
};

use anyhow::Result;
use serde_json::Value;
use tempfile::TempDir;
use wardgate_host_tests::envoy::{
    client::{Answer, Request},
    repository,
    wait::{wait_for, wait_until},
    wasm_file,
};

use crate::docker_support::{Images, build, docker, engine_answers, missing, run, say};

/// Health checks come every two seconds, and a loaded machine takes its time.
const PATIENCE: Duration = Duration::from_mins(1);

/// The services of the Compose file; stopped and removed with their volumes when dropped.
struct Stack {
    program: &'static [&'static str],
    file: &'static str,
    environment: Vec<(&'static str, String)>,
    gate: SocketAddr,
    images: Images,
    _directory: TempDir,
}

impl Stack {
    /// Starts all; `None` where no Compose is installed.
    fn start() -> Option<Self> {
        let program = compose_program()?;
        let directory = tempfile::tempdir().unwrap();
        let (gate, admin, sidecar) = (free_address(), free_address(), free_address());
        let bridged = docker(["network", "inspect", "bridge"]).is_ok();
        let images = Images::prepare().unwrap();
        let mut environment = vec![
            ("WARDGATE_IMAGE", images.sidecar.clone()),
            ("ENVOY_IMAGE", images.envoy.clone()),
            ("REDIS_IMAGE", images.redis.clone().unwrap_or_default()),
            ("WARDGATE_WASM", wasm_file().unwrap().display().to_string()),
        ];
        let file = if bridged {
            environment.push(("WARDGATE_PORT", gate.to_string()));
            "docker-compose.yaml"
        } else {
            let config = repository().join("envoy/compose/wardgate.host.yaml");
            let config = fs::read_to_string(config).unwrap();
            let own = directory.path().join("wardgate.yaml");
            let listen = format!("listen: {sidecar}");
            fs::write(&own, config.replace("listen: 127.0.0.1:8180", &listen)).unwrap();
            environment.extend([
                ("WARDGATE_CONFIG", own.display().to_string()),
                ("WARDGATE_LISTEN", gate.to_string()),
                ("WARDGATE_ADMIN", admin.to_string()),
                ("WARDGATE_UPSTREAM", sidecar.to_string()),
                ("WARDGATE_SIDECAR_PORT", sidecar.port().to_string()),
            ]);
            "docker-compose.host.yaml"
        };
        say(&format!("{} with {file}", program.join(" ")));
        let stack = Self { program, file, environment, gate, images, _directory: directory };
        let redis = stack.images.redis.iter().map(|_| "redis");
        stack
            .compose(&[&["up", "--detach", "envoy"][..], &redis.collect::<Vec<_>>()].concat())
            .unwrap();
        Some(stack)
    }

    fn compose(&self, arguments: &[&str]) -> Result<String> {
        let (program, first) = self.program.split_first().unwrap();
        let mut command = Command::new(program);
        command.args(first).arg("--file").arg(repository().join("envoy").join(self.file));
        command.args(["--project-name", &format!("wardgate-test-{}", std::process::id())]);
        command.args(arguments).envs(self.environment.clone());
        run(command.env_remove("COMPOSE_FILE").env_remove("COMPOSE_PROFILES"))
    }

    /// Runs the command line of the sidecar in its container.
    fn wardgate(&self, arguments: &[&str]) -> Value {
        let command = [&["exec", "-T", "sidecar", "wardgate"], arguments, &["--output", "json"]];
        serde_json::from_str(&self.compose(&command.concat()).unwrap()).unwrap()
    }

    fn container(&self, service: &str) -> Value {
        let id = self.compose(&["ps", "--quiet", service]).unwrap();
        let found: Value = serde_json::from_str(&docker(["inspect", id.trim()]).unwrap()).unwrap();
        found[0].clone()
    }

    fn send(&self, request: &Request) -> Answer {
        request.send(self.gate).unwrap()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            say(&self.compose(&["logs", "--no-color"]).unwrap_or_default());
        }
        let down = ["down", "--volumes", "--remove-orphans", "--timeout", "2"];
        if let Err(error) = self.compose(&down) {
            say(&format!("{error:#}"));
        }
    }
}

/// The plugin of the Docker client, or the program of its own that it once was.
fn compose_program() -> Option<&'static [&'static str]> {
    let known: [&[&str]; 2] = [&["docker", "compose"], &["docker-compose"]];
    let answers = |words: &[&str]| {
        let mut command = Command::new(words[0]);
        run(command.args(&words[1..]).arg("version")).is_ok()
    };
    let found = known.into_iter().find(|words| answers(words));
    if found.is_none() {
        missing("no Docker Compose is installed", "envoy/docker-compose.yaml");
    }
    found
}

/// Free a moment ago.
fn free_address() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap()
}

#[test]
fn compose_starts_envoy_sidecar_and_redis_and_the_gate_decides() {
    if !engine_answers("envoy/docker-compose.yaml") {
        return;
    }
    let Some(stack) = Stack::start() else { return };
    wait_for("the gate to be ready", PATIENCE, || {
        let answer = Request::get("/.wardgate/healthz").send(stack.gate).ok();
        Ok(answer.filter(|answer| answer.status == 200))
    })
    .unwrap();

    assert_eq!(stack.send(&Request::get("/healthz")).status, 200);
    let refused = stack.send(&Request::get("/metrics?no-credential"));
    assert_eq!((refused.status, refused.reason().as_deref()), (401, Some("credential-missing")));

    let issued = stack.wardgate(&["token", "issue", "--subject", "alice", "--role", "viewer"]);
    let token = issued["access_token"].as_str().unwrap();
    assert_eq!(stack.send(&Request::get("/metrics").bearer(token)).status, 200);
    let denied = stack.send(&Request::new("POST", "/metrics").bearer(token));
    assert_eq!((denied.status, denied.reason().as_deref()), (403, Some("permission-missing")));

    let made = stack.wardgate(&["apikey", "create", "--name", "ci", "--role", "viewer"]);
    let key = made["api_key"].as_str().unwrap();
    assert_eq!(stack.send(&Request::get("/metrics").header("x-api-key", key)).status, 200);

    // How each request was authenticated, and what came of it.
    let expected = ["none permit", "none deny", "jwt permit", "jwt deny", "api_key permit"];
    let mut seen = Vec::new();
    let arrived = wait_until("the audit log", PATIENCE, || {
        let events = stack.wardgate(&["audit", "tail", "--lines", "100"]);
        let text = |event: &Value, name: &str| event[name].as_str().unwrap_or("none").to_owned();
        let line = |event| format!("{} {}", text(event, "auth"), text(event, "decision"));
        seen = events.as_array().unwrap().iter().map(line).collect();
        Ok(expected.iter().all(|line| seen.iter().any(|seen| seen == line)))
    });
    arrived.map_err(|error| error.context(format!("{seen:?}"))).unwrap();

    let services =
        ["envoy", "sidecar"].into_iter().chain(stack.images.redis.iter().map(|_| "redis"));
    services.for_each(|service| assert_confined(&stack, service));
}

/// A container without any privilege, healthy, and with no secret to be seen from outside.
#[track_caller]
fn assert_confined(stack: &Stack, service: &str) {
    wait_until(&format!("{service} to be healthy"), PATIENCE, || {
        Ok(stack.container(service)["State"]["Health"]["Status"] == "healthy")
    })
    .unwrap();
    let container = stack.container(service);
    let host = &container["HostConfig"];
    assert_eq!(host["ReadonlyRootfs"], true, "{service}");
    assert_eq!(host["CapDrop"], serde_json::json!(["ALL"]), "{service}");
    assert_eq!(host["SecurityOpt"], serde_json::json!(["no-new-privileges:true"]), "{service}");
    assert_eq!(container["Config"]["User"], "65532:65532", "{service}");
    assert!(!container["Config"]["Env"].to_string().contains("SECRET"), "{service}");
    assert_eq!(container["RestartCount"], 0, "{service}");
}

#[test]
fn the_filter_image_holds_the_filter_where_meshes_look_for_it() {
    if !engine_answers("envoy/Dockerfile.filter") {
        return;
    }
    let context = tempfile::tempdir().unwrap();
    let wasm = fs::read(wasm_file().unwrap()).unwrap();
    fs::write(context.path().join("wardgate.wasm"), &wasm).unwrap();
    let mut images = Images::default();
    let name = images.name("filter");
    build(&name, "Dockerfile.filter", &[], context.path()).unwrap();
    let layers = docker(["image", "inspect", "--format", "{{len .RootFS.Layers}}", &name]).unwrap();
    assert_eq!(layers.trim(), "1", "the last layer is looked at, and no other");
    let container = docker(["create", &name, "nothing"]).unwrap();
    let copy = context.path().join("plugin.wasm");
    let copied =
        docker(["cp", &format!("{}:/plugin.wasm", container.trim()), copy.to_str().unwrap()]);
    docker(["rm", container.trim()]).unwrap();
    copied.unwrap();
    assert!(fs::read(copy).unwrap() == wasm, "another file");
}
