//! The decision cases of `policies/cases/` through the real wasm file, each twice: what a cache
//! holds must decide as what it was made from.

use std::sync::OnceLock;

use serde_json::json;
use wardgate_core::reason::Reason;
use wardgate_host_tests::cases::{
    BuiltRequest, Case, CaseFile, DIGEST_KEY, Decision, Keys, Level, build_request, load_all,
};
use wardgate_host_tests::wasm::{FakeSidecar, Headers, Host, Outcome, Request, START};

use crate::wasm_support::{Gate, SECRET, host};

fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| Keys::generate().unwrap())
}

fn gate(file: &CaseFile, host: Host) -> anyhow::Result<Gate> {
    let mut config = json!({"policy": file.policy(keys()).unwrap()});
    // The cases of a file come from one address, and most of them fail.
    config["failure_limit"] = json!({"failures": 0});
    if file.needs_sidecar() {
        config["feed"] = json!({});
    }
    let variables = keys().environment();
    let host = variables.iter().fold(host, |host, (name, value)| host.env(name, value));
    let vm = host.config(&config).start()?;
    let mut sidecar = FakeSidecar::new(SECRET).with_digest_key(&DIGEST_KEY);
    for fixture in keys().api_keys(file, START.as_secs()).unwrap() {
        sidecar.api_keys.insert(fixture.record.id.clone(), fixture.record);
    }
    let mut gate = Gate { vm, sidecar };
    gate.settle();
    Ok(gate)
}

fn request(built: &BuiltRequest) -> Request {
    let request = Request::new(&built.method, "/").replacing(":authority", &built.host);
    let request = request.replacing(":path", &built.path);
    built.headers.iter().fold(request, |request, (name, value)| request.header(name, value))
}

/// What is wrong with what became of a case; nothing if all is as expected.
fn wrong(gate: &mut Gate, case: &Case, built: &BuiltRequest) -> Vec<String> {
    let stream = gate.vm.open(request(built));
    gate.sidecar.serve(&mut gate.vm);
    let outcome = gate.vm.outcome(stream);
    gate.vm.close(stream);
    let state = gate.vm.filter_state(stream);
    let mut wrong = Vec::new();
    let mut compare = |what: &str, found: Option<&str>, expected: Option<&str>| {
        if found != expected {
            wrong.push(format!("{what} is {found:?}, not {expected:?}"));
        }
    };
    let note = state.get("wasm.wardgate.decision").cloned().unwrap_or_default();
    let mut words = note.split(' ');
    let (decision, route, reason) = (words.next(), words.next(), words.next());
    let expect = &case.expect;
    compare("decision", decision, Some(expect.decision.word()));
    compare("reason", reason, expect.reason().map(Reason::code));
    if expect.route.is_some() {
        compare(
            "route",
            route.map(|route| if route == "-" { "none" } else { route }),
            expect.route.as_deref(),
        );
    }
    match &outcome {
        Outcome::Forwarded { headers } if expect.decision != Decision::Deny => {
            wrong.extend(wrong_headers(headers, case));
        }
        Outcome::Answered(response) if expect.decision == Decision::Deny => {
            if expect.grpc_status.is_none() && response.status != u32::from(expect.status()) {
                wrong.push(format!("status is {}, not {}", response.status, expect.status()));
            }
            if response.grpc_status != expect.grpc_status {
                wrong.push(format!("gRPC status is {:?}", response.grpc_status));
            }
            for (name, part) in &expect.answer_headers {
                if !values(&response.headers, name).iter().any(|value| value.contains(part)) {
                    wrong.push(format!("no {name} with {part} in {:?}", response.headers));
                }
            }
        }
        Outcome::Forwarded { .. }
        | Outcome::Answered(_)
        | Outcome::Paused
        | Outcome::Failed { .. } => wrong.push(format!("it became {outcome:?}")),
    }
    wrong
}

fn wrong_headers(headers: &Headers, case: &Case) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, expected) in &case.expect.headers {
        let found = values(headers, name);
        if found != [expected.as_str()] {
            wrong.push(format!("{name} is {found:?}, not {expected}"));
        }
    }
    for absent in &case.expect.absent_headers {
        let canonical =
            |name: &[u8]| String::from_utf8_lossy(name).to_lowercase().replace('_', "-");
        let found =
            headers.iter().find(|(name, _)| canonical(name) == canonical(absent.as_bytes()));
        if let Some((name, value)) = found {
            wrong.push(format!("{name:?} went on with {value:?}"));
        }
    }
    wrong
}

fn values(headers: &Headers, name: &str) -> Vec<String> {
    let named = headers.iter().filter(|(known, _)| known == name.as_bytes());
    named.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
}

fn check_all(host: impl Fn() -> Host) {
    let mut failures = Vec::new();
    let mut count = 0;
    for file in load_all().unwrap() {
        let mut gate = match gate(&file, host()) {
            Ok(gate) => gate,
            Err(error) => {
                failures.push(format!("{}: {error}", file.name));
                continue;
            }
        };
        for case in file.cases.iter().filter(|case| case.levels.contains(&Level::Wasm)) {
            let built = build_request(&file, case, keys(), START.as_secs()).unwrap();
            for _ in 0..case.before {
                wrong(&mut gate, case, &built);
            }
            for time in case.runs() {
                let wrong = wrong(&mut gate, case, &built);
                if !wrong.is_empty() {
                    failures.push(format!("{}: {} ({time}): {wrong:#?}", file.name, case.name));
                }
            }
            gate.assert_sound();
            count += 1;
        }
    }
    assert!(failures.is_empty(), "{} of {count}:\n{}", failures.len(), failures.join("\n"));
    assert!(count > 0, "no case runs at this level");
}

#[test]
fn every_case_is_decided_in_wasm_as_expected() {
    check_all(host);
}

#[test]
fn every_case_is_decided_alike_without_verify_signature() {
    check_all(|| host().without_verify_signature());
}
