//! The decision cases in process: the gate without any host.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use wardgate_core::base64url;
use wardgate_core::config::plugin::PluginConfig;
use wardgate_core::feed::live::desk::Desk;
use wardgate_core::feed::live::{LocalMemory, Member, MemberLimits, Now, SharedMemory};
use wardgate_core::gate::intake::{Field, canonical};
use wardgate_core::gate::{
    Around, Edge, Environment, Gate, Note, Request, Seed, SharedMember, Step,
};
use wardgate_core::jwk::Key;
use wardgate_core::secret::Secret;
use wardgate_core::token::{Algorithm, SignatureCheck, SignatureVerdict, SoftwareSignatures};
use wardgate_core::wire::feed::Settings;
use wardgate_host_tests::cases::{
    ApiKeyFixture, BuiltRequest, Case, CaseFile, DIGEST_KEY, Decision, Keys, Level, build_request,
    load_all,
};

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::generate().expect("keys"));

/// Where the tables of the feed stand.
#[derive(Default)]
struct InProcess {
    memory: LocalMemory,
}

impl SignatureCheck for InProcess {
    fn check(
        &self,
        algorithm: Algorithm,
        key: &Key,
        text: &[u8],
        signature: &[u8],
    ) -> SignatureVerdict {
        SoftwareSignatures.check(algorithm, key, text, signature)
    }
}

impl Edge for InProcess {
    fn source_address(&self) -> Vec<u8> {
        b"192.0.2.1".to_vec()
    }

    fn shared_memory(&self) -> &dyn SharedMemory {
        &self.memory
    }
}

fn gate(file: &CaseFile, fixtures: &[ApiKeyFixture], edge: &InProcess, now: u64) -> Gate {
    let mut config = json!({
        "policy": file.policy(&KEYS).expect("a policy"),
        // Many bad credentials come from one address here.
        "failure_limit": {"failures": 0},
    });
    if file.needs_sidecar() {
        config["feed"] = json!({});
    }
    let config = PluginConfig::parse(config.to_string().as_bytes()).expect("a configuration");
    let variables = KEYS.environment();
    let environment = Environment::new(move |name| {
        variables.iter().find(|(other, _)| *other == name).map(|(_, value)| value.clone())
    });
    let feed = file.needs_sidecar().then(|| member(fixtures, edge, now));
    let around = Around { feed, ..Around::default() };
    let mut gate = Gate::new(&config, environment, Seed([1, 2, 3, 4]), around)
        .unwrap_or_else(|problems| panic!("{}: {problems:#?}", file.name));
    gate.advance(now);
    gate.take_settings();
    gate
}

/// A VM's part in the feed that has heard everything.
fn member(fixtures: &[ApiKeyFixture], edge: &InProcess, now: u64) -> SharedMember {
    let secret = Secret::new(vec![3; 32]);
    let settings = Settings {
        generation: "1".to_owned(),
        api_key_digest_key: base64url::encode(&DIGEST_KEY),
        api_key_prefixes: Vec::new(),
        key_sets: Vec::new(),
        policy: None,
    };
    let mut desk = Desk::new(&secret, settings);
    for fixture in fixtures {
        desk.set_api_key(fixture.record.clone(), 0);
    }
    let limits = MemberLimits { max_stale_nanoseconds: u64::MAX };
    let mut member = Member::new("wardgate_sidecar", &secret, limits, [5; 32]).expect("a member");
    let now = Now { monotonic: now, wall_seconds: now / 1_000_000_000 };
    assert!(desk.serve(&mut member, &edge.memory, now), "not ready");
    Rc::new(RefCell::new(member))
}

/// What came of a request: as the access log, the upstream and the client see it.
struct Seen {
    note: Note,
    /// Of the request that goes on.
    headers: Vec<(Vec<u8>, Vec<u8>)>,
    status: u16,
    answer_headers: Vec<(String, String)>,
    grpc_status: i32,
}

