use std::cell::RefCell;
use std::rc::Rc;

use serde_json::{Value, json};

use super::{AuthKind, Edge, Gate, Request, Seed, Step};
use crate::api_key::{ApiKey, GENERATE_RANDOM_BYTES};
use crate::audit::AuditBuffer;
use crate::base64url;
use crate::config::plugin::PluginConfig;
use crate::gate::intake::Field;
use crate::jwk::Key;
use crate::reason::Reason;
use crate::secret::Secret;
use crate::token::{Algorithm, SignatureCheck, SignatureVerdict, SoftwareSignatures};
use crate::wire::{ApiKeyLookupAnswer, ApiKeyRecord, ApiKeyState, Snapshot};

const SECOND: u64 = 1_000_000_000;
const NOW: u64 = 1_800_000_000 * SECOND;
const HMAC_SECRET: [u8; 32] = [7; 32];
const DIGEST_KEY: [u8; 32] = [9; 32];

/// Counts the checks, so that a test can tell a cached verdict from a new one.
#[derive(Default)]
struct TestEdge {
    checks: std::cell::Cell<u32>,
}

impl SignatureCheck for TestEdge {
    fn check(
        &self,
        algorithm: Algorithm,
        key: &Key,
        text: &[u8],
        signature: &[u8],
    ) -> SignatureVerdict {
        self.checks.set(self.checks.get() + 1);
        SoftwareSignatures.check(algorithm, key, text, signature)
    }
}

impl Edge for TestEdge {
    fn source_address(&self) -> Vec<u8> {
        b"192.0.2.1:4711".to_vec()
    }
}

struct Bench {
    gate: Gate,
    edge: TestEdge,
    now: u64,
}

fn config(with_feed: bool) -> Value {
    let mut config = json!({"policy": {
        "version": 1,
        "issuers": [{
            "name": "corp", "issuer": "https://corp.example", "audiences": ["api"],
            "algorithms": ["HS256"], "hmac_secret_env": "CORP_SECRET",
            "claims": {"roles": ["roles"]}, "may_claim_roles": ["viewer"],
            "forward_claims": {"x-tenant": "tenant"},
        }],
        "roles": {"viewer": {"permissions": ["read"]}, "editor": {"inherits": ["viewer"], "permissions": ["write"]}},
        "bindings": [
            {"subjects": ["user:corp/editor"], "roles": ["editor"]},
            {"subjects": ["api_key:ci"], "roles": ["viewer"]},
        ],
        "routes": [
            {"name": "read", "match": {"methods": ["GET"], "path": "/things/{id}"}, "credentials": ["jwt"], "require": {"all": ["read"]}, "cors": true},
            {"name": "write", "match": {"methods": ["POST"], "path": "/things/{id}"}, "credentials": ["jwt"], "require": {"all": ["write"]}},
            {"name": "public", "match": {"path": "/public"}, "credentials": ["none"]},
            {"name": "optional", "match": {"path": "/optional"}, "credentials": ["jwt", "none"]},
            {"name": "kept", "match": {"path": "/kept"}, "credentials": ["jwt"], "forward_credential": true},
            {"name": "shadow", "match": {"path": "/shadow"}, "credentials": ["jwt"], "require": {"all": ["write"]}, "mode": "shadow"},
        ],
    }});
    if with_feed {
        config["feed"] = json!({"max_stale_seconds": 100});
        let routes = config["policy"]["routes"].as_array_mut().unwrap();
        routes.push(json!({"name": "keys", "match": {"path": "/keys"}, "credentials": ["api_key", "jwt"], "require": {"all": ["read"]}}));
    }
    config
}

fn environment(name: &str) -> Option<String> {
    (name == "CORP_SECRET").then(|| base64url::encode(&HMAC_SECRET))
}

fn bench_of(config: &Value) -> Bench {
    let config = PluginConfig::parse(config.to_string().as_bytes()).expect("a configuration");
    let audit = config.feed.as_ref().map(|_| AuditBuffer::new("vm".to_owned(), 1_000_000));
    let audit = audit.map(|audit| Rc::new(RefCell::new(audit)));
    let gate = Gate::new(&config, &environment, Seed([1, 2, 3, 4]), audit).expect("a gate");
    Bench { gate, edge: TestEdge::default(), now: NOW }
}

fn alone() -> Bench {
    bench_of(&config(false))
}

fn fed() -> Bench {
    let mut bench = bench_of(&config(true));
    bench.hear("g1", 1);
    bench
}

