//! The decision cases of `policies/cases/` through a real Envoy.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use serde_json::json;
use wardgate_core::reason::Reason;
use wardgate_host_tests::{
    cases::{Case, CaseFile, DIGEST_KEY, Decision, Keys, Level, build_request, load_all},
    envoy::{
        Envoy,
        bootstrap::{Listener, bootstrap, cluster, wardgate},
        client::{Answer, Request},
        desk::{Desk, Records},
        issuer::now,
        sidecar::{FEED_SECRET, SIDECAR_CLUSTER},
        wait::{wait_for, wait_until},
        wasm_file,
    },
    upstream::{Seen, Upstream},
};

/// Which case a request belongs to, and what the gate noted about it.
const LOG_FORMAT: &str = "%REQ(X-CASE)% %FILTER_STATE(wasm.wardgate.decision:PLAIN)%\n";

/// An Envoy with the policy of one file of cases, and what it talks to.
struct Stand {
    envoy: Envoy,
    _upstream: Upstream,
    _desk: Desk,
}

impl Stand {
    fn open(file: &CaseFile, keys: &Keys, log: &Path) -> Self {
        let upstream = Upstream::start().unwrap();
        let fixtures = keys.api_keys(file, now()).unwrap();
        let records =
            fixtures.into_iter().map(|fixture| (fixture.record.id.clone(), fixture.record));
        let desk =
            Desk::start(Records { digest_key: DIGEST_KEY.to_vec(), api_keys: records.collect() });
        let desk = desk.unwrap();
        let mut configuration = json!({
            "policy": file.policy(keys).unwrap(),
            // The cases of a file come from one address, and most of them fail.
            "failure_limit": {"failures": 0},
        });
        if file.needs_sidecar() {
            configuration["feed"] = json!({"timeout_milliseconds": 5000});
        }
        let variables = keys.environment();
        let mut names: Vec<_> = variables.iter().map(|(name, _)| *name).collect();
        names.push(FEED_SECRET);
        let filters = vec![wardgate(&wasm_file().unwrap(), &configuration, &names)];
        let access_log = Some((log, LOG_FORMAT));
        let listener =
            Listener { name: "gate", filters, cluster: "upstream", access_log, hardened: false };
        // As sent, or made plain; but never refused by Envoy, so that the gate's own answer is seen.
        let mut listener = listener.to_json();
        let manager = listener.pointer_mut("/filter_chains/0/filters/0/typed_config").unwrap();
        manager["normalize_path"] = json!(file.envoy_normalizes);
        let clusters =
            [cluster("upstream", upstream.address()), cluster(SIDECAR_CLUSTER, desk.address())];
        let mut builder = Envoy::builder(&bootstrap(&[listener], &clusters));
        for (name, value) in &variables {
            builder = builder.environment(name, value);
        }
        let envoy = builder.environment(FEED_SECRET, &desk.feed_secret()).start().unwrap();
        let stand = Self { envoy, _upstream: upstream, _desk: desk };
        wait_until("the gate to be ready", Duration::from_secs(20), || {
            Ok(stand.send(&Request::get("/.wardgate/healthz")).status == 200)
        })
        .unwrap();
        stand
    }

    fn send(&self, request: &Request) -> Answer {
        request.send(self.envoy.listener("gate").unwrap()).unwrap()
    }
}