fn decide(gate: &mut Gate, request: &BuiltRequest, edge: &InProcess, now: u64) -> Seen {
    let mut fields: Vec<Field<'_>> = vec![
        (b":method", request.method.as_bytes()),
        (b":path", &request.path),
        (b":authority", request.host.as_bytes()),
    ];
    // Every host hands names over in lower case.
    let headers: Vec<(Vec<u8>, &[u8])> = request
        .headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.as_slice()))
        .collect();
    fields.extend(headers.iter().map(|(name, value)| (name.as_slice(), *value)));
    match gate.decide(Request { fields: &fields, now_nanoseconds: now }, edge) {
        Step::Forward(forward) => {
            let set = &forward.principal.headers;
            let mut headers: Vec<(Vec<u8>, Vec<u8>)> = headers
                .iter()
                .filter(|(name, _)| forward.remove.iter().all(|other| other[..] != name[..]))
                .filter(|(name, _)| set.iter().all(|(other, _)| other.as_bytes() != name))
                .map(|(name, value)| (name.clone(), value.to_vec()))
                .collect();
            let set = set.iter().map(|(name, value)| (name.clone().into(), value.clone()));
            headers.extend(set);
            Seen {
                note: forward.note,
                headers,
                status: 200,
                answer_headers: Vec::new(),
                grpc_status: -1,
            }
        }
        Step::Answer(answer, note) => {
            let grpc = answer.grpc_status >= 0;
            let header = |(name, value): (&str, String)| (name.to_owned(), value);
            Seen {
                note,
                headers: Vec::new(),
                // Envoy answers a gRPC client with 200 and trailers.
                status: if grpc { 200 } else { answer.status },
                answer_headers: answer.headers.into_iter().map(header).collect(),
                grpc_status: answer.grpc_status,
            }
        }
    }
}

/// Everything that is not as the case expects.
fn differences(case: &Case, seen: &Seen) -> Vec<String> {
    let expect = &case.expect;
    let mut found = Vec::new();
    let mut compare = |what: &str, found_value: String, expected: String| {
        if found_value != expected {
            found.push(format!("{what}: found {found_value}, expected {expected}"));
        }
    };
    compare("decision", seen.note.decision.to_owned(), expect.decision.word().to_owned());
    compare("reason", format!("{:?}", seen.note.reason), format!("{:?}", expect.reason()));
    compare("status", seen.status.to_string(), expect.status().to_string());
    if let Some(route) = &expect.route {
        let found_route = seen.note.route.as_deref().unwrap_or("none");
        compare("route", found_route.to_owned(), route.clone());
    }
    for (name, expected) in &expect.headers {
        let values = seen.headers.iter().filter(|(other, _)| other == name.as_bytes());
        let values: Vec<_> = values.map(|(_, value)| String::from_utf8_lossy(value)).collect();
        compare(name, format!("{values:?}"), format!("{:?}", [expected]));
    }
    for name in &expect.absent_headers {
        let is_there = seen.headers.iter().any(|(other, _)| canonical(other) == name.as_bytes());
        compare(name, is_there.to_string(), "false".to_owned());
    }
    for (name, part) in &expect.answer_headers {
        let mut values = seen.answer_headers.iter().filter(|(other, _)| other == name);
        let has = values.any(|(_, value)| value.contains(part.as_str()));
        compare(name, format!("{:?}", seen.answer_headers), {
            if has { format!("{:?}", seen.answer_headers) } else { format!("… {part} …") }
        });
    }
    if let Some(status) = expect.grpc_status {
        compare("gRPC status", seen.grpc_status.to_string(), status.to_string());
    }
    found
}

#[test]
fn every_case_is_decided_in_process_as_it_expects() {
    let files = load_all().expect("case files");
    let now_seconds = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let now = now_seconds * 1_000_000_000;
    let mut failures = BTreeMap::new();
    let mut count = 0;
    for file in &files {
        let fixtures = KEYS.api_keys(file, now_seconds).expect("API keys");
        let edge = InProcess::default();
        let mut gate = gate(file, &fixtures, &edge, now);
        for case in file.cases.iter().filter(|case| case.levels.contains(&Level::Core)) {
            count += 1;
            let request = build_request(file, case, &KEYS, now_seconds).expect("a request");
            // The second time what was found is in the caches: nothing else may come of it.
            for _ in 0..case.before {
                decide(&mut gate, &request, &edge, now);
            }
            for round in case.runs() {
                let seen = decide(&mut gate, &request, &edge, now);
                let found = differences(case, &seen);
                if !found.is_empty() {
                    failures.insert(format!("{}: {} ({round})", file.name, case.name), found);
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(count >= 120, "only {count} cases");
}

#[test]
fn the_names_of_cases_are_sentences_of_their_own() {
    for file in load_all().expect("case files") {
        let mut names: Vec<&str> = file.cases.iter().map(|case| case.name.as_str()).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "{} has a name twice", file.name);
    }
}

#[test]
fn every_file_denies_something() {
    // Under a policy that permits everything, every case that expects a permit passes.
    for file in load_all().expect("case files") {
        let denied = file.cases.iter().filter(|case| case.expect.decision == Decision::Deny);
        assert!(denied.count() > 0, "{} denies nothing", file.name);
        assert!(matches!(file.policy(&KEYS), Ok(Value::Object(_))));
    }
}
