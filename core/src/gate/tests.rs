use std::cell::RefCell;
use std::rc::Rc;

use serde_json::{Value, json};

use super::{Around, AuthKind, Edge, Environment, Gate, Request, Seed, SharedMember, Step};
use crate::api_key::{ApiKey, GENERATE_RANDOM_BYTES};
use crate::audit::AuditBuffer;
use crate::base64url;
use crate::config::plugin::PluginConfig;
use crate::feed::live::desk::Desk;
use crate::feed::live::{Collision, LocalMemory, Member, MemberLimits, Now, SharedMemory};
use crate::feed::{Fingerprint, Revocation, RevocationTarget};
use crate::gate::intake::Field;
use crate::jwk::Key;
use crate::reason::Reason;
use crate::secret::Secret;
use crate::token::{Algorithm, SignatureCheck, SignatureVerdict, SoftwareSignatures};
use crate::wire::feed::{ChangeKind, Settings};
use crate::wire::{ApiKeyRecord, ApiKeyState, IssuerKeySet, PreviousApiKey};

const SECOND: u64 = 1_000_000_000;
const NOW: u64 = 1_800_000_000 * SECOND;
const HMAC_SECRET: [u8; 32] = [7; 32];
const DIGEST_KEY: [u8; 32] = [9; 32];

/// Counts the checks, so that a test can tell a cached verdict from a new one.
#[derive(Default)]
struct TestEdge {
    checks: std::cell::Cell<u32>,
    memory: CountingMemory,
    address: Option<&'static [u8]>,
    addresses_asked: std::cell::Cell<u32>,
}

/// Counts what is read, so that a test can tell that nothing is.
#[derive(Default)]
struct CountingMemory {
    memory: LocalMemory,
    reads: std::cell::Cell<u32>,
}

impl SharedMemory for CountingMemory {
    fn get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.reads.set(self.reads.get() + 1);
        self.memory.get(key)
    }

    fn set(&self, key: &str, value: &[u8], version: Option<u32>) -> Result<(), Collision> {
        self.memory.set(key, value, version)
    }
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
        self.addresses_asked.set(self.addresses_asked.get() + 1);
        self.address.unwrap_or(b"192.0.2.1:4711").to_vec()
    }

    fn shared_memory(&self) -> &dyn SharedMemory {
        &self.memory
    }
}

struct Bench {
    gate: Gate,
    edge: TestEdge,
    now: u64,
    desk: Desk,
    member: SharedMember,
    problems: Vec<String>,
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

fn settings(generation: &str) -> Settings {
    Settings {
        generation: generation.to_owned(),
        api_key_digest_key: base64url::encode(&DIGEST_KEY),
        api_key_prefixes: vec!["old_".to_owned()],
        key_sets: Vec::new(),
        policy: None,
    }
}

fn bench_of(config: &Value) -> Bench {
    let config = PluginConfig::parse(config.to_string().as_bytes()).expect("a configuration");
    let audit = config.feed.as_ref().map(|_| AuditBuffer::new("vm".to_owned(), 1_000_000));
    let audit = audit.map(|audit| Rc::new(RefCell::new(audit)));
    let secret = Secret::new(vec![5; 32]);
    let limits = MemberLimits { max_stale_nanoseconds: 100 * SECOND };
    let member = Member::new("sidecar", &secret, limits, [6; 32]).expect("a member");
    let member = Rc::new(RefCell::new(member));
    let around = Around { audit, feed: Some(Rc::clone(&member)) };
    let environment = Environment::new(environment);
    let gate = Gate::new(&config, environment, Seed([1, 2, 3, 4]), around).expect("a gate");
    let desk = Desk::new(&secret, settings("g1"));
    Bench { gate, edge: TestEdge::default(), now: NOW, desk, member, problems: Vec::new() }
}

fn alone() -> Bench {
    bench_of(&config(false))
}

fn fed() -> Bench {
    let mut bench = bench_of(&config(true));
    bench.hear();
    bench
}

impl Bench {
    /// Has the gate hear all that the desk has to say, and that it is all.
    fn hear(&mut self) {
        self.now += SECOND / 100;
        let now = Now { monotonic: self.now, wall_seconds: self.now / SECOND };
        let is_ready = self.desk.serve(&mut self.member.borrow_mut(), &self.edge.memory, now);
        assert!(is_ready, "{:?}", self.member.borrow().replica().state(self.now));
        self.gate.advance(self.now);
        self.problems = self.gate.take_settings();
    }

