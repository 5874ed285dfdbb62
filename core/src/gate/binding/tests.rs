use std::cell::Cell;

use ring::digest;
use serde_json::{Value, json};

use super::Confirmation;
use crate::base64url;
use crate::config::plugin::PluginConfig;
use crate::dpop::tests::Signer;
use crate::feed::live::{Collision, LocalMemory, NoMemory, SharedMemory};
use crate::gate::intake::Field;
use crate::gate::{Around, Edge, Environment, Gate, Request, Seed, Step};
use crate::jwk::Key;
use crate::reason::Reason;
use crate::token::{Algorithm, SignatureCheck, SignatureVerdict, SoftwareSignatures};

const SECOND: u64 = 1_000_000_000;
const NOW: u64 = 1_800_000_000 * SECOND;
const HMAC_SECRET: [u8; 32] = [7; 32];
const CERTIFICATE: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
/// The same as `x5t#S256`.
const CERTIFICATE_DIGEST: &str = "n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg";

struct TestEdge {
    memory: Box<dyn SharedMemory>,
    certificate: &'static str,
    checks: Cell<u32>,
    certificates_asked: Cell<u32>,
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
        b"192.0.2.1:1".to_vec()
    }

    fn peer_certificate_digest(&self) -> Vec<u8> {
        self.certificates_asked.set(self.certificates_asked.get() + 1);
        self.certificate.into()
    }

    fn shared_memory(&self) -> &dyn SharedMemory {
        &*self.memory
    }
}

struct Bench {
    gate: Gate,
    edge: TestEdge,
    now: u64,
    signer: Signer,
    proofs: u32,
}

fn dpop() -> Value {
    json!({"origins": ["https://api.example.com"]})
}

fn bench(dpop: &Value) -> Bench {
    bench_with(dpop, 1, Box::new(LocalMemory::default()))
}

fn bench_with(dpop: &Value, seed: u64, memory: Box<dyn SharedMemory>) -> Bench {
    let route = |name: &str, more: Value| {
        let mut route = json!({
            "name": name, "match": {"path": format!("/{name}")}, "credentials": ["jwt"],
        });
        let members = route.as_object_mut().unwrap();
        members.extend(more.as_object().unwrap().clone());
        route
    };
    let issuer = |name: &str| {
        json!({
            "name": name, "issuer": format!("https://{name}.example"), "audiences": ["api"],
            "algorithms": ["HS256"], "hmac_secret_env": "SECRET",
            "require_token_binding": name == "strict",
        })
    };
    let config = json!({
        "failure_limit": {"failures": 3},
        "policy": {
            "version": 1,
            "issuers": [issuer("corp"), issuer("strict")],
            "dpop": dpop,
            "routes": [
                route("a", json!({})),
                route("bound", json!({"require_token_binding": true})),
                route("kept", json!({"forward_credential": true})),
                route("optional", json!({"credentials": ["jwt", "none"]})),
                route("public", json!({"credentials": ["none"]})),
                route("service", json!({"credentials": ["none"], "forward_credential": true})),
                route("shadow", json!({"mode": "shadow"})),
            ],
        },
    });
    let config = PluginConfig::parse(config.to_string().as_bytes()).unwrap();
    let environment =
        Environment::new(|name| (name == "SECRET").then(|| base64url::encode(&HMAC_SECRET)));
    let gate = Gate::new(&config, environment, Seed([seed; 4]), Around::default()).unwrap();
    let edge = TestEdge {
        memory,
        certificate: "",
        checks: Cell::new(0),
        certificates_asked: Cell::new(0),
    };
    Bench { gate, edge, now: NOW, signer: Signer::ed25519(), proofs: 0 }
}

/// A token with these members beside or in place of the usual ones.
fn token(more: &Value) -> String {
    let mut claims = json!({
        "iss": "https://corp.example", "aud": "api", "sub": "alice", "exp": NOW / SECOND + 900,
    });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &HMAC_SECRET);
    let header = base64url::encode(br#"{"alg":"HS256"}"#);
    let text = format!("{header}.{}", base64url::encode(claims.to_string().as_bytes()));
    let signature = ring::hmac::sign(&key, text.as_bytes());
    format!("{text}.{}", base64url::encode(signature.as_ref()))
}

impl Bench {
    /// A token that is bound to the key of this bench.
    fn bound(&self) -> String {
        token(&json!({"cnf": {"jkt": self.signer.thumbprint}}))
    }

