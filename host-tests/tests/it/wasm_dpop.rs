//! Bound tokens through the real wasm file: several VMs of a process, hosts that fail, clocks that
//! move, and what it costs.

use std::time::Duration;

use serde_json::{Value, json};
use wardgate_host_tests::envoy::client_key::ClientKey;
use wardgate_host_tests::wasm::{Outcome, Process, Request, START, Status, Vm, When};

use crate::wasm_support::{Issuer, assert_forwarded, assert_refused, claims, host, policy};

/// How long a callback may hold a worker up.
const CALLBACK_MICROSECONDS: u64 = 1000;
const CERTIFICATE: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const CERTIFICATE_DIGEST: &str = "n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg";

/// A client with a key and a token that is bound to it.
struct Client {
    key: ClientKey,
    token: String,
}

impl Client {
    fn p256() -> Self {
        Self::new(ClientKey::p256().unwrap())
    }

    fn ed25519() -> Self {
        Self::new(ClientKey::ed25519().unwrap())
    }

    fn new(key: ClientKey) -> Self {
        let token = token(&json!({"jkt": key.thumbprint}));
        Self { key, token }
    }

    /// The request with this id for a proof, made so many seconds after the start of the test.
    fn request(&self, id: &str, after: u64, nonce: Option<&str>) -> Request {
        let mut claims = json!({
            "jti": id, "htm": "GET", "htu": "https://api.example.com/bound",
            "iat": START.as_secs() + after,
        });
        if let Some(nonce) = nonce {
            claims["nonce"] = nonce.into();
        }
        let claims = claims.as_object().unwrap().clone();
        Request::new("GET", "/bound")
            .header("authorization", format!("DPoP {}", self.token))
            .header("dpop", self.key.proof(Some(&self.token), claims).unwrap())
    }
}

/// A token with this `cnf`.
fn token(confirmation: &Value) -> String {
    let mut claims = claims("ann", &["viewer"]);
    claims["cnf"] = confirmation.clone();
    Issuer::corp().sign(&claims)
}

fn unbound() -> Request {
    Request::new("GET", "/bound").bearer(&Issuer::corp().sign(&claims("ann", &["viewer"])))
}

/// A configuration without a sidecar.
fn config(nonce: &str) -> Value {
    let mut policy = policy();
    policy["dpop"] = json!({"origins": ["https://api.example.com"], "nonce": nonce});
    policy["routes"] = json!([
        {"name": "bound", "match": {"path": "/bound"}, "credentials": ["jwt"]},
    ]);
    json!({"policy": policy})
}

fn vm(nonce: &str) -> Vm {
    host().config(&config(nonce)).start().unwrap()
}

fn process(nonce: &str, vms: usize) -> Process {
    Process::start(host().config(&config(nonce)), vms).unwrap()
}

fn nonce_of(outcome: &Outcome) -> String {
    let Outcome::Answered(response) = outcome else { panic!("{outcome:?}") };
    let nonce = response.headers.iter().find(|(name, _)| name == b"dpop-nonce");
    String::from_utf8(nonce.expect("a nonce").1.clone()).unwrap()
}

/// What a request costs: how often each host call was made for it.
fn calls_of(vm: &mut Vm, request: Request) -> Vec<(&'static str, u64)> {
    let before = vm.host_calls().clone();
    assert_forwarded(&vm.request(request));
    let after = vm.host_calls().clone();
    let made =
        after.into_iter().map(|(call, count)| (call, count - before.get(call).unwrap_or(&0)));
    made.filter(|(_, count)| *count > 0).collect()
}

