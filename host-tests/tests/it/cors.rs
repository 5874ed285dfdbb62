//! Browser applications of other origins, through Envoy and the policy that `wardgate init` writes.

use std::{net::SocketAddr, time::Duration};

use serde_json::json;
use tempfile::TempDir;
use wardgate_host_tests::{
    envoy::{
        Envoy,
        client::{Answer, Request},
        sidecar::Sidecar,
        wait::wait_until,
    },
    upstream::Upstream,
};

/// A gate is ready in a moment; a machine with a full load takes longer.
const PATIENCE: Duration = Duration::from_mins(1);
const ORIGIN: &str = "https://app.example.com";

struct World {
    envoy: Envoy,
    sidecar: Sidecar,
    upstream: Upstream,
    _directory: TempDir,
}

impl World {
    /// A sidecar that knows one application, and an Envoy as `wardgate envoy config` describes it.
    fn start(issuer: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let upstream = Upstream::start().unwrap();
        let home = directory.path().join("sidecar");
        let mut sidecar = Sidecar::init_as(&home, None, issuer).unwrap();
        sidecar.append(&format!("oauth:\n  allowed_origins: [\"{ORIGIN}\"]")).unwrap();
        sidecar.start().unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let envoy = sidecar.envoy(any, any, upstream.address()).unwrap().start().unwrap();
        let world = Self { envoy, sidecar, upstream, _directory: directory };
        let is_ready = || Ok(world.send(&Request::get("/.wardgate/healthz")).status == 200);
        wait_until("the gate to be ready", PATIENCE, is_ready).unwrap();
        world
    }

    fn send(&self, request: &Request) -> Answer {
        request.send(self.envoy.listener("gate").unwrap()).unwrap()
    }

    /// What a browser asks before it sends what a script of this origin wants to be sent.
    fn preflight(&self, path: &str, origin: &str, method: &str) -> Answer {
        let asked = Request::new("OPTIONS", path).header("origin", origin);
        let asked = asked.header("access-control-request-method", method);
        self.send(&asked.header("access-control-request-headers", "content-type,dpop"))
    }
}

fn allowed(answer: &Answer) -> Option<String> {
    answer.header("access-control-allow-origin")
}

#[test]
fn an_application_of_an_allowed_origin_reaches_the_token_service_through_envoy() {
    for path in ["", "/tenant"] {
        let world = World::start(&format!("https://auth.example.com{path}"));
        let applications =
            ["/oauth2/token", "/oauth2/revoke", "/auth/login", "/auth/logout", "/auth/password"];
        for endpoint in applications.map(|endpoint| format!("{path}{endpoint}")) {
            let asked = world.preflight(&endpoint, ORIGIN, "POST");
            assert_eq!((asked.status, allowed(&asked).as_deref()), (200, Some(ORIGIN)));
            let other = world.preflight(&endpoint, "https://other.example.com", "POST");
            assert_eq!(allowed(&other), None, "{endpoint}");
            let sent = Request::new("POST", &endpoint).header("origin", ORIGIN);
            let sent = sent.header("content-type", "application/json");
            let answer = world.send(&sent.header("dpop", "no proof").body("{}"));
            assert!([400, 401].contains(&answer.status), "{endpoint}: {}", answer.status);
            assert_eq!(allowed(&answer).as_deref(), Some(ORIGIN), "{endpoint}");
            assert_eq!(answer.header("vary").as_deref(), Some("origin"), "{endpoint}");
        }
        let introspection = world.preflight(&format!("{path}/oauth2/introspect"), ORIGIN, "POST");
        assert_eq!((introspection.status, allowed(&introspection)), (405, None));
        for public in [
            format!("{path}/.well-known/jwks.json"),
            format!("/.well-known/oauth-authorization-server{path}"),
        ] {
            let asked = world.preflight(&public, "https://other.example.com", "GET");
            assert_eq!((asked.status, allowed(&asked).as_deref()), (200, Some("*")), "{public}");
            let got = world.send(&Request::get(&public).header("origin", "null"));
            assert_eq!((got.status, allowed(&got).as_deref()), (200, Some("*")), "{public}");
        }
        // None of it was for the upstream, whose own preflights are its own.
        assert_eq!(world.upstream.requests(), 0);
        assert_eq!(world.preflight("/things/1", ORIGIN, "GET").status, 403);
        assert_eq!(world.envoy.traps().unwrap(), 0, "{}", world.envoy.log());
    }
}

#[test]
fn an_application_reads_the_token_that_it_was_given() {
    let world = World::start("https://auth.example.com");
    let client = json!({
        "client_id": "app", "token_endpoint_auth_method": "client_secret_post", "scope": "api:read",
    });
    let made = world.sidecar.ask("POST", "/admin/v1/clients", &client).unwrap();
    let secret = made["client_secret"].as_str().unwrap();
    let form = format!("grant_type=client_credentials&client_id=app&client_secret={secret}");
    let sent = Request::new("POST", "/oauth2/token").header("origin", ORIGIN);
    let sent = sent.header("content-type", "application/x-www-form-urlencoded").body(form);
    let answer = world.send(&sent);
    assert_eq!((answer.status, allowed(&answer).as_deref()), (200, Some(ORIGIN)));
    assert!(answer.json()["access_token"].is_string());
    assert_eq!(answer.header("access-control-allow-credentials"), None);
}
