//! Where the attacks go: an Envoy with the filter three times, good credentials to start from.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use wardgate_core::{
    api_key::{ApiKey, GENERATE_RANDOM_BYTES},
    secret::Secret,
    wire::{ApiKeyRecord, ApiKeyState},
};

use super::Material;
use crate::{
    envoy::{
        Envoy,
        bootstrap::{Listener, bootstrap, cluster, wardgate},
        client::Request,
        desk::{Desk, Records},
        issuer::{Algorithm, Issuer},
        sidecar::{FEED_SECRET, SIDECAR_CLUSTER},
        wait::wait_until,
        wasm_file,
    },
    upstream::Upstream,
};

/// As shipped; without what Envoy refuses on its own; with a limit of failures.
pub const LISTENERS: [&str; 3] = ["hardened", "soft", "limited"];
/// Looks at the health of a gate.
const LOOKS: usize = 24;
/// It takes a poll and a load.
const READY_DEADLINE: Duration = Duration::from_secs(30);
/// Key of the digests of API keys.
const DIGEST_KEY: [u8; 32] = *b"the digest key of hostile tests!";

/// A real Envoy with the filter, an upstream, and a desk that knows some API keys.
pub struct Arena {
    envoy: Envoy,
    material: Material,
    _upstream: Upstream,
    _desk: Desk,
}

impl Arena {
    /// Starts everything, with so many workers in Envoy.
    ///
    /// # Errors
    ///
    /// When something does not start.
    pub fn start(workers: u32) -> Result<Self> {
        let issuer = Issuer::generate("https://login.example.com")?;
        let (desk, api_keys) = desk()?;
        let upstream = Upstream::start()?;
        let wasm = wasm_file()?;
        let listener = |name: &str| {
            let configuration = configuration(&issuer, if name == "limited" { 20 } else { 0 });
            let filters = vec![wardgate(&wasm, &configuration, &[FEED_SECRET])];
            let hardened = name != "soft";
            let listener =
                Listener { name, filters, cluster: "upstream", access_log: None, hardened };
            quick_to_close(listener.to_json())
        };
        let clusters =
            [cluster("upstream", upstream.address()), cluster(SIDECAR_CLUSTER, desk.address())];
        let builder = Envoy::builder(&bootstrap(&LISTENERS.map(listener), &clusters));
        let builder = builder.environment(FEED_SECRET, &desk.feed_secret());
        let envoy = builder.concurrency(workers).start()?;
        for name in LISTENERS {
            let address = envoy.listener(name)?;
            wait_until("the gates to be ready", READY_DEADLINE, || all_ready(address))?;
        }
        let material = Material { tokens: tokens(&issuer)?, api_keys, paths: paths() };
        Ok(Self { envoy, material, _upstream: upstream, _desk: desk })
    }

    /// The Envoy.
    pub fn envoy(&self) -> &Envoy {
        &self.envoy
    }

    /// What attacks are made from.
    pub fn material(&self) -> &Material {
        &self.material
    }
}

/// Each connection is another worker's, by chance: all of them must have heard the desk.
fn all_ready(address: SocketAddr) -> Result<bool> {
    let request = Request::get("/.wardgate/healthz");
    for _ in 0..LOOKS {
        if request.send(address)?.status != 200 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Envoy waits a second for the client before it closes a connection that it has had enough of; here
/// that would be most of the time.
fn quick_to_close(mut listener: Value) -> Value {
    let manager = listener.pointer_mut("/filter_chains/0/filters/0/typed_config");
    if let Some(manager) = manager.and_then(Value::as_object_mut) {
        manager.insert("delayed_close_timeout".to_owned(), json!("0.02s"));
    }
    listener
}

fn paths() -> Vec<String> {
    ["/public", "/things/1", "/things/2?x=1", "/shop.Orders/List", "/nowhere", "/.wardgate/healthz"]
        .map(ToOwned::to_owned)
        .to_vec()
}

fn tokens(issuer: &Issuer) -> Result<Vec<String>> {
    let mut tokens = Vec::new();
    for algorithm in Algorithm::ALL {
        for claims in [
            json!({"roles": ["viewer"]}),
            json!({"roles": ["editor"], "scope": "read"}),
            json!({"roles": "viewer", "sub": "\r\nx-forged: 1\u{1f511}"}),
            json!({"aud": ["other", "api"], "roles": [1, null, "viewer"]}),
            json!({"exp": 1}),
            json!({"exp": 1e300, "nbf": -1}),
            json!({"sub": 7, "aud": {}}),
        ] {
            tokens.push(issuer.token(algorithm, "alice", &claims)?);
        }
    }
    Ok(tokens)
}

/// A desk with keys of every state, and the keys with one that nobody made.
fn desk() -> Result<(Desk, Vec<String>)> {
    let mut records = Records { digest_key: DIGEST_KEY.to_vec(), api_keys: [].into() };
    let mut keys = Vec::new();
    for state in [ApiKeyState::Active, ApiKeyState::Disabled, ApiKeyState::Revoked] {
        let key = generate()?;
        let record = record(&key, state);
        records.api_keys.insert(record.id.clone(), record);
        keys.push(key.expose().to_owned());
    }
    keys.push(generate()?.expose().to_owned());
    Ok((Desk::start(records)?, keys))
}

fn generate() -> Result<ApiKey> {
    let mut random = [0; GENERATE_RANDOM_BYTES];
    aws_lc_rs::rand::fill(&mut random).ok().context("no randomness")?;
    Ok(ApiKey::generate("live", &random)?)
}

fn record(key: &ApiKey, state: ApiKeyState) -> ApiKeyRecord {
    ApiKeyRecord {
        id: key.id().to_owned(),
        environment: key.environment().to_owned(),
        name: "hostile".to_owned(),
        digest: key.digest(&Secret::new(DIGEST_KEY.to_vec())).text(),
        issuer: None,
        subject: None,
        roles: vec!["viewer".to_owned()],
        scopes: None,
        expires_at: None,
        state,
        previous: None,
        networks: Vec::new(),
        rate_limit: None,
    }
}

fn configuration(issuer: &Issuer, failures: u64) -> Value {
    json!({"failure_limit": {"failures": failures}, "feed": {}, "policy": {
        "version": 1,
        "issuers": [{
            "name": "corp", "issuer": issuer.name(), "audiences": ["api"], "jwks": issuer.jwks(),
            "algorithms": Algorithm::ALL.map(Algorithm::name),
            "claims": {"roles": ["roles"]}, "may_claim_roles": ["viewer", "editor"],
        }],
        "roles": {
            "viewer": {"permissions": ["read"]},
            "editor": {"inherits": ["viewer"], "permissions": ["write"]},
        },
        "routes": [
            {"name": "public", "match": {"path": "/public"}, "credentials": ["none"]},
            {"name": "read", "match": {"methods": ["GET", "HEAD"], "path": "/things/{id}"},
             "credentials": ["jwt", "api_key"], "require": {"all": ["read"]}, "cors": true},
            {"name": "write", "match": {"methods": ["POST", "PUT"], "path": "/things/{id}"},
             "credentials": ["api_key", "jwt"], "require": {"all": ["write"]}},
            {"name": "grpc", "match": {"path": "/shop.Orders/{method}"},
             "credentials": ["jwt"], "require": {"all": ["read"]}},
            {"name": "shadow", "match": {"path": "/nowhere"}, "credentials": ["jwt"],
             "require": {"all": ["write"]}, "mode": "shadow"},
        ],
    }})
}
