//! Services behind the gate, in other languages and in ours: the programs of `docs/integrations/`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::UnixListener, runtime::Runtime};
use wardgate_host_tests::{
    envoy::{
        Envoy,
        bootstrap::{Listener, bootstrap, unix_cluster, wardgate},
        client::{Answer, Connection, Request},
        issuer::{Algorithm, Issuer},
        repository,
        wait::wait_for,
        wasm_file,
    },
    python,
};

use crate::{axum_service, envoy_support::configuration};

const PATIENCE: Duration = Duration::from_mins(1);
/// A name that no header can hold as it is.
const SUBJECT: &str = "ann, née \"x\"\r\nx-wardgate-roles: editor";

/// What keeps a service running.
enum Running {
    Process(Child),
    Here(#[expect(dead_code, reason = "runs until it is dropped")] Runtime),
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Self::Process(process) = self {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn process(program: &Path, script: &str, socket: &Path) -> Running {
    let mut command = Command::new(program);
    command.arg(repository().join("host-tests").join(script)).env("SERVICE_SOCKET", socket);
    Running::Process(command.stdin(Stdio::null()).spawn().unwrap())
}

fn here(socket: &Path) -> Running {
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(async { UnixListener::bind(socket) }).unwrap();
    runtime.spawn(async { axum::serve(listener, axum_service::service()).await });
    Running::Here(runtime)
}

/// Shows a service what clients send, and looks at what it understood.
#[track_caller]
fn check(guide: &str, program: &str, start: impl FnOnce(&Path) -> Running) {
    assert_guide_shows(guide, program);
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("http.sock");
    let _service = start(&socket);
    let around = wait_for("the service", PATIENCE, || Ok(ask(&socket, &Request::get("/things/7"))));
    assert_eq!(around.unwrap().status, 500, "without the gate");

    let issuer = Issuer::generate("https://login.example.com").unwrap();
    let envoy = envoy(&issuer, &socket, &directory);
    let send = |request: &Request| request.send(envoy.listener("gate").unwrap()).unwrap();
    let token =
        |roles: Value| issuer.token(Algorithm::Es256, SUBJECT, &json!({"roles": roles})).unwrap();
    let understood = |may_edit: bool| json!({"thing": "7", "owner": [issuer.name(), SUBJECT], "may_edit": may_edit});
    let request = Request::get("/things/7");
    assert_eq!(send(&request).status, 401);
    let viewer = request.clone().bearer(&token(json!(["viewer"])));
    assert_eq!(send(&viewer).json(), understood(false));
    let editor = request.bearer(&token(json!(["viewer", "editor"])));
    assert_eq!(send(&editor).json(), understood(true));
    let forged = viewer.header("X-Wardgate-Roles", "editor").header("x-wardgate-subject", "olga");
    assert_eq!(send(&forged).json(), understood(false), "forged headers");
    assert_eq!(envoy.traps().unwrap(), 0, "{}", envoy.log());
}

fn ask(socket: &Path, request: &Request) -> Option<Answer> {
    Connection::open_socket(socket).ok()?.exchange(request).ok()
}

fn envoy(issuer: &Issuer, socket: &Path, directory: &TempDir) -> Envoy {
    let listener = Listener {
        name: "gate",
        filters: vec![wardgate(&wasm_file().unwrap(), &configuration(issuer), &[])],
        cluster: "service",
        access_log: None,
        hardened: true,
    };
    let clusters = [unix_cluster("service", socket)];
    let bootstrap = bootstrap(&[listener.to_json()], &clusters);
    Envoy::builder(&bootstrap).directory(directory.path()).start().unwrap()
}

/// What people copy is what runs here.
#[track_caller]
fn assert_guide_shows(guide: &str, program: &str) {
    let read = |path: PathBuf| fs::read_to_string(path).unwrap();
    let guide_text = read(repository().join("docs/integrations").join(guide));
    let program_text = read(repository().join("host-tests").join(program));
    assert!(guide_text.contains(&program_text), "{guide} does not show {program}");
}

#[test]
fn a_fastapi_service_knows_who_asks() {
    let program = "python/fastapi_service.py";
    let start = |socket: &Path| process(&python::interpreter().unwrap(), program, socket);
    check("fastapi.md", program, start);
}

#[test]
fn an_express_service_knows_who_asks() {
    let program = "javascript/express-service.mjs";
    check("express.md", program, |socket| process(Path::new("node"), program, socket));
}

#[test]
fn an_axum_service_knows_who_asks() {
    check("axum.md", "tests/it/axum_service.rs", here);
}
