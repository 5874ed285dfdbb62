//! What the tests of the wasm file share: an issuer, a configuration, and a VM with its sidecar.

use std::sync::OnceLock;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use wardgate_core::api_key::ApiKey;
use wardgate_core::base64url::encode;
use wardgate_host_tests::wasm::{
    FakeSidecar, Host, HttpCall, Outcome, Request, START, Vm, capabilities,
};

/// The feed secret of both sides.
pub(crate) const SECRET: &[u8; 32] = b"feed secret of the wasm tests !!";

/// Signs tokens with ES256 and a key made once per run.
pub(crate) struct Issuer {
    pair: EcdsaKeyPair,
}

impl Issuer {
    /// The issuer that the configuration knows.
    pub(crate) fn corp() -> &'static Self {
        static CORP: OnceLock<Issuer> = OnceLock::new();
        CORP.get_or_init(Self::generate)
    }

    /// Another key, which nobody knows.
    pub(crate) fn stranger() -> &'static Self {
        static STRANGER: OnceLock<Issuer> = OnceLock::new();
        STRANGER.get_or_init(Self::generate)
    }

    fn generate() -> Self {
        Self { pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap() }
    }

    /// Its key set.
    pub(crate) fn jwks(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        json!({"keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "k1",
            "x": encode(&point[1..33]), "y": encode(&point[33..65]),
        }]})
    }

    /// A token with these claims.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = encode(br#"{"alg":"ES256","typ":"JWT","kid":"k1"}"#);
        let input = format!("{header}.{}", encode(claims.to_string().as_bytes()));
        let signature = self.pair.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
        format!("{input}.{}", encode(signature.as_ref()))
    }
}

/// Claims of `subject` with these roles, good for ten minutes from the start of a test.
pub(crate) fn claims(subject: &str, roles: &[&str]) -> Value {
    let now = START.as_secs();
    json!({
        "iss": "https://login.example.com", "aud": "api", "sub": subject,
        "iat": now, "exp": now + 600, "roles": roles,
    })
}

/// A good token of a reader, the same one in all of a run: ECDSA signs anew each time.
pub(crate) fn reader_token() -> String {
    static TOKEN: OnceLock<String> = OnceLock::new();
    TOKEN.get_or_init(|| Issuer::corp().sign(&claims("ann", &["viewer"]))).clone()
}

/// Reads one item with this token.
pub(crate) fn read_with(token: &str) -> Request {
    Request::new("GET", "/items/1").bearer(token)
}

/// Reads one item with this API key.
pub(crate) fn read_with_key(key: &ApiKey) -> Request {
    Request::new("GET", "/items/1").header("x-api-key", key.expose())
}

/// The policy of the tests, with the issuer's keys in it.
pub(crate) fn policy() -> Value {
    json!({
        "version": 1,
        "issuers": [{
            "name": "corp", "issuer": "https://login.example.com", "audiences": ["api"],
            "algorithms": ["ES256"], "jwks": Issuer::corp().jwks(),
            "claims": {"roles": ["roles"]}, "may_claim_roles": ["viewer", "editor"],
        }],
        "roles": {
            "viewer": {"permissions": ["read"]},
            "editor": {"inherits": ["viewer"], "permissions": ["write"]},
        },
        "routes": [
            {
                "name": "read-item", "match": {"methods": ["GET"], "path": "/items/{id}"},
                "credentials": ["jwt", "api_key"], "require": {"all": ["read"]},
            },
            {
                "name": "write-item", "match": {"methods": ["POST"], "path": "/items/{id}"},
                "credentials": ["jwt", "api_key"], "require": {"all": ["write"]},
            },
            {
                "name": "public", "match": {"methods": ["GET"], "path": "/public"},
                "credentials": ["none"],
            },
        ],
    })
}

/// The configuration of the filter with a sidecar.
pub(crate) fn config() -> Value {
    json!({"policy": policy(), "feed": {"cluster": "wardgate_sidecar"}})
}

