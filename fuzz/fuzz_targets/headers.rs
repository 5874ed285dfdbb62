//! Requests: any header lists at a gate with the example policy; nobody gets in as somebody.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wardgate_core::config::plugin::PluginConfig;
use wardgate_core::gate::{Around, AuthKind, Edge, Environment, Gate, Request, Seed, Step};
use wardgate_core::jwk::Key;
use wardgate_core::token::{Algorithm, SignatureCheck, SignatureVerdict, SoftwareSignatures};

struct NoEdge;

impl SignatureCheck for NoEdge {
    fn check(&self, algorithm: Algorithm, key: &Key, text: &[u8], signature: &[u8]) -> SignatureVerdict {
        SoftwareSignatures.check(algorithm, key, text, signature)
    }
}

impl Edge for NoEdge {
    fn source_address(&self) -> Vec<u8> {
        b"192.0.2.1:1".to_vec()
    }
}

const CONFIG: &str = r#"{"policy":{"version":1,
  "issuers":[{"name":"corp","issuer":"https://corp.example","audiences":["api"],"algorithms":["ES256"],
    "jwks":{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}}],
  "roles":{"viewer":{"permissions":["read"]}},
  "bindings":[{"subjects":["user:corp/1"],"roles":["viewer"]}],
  "routes":[{"name":"read","match":{"path":"/{rest...}"},"credentials":["jwt","none"],"require":{"all":["read"]}}],
  "default":"deny"}}"#;

fuzz_target!(|bytes: &[u8]| {
    let Ok(config) = PluginConfig::parse(CONFIG.as_bytes()) else { panic!("the configuration is bad") };
    let seed = Seed([1, 2, 3, 4]);
    let gate = Gate::new(&config, Environment::new(|_| None), seed, Around::default());
    let Ok(mut gate) = gate else { panic!("the policy is bad") };
    // Fields are lines `name:value`, after a leading colon if there is one.
    let fields: Vec<(&[u8], &[u8])> = bytes
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let colon = line.iter().skip(1).position(|byte| *byte == b':')? + 1;
            Some((&line[..colon], &line[colon + 1..]))
        })
        .collect();
    for _ in 0..2 {
        let request = Request { fields: &fields, now_nanoseconds: 1_800_000_000_000_000_000 };
        if let Step::Forward(forward) = gate.decide(request, &NoEdge) {
            assert_eq!(forward.principal.auth, AuthKind::None);
        }
    }
});