fn made(calls: &[(&'static str, u64)], call: &str) -> u64 {
    calls.iter().find(|(name, _)| *name == call).map_or(0, |(_, count)| *count)
}

#[test]
fn of_all_workers_of_a_process_one_takes_a_proof() {
    let mut process = process("ignored", 4);
    let client = Client::p256();
    for round in 0..20 {
        let request = client.request(&format!("id-{round}"), 0, None);
        let first = round % 4;
        assert_forwarded(&process.vm(first).request(request.clone()));
        for number in 0..4 {
            assert_refused(&process.vm(number).request(request.clone()), "dpop-proof-replayed");
        }
    }
}

#[test]
fn workers_of_a_process_know_the_same_nonces_and_those_of_another_do_not() {
    let (mut process, mut elsewhere) = (process("required", 3), process("required", 2));
    let client = Client::ed25519();
    let refused = process.vm(0).request(client.request("1", 0, None));
    assert_refused(&refused, "dpop-nonce-required");
    let nonce = nonce_of(&refused);
    let captured = client.request("2", 0, Some(&nonce));
    // Not the first of it: here the first VMs of all processes have the same randomness.
    assert_refused(&elsewhere.vm(1).request(captured.clone()), "dpop-nonce-required");
    assert_forwarded(&process.vm(1).request(captured));
    assert_forwarded(&process.vm(2).request(client.request("3", 0, Some(&nonce))));
}

#[test]
fn a_host_whose_memory_fails_gets_no_proof_past_and_bearer_tokens_all_the_same() {
    let client = Client::ed25519();
    for nonce in ["ignored", "optional"] {
        for call in ["proxy_set_shared_data", "proxy_get_shared_data"] {
            for status in [1, 2, 8, 10, 99] {
                let mut process = process(nonce, 2);
                let used = client.request("used", 0, None);
                assert_forwarded(&process.vm(0).request(used.clone()));
                for number in 0..2 {
                    process.vm(number).fault(call, Status(status), When::Always);
                    let outcome = process.vm(number).request(used.clone());
                    assert!(!outcome.is_forwarded(), "{call} = {status}: {outcome:?}");
                    assert_forwarded(&process.vm(number).request(unbound()));
                    process.vm(number).clear_faults();
                    assert_refused(
                        &process.vm(number).request(used.clone()),
                        "dpop-proof-replayed",
                    );
                }
            }
        }
    }
}

#[test]
fn another_plugin_that_writes_into_the_memory_closes_the_gate_and_does_not_open_it() {
    let mut process = process("ignored", 2);
    let client = Client::ed25519();
    let used = client.request("used", 0, None);
    assert_forwarded(&process.vm(0).request(used.clone()));
    let keys = process.vm(0).shared_keys();
    let key = keys.iter().find(|key| key.starts_with(b"wardgate1.proofs.")).unwrap();
    let value = process.vm(0).shared_get(key).unwrap();
    for enemy in [Vec::new(), b"junk".to_vec(), value[..16].to_vec(), vec![0; value.len()]] {
        process.vm(0).shared_set(key, enemy);
        for number in 0..2 {
            assert_refused(&process.vm(number).request(used.clone()), "feed-unreadable");
        }
    }
    process.vm(0).shared_set(key, value);
    assert_refused(&process.vm(1).request(used), "dpop-proof-replayed");
}

#[test]
fn a_clock_that_is_set_back_opens_nothing() {
    let mut vm = vm("ignored");
    let client = Client::ed25519();
    let used = client.request("used", 0, None);
    assert_forwarded(&vm.request(used.clone()));
    vm.set_wall_clock(START + Duration::from_secs(500));
    assert_refused(&vm.request(used.clone()), "dpop-proof-stale");
    assert_forwarded(&vm.request(client.request("late", 500, None)));
    vm.set_wall_clock(START + Duration::from_secs(30));
    assert_refused(&vm.request(used), "dpop-proof-replayed");
    assert_forwarded(&vm.request(client.request("new", 30, None)));
}

#[test]
fn a_token_that_is_bound_to_a_certificate_passes_on_its_connection_only() {
    let mut vm = vm("ignored");
    let bound = token(&json!({"x5t#S256": CERTIFICATE_DIGEST}));
    let request = Request::new("GET", "/bound").bearer(&bound);
    assert_refused(&vm.request(request.clone()), "token-binding-mismatch");
    let property = "connection.sha256_peer_certificate_digest";
    let with_certificate = request.clone().property(property, CERTIFICATE);
    let calls = calls_of(&mut vm, with_certificate);
    assert_eq!(made(&calls, "proxy_get_property"), 1, "{calls:?}");
    let other = request.property(property, CERTIFICATE.replace('a', "b"));
    assert_refused(&vm.request(other), "token-binding-mismatch");
}

#[test]
fn a_bearer_token_pays_nothing_for_what_others_prove() {
    let mut vm = vm("required");
    let request = unbound();
    assert_forwarded(&vm.request(request.clone()));
    let calls = calls_of(&mut vm, request);
    for call in [
        "proxy_get_property",
        "proxy_get_shared_data",
        "proxy_set_shared_data",
        "proxy_call_foreign_function",
    ] {
        assert_eq!(made(&calls, call), 0, "{calls:?}");
    }
}

#[test]
fn a_proof_costs_one_signature_one_look_and_one_write() {
    for (client, by_host) in [(Client::p256(), 1), (Client::ed25519(), 0)] {
        let mut vm = vm("ignored");
        assert_forwarded(&vm.request(client.request("1", 0, None)));
        vm.forget_costs();
        let calls = calls_of(&mut vm, client.request("2", 0, None));
        assert_eq!(made(&calls, "proxy_get_shared_data"), 1, "{calls:?}");
        assert_eq!(made(&calls, "proxy_set_shared_data"), 1, "{calls:?}");
        assert_eq!(made(&calls, "proxy_get_property"), 0, "{calls:?}");
        assert_eq!(made(&calls, "proxy_call_foreign_function"), by_host, "{calls:?}");
        let costs = vm.costs().dearest();
        let (_, cost) = costs["proxy_on_request_headers"];
        println!("{by_host} by the host: {} µs, {cost:?}", cost.microseconds());
        assert!(cost.microseconds() < CALLBACK_MICROSECONDS, "{cost:?}");
    }
}