impl Bench {
    fn hear(&mut self, generation: &str, api_key_revision: u64) {
        let snapshot = Snapshot {
            generation: generation.to_owned(),
            api_key_revision,
            api_key_digest_key: base64url::encode(&DIGEST_KEY),
            key_sets: Vec::new(),
        };
        self.gate.advance(self.now);
        self.gate.apply_snapshot(&snapshot).expect("a snapshot");
    }

    fn ask(&mut self, method: &str, path: &str, more: &[Field<'_>], may_look_up: bool) -> Step {
        let mut fields: Vec<Field<'_>> = vec![
            (b":method", method.as_bytes()),
            (b":path", path.as_bytes()),
            (b":authority", b"example.com"),
        ];
        fields.extend_from_slice(more);
        let request = Request { fields: &fields, now_nanoseconds: self.now, may_look_up };
        self.gate.advance(self.now);
        self.gate.decide(request, &self.edge)
    }

    #[track_caller]
    fn denied(&mut self, method: &str, path: &str, more: &[Field<'_>], expected: Reason) {
        match self.ask(method, path, more, true) {
            Step::Answer(answer, note) => {
                assert_eq!(note.reason, Some(expected));
                assert_eq!(answer.status, expected.status());
            }
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn forwarded(&mut self, method: &str, path: &str, more: &[Field<'_>]) -> super::Forward {
        match self.ask(method, path, more, true) {
            Step::Forward(forward) => forward,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn asks_for(&mut self, key: &ApiKey) {
        match self.ask("GET", "/keys", &[(b"x-api-key", key.expose().as_bytes())], true) {
            Step::LookUpApiKey(id) => assert_eq!(id, key.id()),
            other => panic!("{other:?}"),
        }
    }

    fn answer(&mut self, key: &ApiKey, record: Option<ApiKeyRecord>) {
        let answer = ApiKeyLookupAnswer { record, valid_for_seconds: 10, api_key_revision: 1 };
        assert_eq!(self.gate.api_key_answered(key.id(), &answer), Ok(()));
    }
}

fn token(claims: &Value) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &HMAC_SECRET);
    let header = base64url::encode(br#"{"alg":"HS256","typ":"JWT"}"#);
    let text = format!("{header}.{}", base64url::encode(claims.to_string().as_bytes()));
    let signature = ring::hmac::sign(&key, text.as_bytes());
    format!("Bearer {text}.{}", base64url::encode(signature.as_ref()))
}

fn claims(subject: &str) -> Value {
    let exp = NOW / SECOND + 300;
    json!({"iss": "https://corp.example", "aud": "api", "sub": subject, "exp": exp, "roles": ["viewer", "editor"], "tenant": "blue,red", "jti": "t1"})
}

fn viewer() -> String {
    token(&claims("42"))
}

fn key(seed: u8) -> ApiKey {
    let random: [u8; GENERATE_RANDOM_BYTES] =
        core::array::from_fn(|index| seed.wrapping_add(u8::try_from(index).unwrap()) % 248);
    ApiKey::generate("test", &random).unwrap()
}

fn record(key: &ApiKey) -> ApiKeyRecord {
    ApiKeyRecord {
        id: key.id().to_owned(),
        environment: "test".to_owned(),
        name: "ci".to_owned(),
        digest: key.digest(&Secret::new(DIGEST_KEY.to_vec())).text(),
        issuer: None,
        subject: None,
        roles: Vec::new(),
        scopes: None,
        expires_at: None,
        state: ApiKeyState::Active,
        previous: None,
        networks: Vec::new(),
        rate_limit: None,
    }
}

fn header_of(forward: &super::Forward, name: &str) -> Option<String> {
    let mut headers = forward.principal.headers.iter();
    headers
        .find(|(header, _)| header == name)
        .map(|(_, value)| String::from_utf8(value.clone()).unwrap())
}

#[test]
fn a_good_token_goes_on_with_identity_headers_and_without_itself() {
    let mut bench = alone();
    let token = viewer();
    let forward = bench.forwarded("GET", "/things/1", &[(b"authorization", token.as_bytes())]);
    assert_eq!(forward.remove, [b"authorization".to_vec()]);
    for (name, value) in [
        ("x-wardgate-auth", "jwt"),
        ("x-wardgate-issuer", "https://corp.example"),
        ("x-wardgate-subject", "42"),
        ("x-wardgate-roles", "viewer"),
        ("x-tenant", "blue%2Cred"),
    ] {
        assert_eq!(header_of(&forward, name).as_deref(), Some(value), "{name}");
    }
}

#[test]
fn a_role_that_the_issuer_may_not_claim_grants_nothing() {
    let mut bench = alone();
    let token = viewer();
    let shown: Field<'_> = (b"authorization", token.as_bytes());
    bench.denied("POST", "/things/1", &[shown], Reason::PermissionMissing);
    let editor = self::token(&claims("editor"));
    bench.forwarded("POST", "/things/1", &[(b"authorization", editor.as_bytes())]);
}

#[test]
fn a_token_without_the_scope_is_told_which_would_do() {
    let mut config = config(false);
    config["policy"]["scope_permissions"] =
        json!({"things:read": ["read"], "things:write": ["write"]});
    let mut bench = bench_of(&config);
    let mut claims = claims("42");
    claims["scope"] = json!("things:write");
    let token = token(&claims);
    match bench.ask("GET", "/things/1", &[(b"authorization", token.as_bytes())], true) {
        Step::Answer(answer, _) => {
            assert_eq!(answer.details, "scope-insufficient");
            let (_, challenge) = &answer.headers[1];
            assert!(challenge.ends_with("scope=\"things:read\""), "{challenge}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_second_look_at_a_token_checks_no_signature_but_its_times() {
    let mut bench = alone();
    let token = viewer();
    let shown: Field<'_> = (b"authorization", token.as_bytes());
    for _ in 0..5 {
        bench.forwarded("GET", "/things/1", &[shown]);
    }
    assert_eq!(bench.edge.checks.get(), 1);
    bench.now += 400 * SECOND;
    bench.denied("GET", "/things/1", &[shown], Reason::TokenExpired);
    assert_eq!(bench.edge.checks.get(), 1);
}

#[test]
fn a_forged_token_is_checked_once() {
    let mut bench = alone();
    let mut token = viewer();
    token.replace_range(token.len() - 4..token.len() - 2, "AA");
    for _ in 0..5 {
        let shown: Field<'_> = (b"authorization", token.as_bytes());
        bench.denied("GET", "/things/1", &[shown], Reason::TokenSignatureInvalid);
    }
    assert_eq!(bench.edge.checks.get(), 1);
}

#[test]
fn a_token_not_valid_yet_is_judged_anew_each_time() {
    let mut bench = alone();
    let mut claims = claims("42");
    claims["nbf"] = json!(NOW / SECOND + 100);
    let token = token(&claims);
    let shown: Field<'_> = (b"authorization", token.as_bytes());
    bench.denied("GET", "/things/1", &[shown], Reason::TokenNotYetValid);
    bench.now += 101 * SECOND;
    bench.forwarded("GET", "/things/1", &[shown]);
}

#[test]
fn too_many_failures_are_refused_before_any_signature_is_checked() {
    let mut config = config(false);
    config["failure_limit"] = json!({"failures": 3, "period_seconds": 60});
    let mut bench = bench_of(&config);
    for attempt in 0..10 {
        let forged = format!("{}{attempt}", &viewer()[..viewer().len() - 1]);
        bench.ask("GET", "/things/1", &[(b"authorization", forged.as_bytes())], true);
    }
    let checks = bench.edge.checks.get();
    assert!(checks <= 3, "{checks}");
    let fresh = token(&claims("43"));
    bench.denied(
        "GET",
        "/things/1",
        &[(b"authorization", fresh.as_bytes())],
        Reason::TooManyFailures,
    );
    bench.now += 60 * SECOND;
    bench.forwarded("GET", "/things/1", &[(b"authorization", fresh.as_bytes())]);
}

#[test]
fn no_credential_is_challenged_and_a_repeated_one_refused() {
    let mut bench = alone();
    bench.denied("GET", "/things/1", &[], Reason::CredentialMissing);
    let token = viewer();
    let shown: Field<'_> = (b"authorization", token.as_bytes());
    bench.denied("GET", "/things/1", &[shown, shown], Reason::CredentialRepeated);
}

#[test]
fn a_kept_credential_is_the_one_that_was_verified() {
    let mut config = config(true);
    let routes = config["policy"]["routes"].as_array_mut().unwrap();
    routes.push(json!({"name": "both", "match": {"path": "/both"}, "credentials": ["api_key", "jwt"], "forward_credential": true}));
    routes.push(json!({"name": "shown", "match": {"path": "/shown"}, "credentials": ["jwt"], "mode": "shadow", "forward_credential": true}));
    let mut bench = bench_of(&config);
    bench.hear("g1", 1);
    let key = key(1);
    bench.answer(&key, Some(record(&key)));
    let shown: [Field<'_>; 2] = [
        (b"x-api-key", key.expose().as_bytes()),
        (b"authorization", b"Bearer forged.forged.forged"),
    ];
    assert_eq!(bench.forwarded("GET", "/both", &shown).remove, [b"authorization".to_vec()]);
    assert_eq!(bench.forwarded("GET", "/shown", &shown[1..]).remove, [b"authorization".to_vec()]);
}

#[test]
fn an_optional_credential_may_be_absent_but_not_bad() {
    let mut bench = alone();
    let forward = bench.forwarded("GET", "/optional", &[]);
    assert_eq!(forward.principal.auth, AuthKind::None);
    bench.denied("GET", "/optional", &[(b"authorization", b"Bearer x")], Reason::TokenMalformed);
    let other_scheme: Field<'_> = (b"authorization", b"Basic eDp5");
    let forward = bench.forwarded("GET", "/optional", &[other_scheme]);
    assert_eq!(forward.principal.auth, AuthKind::None);
    assert_eq!(forward.remove, [b"authorization".to_vec()]);
}

#[test]
fn forged_headers_are_removed_in_every_spelling() {
    let mut bench = alone();
    let fields: [Field<'_>; 4] = [
        (b"x-wardgate-subject", b"admin"),
        (b"X_WARDGATE_roles", b"admin"),
        (b"x_tenant", b"other"),
        (b"txn-token", b"x"),
    ];
    let forward = bench.forwarded("GET", "/public", &fields);
    let names: Vec<Vec<u8>> = fields.iter().map(|(name, _)| name.to_vec()).collect();
    assert_eq!(forward.remove, names);
    assert_eq!(bench.gate.forged(&fields).len(), 4);
}

#[test]
fn a_route_may_keep_the_credential() {
    let mut bench = alone();
    let token = viewer();
    let forward = bench.forwarded("GET", "/kept", &[(b"authorization", token.as_bytes())]);
    assert!(forward.remove.is_empty());
}

#[test]
fn shadow_mode_lets_a_failed_authentication_pass_as_nobody() {
    let mut bench = alone();
    let forward = bench.forwarded("GET", "/shadow", &[(b"authorization", b"Bearer x")]);
    assert_eq!(forward.principal.auth, AuthKind::None);
    assert_eq!(
        (forward.note.decision, forward.note.reason),
        ("shadow-deny", Some(Reason::TokenMalformed))
    );
    let token = viewer();
    let forward = bench.forwarded("GET", "/shadow", &[(b"authorization", token.as_bytes())]);
    assert_eq!(forward.note.reason, Some(Reason::PermissionMissing));
    assert_eq!(forward.principal.auth, AuthKind::Jwt);
}

#[test]
fn shadow_mode_does_not_open_a_gate_that_has_heard_nothing() {
    let mut bench = bench_of(&config(true));
    let token = viewer();
    bench.denied("GET", "/shadow", &[(b"authorization", token.as_bytes())], Reason::NotReady);
}

#[test]
fn a_preflight_passes_as_nobody_where_the_route_says_so() {
    let mut bench = alone();
    let origin: Field<'_> = (b"origin", b"https://app.example");
    let get: Field<'_> = (b"access-control-request-method", b"GET");
    let post: Field<'_> = (b"access-control-request-method", b"POST");
    let forward = bench.forwarded("OPTIONS", "/things/1", &[origin, get]);
    assert_eq!(forward.principal.auth, AuthKind::None);
    bench.denied("OPTIONS", "/things/1", &[origin, post], Reason::RouteMissing);
    bench.denied("OPTIONS", "/things/1", &[get], Reason::RouteMissing);
}

#[test]
fn a_forbid_of_options_holds_for_preflights_too() {
    let mut config = config(false);
    config["policy"]["routes"].as_array_mut().unwrap().push(
        json!({"name": "no-options", "match": {"methods": ["OPTIONS"], "path": "/{rest...}"}, "effect": "forbid"}),
    );
    let mut bench = bench_of(&config);
    let origin: Field<'_> = (b"origin", b"https://app.example");
    let get: Field<'_> = (b"access-control-request-method", b"GET");
    bench.denied("OPTIONS", "/things/1", &[origin, get], Reason::Forbidden);
}

#[test]
fn a_forbid_holds_with_and_without_a_slash_at_the_end_and_in_every_case() {
    let mut config = config(false);
    let routes = config["policy"]["routes"].as_array_mut().unwrap();
    routes
        .push(json!({"name": "any", "match": {"path": "/any/{rest...}"}, "credentials": ["none"]}));
    routes.push(json!({"name": "no-admin", "match": {"path": "/any/admin"}, "effect": "forbid"}));
    routes.push(json!({"name": "no-root", "match": {"path": "/any/root/"}, "effect": "forbid"}));
    routes.push(json!({"name": "no-delete", "match": {"methods": ["DELETE"], "path": "/any/{rest...}"}, "effect": "forbid"}));
    let mut bench = bench_of(&config);
    for path in ["/any/admin", "/any/admin/", "/any/root", "/any/root/"] {
        bench.denied("GET", path, &[], Reason::Forbidden);
    }
    bench.forwarded("GET", "/any/administrator", &[]);
    bench.forwarded("GET", "/any/admin/x", &[]);
    bench.denied("DELETE", "/any/x", &[], Reason::Forbidden);
    bench.denied("delete", "/any/x", &[], Reason::RequestMalformed);
}

#[test]
fn unreadable_requests_are_refused() {
    let mut bench = alone();
    let request = Request { fields: &[], now_nanoseconds: NOW, may_look_up: true };
    let step = bench.gate.decide(request, &bench.edge);
    assert!(matches!(step, Step::Answer(answer, _) if answer.status == 400));
    bench.denied("GET", "/public/../things/1", &[], Reason::PathAmbiguous);
    bench.denied("GET", "/nowhere", &[], Reason::RouteMissing);
}

#[test]
fn a_gate_with_a_feed_is_ready_after_the_first_snapshot_and_closes_when_it_is_stale() {
    let mut bench = bench_of(&config(true));
    let token = viewer();
    let shown: Field<'_> = (b"authorization", token.as_bytes());
    bench.denied("GET", "/things/1", &[shown], Reason::NotReady);
    bench.forwarded("GET", "/public", &[]);
    bench.hear("g1", 1);
    bench.forwarded("GET", "/things/1", &[shown]);
    bench.now += 101 * SECOND;
    bench.denied("GET", "/things/1", &[shown], Reason::SidecarUnreachable);
    bench.forwarded("GET", "/public", &[]);
    bench.hear("g1", 1);
    bench.forwarded("GET", "/things/1", &[shown]);
}

#[test]
fn the_health_path_tells_the_state() {
    let mut bench = bench_of(&config(true));
    let status = |bench: &mut Bench| match bench.ask("GET", "/.wardgate/healthz", &[], true) {
        Step::Answer(answer, _) => (answer.status, String::from_utf8(answer.body).unwrap()),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        status(&mut bench),
        (503, r#"{"status":"not-ready","feed_age_milliseconds":null}"#.to_owned())
    );
    bench.hear("g1", 1);
    bench.now += 20_000_000;
    assert_eq!(
        status(&mut bench),
        (200, r#"{"status":"ready","feed_age_milliseconds":20}"#.to_owned())
    );
}

#[test]
fn an_unknown_api_key_is_asked_for_once_and_then_decided() {
    let mut bench = fed();
    let (good, unknown) = (key(1), key(2));
    bench.asks_for(&good);
    bench.answer(&good, Some(record(&good)));
    let shown = good.expose().to_owned();
    for _ in 0..3 {
        let forward = bench.forwarded("GET", "/keys", &[(b"x-api-key", shown.as_bytes())]);
        assert_eq!(header_of(&forward, "x-wardgate-subject").as_deref(), Some("api_key:ci"));
        assert_eq!(forward.remove, [b"x-api-key".to_vec()]);
    }
    bench.asks_for(&unknown);
    bench.answer(&unknown, None);
    for _ in 0..3 {
        let shown: Field<'_> = (b"x-api-key", unknown.expose().as_bytes());
        bench.denied("GET", "/keys", &[shown], Reason::ApiKeyUnknown);
    }
    bench.now += 11 * SECOND;
    bench.asks_for(&unknown);
}

#[test]
fn a_known_id_with_another_secret_is_unknown_without_a_call() {
    let mut bench = fed();
    let good = key(1);
    bench.asks_for(&good);
    let mut record = record(&good);
    record.digest = key(3).digest(&Secret::new(DIGEST_KEY.to_vec())).text();
    bench.answer(&good, Some(record));
    let shown: Field<'_> = (b"x-api-key", good.expose().as_bytes());
    bench.denied("GET", "/keys", &[shown], Reason::ApiKeyUnknown);
}

#[test]
fn an_answer_for_another_id_is_no_answer() {
    let mut bench = fed();
    let (asked, other) = (key(1), key(2));
    bench.answer(&asked, Some(record(&other)));
    let shown: Field<'_> = (b"x-api-key", asked.expose().as_bytes());
    bench.denied("GET", "/keys", &[shown], Reason::ApiKeyUnknown);
}

#[test]
fn states_and_expiry_of_api_keys_are_told_to_whoever_has_the_secret() {
    for (state, expires_at, reason) in [
        (ApiKeyState::Disabled, None, Reason::ApiKeyDisabled),
        (ApiKeyState::Revoked, None, Reason::ApiKeyRevoked),
        (ApiKeyState::Active, Some(NOW / SECOND), Reason::ApiKeyExpired),
    ] {
        let mut bench = fed();
        let key = key(1);
        bench.answer(&key, Some(ApiKeyRecord { state, expires_at, ..record(&key) }));
        bench.denied("GET", "/keys", &[(b"x-api-key", key.expose().as_bytes())], reason);
    }
}

#[test]
fn a_new_revision_overtakes_all_records_and_no_token() {
    let mut bench = fed();
    let key = key(1);
    bench.answer(&key, Some(record(&key)));
    let shown: Field<'_> = (b"x-api-key", key.expose().as_bytes());
    let token = viewer();
    bench.forwarded("GET", "/keys", &[shown]);
    bench.forwarded("GET", "/things/1", &[(b"authorization", token.as_bytes())]);
    bench.hear("g1", 2);
    bench.asks_for(&key);
    bench.gate.api_key_not_answered(key.id());
    let step = bench.ask("GET", "/keys", &[shown], false);
    assert!(matches!(step, Step::Answer(answer, _) if answer.details == "sidecar-unreachable"));
    bench.forwarded("GET", "/things/1", &[(b"authorization", token.as_bytes())]);
    assert_eq!(bench.edge.checks.get(), 1);
}

#[test]
fn a_flood_of_unknown_keys_costs_those_that_exist_nothing() {
    let mut bench = bench_of(&{
        let mut config = config(true);
        config["feed"]["api_key_lookups_per_second"] = json!(5);
        config["limits"] = json!({"unknown_api_key_cache_bytes": 4096});
        config
    });
    bench.hear("g1", 1);
    let good = key(1);
    bench.answer(&good, Some(record(&good)));
    for seed in 2..200 {
        let unknown = key(seed);
        let shown: Field<'_> = (b"x-api-key", unknown.expose().as_bytes());
        if let Step::LookUpApiKey(_) = bench.ask("GET", "/keys", &[shown], true) {
            bench.answer(&unknown, None);
        }
    }
    bench.forwarded("GET", "/keys", &[(b"x-api-key", good.expose().as_bytes())]);
    bench.hear("g1", 2);
    bench.asks_for(&good);
}

#[test]
fn whoever_guesses_keys_makes_no_more_calls_and_locks_no_proven_key_out() {
    let mut config = config(true);
    config["failure_limit"] = json!({"failures": 3, "period_seconds": 60});
    let mut bench = bench_of(&config);
    bench.hear("g1", 1);
    let good = key(1);
    bench.answer(&good, Some(record(&good)));
    bench.forwarded("GET", "/keys", &[(b"x-api-key", good.expose().as_bytes())]);
    let mut calls = 0;
    for seed in 2..100 {
        let unknown = key(seed);
        let shown: Field<'_> = (b"x-api-key", unknown.expose().as_bytes());
        if let Step::LookUpApiKey(_) = bench.ask("GET", "/keys", &[shown], true) {
            calls += 1;
            bench.answer(&unknown, None);
            bench.ask("GET", "/keys", &[shown], false);
        }
    }
    assert!(calls <= 4, "{calls}");
    bench.forwarded("GET", "/keys", &[(b"x-api-key", good.expose().as_bytes())]);
}

#[test]
fn honest_bad_luck_does_not_count_as_guessing() {
    let mut config = config(false);
    config["failure_limit"] = json!({"failures": 3, "period_seconds": 60});
    let mut bench = bench_of(&config);
    for number in 0..20 {
        let mut claims = claims(&number.to_string());
        claims["exp"] = json!(NOW / SECOND - 1000);
        let expired = token(&claims);
        bench.denied(
            "GET",
            "/things/1",
            &[(b"authorization", expired.as_bytes())],
            Reason::TokenExpired,
        );
    }
    let good = viewer();
    bench.forwarded("GET", "/things/1", &[(b"authorization", good.as_bytes())]);
}

#[test]
fn a_client_that_goes_away_leaves_nothing_behind() {
    let mut config = config(true);
    config["feed"]["api_key_lookups_per_second"] = json!(1);
    let mut bench = bench_of(&config);
    bench.hear("g1", 1);
    bench.asks_for(&key(1));
    bench.gate.api_key_not_asked(key(1).id());
    let again = key(1);
    let shown: Field<'_> = (b"x-api-key", again.expose().as_bytes());
    bench.denied("GET", "/keys", &[shown], Reason::TooManyLookups);
}

#[test]
fn a_revision_that_goes_back_forgets_everything_of_the_newer_ones() {
    let mut bench = fed();
    let key = key(1);
    bench.hear("g1", 7);
    let answer = ApiKeyLookupAnswer {
        record: Some(record(&key)),
        valid_for_seconds: 300,
        api_key_revision: 7,
    };
    assert_eq!(bench.gate.api_key_answered(key.id(), &answer), Ok(()));
    bench.forwarded("GET", "/keys", &[(b"x-api-key", key.expose().as_bytes())]);
    bench.hear("g1", 3);
    bench.asks_for(&key);
}

#[test]
fn the_record_of_a_refused_credential_says_whose_it_was() {
    let mut bench = fed();
    let key = key(1);
    bench.answer(&key, Some(ApiKeyRecord { state: ApiKeyState::Revoked, ..record(&key) }));
    bench.denied("GET", "/keys", &[(b"x-api-key", key.expose().as_bytes())], Reason::ApiKeyRevoked);
    let mut claims = claims("42");
    claims["exp"] = json!(NOW / SECOND - 1000);
    let expired = token(&claims);
    bench.denied(
        "GET",
        "/things/1",
        &[(b"authorization", expired.as_bytes())],
        Reason::TokenExpired,
    );
    let body = bench.gate.audit().unwrap().borrow_mut().next_delivery(1).unwrap();
    let batch: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(batch["events"][0]["credential_id"], key.id());
    assert_eq!(batch["events"][1]["subject"], "42");
}

#[test]
fn one_call_serves_many_requests_with_one_key() {
    let mut config = config(true);
    config["feed"]["api_key_lookups_per_second"] = json!(1);
    let mut bench = bench_of(&config);
    bench.hear("g1", 1);
    for _ in 0..50 {
        bench.asks_for(&key(1));
    }
}

#[test]
fn scopes_of_an_api_key_restrict_whatever_the_policy_says_of_scopes() {
    let mut bench = fed();
    let key = key(1);
    let scopes = Some(vec!["anything".to_owned()]);
    bench.answer(&key, Some(ApiKeyRecord { scopes, ..record(&key) }));
    let shown: Field<'_> = (b"x-api-key", key.expose().as_bytes());
    bench.denied("GET", "/keys", &[shown], Reason::ScopeInsufficient);
}

#[test]
fn a_token_that_seems_expired_to_a_wrong_clock_is_judged_anew() {
    let mut bench = alone();
    let token = viewer();
    let shown: Field<'_> = (b"authorization", token.as_bytes());
    bench.now += 3600 * SECOND;
    bench.denied("GET", "/things/1", &[shown], Reason::TokenExpired);
    bench.now -= 3600 * SECOND;
    bench.forwarded("GET", "/things/1", &[shown]);
}

#[test]
fn an_answer_that_a_change_has_overtaken_is_asked_for_again() {
    let mut bench = fed();
    let key = key(1);
    bench.asks_for(&key);
    bench.hear("g2", 2);
    let answer = ApiKeyLookupAnswer {
        record: Some(record(&key)),
        valid_for_seconds: 10,
        api_key_revision: 1,
    };
    assert_eq!(bench.gate.api_key_answered(key.id(), &answer), Err(super::Overtaken));
    bench.asks_for(&key);
}

#[test]
fn a_wall_clock_that_is_set_back_makes_nothing_young_again() {
    let mut bench = fed();
    let token = viewer();
    let shown: Field<'_> = (b"authorization", token.as_bytes());
    bench.gate.advance(bench.now + 101 * SECOND);
    bench.now -= 3600 * SECOND;
    bench.denied("GET", "/things/1", &[shown], Reason::SidecarUnreachable);
}

#[test]
fn a_very_long_token_is_refused_by_its_length() {
    let mut bench = alone();
    let long = format!("Bearer {}", "a".repeat(60_000));
    bench.denied("GET", "/things/1", &[(b"authorization", long.as_bytes())], Reason::TokenOversize);
}

#[test]
fn without_the_sidecar_known_keys_go_on_and_unknown_ones_fail_closed() {
    let mut bench = fed();
    let (known, unknown) = (key(1), key(2));
    bench.answer(&known, Some(record(&known)));
    bench.now += 50 * SECOND;
    let shown: Field<'_> = (b"x-api-key", known.expose().as_bytes());
    bench.asks_for(&known);
    bench.gate.api_key_not_answered(known.id());
    assert!(matches!(bench.ask("GET", "/keys", &[shown], false), Step::Forward(_)));
    let shown: Field<'_> = (b"x-api-key", unknown.expose().as_bytes());
    let step = bench.ask("GET", "/keys", &[shown], false);
    assert!(matches!(step, Step::Answer(answer, _) if answer.details == "sidecar-unreachable"));
}

#[test]
fn an_open_breaker_asks_nobody() {
    let mut bench = fed();
    for seed in 10..15 {
        bench.asks_for(&key(seed));
        bench.gate.api_key_not_answered(key(seed).id());
    }
    let unknown = key(20);
    let shown: Field<'_> = (b"x-api-key", unknown.expose().as_bytes());
    bench.denied("GET", "/keys", &[shown], Reason::SidecarUnreachable);
}

#[test]
fn junk_in_place_of_an_api_key_makes_no_call() {
    let mut bench = fed();
    bench.denied(
        "GET",
        "/keys",
        &[(b"x-api-key", b"wg_test_junk_000000")],
        Reason::ApiKeyMalformed,
    );
    bench.denied("GET", "/keys", &[(b"x-api-key", b"\xff")], Reason::ApiKeyMalformed);
    let good = key(1);
    let shown: Field<'_> = (b"x-api-key", good.expose().as_bytes());
    bench.denied("GET", "/keys", &[shown, shown], Reason::CredentialRepeated);
}

#[test]
fn a_bad_snapshot_changes_nothing() {
    let mut bench = fed();
    let token = viewer();
    let mut snapshot = Snapshot {
        generation: "g9".to_owned(),
        api_key_revision: 9,
        api_key_digest_key: "short".to_owned(),
        key_sets: Vec::new(),
    };
    assert!(bench.gate.apply_snapshot(&snapshot).is_err());
    snapshot.api_key_digest_key = base64url::encode(&DIGEST_KEY);
    let jwks = json!({"keys": "none"}).as_object().unwrap().clone();
    let issuer = "https://corp.example".to_owned();
    snapshot.key_sets.push(crate::wire::IssuerKeySet { issuer: issuer.clone(), jwks });
    assert_eq!(bench.gate.apply_snapshot(&snapshot), Ok(vec![issuer]), "its old keys stay");
    bench.forwarded("GET", "/things/1", &[(b"authorization", token.as_bytes())]);
}

#[test]
fn every_decision_leaves_an_event_and_is_counted() {
    let mut bench = fed();
    let token = viewer();
    bench.forwarded("GET", "/things/1?secret=1", &[(b"authorization", token.as_bytes())]);
    bench.denied("GET", "/things/1", &[], Reason::CredentialMissing);
    let body = bench.gate.audit().unwrap().borrow_mut().next_delivery(1).unwrap();
    let text = String::from_utf8(body).unwrap();
    let batch: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(batch["events"][0]["decision"], "permit");
    assert_eq!(batch["events"][0]["subject"], "42");
    assert_eq!(batch["events"][0]["credential_id"], "t1");
    assert_eq!(batch["events"][1]["reason"], "credential-missing");
    assert_eq!(batch["events"][1]["source_address"], "192.0.2.1:4711");
    assert!(!text.contains("secret"), "the query stays out of the log");
    assert!(!text.contains("eyJ"), "no token stands in an event");
    assert_eq!(bench.gate.counters().permitted, 1);
    assert_eq!(bench.gate.counters().denied.iter().sum::<u64>(), 1);
}

#[test]
fn a_configuration_that_cannot_work_is_refused_with_every_problem() {
    let mut config = config(false);
    config["policy"]["routes"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "keys", "match": {"path": "/keys"}, "credentials": ["api_key"]}));
    config["policy"]["issuers"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "other", "issuer": "https://other.example", "audiences": ["api"]}));
    let parsed = PluginConfig::parse(config.to_string().as_bytes()).unwrap();
    let problems = Gate::new(&parsed, &|_| None, Seed([1, 2, 3, 4]), None).expect_err("accepted");
    let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["policy.issuers[0].hmac_secret_env", "policy.issuers[1]", "feed"]);
}
