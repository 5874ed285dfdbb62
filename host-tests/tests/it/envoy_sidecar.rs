//! A real Envoy with the real sidecar: keys, audit, and what happens while the sidecar is away.

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use tempfile::TempDir;
use wardgate_host_tests::{
    envoy::{
        Envoy,
        client::{Answer, Request},
        sidecar::Sidecar,
        wait::{wait_for, wait_until},
    },
    upstream::Upstream,
};

const PATIENCE: Duration = Duration::from_secs(20);

struct World {
    envoy: Envoy,
    sidecar: Sidecar,
    _upstream: Upstream,
    _directory: TempDir,
}

impl World {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let upstream = Upstream::start().unwrap();
        let mut sidecar = Sidecar::init(&directory.path().join("sidecar"), None, None).unwrap();
        sidecar.start().unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let envoy = sidecar.envoy(any, any, upstream.address()).unwrap().start().unwrap();
        let world = Self { envoy, sidecar, _upstream: upstream, _directory: directory };
        world.until(&Request::get("/.wardgate/healthz"), 200);
        world
    }

    fn send(&self, request: &Request) -> Answer {
        request.send(self.envoy.listener("gate").unwrap()).unwrap()
    }

    /// Repeats a request until its status is this one.
    #[track_caller]
    fn until(&self, request: &Request, status: u16) -> Answer {
        let answer = wait_for(&format!("{status} to {request:?}"), PATIENCE, || {
            Ok(Some(self.send(request)).filter(|answer| answer.status == status))
        });
        answer.unwrap()
    }

    fn api_key(&self, name: &str) -> (String, String) {
        let made = self
            .sidecar
            .command(&["apikey", "create", "--name", name, "--role", "viewer"])
            .unwrap();
        let text = |field: &str| made[field].as_str().unwrap().to_owned();
        (text("api_key"), text("id"))
    }

    fn audited(&self, path: &str) -> Vec<Value> {
        let events = self.sidecar.audit().unwrap();
        events.into_iter().filter(|event| event["path"] == path).collect()
    }

    #[track_caller]
    fn until_audited(&self, path: &str, count: usize) {
        wait_until("the audit log", PATIENCE, || Ok(self.audited(path).len() >= count)).unwrap();
        assert_eq!(self.audited(path).len(), count);
    }
}

fn with_key(path: &str, key: &str) -> Request {
    Request::get(path).header("x-api-key", key)
}

#[test]
fn tokens_and_keys_of_the_sidecar_work_and_a_revoked_key_does_not() {
    let world = World::start();
    let issued = world
        .sidecar
        .command(&["token", "issue", "--subject", "alice", "--role", "viewer"])
        .unwrap();
    let token = issued["access_token"].as_str().unwrap();
    assert_eq!(world.send(&Request::get("/a").bearer(token)).status, 200);

    world.sidecar.command(&["token", "revoke", token]).unwrap();
    let refused = world.until(&Request::get("/a").bearer(token), 401);
    assert_eq!(refused.reason().as_deref(), Some("token-revoked"));

    let (key, id) = world.api_key("ci");
    world.until(&with_key("/a", &key), 200);
    world.sidecar.command(&["apikey", "revoke", &id]).unwrap();
    assert_eq!(
        world.until(&with_key("/a", &key), 401).reason().as_deref(),
        Some("api-key-revoked")
    );
    assert_eq!(world.envoy.traps().unwrap(), 0);
}

#[test]
fn while_the_sidecar_is_away_what_is_known_is_decided_and_no_event_is_lost() {
    let mut world = World::start();
    let (known, _) = world.api_key("known");
    let (unseen, _) = world.api_key("unseen");
    world.until(&with_key("/warm", &known), 200);
    assert_eq!(world.send(&with_key("/before", &known)).status, 200);
    world.until_audited("/before", 1);

    world.sidecar.kill();
    assert_eq!(world.send(&with_key("/away", &known)).status, 200);
    // Nobody has shown it yet, and the gate has it all the same.
    assert_eq!(world.send(&with_key("/away", &unseen)).status, 200);
    assert_eq!(world.send(&Request::get("/away")).status, 401);
    assert_eq!(world.audited("/away").len(), 0);

    world.sidecar.start().unwrap();
    world.until_audited("/away", 3);
    let (made, id) = world.api_key("made-after");
    world.until(&with_key("/back", &made), 200);
    world.sidecar.command(&["apikey", "revoke", &id]).unwrap();
    world.until(&with_key("/back", &made), 401);
    assert_eq!(world.envoy.traps().unwrap(), 0);
}

#[test]
fn a_changed_policy_counts_in_envoy_and_a_bad_one_changes_nothing() {
    let world = World::start();
    let (key, _) = world.api_key("ci");
    let write = Request::new("PUT", "/a").header("x-api-key", &key);
    world.until(&with_key("/a", &key), 200);
    assert_eq!(world.send(&write).reason().as_deref(), Some("permission-missing"));

    let file = world.sidecar.directory().join("policy.yaml");
    let policy = std::fs::read_to_string(&file).unwrap();
    let wider =
        policy.replace("viewer: {permissions: [read]}", "viewer: {permissions: [read, write]}");
    assert_ne!(wider, policy);
    std::fs::write(&file, &wider).unwrap();
    world.until(&write, 200);

    std::fs::write(&file, wider.replace("default: deny", "defualt: deny")).unwrap();
    let problems = || {
        let status = world.sidecar.ask("GET", "/admin/v1/policy", &Value::Null).unwrap();
        status["problems"].as_array().unwrap().clone()
    };
    wait_until("the refusal", PATIENCE, || Ok(!problems().is_empty())).unwrap();
    assert!(problems()[0].as_str().unwrap().contains("defualt"), "{:?}", problems());
    assert_eq!(world.send(&write).status, 200, "the one before serves");

    std::fs::write(&file, &policy).unwrap();
    world.until(&write, 403);
    assert_eq!(world.envoy.traps().unwrap(), 0);
}