/// The configuration of the filter with this feed on top of the usual one.
pub(crate) fn config_with(section: &str, value: Value) -> Value {
    let mut config = config();
    config[section] = value;
    config
}

/// A VM and the sidecar that it talks to.
pub(crate) struct Gate {
    pub(crate) vm: Vm,
    pub(crate) sidecar: FakeSidecar,
}

/// What `wardgate envoy config` lets the filter do.
pub(crate) fn shipped_capabilities() -> Vec<String> {
    let yaml = include_str!("../../../sidecar/src/cli/envoy/bootstrap.yaml");
    capabilities::allowed_in(yaml)
}

/// A host with the capabilities of the shipped configuration and the feed secret in its environment.
pub(crate) fn host() -> Host {
    Host::new()
        .capabilities(shipped_capabilities())
        .env("WARDGATE_FEED_SECRET", &FakeSidecar::new(SECRET).secret_text())
}

impl Gate {
    /// Started with this configuration; the sidecar has not been heard yet.
    pub(crate) fn unheard(config: &Value) -> Self {
        Self::of(host().config(config).start().unwrap())
    }

    /// This VM with a sidecar of its own, which it has not heard yet.
    pub(crate) fn of(vm: Vm) -> Self {
        Self { vm, sidecar: FakeSidecar::new(SECRET) }
    }

    /// Started with this configuration and ready.
    pub(crate) fn ready(config: &Value) -> Self {
        let mut gate = Self::unheard(config);
        gate.settle();
        gate
    }

    /// Lets time pass until the gate has heard the sidecar and loaded its tables, and a moment more.
    pub(crate) fn settle(&mut self) {
        for _ in 0..100 {
            self.pass(Duration::from_millis(20));
            let outcome = self.vm.request(Request::new("GET", "/.wardgate/healthz"));
            if outcome.status() == Some(200) {
                return self.pass(Duration::from_millis(100));
            }
        }
    }

    /// Lets time pass in steps of a tick with the sidecar answering at once.
    pub(crate) fn pass(&mut self, time: Duration) {
        let step = Duration::from_millis(10);
        let mut left = time;
        self.sidecar.serve(&mut self.vm);
        while !left.is_zero() {
            let now = step.min(left);
            self.vm.advance(now);
            self.sidecar.serve(&mut self.vm);
            left = left.saturating_sub(now);
        }
    }

    /// Sends a request and lets the sidecar answer what it takes to decide it.
    pub(crate) fn decide(&mut self, request: Request) -> Outcome {
        let stream = self.vm.open(request);
        if self.vm.outcome(stream) == Outcome::Paused {
            self.sidecar.serve(&mut self.vm);
        }
        let outcome = self.vm.outcome(stream);
        self.vm.close(stream);
        outcome
    }

    /// The waiting calls of this path.
    pub(crate) fn calls_to(&self, path: &str) -> Vec<HttpCall> {
        self.vm.calls().into_iter().filter(|call| call.endpoint() == path).collect()
    }

    /// Fails if the VM has died or done what Envoy takes ill.
    #[track_caller]
    pub(crate) fn assert_sound(&self) {
        assert_eq!(self.vm.trap(), None);
        assert_eq!(self.vm.misuse(), [""; 0]);
        let mut lines = self.vm.log_lines().iter();
        let restricted = lines.find(|line| line.text.contains("restricted proxy-wasm capability"));
        assert_eq!(restricted, None, "the shipped configuration allows too little");
    }
}

/// Asserts that a request went on.
#[track_caller]
pub(crate) fn assert_forwarded(outcome: &Outcome) {
    assert!(outcome.is_forwarded(), "{outcome:?}");
}

/// Asserts that a request was answered for this reason.
#[track_caller]
pub(crate) fn assert_refused(outcome: &Outcome, reason: &str) {
    assert_eq!(outcome.reason().as_deref(), Some(reason), "{outcome:?}");
}
