//! Every host call fails in every way, at the first call, later, and always: nothing traps, and
//! nobody passes who must not.

use std::time::Duration;

use wardgate_host_tests::wasm::{Outcome, Request, Status, When};

use crate::wasm_support::{
    Gate, Issuer, claims, config, host, read_with, read_with_key, reader_token,
};

/// Every status of the ABI, and some that no host should ever give. 0 is a host that says that it
/// did what it did not do.
const STATUSES: [u32; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 99, u32::MAX];

/// Where the SDK's dispatcher panics on a status that Envoy does not give at that place: the call
/// and the statuses that it takes. Everything else must hold for every status.
const SDK_ONLY_TAKES: [(&str, &[u32]); 2] = [
    // Envoy: Ok, BadArgument, InternalFailure. (Ok with no token of its own cannot happen either.)
    ("proxy_http_call", &[2, 10]),
    // Envoy: Ok for every context that lives, and the dispatcher only names those.
    ("proxy_set_effective_context", &[0]),
];

fn taken(call: &str, status: u32) -> bool {
    let limited = SDK_ONLY_TAKES.iter().find(|(known, _)| *known == call);
    limited.is_none_or(|(_, statuses)| statuses.contains(&status))
}

/// What every request of a life passes through: token new and cached, API key, denial, trailers,
/// ticks, feed and audit.
fn live(gate: &mut Gate) -> Vec<Outcome> {
    let key = gate.sidecar.add_api_key(1, "ci", &["viewer"]);
    let stranger = Issuer::stranger().sign(&claims("ann", &["viewer"]));
    let mut outcomes = Vec::new();
    for _ in 0..2 {
        // These must never pass.
        outcomes.push(gate.decide(read_with(&stranger)));
        outcomes.push(gate.decide(Request::new("GET", "/items/1")));
        outcomes.push(gate.decide(Request::new("POST", "/items/1").bearer(&reader_token())));
        // These may.
        gate.decide(read_with(&reader_token()));
        gate.decide(read_with_key(&key));
        let stream = gate.vm.open(read_with(&reader_token()).with_more_to_come());
        gate.vm.trailers(stream, vec![(b"x-wardgate-subject".to_vec(), b"root".to_vec())]);
        gate.vm.close(stream);
        gate.pass(Duration::from_millis(1500));
    }
    outcomes
}

/// The host calls that a life makes.
fn calls_of_a_life() -> Vec<&'static str> {
    let mut gate = Gate::ready(&config());
    live(&mut gate);
    gate.assert_sound();
    gate.vm.host_calls().keys().copied().collect()
}

#[test]
fn any_host_call_may_fail_with_any_status() {
    let calls = calls_of_a_life();
    assert!(calls.len() >= 12, "{calls:?}");
    for call in calls {
        for status in STATUSES.into_iter().filter(|status| taken(call, *status)) {
            for when in [When::Nth(1), When::Nth(2), When::Always] {
                let mut gate = Gate::ready(&config());
                gate.vm.fault(call, Status(status), when);
                let outcomes = live(&mut gate);
                assert_eq!(gate.vm.trap(), None, "{call} = {status} {when:?}");
                let passed: Vec<_> =
                    outcomes.iter().filter(|outcome| outcome.is_forwarded()).collect();
                assert!(passed.is_empty(), "{call} = {status} {when:?}: {passed:?}");
            }
        }
    }
}

#[test]
fn a_host_that_cannot_change_headers_gets_no_request_past() {
    for call in ["proxy_remove_header_map_value", "proxy_add_header_map_value"] {
        let mut gate = Gate::ready(&config());
        gate.vm.fault(call, Status::BAD_ARGUMENT, When::Always);
        let request = read_with(&reader_token()).header("x-wardgate-subject", "root");
        let outcome = gate.vm.request(request);
        assert_eq!(outcome.reason().as_deref(), Some("host-failure"), "{call}: {outcome:?}");
    }
}

#[test]
fn after_the_faults_the_gate_decides_again() {
    for call in calls_of_a_life() {
        let mut gate = Gate::ready(&config());
        gate.vm.fault(call, Status::INTERNAL_FAILURE, When::Always);
        if taken(call, 10) {
            live(&mut gate);
            gate.vm.clear_faults();
            gate.pass(Duration::from_secs(5));
            let outcome = gate.decide(read_with(&reader_token()));
            assert!(outcome.is_forwarded(), "{call}: {outcome:?}");
        }
    }
}

#[test]
fn the_start_survives_every_failing_host_call_or_is_refused() {
    // Faults are set per VM, so a restricted capability stands in for a call that fails from the start.
    let calls = calls_of_a_life();
    let callbacks = [
        "proxy_on_context_create",
        "proxy_on_vm_start",
        "proxy_on_configure",
        "proxy_on_tick",
        "proxy_on_request_headers",
        "proxy_on_request_trailers",
        "proxy_on_http_call_response",
        "proxy_on_done",
        "proxy_on_log",
        "proxy_on_delete",
    ];
    for missing in &calls {
        let allowed = calls.iter().filter(|call| call != &missing).chain(&callbacks);
        let allowed: Vec<String> = allowed.map(|name| (*name).to_owned()).collect();
        let started = host().capabilities(allowed).config(&config()).start();
        if let Err(error) = &started {
            let text = error.to_string();
            // Without environment or randomness the libraries under the filter give up by a trap;
            // nothing was served yet, and Envoy refuses the configuration all the same.
            let of_wasi = !missing.starts_with("proxy_");
            assert!(of_wasi || text.contains("refused"), "{missing}: {text}");
        }
    }
}