    /// A new proof for `GET https://api.example.com/a`, with these members beside or in place of
    /// the usual ones.
    fn proof(&mut self, token: &str, more: &Value) -> String {
        self.proofs += 1;
        let hash = digest::digest(&digest::SHA256, token.as_bytes());
        let mut claims = json!({
            "jti": format!("id-{}", self.proofs),
            "htm": "GET",
            "htu": "https://api.example.com/a",
            "iat": self.now / SECOND,
            "ath": base64url::encode(hash.as_ref()),
        });
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.signer.proof(&claims)
    }

    fn ask(&mut self, path: &str, authorization: &str, more: &[(&str, &str)]) -> Step {
        let mut fields: Vec<Field<'_>> = vec![
            (b":method", b"GET"),
            (b":path", path.as_bytes()),
            (b":authority", b"api.example.com"),
            (b"authorization", authorization.as_bytes()),
        ];
        fields.extend(more.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        self.gate.advance(self.now);
        self.gate.decide(Request { fields: &fields, now_nanoseconds: self.now }, &self.edge)
    }

    fn ask_proved(&mut self, token: &str, proof: &str) -> Step {
        self.ask("/a", &format!("DPoP {token}"), &[("dpop", proof)])
    }

    #[track_caller]
    fn passes(&mut self, token: &str, proof: &str) -> super::super::Forward {
        passed(self.ask_proved(token, proof))
    }

    #[track_caller]
    fn refuses(&mut self, token: &str, proof: &str, expected: Reason) {
        refused(self.ask_proved(token, proof), expected);
    }
}

