use std::cell::RefCell;
use std::rc::Rc;

use serde_json::{Value, json};

use crate::audit::AuditBuffer;
use crate::config::plugin::PluginConfig;
use crate::feed::live::{NoMemory, SharedMemory};
use crate::gate::intake::Field;
use crate::gate::{Around, Edge, Environment, Gate, Principal, Request, Seed, Step};
use crate::jwk::Key;
use crate::rate_limit::LocalMemory;
use crate::reason::Reason;
use crate::token::{Algorithm, SignatureCheck, SignatureVerdict, SoftwareSignatures};
use crate::wire::rate::{RateGrant, RateLeasesAnswer};
use crate::wire::{ApiKeyRecord, ApiKeyState, RateLimitRecord};

const SECOND: u64 = 1_000_000_000;

struct TestEdge {
    address: &'static str,
    memory: Option<Rc<LocalMemory>>,
}

impl SignatureCheck for TestEdge {
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

impl Edge for TestEdge {
    fn source_address(&self) -> Vec<u8> {
        self.address.into()
    }

    fn shared_memory(&self) -> &dyn SharedMemory {
        self.memory.as_deref().map_or(&NoMemory, |memory| memory)
    }
}

const ALICE: TestEdge = TestEdge { address: "192.0.2.1:1", memory: None };
const BOB: TestEdge = TestEdge { address: "192.0.2.2:1", memory: None };

struct Bench {
    gate: Gate,
    now: u64,
}

fn bench(limit: &Value, mode: &str) -> Bench {
    bench_of(limit, mode, None).unwrap()
}

fn bench_of(limit: &Value, mode: &str, feed: Option<Value>) -> Result<Bench, String> {
    let mut config = json!({"policy": {"version": 1, "routes": [
        {"name": "a", "match": {"path": "/a"}, "credentials": ["none"], "rate_limit": limit, "mode": mode},
        {"name": "b", "match": {"path": "/b"}, "credentials": ["none"]},
    ]}});
    if let Some(feed) = feed {
        config["feed"] = feed;
    }
    let config =
        PluginConfig::parse(config.to_string().as_bytes()).map_err(|it| it[0].to_string())?;
    let audit = Rc::new(RefCell::new(AuditBuffer::new("vm".to_owned(), 1_000_000)));
    let gate = Gate::new(
        &config,
        Environment::new(|_| None),
        Seed([1, 2, 3, 4]),
        Around { audit: Some(audit), feed: None },
    );
    let mut bench = Bench { gate: gate.map_err(|it| it[0].to_string())?, now: 1000 * SECOND };
    bench.gate.advance(bench.now);
    Ok(bench)
}

impl Bench {
    fn ask(&mut self, path: &str, more: &[Field<'_>], edge: &TestEdge) -> Step {
        let mut fields: Vec<Field<'_>> =
            vec![(b":method", b"GET"), (b":path", path.as_bytes()), (b":authority", b"h")];
        fields.extend_from_slice(more);
        self.gate.advance(self.now);
        let request = Request { fields: &fields, now_nanoseconds: self.now };
        self.gate.decide(request, edge)
    }

    #[track_caller]
    fn passes(&mut self, edge: &TestEdge) -> super::Told {
        match self.ask("/a", &[], edge) {
            Step::Forward(forward) => {
                assert_eq!(forward.note.decision, "permit");
                forward.answer_headers
            }
            other @ Step::Answer(..) => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn refused(&mut self, edge: &TestEdge) -> Vec<(&'static str, String)> {
        match self.ask("/a", &[], edge) {
            Step::Answer(answer, note) => {
                assert_eq!(note.reason, Some(Reason::RateLimited));
                assert_eq!(answer.status, 429);
                answer.headers
            }
            other @ Step::Forward(_) => panic!("{other:?}"),
        }
    }

    fn events(&mut self) -> String {
        let body = self.gate.audit().unwrap().borrow_mut().next_delivery(1).unwrap_or_default();
        String::from_utf8(body).unwrap()
    }
}

#[test]
fn what_is_too_much_is_answered_429_with_what_the_client_can_do() {
    let mut bench = bench(&json!({"per": "address", "requests": 2, "period": "1m"}), "enforce");
    for _ in 0..2 {
        assert_eq!(bench.passes(&ALICE), []);
    }
    let headers = bench.refused(&ALICE);
    for expected in [
        ("retry-after", "30"),
        ("ratelimit-policy", "\"a\";q=2;w=60"),
        ("ratelimit", "\"a\";r=0;t=60"),
        ("cache-control", "no-store"),
    ] {
        let found: Vec<_> = headers.iter().filter(|(name, _)| *name == expected.0).collect();
        assert_eq!(found, [&(expected.0, expected.1.to_owned())]);
    }
    assert!(matches!(bench.ask("/b", &[], &ALICE), Step::Forward(_)), "another route");
    bench.passes(&BOB);
    bench.now += 30 * SECOND;
    bench.passes(&ALICE);
    bench.refused(&ALICE);
}

#[test]
fn the_problem_and_the_event_name_the_limit() {
    let mut bench = bench(&json!({"per": "route", "requests": 1, "period": "1h"}), "enforce");
    bench.passes(&ALICE);
    let Step::Answer(answer, _) = bench.ask("/a", &[], &BOB) else { panic!("it passes") };
    let problem: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((&problem["limit"], &problem["reason"]), (&json!("a"), &json!("rate-limited")));
    let events = bench.events();
    assert!(events.contains("\"reason\":\"rate-limited\""), "{events}");
    assert!(events.contains("\"limit\":\"a\""), "{events}");
    let grpc: Field<'_> = (b"content-type", b"application/grpc");
    let Step::Answer(answer, _) = bench.ask("/a", &[grpc], &BOB) else { panic!("it passes") };
    assert_eq!(answer.grpc_status, 8);
}

#[test]
fn permitted_requests_tell_of_the_limit_where_the_route_says_so() {
    let limit = json!({"per": "route", "requests": 10, "period": "10s", "headers": true});
    let mut bench = bench(&limit, "enforce");
    let told = bench.passes(&ALICE);
    let expected = [("ratelimit-policy", "\"a\";q=10;w=10"), ("ratelimit", "\"a\";r=9;t=1")];
    assert_eq!(told, expected.map(|(name, value)| (name, value.to_owned())));
}

#[test]
fn of_several_limits_the_one_that_refuses_is_named_and_none_is_charged() {
    let limits = json!([
        {"per": "address", "requests": 3, "period": "1m"},
        {"per": "route", "requests": 1, "period": "1s"},
    ]);
    let mut bench = bench(&limits, "enforce");
    bench.passes(&ALICE);
    for _ in 0..10 {
        let headers = bench.refused(&ALICE);
        let state = headers.iter().find(|(name, _)| *name == "ratelimit").unwrap();
        assert_eq!(state.1, "\"a\";r=2;t=20, \"a/2\";r=0;t=1");
    }
    bench.now += SECOND;
    bench.passes(&ALICE);
    bench.now += SECOND;
    bench.passes(&ALICE);
    bench.now += SECOND;
    bench.refused(&ALICE);
    bench.passes(&BOB);
}

#[test]
fn shadow_mode_counts_and_records_and_refuses_nobody() {
    let mut bench = bench(&json!({"per": "route", "requests": 1, "period": "1m"}), "shadow");
    bench.passes(&ALICE);
    match bench.ask("/a", &[], &ALICE) {
        Step::Forward(forward) => {
            assert_eq!(forward.note.decision, "shadow-deny");
            assert_eq!(forward.note.reason, Some(Reason::RateLimited));
        }
        other @ Step::Answer(..) => panic!("{other:?}"),
    }
    let events = bench.events();
    assert!(events.contains("\"decision\":\"shadow-deny\""), "{events}");
    assert!(events.contains("\"limit\":\"a\""), "{events}");
}

#[test]
fn gates_of_one_proxy_count_together() {
    let limit = json!({"per": "address", "requests": 2, "period": "1m"});
    let shared = Some(Rc::new(LocalMemory::default()));
    let edge = TestEdge { memory: shared, ..ALICE };
    let (mut one, mut other) = (bench(&limit, "enforce"), bench(&limit, "enforce"));
    one.passes(&edge);
    other.passes(&edge);
    one.refused(&edge);
    other.refused(&edge);
    // Without memory in common each counts alone.
    let (mut one, mut other) = (bench(&limit, "enforce"), bench(&limit, "enforce"));
    for _ in 0..2 {
        one.passes(&ALICE);
        other.passes(&ALICE);
    }
    one.refused(&ALICE);
}

#[test]
fn an_api_key_has_the_limit_of_its_record_on_every_route() {
    let mut bench = bench(&json!({"per": "route", "requests": 100, "period": "1s"}), "enforce");
    let key = |id: &str, rate_limit| {
        let record = ApiKeyRecord {
            id: id.to_owned(),
            environment: "test".to_owned(),
            name: "ci".to_owned(),
            digest: String::new(),
            issuer: None,
            subject: None,
            roles: Vec::new(),
            scopes: None,
            expires_at: None,
            state: ApiKeyState::Active,
            previous: None,
            networks: Vec::new(),
            rate_limit,
        };
        let grants = bench.gate.policy.anonymous_grants();
        Principal::of_api_key(&record, grants)
    };
    let limited = key("k1", Some(RateLimitRecord { requests: 2, period_seconds: 60 }));
    let other = key("k2", Some(RateLimitRecord { requests: 2, period_seconds: 60 }));
    let free = key("k3", None);
    for _ in 0..2 {
        assert!(bench.gate.limit(&limited, None, &ALICE).is_ok());
    }
    let refused = bench.gate.limit(&limited, None, &BOB).err().unwrap();
    assert_eq!((&*refused.name, refused.retry_after), ("api-key", 30));
    assert!(bench.gate.limit(&other, None, &ALICE).is_ok());
    for _ in 0..100 {
        assert!(bench.gate.limit(&free, None, &ALICE).is_ok());
    }
}

#[test]
fn a_global_limit_needs_a_sidecar() {
    let limit = json!({"per": "route", "requests": 2, "period": "1m", "scope": "global"});
    let problem = bench_of(&limit, "enforce", None).err().unwrap();
    assert!(problem.starts_with("feed: required, because a route has a rate limit"), "{problem}");
    assert!(bench_of(&limit, "enforce", Some(json!({}))).is_ok());
}

#[test]
fn a_global_limit_goes_by_its_part_until_the_sidecar_has_spoken_and_then_by_what_it_says() {
    let limit = json!({"per": "route", "requests": 8, "period": "8s", "scope": "global"});
    let mut bench = bench_of(&limit, "enforce", Some(json!({}))).unwrap();
    for _ in 0..2 {
        bench.passes(&ALICE);
    }
    bench.refused(&ALICE);
    let asks = bench.gate.rate_leases().unwrap().asks;
    assert_eq!((asks[0].used, asks[0].wanted, asks[0].burst), (2, 6, 8));
    assert_eq!(asks[0].interval_nanoseconds, SECOND);
    let grant = RateGrant {
        granted: 1,
        limited: true,
        remaining: 0,
        reset_nanoseconds: 8 * SECOND,
        retry_nanoseconds: SECOND,
    };
    bench.gate.rate_leases_answered(Some(&RateLeasesAnswer { grants: vec![grant] }));
    bench.passes(&BOB);
    let headers = bench.refused(&ALICE);
    assert!(headers.contains(&("ratelimit", "\"a\";r=0;t=8".to_owned())), "{headers:?}");
    // Without another word of the sidecar it goes by its part again.
    bench.now += 10 * SECOND;
    bench.passes(&ALICE);
    let asks = bench.gate.rate_leases().unwrap().asks;
    bench.gate.rate_leases_answered(None);
    assert_eq!(asks[0].used, 1);
}
