//! What the tests with a real Envoy share.

use std::path::Path;

use serde_json::{Value, json};
use wardgate_host_tests::{
    envoy::{
        Builder, Envoy,
        bootstrap::{Listener, bootstrap, cluster, http2_cluster, wardgate},
        client::{Answer, Request},
        issuer::{Algorithm, Issuer},
        wasm_file,
    },
    upstream::{Seen, Upstream},
};

/// The filter on its configuration alone, in front of an upstream that reports.
pub(crate) struct Gate {
    pub(crate) envoy: Envoy,
    pub(crate) upstream: Upstream,
    pub(crate) issuer: Issuer,
}

/// What a test may change about [`Gate`].
#[derive(Default)]
pub(crate) struct Setup<'a> {
    /// Filters between the gate and the router.
    pub(crate) after: Vec<Value>,
    pub(crate) access_log: Option<(&'a Path, &'a str)>,
    pub(crate) concurrency: Option<u32>,
    /// Without what Envoy refuses on its own.
    pub(crate) soft: bool,
}

impl Gate {
    pub(crate) fn start() -> Self {
        Self::with(&Setup::default())
    }

    pub(crate) fn with(setup: &Setup<'_>) -> Self {
        let issuer = Issuer::generate("https://login.example.com").unwrap();
        let upstream = Upstream::start().unwrap();
        let builder = builder(&configuration(&issuer), &upstream, setup);
        let envoy = builder.concurrency(setup.concurrency.unwrap_or(1)).start().unwrap();
        Self { envoy, upstream, issuer }
    }

    /// A token of a viewer.
    pub(crate) fn viewer(&self) -> String {
        self.issuer.token(Algorithm::Es256, "alice", &json!({"roles": ["viewer"]})).unwrap()
    }

    pub(crate) fn send(&self, request: &Request) -> Answer {
        request.send(self.envoy.listener("gate").unwrap()).unwrap()
    }

    #[track_caller]
    pub(crate) fn assert_sound(&self) {
        assert_eq!(self.envoy.traps().unwrap(), 0, "the filter trapped: {}", self.envoy.log());
    }
}

pub(crate) fn builder(configuration: &Value, upstream: &Upstream, setup: &Setup<'_>) -> Builder {
    let mut filters = vec![wardgate(&wasm_file().unwrap(), configuration, &[])];
    filters.extend(setup.after.clone());
    let (access_log, hardened) = (setup.access_log, !setup.soft);
    let one = Listener {
        name: "gate",
        filters: filters.clone(),
        cluster: "upstream",
        access_log,
        hardened,
    };
    let two = Listener { name: "http2", filters, cluster: "upstream_http2", access_log, hardened };
    let clusters = [
        cluster("upstream", upstream.address()),
        http2_cluster("upstream_http2", upstream.address()),
    ];
    Envoy::builder(&bootstrap(&[one.to_json(), two.to_json()], &clusters))
}

/// Two roles, a public page, a route for browsers and one for gRPC.
pub(crate) fn configuration(issuer: &Issuer) -> Value {
    json!({"failure_limit": {"failures": 0}, "policy": {
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
            {"name": "public", "match": {"methods": ["GET"], "path": "/public"}, "credentials": ["none"]},
            {"name": "read", "match": {"methods": ["GET"], "path": "/things/{id}"},
             "credentials": ["jwt"], "require": {"all": ["read"]}, "cors": true},
            {"name": "write", "match": {"methods": ["POST"], "path": "/things/{id}"},
             "credentials": ["jwt"], "require": {"all": ["write"]}},
            {"name": "grpc", "match": {"methods": ["POST"], "path": "/shop.Orders/{method}"},
             "credentials": ["jwt"], "require": {"all": ["read"]}},
        ],
        "default": "deny",
    }})
}

/// What the upstream saw of a request that passed.
#[track_caller]
pub(crate) fn seen(answer: &Answer) -> Seen {
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    serde_json::from_slice(&answer.body).unwrap()
}