    fn add(&mut self, record: ApiKeyRecord) {
        self.desk.set_api_key(record, 0);
        self.hear();
    }

    fn revoke(&mut self, target: &RevocationTarget, issued_until: Option<u64>) {
        let fingerprint = target.fingerprint();
        self.desk.revoke(Revocation { fingerprint, issued_until, until: u64::MAX }, 0);
        self.hear();
    }

    fn ask(&mut self, method: &str, path: &str, more: &[Field<'_>]) -> Step {
        let mut fields: Vec<Field<'_>> = vec![
            (b":method", method.as_bytes()),
            (b":path", path.as_bytes()),
            (b":authority", b"example.com"),
        ];
        fields.extend_from_slice(more);
        let request = Request { fields: &fields, now_nanoseconds: self.now };
        self.gate.advance(self.now);
        self.gate.decide(request, &self.edge)
    }

    #[track_caller]
    fn denied(&mut self, method: &str, path: &str, more: &[Field<'_>], expected: Reason) {
        match self.ask(method, path, more) {
            Step::Answer(answer, note) => {
                assert_eq!(note.reason, Some(expected));
                assert_eq!(answer.status, expected.status());
            }
            other @ Step::Forward(_) => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn forwarded(&mut self, method: &str, path: &str, more: &[Field<'_>]) -> super::Forward {
        match self.ask(method, path, more) {
            Step::Forward(forward) => forward,
            other @ Step::Answer(..) => panic!("{other:?}"),
        }
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
    match bench.ask("GET", "/things/1", &[(b"authorization", token.as_bytes())]) {
        Step::Answer(answer, _) => {
            assert_eq!(answer.details, "scope-insufficient");
            let (_, challenge) = &answer.headers[1];
            assert!(challenge.ends_with("scope=\"things:read\""), "{challenge}");
        }
        other @ Step::Forward(_) => panic!("{other:?}"),
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
        bench.ask("GET", "/things/1", &[(b"authorization", forged.as_bytes())]);
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
    bench.hear();
    let key = key(1);
    bench.add(record(&key));
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
    let request = Request { fields: &[], now_nanoseconds: NOW };
    let step = bench.gate.decide(request, &bench.edge);
    assert!(matches!(step, Step::Answer(answer, _) if answer.status == 400));
    bench.denied("GET", "/public/../things/1", &[], Reason::PathAmbiguous);
    bench.denied("GET", "/nowhere", &[], Reason::RouteMissing);
}

#[test]
fn the_health_path_tells_the_state() {
    let mut bench = bench_of(&config(true));
    let status = |bench: &mut Bench| match bench.ask("GET", "/.wardgate/healthz", &[]) {
        Step::Answer(answer, _) => (answer.status, String::from_utf8(answer.body).unwrap()),
        other @ Step::Forward(_) => panic!("{other:?}"),
    };
    assert_eq!(
        status(&mut bench),
        (503, r#"{"status":"not-ready","feed_age_milliseconds":null}"#.to_owned())
    );
    bench.hear();
    bench.now += 20_000_000;
    assert_eq!(
        status(&mut bench),
        (200, r#"{"status":"ready","feed_age_milliseconds":20}"#.to_owned())
    );
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
        bench.add(ApiKeyRecord { state, expires_at, ..record(&key) });
        bench.denied("GET", "/keys", &[(b"x-api-key", key.expose().as_bytes())], reason);
    }
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
fn the_record_of_a_refused_credential_says_whose_it_was() {
    let mut bench = fed();
    let key = key(1);
    bench.add(ApiKeyRecord { state: ApiKeyState::Revoked, ..record(&key) });
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
fn scopes_of_an_api_key_restrict_whatever_the_policy_says_of_scopes() {
    let mut bench = fed();
    let key = key(1);
    let scopes = Some(vec!["anything".to_owned()]);
    bench.add(ApiKeyRecord { scopes, ..record(&key) });
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
fn the_event_of_an_api_key_says_from_where_and_that_of_a_token_does_not_ask() {
    let mut bench = fed();
    let good = key(1);
    bench.add(record(&good));
    let token = viewer();
    bench.forwarded("GET", "/keys", &[(b"authorization", token.as_bytes())]);
    assert_eq!(bench.edge.addresses_asked.get(), 0);
    bench.forwarded("GET", "/keys", &[(b"x-api-key", good.expose().as_bytes())]);
    assert_eq!(bench.edge.addresses_asked.get(), 1);
    let body = bench.gate.audit().unwrap().borrow_mut().next_delivery(1).unwrap();
    let batch: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(batch["events"][0]["auth"], "jwt");
    assert_eq!(batch["events"][0].get("source_address"), None);
    assert_eq!(batch["events"][1]["credential_id"], good.id());
    assert_eq!(batch["events"][1]["source_address"], "192.0.2.1:4711");
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
    let environment = Environment::new(|_| None);
    let problems = Gate::new(&parsed, environment, Seed([1, 2, 3, 4]), Around::default())
        .expect_err("accepted");
    let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["policy.issuers[0].hmac_secret_env", "policy.issuers[1]", "feed"]);
}

#[test]
fn a_gate_with_a_feed_is_ready_after_the_first_loading_and_closes_when_it_is_stale() {
    let mut bench = bench_of(&config(true));
    let token = viewer();
    let shown: Field<'_> = (b"authorization", token.as_bytes());
    bench.denied("GET", "/things/1", &[shown], Reason::NotReady);
    bench.forwarded("GET", "/public", &[]);
    bench.hear();
    bench.forwarded("GET", "/things/1", &[shown]);
    bench.now += 101 * SECOND;
    bench.denied("GET", "/things/1", &[shown], Reason::SidecarUnreachable);
    bench.forwarded("GET", "/public", &[]);
    bench.hear();
    bench.forwarded("GET", "/things/1", &[shown]);
}

#[test]
fn keys_are_decided_from_the_tables_and_unknown_ones_read_nothing() {
    let mut bench = fed();
    let good = key(1);
    bench.add(record(&good));
    let shown: Field<'_> = (b"x-api-key", good.expose().as_bytes());
    let forward = bench.forwarded("GET", "/keys", &[shown]);
    assert_eq!(header_of(&forward, "x-wardgate-subject").as_deref(), Some("api_key:ci"));
    assert_eq!(forward.remove, [b"x-api-key".to_vec()]);
    bench.edge.memory.reads.set(0);
    bench.forwarded("GET", "/keys", &[shown]);
    assert_eq!(bench.edge.memory.reads.get(), 0, "what was read is kept");
    for seed in 2..60 {
        let unknown = key(seed);
        let shown: Field<'_> = (b"x-api-key", unknown.expose().as_bytes());
        bench.denied("GET", "/keys", &[shown], Reason::ApiKeyUnknown);
    }
    let reads = bench.edge.memory.reads.get();
    assert!(reads <= 4, "{reads} reads for 58 unknown keys");
}

#[test]
fn a_key_that_changes_is_read_anew_and_one_that_is_gone_is_unknown() {
    let mut bench = fed();
    let good = key(1);
    bench.add(record(&good));
    let shown: Field<'_> = (b"x-api-key", good.expose().as_bytes());
    bench.forwarded("GET", "/keys", &[shown]);
    bench.add(ApiKeyRecord { state: ApiKeyState::Disabled, ..record(&good) });
    bench.denied("GET", "/keys", &[shown], Reason::ApiKeyDisabled);
    bench.add(record(&good));
    bench.forwarded("GET", "/keys", &[shown]);
    let fingerprint = Fingerprint::of_api_key(good.id());
    bench.desk.change(ChangeKind::ApiKeyGone { fingerprint }, 0);
    bench.hear();
    bench.denied("GET", "/keys", &[shown], Reason::ApiKeyUnknown);
}

#[test]
fn a_known_id_with_another_secret_is_unknown() {
    let mut bench = fed();
    let good = key(1);
    let mut record = record(&good);
    record.digest = key(3).digest(&Secret::new(DIGEST_KEY.to_vec())).text();
    bench.add(record);
    let shown: Field<'_> = (b"x-api-key", good.expose().as_bytes());
    bench.denied("GET", "/keys", &[shown], Reason::ApiKeyUnknown);
}

#[test]
fn the_secret_before_the_last_rotation_works_until_its_time_and_is_told_of() {
    let mut bench = fed();
    let (old, new) = (key(1), key(3));
    let until = bench.now / SECOND + 100;
    let previous = PreviousApiKey { digest: record(&old).digest, until };
    // As rotation does: the id stays, and stands in the new key too.
    let digest = record(&new).digest;
    bench.add(ApiKeyRecord { digest, previous: Some(previous), ..record(&old) });
    let shown: Field<'_> = (b"x-api-key", old.expose().as_bytes());
    for _ in 0..2 {
        assert!(bench.forwarded("GET", "/keys", &[shown]).principal.previous_secret);
    }
    let body = bench.gate.audit().unwrap().borrow_mut().next_delivery(1).unwrap();
    let batch: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(batch["events"][0]["previous_secret"], true);
    bench.now = until * SECOND;
    bench.hear();
    bench.denied("GET", "/keys", &[shown], Reason::ApiKeyUnknown);
}

#[test]
fn an_imported_key_is_found_by_its_hash_and_needs_a_declared_prefix_and_length() {
    let mut bench = fed();
    let text = "old_0123456789abcdefghijkl";
    let sha256: [u8; 32] =
        ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref().try_into().unwrap();
    let digest_key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &DIGEST_KEY);
    let digest = base64url::encode(ring::hmac::sign(&digest_key, &sha256).as_ref());
    let fingerprint = Fingerprint::of_imported_api_key(&sha256);
    let record = Box::new(ApiKeyRecord { digest, ..record(&key(1)) });
    bench.desk.change(ChangeKind::ApiKey { fingerprint, record }, 0);
    bench.hear();
    bench.forwarded("GET", "/keys", &[(b"x-api-key", text.as_bytes())]);
    for (text, reason) in [
        ("old_0123456789abcdefghijkm", Reason::ApiKeyUnknown),
        ("old_0123456789abcdefghijk", Reason::ApiKeyMalformed),
        ("new_0123456789abcdefghijkl", Reason::ApiKeyMalformed),
    ] {
        bench.denied("GET", "/keys", &[(b"x-api-key", text.as_bytes())], reason);
    }
}

#[test]
fn a_key_for_some_networks_works_from_nowhere_else() {
    let mut bench = fed();
    let key = key(1);
    let shown: Field<'_> = (b"x-api-key", key.expose().as_bytes());
    for (networks, address, reason) in [
        (&["192.0.2.0/24"][..], &b"192.0.2.9:1"[..], None),
        (&["192.0.2.0/24"], b"198.51.100.1:1", Some(Reason::ApiKeyNetwork)),
        (&["10.0.0.0/8", "2001:db8::/32"], b"[2001:db8::5]:1", None),
        (&["no network"], b"192.0.2.9:1", Some(Reason::ApiKeyNetwork)),
        (&["0.0.0.0/0"], b"", Some(Reason::ApiKeyNetwork)),
    ] {
        let networks = networks.iter().map(|network| (*network).to_owned()).collect();
        bench.add(ApiKeyRecord { networks, ..record(&key) });
        bench.edge.address = Some(address);
        match reason {
            None => drop(bench.forwarded("GET", "/keys", &[shown])),
            Some(reason) => bench.denied("GET", "/keys", &[shown], reason),
        }
    }
}

#[test]
fn whoever_guesses_keys_is_limited_and_locks_no_proven_key_out() {
    let mut config = config(true);
    config["failure_limit"] = json!({"failures": 3, "period_seconds": 60});
    let mut bench = bench_of(&config);
    let good = key(1);
    bench.add(record(&good));
    bench.forwarded("GET", "/keys", &[(b"x-api-key", good.expose().as_bytes())]);
    let mut limited = 0;
    for seed in 2..60 {
        let unknown = key(seed);
        let shown: Field<'_> = (b"x-api-key", unknown.expose().as_bytes());
        if let Step::Answer(answer, _) = bench.ask("GET", "/keys", &[shown]) {
            limited += u32::from(answer.status == 429);
        }
    }
    assert_eq!(limited, 55);
    bench.forwarded("GET", "/keys", &[(b"x-api-key", good.expose().as_bytes())]);
}

fn marked() -> Value {
    let mut claims = claims("42");
    claims["sid"] = json!("s1");
    claims["azp"] = json!("web");
    claims["iat"] = json!(NOW / SECOND);
    claims
}

fn corp() -> String {
    "https://corp.example".to_owned()
}

#[test]
fn whatever_of_a_token_is_revoked_it_is_refused_even_from_the_cache() {
    let token = token(&marked());
    let signing_input = token.trim_start_matches("Bearer ").rsplit_once('.').unwrap().0;
    let digest = ring::digest::digest(&ring::digest::SHA256, signing_input.as_bytes());
    let text = |text: &str| text.to_owned();
    for target in [
        RevocationTarget::Token { issuer: corp(), token_id: text("t1") },
        RevocationTarget::TokenDigest { digest: base64url::encode(digest.as_ref()) },
        RevocationTarget::Session { issuer: corp(), session: text("s1") },
        RevocationTarget::Subject { issuer: corp(), subject: text("42") },
        RevocationTarget::Client { issuer: corp(), client_id: text("web") },
    ] {
        let mut bench = fed();
        let shown: Field<'_> = (b"authorization", token.as_bytes());
        bench.forwarded("GET", "/things/1", &[shown]);
        bench.revoke(&target, None);
        for _ in 0..2 {
            bench.denied("GET", "/things/1", &[shown], Reason::TokenRevoked);
        }
        let body = bench.gate.audit().unwrap().borrow_mut().next_delivery(1).unwrap();
        let batch: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(batch["events"][1]["subject"], "42", "{target:?}");
    }
}

#[test]
fn another_issuers_session_or_subject_revokes_nothing_here() {
    let mut bench = fed();
    let token = token(&marked());
    let shown: Field<'_> = (b"authorization", token.as_bytes());
    let other = || "https://other.example".to_owned();
    bench.revoke(&RevocationTarget::Session { issuer: other(), session: "s1".to_owned() }, None);
    bench.revoke(&RevocationTarget::Subject { issuer: other(), subject: "42".to_owned() }, None);
    bench.revoke(&RevocationTarget::Token { issuer: corp(), token_id: "t2".to_owned() }, None);
    bench.forwarded("GET", "/things/1", &[shown]);
}

#[test]
fn logging_a_subject_out_refuses_what_was_issued_until_then() {
    let mut bench = fed();
    let target = RevocationTarget::Subject { issuer: corp(), subject: "42".to_owned() };
    bench.revoke(&target, Some(NOW / SECOND));
    let old = token(&marked());
    bench.denied("GET", "/things/1", &[(b"authorization", old.as_bytes())], Reason::TokenRevoked);
    let mut claims = marked();
    claims["iat"] = json!(NOW / SECOND + 1);
    let new = token(&claims);
    bench.forwarded("GET", "/things/1", &[(b"authorization", new.as_bytes())]);
}

#[test]
fn the_key_that_verified_is_what_is_revoked_whatever_the_header_names() {
    let mut config = config(true);
    let issuer = &mut config["policy"]["issuers"][0];
    issuer["algorithms"] = json!(["EdDSA"]);
    issuer.as_object_mut().unwrap().remove("hmac_secret_env");
    let pair = ring::signature::Ed25519KeyPair::from_seed_unchecked(&[3; 32]).unwrap();
    let x = base64url::encode(ring::signature::KeyPair::public_key(&pair).as_ref());
    issuer["jwks"] = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": x}]});
    let mut bench = bench_of(&config);
    bench.hear();
    let header = base64url::encode(br#"{"alg":"EdDSA","typ":"JWT"}"#);
    let text = format!("{header}.{}", base64url::encode(marked().to_string().as_bytes()));
    let signature = base64url::encode(pair.sign(text.as_bytes()).as_ref());
    let token = format!("Bearer {text}.{signature}");
    let shown: Field<'_> = (b"authorization", token.as_bytes());
    bench.forwarded("GET", "/things/1", &[shown]);
    let target = RevocationTarget::SigningKey { issuer: corp(), key_id: "k1".to_owned() };
    bench.revoke(&target, None);
    bench.denied("GET", "/things/1", &[shown], Reason::TokenRevoked);
}

#[test]
fn a_key_whose_owner_is_revoked_is_refused() {
    let mut bench = fed();
    let key = key(1);
    let owner = (Some(corp()), Some("42".to_owned()));
    bench.add(ApiKeyRecord { issuer: owner.0, subject: owner.1, ..record(&key) });
    let shown: Field<'_> = (b"x-api-key", key.expose().as_bytes());
    bench.forwarded("GET", "/keys", &[shown]);
    let target = RevocationTarget::Subject { issuer: corp(), subject: "42".to_owned() };
    bench.revoke(&target, Some(1));
    bench.denied("GET", "/keys", &[shown], Reason::ApiKeyRevoked);
}

#[test]
fn a_token_seen_before_reads_no_memory_while_nothing_changes() {
    let mut bench = fed();
    let tokens: Vec<String> = (0..50)
        .map(|number| {
            let mut claims = marked();
            claims["jti"] = json!(format!("t{number}"));
            token(&claims)
        })
        .collect();
    for token in &tokens {
        bench.forwarded("GET", "/things/1", &[(b"authorization", token.as_bytes())]);
    }
    bench.edge.memory.reads.set(0);
    for token in &tokens {
        bench.forwarded("GET", "/things/1", &[(b"authorization", token.as_bytes())]);
    }
    assert_eq!(bench.edge.memory.reads.get(), 0);
}

#[test]
fn a_bucket_that_was_spoilt_denies_whom_it_decides_about() {
    let mut bench = fed();
    let token = token(&marked());
    let shown: Field<'_> = (b"authorization", token.as_bytes());
    let target = RevocationTarget::Token { issuer: corp(), token_id: "t1".to_owned() };
    let before: Vec<_> = bench.edge.memory.memory.keys();
    let old: Vec<_> = before.iter().map(|key| bench.edge.memory.get(key).unwrap().0).collect();
    bench.revoke(&target, None);
    bench.denied("GET", "/things/1", &[shown], Reason::TokenRevoked);
    // A gate that asks anew: the verdict that is held is right anyway.
    bench.revoke(&RevocationTarget::Session { issuer: corp(), session: "x".to_owned() }, None);
    for (key, value) in before.iter().zip(&old) {
        bench.edge.memory.set(key, value, None).unwrap();
    }
    bench.denied("GET", "/things/1", &[shown], Reason::FeedUnreadable);
}

fn with_policy(generation: &str, policy: &Value) -> Settings {
    Settings { policy: policy.as_object().cloned(), ..settings(generation) }
}

#[test]
fn the_policy_of_the_feed_serves_where_the_configuration_has_none() {
    let mut policy = config(true)["policy"].take();
    let mut bench = bench_of(&json!({"feed": {}}));
    let token = viewer();
    let shown: Field<'_> = (b"authorization", token.as_bytes());
    bench.denied("GET", "/public", &[], Reason::NotReady);
    bench.hear();
    bench.denied("GET", "/public", &[], Reason::NotReady);
    bench.desk.set_settings(with_policy("g2", &policy));
    bench.hear();
    assert_eq!(bench.problems, [""; 0]);
    bench.forwarded("GET", "/public", &[]);
    bench.forwarded("GET", "/things/1", &[shown]);
    policy["roles"]["viewer"]["permissions"] = json!(["delete"]);
    bench.desk.set_settings(with_policy("g3", &policy));
    bench.hear();
    bench.denied("GET", "/things/1", &[shown], Reason::PermissionMissing);
}

#[test]
fn a_policy_that_does_not_read_is_refused_and_the_old_one_serves() {
    let policy = config(true)["policy"].take();
    let mut bench = bench_of(&json!({"feed": {}}));
    bench.desk.set_settings(with_policy("g2", &policy));
    bench.hear();
    let mut bad = policy.clone();
    bad["routes"][0]["colour"] = json!("red");
    bad["issuers"] = json!([]);
    bench.desk.set_settings(with_policy("g3", &bad));
    bench.hear();
    assert!(bench.problems[1].contains("routes[0].colour"), "{:?}", bench.problems);
    let token = viewer();
    bench.forwarded("GET", "/things/1", &[(b"authorization", token.as_bytes())]);
    let mut missing = policy;
    missing["issuers"][0]["hmac_secret_env"] = json!("NOT_SET");
    bench.desk.set_settings(with_policy("g4", &missing));
    bench.hear();
    assert!(bench.problems[1].contains("issuers[0].hmac_secret_env"), "{:?}", bench.problems);
    bench.forwarded("GET", "/things/1", &[(b"authorization", token.as_bytes())]);
}

fn ed25519_jwks(kid: &str, x: &str) -> Value {
    json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x}]})
}

#[test]
fn keys_come_by_the_feed_and_bad_sets_change_nothing() {
    let mut config = config(true);
    let issuer = &mut config["policy"]["issuers"][0];
    issuer["algorithms"] = json!(["EdDSA"]);
    issuer["jwks_uri"] = json!("https://corp.example/keys");
    issuer.as_object_mut().unwrap().remove("hmac_secret_env");
    let mut bench = bench_of(&config);
    bench.hear();
    let pair = ring::signature::Ed25519KeyPair::from_seed_unchecked(&[3; 32]).unwrap();
    let x = base64url::encode(ring::signature::KeyPair::public_key(&pair).as_ref());
    let header = base64url::encode(br#"{"alg":"EdDSA","typ":"JWT","kid":"k1"}"#);
    let text = format!("{header}.{}", base64url::encode(marked().to_string().as_bytes()));
    let signature = base64url::encode(pair.sign(text.as_bytes()).as_ref());
    let token = format!("Bearer {text}.{signature}");
    let shown: Field<'_> = (b"authorization", token.as_bytes());
    for _ in 0..3 {
        bench.denied("GET", "/things/1", &[shown], Reason::TokenKeyUnknown);
    }
    let unknown = bench.gate.take_unknown_keys();
    assert_eq!(unknown.len(), 1, "told once");
    assert_eq!((unknown[0].issuer.as_str(), unknown[0].key_id.as_str()), (&*corp(), "k1"));
    let set = |generation: &str, jwks: Value| Settings {
        key_sets: vec![IssuerKeySet { issuer: corp(), jwks: jwks.as_object().cloned().unwrap() }],
        ..settings(generation)
    };
    bench.desk.set_settings(set("g2", ed25519_jwks("k1", &x)));
    bench.hear();
    bench.forwarded("GET", "/things/1", &[shown]);
    // An attacker's set for the same issuer, behind the sidecar's own, opens nothing.
    let mut two = set("g2b", ed25519_jwks("k1", &x));
    two.key_sets.extend(set("", ed25519_jwks("k1", &base64url::encode(&[7; 32]))).key_sets);
    bench.desk.set_settings(two);
    bench.hear();
    bench.forwarded("GET", "/things/1", &[shown]);
    bench.desk.set_settings(set("g3", json!({"keys": "none"})));
    bench.hear();
    assert_eq!(bench.problems.len(), 1);
    bench.forwarded("GET", "/things/1", &[shown]);
    bench.desk.set_settings(settings("g4"));
    bench.hear();
    bench.denied("GET", "/things/1", &[shown], Reason::TokenKeyUnknown);
}

#[test]
fn a_gate_that_is_to_have_a_feed_and_has_none_is_never_ready() {
    let parsed = PluginConfig::parse(config(true).to_string().as_bytes()).unwrap();
    let environment = Environment::new(environment);
    let gate = Gate::new(&parsed, environment, Seed([1, 2, 3, 4]), Around::default()).unwrap();
    assert_eq!(gate.feed_state(), Err(Reason::NotReady));
}