/// What is wrong with the answer.
fn wrong_answer(case: &Case, answer: &Answer) -> Vec<String> {
    let expect = &case.expect;
    let mut wrong = Vec::new();
    if answer.status != expect.status() {
        let body = String::from_utf8_lossy(&answer.body);
        wrong.push(format!("status is {}, not {}: {body}", answer.status, expect.status()));
    }
    let grpc_status = answer.header("grpc-status").and_then(|status| status.parse().ok());
    if expect.decision == Decision::Deny && grpc_status != expect.grpc_status {
        wrong.push(format!("gRPC status is {grpc_status:?}"));
    }
    for (name, part) in &expect.answer_headers {
        let all = answer.headers.iter().filter(|(known, _)| known == name);
        let all: Vec<_> = all.map(|(_, value)| String::from_utf8_lossy(value)).collect();
        if !all.iter().any(|value| value.contains(part.as_str())) {
            wrong.push(format!("{name} is {all:?}"));
        }
    }
    if expect.decision != Decision::Deny && answer.status == 200 {
        wrong.extend(wrong_request(case, &serde_json::from_slice(&answer.body).unwrap()));
    }
    wrong
}

/// What is wrong with what reached the upstream.
fn wrong_request(case: &Case, seen: &Seen) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, expected) in &case.expect.headers {
        let found = seen.header(name);
        if found != [expected.as_str()] {
            wrong.push(format!("{name} is {found:?}, not {expected}"));
        }
    }
    let canonical = |name: &str| name.to_lowercase().replace('_', "-");
    for absent in &case.expect.absent_headers {
        if seen.headers.iter().any(|(name, _)| canonical(name) == canonical(absent)) {
            wrong.push(format!("{absent} went on: {seen:?}"));
        }
    }
    wrong
}

/// What is wrong with what the gate noted in the filter state.
fn wrong_note(case: &Case, note: &str) -> Option<String> {
    let mut words = note.split(' ');
    let (decision, route, reason) = (words.next(), words.next(), words.next());
    let expect = &case.expect;
    let route = route.map(|route| if route == "-" { "none" } else { route });
    let right = decision == Some(expect.decision.word())
        && reason == expect.reason().map(Reason::code)
        && (expect.route.is_none() || route == expect.route.as_deref());
    (!right).then(|| format!("noted `{note}`, expected {expect:?}"))
}

fn notes(log: &Path, count: usize) -> BTreeMap<String, String> {
    let text = wait_for("the access log", Duration::from_secs(10), || {
        let text = fs::read_to_string(log).unwrap_or_default();
        Ok((text.lines().filter(|line| line.starts_with("case-")).count() >= count).then_some(text))
    });
    let text = text.unwrap();
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(id, note)| (id.to_owned(), note.to_owned()))
        .collect()
}

#[test]
fn every_case_is_decided_in_envoy_as_expected() {
    let keys = Keys::generate().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut failures = Vec::new();
    let mut count = 0;
    for file in load_all().unwrap() {
        let log = directory.path().join(format!("{}.log", file.name));
        let stand = Stand::open(&file, &keys, &log);
        let cases: Vec<_> =
            file.cases.iter().filter(|case| case.levels.contains(&Level::Envoy)).collect();
        for (number, case) in cases.iter().enumerate() {
            let built = build_request(&file, case, &keys, now()).unwrap();
            let request = Request::new(&built.method, &built.path).header("host", &built.host);
            let request = built
                .headers
                .iter()
                .fold(request, |request, (name, value)| request.header(name, value));
            for _ in 0..case.before {
                stand.send(&request);
            }
            let request = request.header("x-case", format!("case-{number}"));
            let answer = stand.send(&request);
            for wrong in wrong_answer(case, &answer) {
                failures.push(format!("{}: {}: {wrong}", file.name, case.name));
            }
        }
        let notes = notes(&log, cases.len());
        for (number, case) in cases.iter().enumerate() {
            let note = notes.get(&format!("case-{number}")).map_or("", String::as_str);
            failures.extend(
                wrong_note(case, note)
                    .map(|wrong| format!("{}: {}: {wrong}", file.name, case.name)),
            );
        }
        assert_eq!(stand.envoy.traps().unwrap(), 0, "{}", stand.envoy.log());
        count += cases.len();
    }
    assert!(failures.is_empty(), "{} of {count}:\n{}", failures.len(), failures.join("\n"));
    assert!(count > 100, "only {count} cases run at this level");
}