#[track_caller]
fn passed(step: Step) -> super::super::Forward {
    match step {
        Step::Forward(forward) => forward,
        other @ Step::Answer(..) => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(step: Step, expected: Reason) -> Vec<(&'static str, String)> {
    match step {
        Step::Answer(answer, note) => {
            assert_eq!(note.reason, Some(expected));
            assert_eq!(answer.status, expected.status());
            answer.headers
        }
        other @ Step::Forward(_) => panic!("{other:?}"),
    }
}

fn removed(forward: &super::super::Forward) -> Vec<String> {
    let names = forward.remove.iter();
    names.map(|name| String::from_utf8(name.to_vec()).unwrap()).collect()
}

fn value<'a>(headers: &'a [(&'static str, String)], name: &str) -> Option<&'a str> {
    let mut headers = headers.iter();
    headers.find(|(other, _)| *other == name).map(|(_, value)| value.as_str())
}

#[test]
fn a_bound_token_passes_with_a_new_proof_on_each_request_and_neither_goes_on() {
    let mut bench = bench(&dpop());
    let token = bench.bound();
    for round in 1..=3 {
        let proof = bench.proof(&token, &json!({}));
        let forward = bench.passes(&token, &proof);
        assert_eq!(removed(&forward), ["authorization", "dpop"]);
        assert_eq!(forward.answer_headers, []);
        // The verdict on the token is kept; that on proofs never is.
        assert_eq!(bench.edge.checks.get(), 1 + round);
    }
    assert_eq!(bench.edge.certificates_asked.get(), 0);
}

#[test]
fn a_bound_token_without_its_proof_is_refused_however_it_is_shown() {
    let mut bench = bench(&dpop());
    let token = bench.bound();
    for _ in 0..2 {
        let headers =
            refused(bench.ask("/a", &format!("Bearer {token}"), &[]), Reason::TokenBindingMismatch);
        let challenge = value(&headers, "www-authenticate").unwrap();
        assert!(challenge.contains("Bearer") && challenge.contains("error=\"invalid_token\""));
        refused(bench.ask("/a", &format!("DPoP {token}"), &[]), Reason::DpopProofMissing);
    }
    // Nor does a good proof help a token that is shown as anybody's.
    let proof = bench.proof(&token, &json!({}));
    let step = bench.ask("/a", &format!("Bearer {token}"), &[("dpop", &proof)]);
    refused(step, Reason::TokenBindingMismatch);
    let step = bench.ask("/a", &format!("DPoP {token}"), &[("dpop", &proof), ("dpop", &proof)]);
    refused(step, Reason::CredentialRepeated);
    bench.passes(&token, &proof);
}

#[test]
fn a_proof_is_used_once() {
    let mut bench = bench(&dpop());
    let token = bench.bound();
    let proof = bench.proof(&token, &json!({}));
    bench.passes(&token, &proof);
    bench.refuses(&token, &proof, Reason::DpopProofReplayed);
    bench.now += 60 * SECOND;
    bench.refuses(&token, &proof, Reason::DpopProofReplayed);
    bench.now += SECOND;
    bench.refuses(&token, &proof, Reason::DpopProofStale);
    bench.now -= 30 * SECOND;
    bench.refuses(&token, &proof, Reason::DpopProofReplayed);
}

#[test]
fn a_refused_proof_is_not_used_up() {
    let mut bench = bench(&dpop());
    let token = bench.bound();
    let proof = bench.proof(&token, &json!({}));
    refused(
        bench.ask("/bound", &format!("DPoP {token}"), &[("dpop", &proof)]),
        Reason::DpopProofMismatch,
    );
    bench.passes(&token, &proof);
}

#[test]
fn a_proof_of_another_request_token_or_time_is_refused() {
    let mut bench = bench(&dpop());
    let token = bench.bound();
    let mismatch = Reason::DpopProofMismatch;
    for (more, expected) in [
        (json!({"htm": "POST"}), mismatch),
        (json!({"htu": "https://api.example.com/b"}), mismatch),
        (json!({"htu": "https://evil.example/a"}), mismatch),
        (json!({"htu": "http://api.example.com/a"}), mismatch),
        (json!({"ath": "n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg"}), mismatch),
        (json!({"iat": NOW / SECOND - 61}), Reason::DpopProofStale),
        (json!({"iat": NOW / SECOND + 11}), Reason::DpopProofStale),
        (json!({"jti": ""}), Reason::DpopProofInvalid),
    ] {
        let proof = bench.proof(&token, &more);
        bench.refuses(&token, &proof, expected);
    }
    let proof = bench.proof(&token, &json!({"htu": "https://API.example.com:443/%61?x"}));
    passed(bench.ask("/a?y=z", &format!("DPoP {token}"), &[("dpop", &proof)]));
}

#[test]
fn a_thief_with_a_key_of_his_own_is_refused() {
    let mut bench = bench(&dpop());
    let token = bench.bound();
    let proof = bench.proof(&token, &json!({}));
    bench.signer = Signer::ed25519();
    let stolen = bench.proof(&token, &json!({}));
    bench.refuses(&token, &stolen, Reason::TokenBindingMismatch);
    bench.passes(&token, &proof);
}

#[test]
fn whoever_forges_proofs_is_limited_like_one_who_guesses() {
    let mut bench = bench(&dpop());
    let token = bench.bound();
    let mut forged = bench.proof(&token, &json!({}));
    let dot = forged.rfind('.').unwrap();
    forged.replace_range(dot + 1..dot + 5, "AAAA");
    for _ in 0..3 {
        bench.refuses(&token, &forged, Reason::DpopProofInvalid);
    }
    let checks = bench.edge.checks.get();
    bench.refuses(&token, &forged, Reason::TooManyFailures);
    assert_eq!(bench.edge.checks.get(), checks, "before any signature is checked");
    bench.now += 60 * SECOND;
    let proof = bench.proof(&token, &json!({}));
    bench.passes(&token, &proof);
}

#[test]
fn a_token_that_is_not_bound_is_a_bearer_token_and_nothing_else() {
    let mut bench = bench(&dpop());
    let token = token(&json!({}));
    let proof = bench.proof(&token, &json!({}));
    bench.refuses(&token, &proof, Reason::TokenBindingMismatch);
    // A proof beside it is not looked at, and does not go on.
    let forward = passed(bench.ask("/kept", &format!("Bearer {token}"), &[("dpop", &proof)]));
    assert_eq!(removed(&forward), ["dpop"]);
}

#[test]
fn a_route_or_an_issuer_may_want_bound_tokens_only() {
    let mut bench = bench(&dpop());
    let unbound = format!("Bearer {}", token(&json!({})));
    passed(bench.ask("/a", &unbound, &[]));
    refused(bench.ask("/bound", &unbound, &[]), Reason::TokenBindingMissing);
    let strict = format!("Bearer {}", token(&json!({"iss": "https://strict.example"})));
    refused(bench.ask("/a", &strict, &[]), Reason::TokenBindingMissing);
    let token = bench.bound();
    let proof = bench.proof(&token, &json!({"htu": "https://api.example.com/bound"}));
    passed(bench.ask("/bound", &format!("DPoP {token}"), &[("dpop", &proof)]));
}

#[test]
fn a_token_that_is_bound_to_a_certificate_passes_on_its_connection_only() {
    let mut bench = bench(&json!({}));
    let bound = format!("Bearer {}", token(&json!({"cnf": {"x5t#S256": CERTIFICATE_DIGEST}})));
    refused(bench.ask("/a", &bound, &[]), Reason::TokenBindingMismatch);
    bench.edge.certificate = CERTIFICATE;
    passed(bench.ask("/a", &bound, &[]));
    passed(bench.ask("/bound", &bound, &[]));
    bench.edge.certificate = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a09";
    refused(bench.ask("/a", &bound, &[]), Reason::TokenBindingMismatch);
    assert_eq!(bench.edge.certificates_asked.get(), 4, "one call where a token needs it");
    passed(bench.ask("/a", &format!("Bearer {}", token(&json!({}))), &[]));
    assert_eq!(bench.edge.certificates_asked.get(), 4);
}

#[test]
fn a_token_that_is_bound_to_both_needs_both() {
    let mut bench = bench(&dpop());
    let cnf = json!({"jkt": bench.signer.thumbprint, "x5t#S256": CERTIFICATE_DIGEST});
    let token = token(&json!({"cnf": cnf}));
    let proof = bench.proof(&token, &json!({}));
    bench.refuses(&token, &proof, Reason::TokenBindingMismatch);
    bench.edge.certificate = CERTIFICATE;
    refused(bench.ask("/a", &format!("Bearer {token}"), &[]), Reason::TokenBindingMismatch);
    bench.passes(&token, &proof);
}

#[test]
fn a_binding_that_is_not_understood_refuses() {
    let mut bench = bench(&dpop());
    bench.edge.certificate = CERTIFICATE;
    for cnf in [
        json!({}),
        json!(null),
        json!("x"),
        json!([]),
        json!({"jwk": {}}),
        json!({"kid": "1"}),
        json!({"jkt": 1}),
        json!({"jkt": ""}),
        json!({"jkt": "short"}),
        json!({"x5t#S256": format!("{CERTIFICATE_DIGEST}=")}),
        json!({"jkt": null, "x5t#S256": CERTIFICATE_DIGEST}),
    ] {
        let token = token(&json!({"cnf": cnf}));
        for scheme in ["Bearer", "DPoP"] {
            let step = bench.ask("/a", &format!("{scheme} {token}"), &[]);
            refused(step, Reason::TokenBindingUnsupported);
        }
    }
    let known = json!({"cnf": {"x5t#S256": CERTIFICATE_DIGEST, "unknown": 1}});
    passed(bench.ask("/a", &format!("Bearer {}", token(&known)), &[]));
}

#[test]
fn without_an_origin_no_proof_can_be_judged() {
    let mut bench = bench(&json!({}));
    let token = bench.bound();
    let proof = bench.proof(&token, &json!({}));
    bench.refuses(&token, &proof, Reason::TokenBindingUnsupported);
}

#[test]
fn a_nonce_is_asked_for_and_a_new_one_given_before_the_old_one_ends() {
    let mut bench = bench(&json!({"origins": ["https://api.example.com"], "nonce": "required"}));
    let token = bench.bound();
    let proof = bench.proof(&token, &json!({}));
    let headers = refused(bench.ask_proved(&token, &proof), Reason::DpopNonceRequired);
    let nonce = value(&headers, "dpop-nonce").unwrap().to_owned();
    let dpop = headers.iter().find(|(_, value)| value.starts_with("DPoP")).unwrap();
    assert!(dpop.1.contains("error=\"use_dpop_nonce\""), "{}", dpop.1);
    let proof = bench.proof(&token, &json!({"nonce": nonce}));
    assert_eq!(bench.passes(&token, &proof).answer_headers, []);
    bench.now += 120 * SECOND;
    let proof = bench.proof(&token, &json!({"nonce": nonce}));
    let forward = bench.passes(&token, &proof);
    let newer = value(&forward.answer_headers, "dpop-nonce").unwrap().to_owned();
    assert_ne!(newer, nonce);
    bench.now += 120 * SECOND;
    let proof = bench.proof(&token, &json!({"nonce": nonce}));
    bench.refuses(&token, &proof, Reason::DpopNonceRequired);
    let proof = bench.proof(&token, &json!({"nonce": newer}));
    bench.passes(&token, &proof);
}

#[test]
fn a_nonce_of_one_proxy_is_worth_nothing_at_another() {
    let rules = json!({"origins": ["https://api.example.com"], "nonce": "optional"});
    let mut here = bench(&rules);
    let mut there = bench_with(&rules, 2, Box::new(LocalMemory::default()));
    there.signer = Signer::ed25519();
    let token = here.bound();
    let wrong = here.proof(&token, &json!({"nonce": "x"}));
    let headers = refused(here.ask_proved(&token, &wrong), Reason::DpopNonceRequired);
    let nonce = value(&headers, "dpop-nonce").unwrap().to_owned();
    let proof = here.proof(&token, &json!({"nonce": nonce}));
    there.refuses(&token, &proof, Reason::DpopNonceRequired);
    here.passes(&token, &proof);
    // Without one it is as good as with one where it is optional.
    let proof = here.proof(&token, &json!({}));
    assert!(value(&here.passes(&token, &proof).answer_headers, "dpop-nonce").is_some());
}

#[test]
fn memory_that_fails_closes_the_gate_for_proofs_and_for_nothing_else() {
    struct ReadOnly;
    impl SharedMemory for ReadOnly {
        fn get(&self, _key: &str) -> Option<(Vec<u8>, u32)> {
            Some((b"junk".to_vec(), 1))
        }
        fn set(&self, _key: &str, _value: &[u8], _cas: Option<u32>) -> Result<(), Collision> {
            Err(Collision)
        }
    }
    for nonce in ["ignored", "required"] {
        let rules = json!({"origins": ["https://api.example.com"], "nonce": nonce});
        for memory in [Box::new(NoMemory) as Box<dyn SharedMemory>, Box::new(ReadOnly)] {
            let mut bench = bench_with(&rules, 1, memory);
            let token = bench.bound();
            let proof = bench.proof(&token, &json!({}));
            bench.refuses(&token, &proof, Reason::FeedUnreadable);
            let shadow = bench.proof(&token, &json!({"htu": "https://api.example.com/shadow"}));
            let step = bench.ask("/shadow", &format!("DPoP {token}"), &[("dpop", &shadow)]);
            refused(step, Reason::FeedUnreadable);
            passed(bench.ask("/a", &format!("Bearer {}", self::token(&json!({}))), &[]));
        }
    }
}

#[test]
fn a_route_may_keep_token_and_proof() {
    let mut bench = bench(&dpop());
    let token = bench.bound();
    let proof = bench.proof(&token, &json!({"htu": "https://api.example.com/kept"}));
    let forward = passed(bench.ask("/kept", &format!("DPoP {token}"), &[("dpop", &proof)]));
    assert_eq!(removed(&forward), Vec::<String>::new());
}

#[test]
fn a_route_that_verifies_nothing_hands_on_credentials_only_if_it_says_so() {
    let mut bench = bench(&dpop());
    let more = [("dpop", "a.proof"), ("x-api-key", "a-key"), ("x_api_key", "forged")];
    let forward = passed(bench.ask("/service", "Basic YTpi", &more));
    assert_eq!(removed(&forward), ["x_api_key"]);
    assert_eq!(forward.principal.auth, super::super::AuthKind::None);
    let forward = passed(bench.ask("/public", "Basic YTpi", &more));
    assert_eq!(removed(&forward), ["x_api_key", "authorization", "x-api-key", "dpop"]);
}

#[test]
fn a_bad_proof_is_refused_where_no_credential_is_needed() {
    let mut bench = bench(&dpop());
    let token = bench.bound();
    let step = bench.ask("/optional", &format!("DPoP {token}"), &[("dpop", "x")]);
    refused(step, Reason::DpopProofInvalid);
    let forward = passed(bench.ask("/shadow", &format!("Bearer {token}"), &[]));
    assert_eq!(forward.note.decision, "shadow-deny");
    assert_eq!(forward.principal.auth, super::super::AuthKind::None);
}

#[test]
fn what_a_token_is_bound_to_is_read_strictly() {
    let read = |cnf: &Value| Confirmation::read(cnf);
    let certificate = Some(CERTIFICATE.to_owned());
    assert_eq!(
        read(&json!({"x5t#S256": CERTIFICATE_DIGEST})),
        Some(Confirmation::To { thumbprint: None, certificate })
    );
    assert_eq!(read(&json!({"x5t#S256": CERTIFICATE_DIGEST, "jkt": "x"})), None);
}
