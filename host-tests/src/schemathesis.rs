//! Schemathesis reads the OpenAPI document of a running sidecar and asks what its authors did not
//! think of: every operation with what the schemas allow and with what they do not. An answer of the
//! 500s, or one that the document does not describe, is a failure.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    envoy::{client::Request, repository, sidecar::Sidecar},
    mesh::{Link, Server, Target},
    network::Place,
    python,
};

/// The admin listener and the internal one are Unix sockets, which schemathesis cannot open: it gets
/// a port of loopback that leads there, for as long as the test runs.
const LISTENERS: [&str; 3] = ["public", "admin", "internal"];

/// Where the sidecar keeps its records.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Store {
    /// In a file.
    Embedded,
    /// In a Redis of its own.
    Redis,
}

/// How much is asked.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Cases for each operation, beside those that the schemas themselves suggest.
    pub examples: u32,
    /// Seconds for each listener, all of them used; else as many as the examples take.
    pub seconds: Option<u64>,
    /// The same one asks the same again.
    pub seed: u64,
}

/// Asks everything that the document of a new sidecar on a new store describes.
///
/// # Errors
///
/// When something fails or is not as the document says; with what schemathesis found.
pub fn run(store: Store, effort: Effort) -> Result<()> {
    let home = TempDir::new()?;
    let mut sidecar = Sidecar::init(&home.path().join("sidecar"), None, None)?;
    let redis = (store == Store::Redis).then(|| Server::start(Place::LOOPBACK, &[])).transpose()?;
    if let Some(redis) = &redis {
        sidecar.store_in_redis(&format!("{{urls: [\"redis://{}\"]}}", redis.address()))?;
    }
    // One address asks all of it.
    sidecar.edit("limits:\n", "limits:\n  requests_per_minute_per_address: 0\n")?;
    let origins = "allowed_origins: [\"https://app.example.com\"]";
    sidecar.append(&format!("oauth: {{failures_per_minute_per_address: 0, {origins}}}"))?;
    sidecar.start()?;
    let document = home.path().join("openapi.json");
    std::fs::write(&document, Request::get("/openapi.json").send(sidecar.address())?.body)?;
    let known = something_of_everything(&sidecar)?;
    // Apart from those that are changed and deleted.
    let made = sidecar.ask("POST", "/admin/v1/clients", &client("asker"))?;
    let asker = json!(["asker", made.get("client_secret")]);
    for listener in LISTENERS {
        let socket = sidecar.directory().join(format!("run/{listener}.sock"));
        let link = (listener != "public").then(|| Link::to(Target::Socket(socket))).transpose()?;
        let address = link.as_ref().map_or(sidecar.address(), Link::address);
        let mut command = command(home.path(), effort)?;
        command.args(["--include-tag", listener, "--url", &format!("http://{address}")]);
        command.env("WARDGATE_KNOWN", known.to_string());
        command.env("WARDGATE_CLIENT", asker.to_string());
        command.env("WARDGATE_FEED_SECRET", sidecar.feed_secret()?);
        let output = command.output().context("schemathesis cannot be run")?;
        let said = String::from_utf8_lossy(&output.stdout);
        let error = String::from_utf8_lossy(&output.stderr);
        let log = sidecar.log();
        ensure!(
            output.status.success(),
            "{store:?}, {listener}, seed {}:\n{said}\n{error}\nthe sidecar's log:\n{log}",
            effort.seed
        );
        eprintln!("schemathesis, {store:?}, {listener}: {}", summary(&said));
    }
    // All of it was answered by one process.
    ensure!(Request::get("/readyz").send(sidecar.address())?.status == 200, "{}", sidecar.log());
    Ok(())
}

fn command(home: &Path, effort: Effort) -> Result<Command> {
    let mut command = Command::new(python::interpreter()?);
    let ours = repository().join("host-tests/python");
    command.args(["-m", "schemathesis.cli"]).arg("--config-file");
    command.arg(ours.join("schemathesis.toml")).arg("run").arg(home.join("openapi.json"));
    command.args(["--no-color", "--continue-on-failure", "--suppress-health-check", "all"]);
    command.args(["--generation-database", "none", "--request-timeout", "60"]);
    command.args(["--output-sanitize", "false"]);
    // Its own check of this wants more than the schemas promise: a key that is no key is refused,
    // also if it is a text.
    command.args(["--exclude-checks", "positive_data_acceptance"]);
    command.args(["--seed", &effort.seed.to_string()]);
    command.args(["--max-examples", &effort.examples.to_string()]);
    if let Some(seconds) = effort.seconds {
        command.args(["--max-time", &seconds.to_string()]);
    }
    command.env("SCHEMATHESIS_HOOKS", ours.join("endpoints.py"));
    command.current_dir(home).stdin(Stdio::null());
    Ok(command)
}

/// A client that may do everything.
fn client(id: &str) -> Value {
    json!({
        "client_id": id, "audiences": ["api"], "scope": "read write", "may_introspect": true,
        "may_exchange": {"subject_audiences": ["api"], "actor": true},
        "grant_types": [
            "client_credentials", "refresh_token",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ],
    })
}

/// Makes something that can be named in each path, so that more is found than 404.
fn something_of_everything(sidecar: &Sidecar) -> Result<Value> {
    let names = ["first", "second", "third"];
    let role = json!({"permissions": ["read"]});
    let password = "correct horse battery staple";
    let binding = json!({"subjects": ["api_key:first"], "roles": ["viewer"]});
    for name in names {
        let key = json!({"name": name, "environment": "test"});
        sidecar.ask("POST", "/admin/v1/api-keys", &key)?;
        sidecar.ask("POST", "/admin/v1/clients", &client(name))?;
        sidecar.ask("POST", "/admin/v1/users", &json!({"name": name, "password": password}))?;
        sidecar.ask("PUT", &format!("/admin/v1/roles/{name}"), &role)?;
        sidecar.ask("PUT", &format!("/admin/v1/bindings/{name}"), &binding)?;
    }
    let wanted = json!({"subject": "alice", "audiences": ["api"], "client_id": "asker"});
    let token = sidecar.ask("POST", "/admin/v1/tokens", &wanted)?;
    let tokens = json!([token.get("access_token")]);
    let exchange = "urn:ietf:params:oauth:grant-type:token-exchange";
    let kinds = json!(["urn:ietf:params:oauth:token-type:access_token"]);
    Ok(json!({
        "key": names, "name": names, "id": names, "client_id": names, "user": names,
        "token": tokens, "subject_token": tokens, "actor_token": tokens,
        "subject_token_type": kinds, "actor_token_type": kinds, "requested_token_type": kinds,
        "grant_type": ["client_credentials", "refresh_token", exchange],
        "scope": ["read"], "audience": ["api"], "resource": ["api"],
    }))
}

/// How many cases there were.
fn summary(said: &str) -> String {
    let cases = said.lines().skip_while(|line| !line.starts_with("Test cases"));
    cases.take(2).map(str::trim).collect::<Vec<_>>().join(" ")
}
