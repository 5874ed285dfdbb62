use serde_json::{Map, Value, json};
use wardgate_core::secret::Secret;
use wardgate_core::time::UnixSeconds;

use super::{judge, unverified_client};
use crate::keys::{SigningAlgorithm, SigningKey, generate};

const NOW: UnixSeconds = UnixSeconds(10_000);
const ISSUER: &str = "https://auth.example.com";
const ENDPOINT: &str = "https://auth.example.com/oauth2/token";

struct World {
    key: SigningKey,
}

impl World {
    fn new() -> Self {
        let pkcs8: Secret = generate(SigningAlgorithm::Es256).unwrap();
        let key = SigningKey::from_pkcs8(SigningAlgorithm::Es256, &pkcs8, NOW).unwrap();
        Self { key }
    }

    fn jwks(&self) -> Map<String, Value> {
        Map::from_iter([("keys".to_owned(), json!([self.key.jwk()]))])
    }

    /// Judges an assertion of `billing` with these claims changed; null takes one away.
    fn judge(&self, typ: &str, changes: &Value) -> Result<(String, u64), &'static str> {
        let mut claims = json!({
            "iss": "billing", "sub": "billing", "aud": ISSUER, "exp": 10_060, "jti": "1",
        });
        let members: &mut Map<String, Value> = claims.as_object_mut().unwrap();
        for (name, value) in changes.as_object().unwrap() {
            members.shift_remove(name);
            if !value.is_null() {
                members.insert(name.clone(), value.clone());
            }
        }
        let text = self.key.sign(typ, members).unwrap();
        let audiences = [ISSUER.to_owned(), ENDPOINT.to_owned()];
        let judged = judge(&text, "billing", &self.jwks(), &audiences, NOW);
        judged.map(|verified| (verified.token_id, verified.until.0))
    }
}

#[test]
fn an_assertion_of_the_client_for_this_issuer_is_taken() {
    let world = World::new();
    let taken = Ok(("1".to_owned(), 10_120));
    assert_eq!(world.judge("JWT", &json!({})), taken);
    assert_eq!(world.judge("client-authentication+jwt", &json!({"aud": ENDPOINT})), taken);
    assert_eq!(world.judge("JWT", &json!({"aud": [ISSUER, ENDPOINT]})), taken);
}

#[test]
fn an_assertion_about_somebody_else_or_for_somebody_else_is_refused() {
    let world = World::new();
    for (changes, why) in [
        (json!({"iss": "other"}), "assertion-refused"),
        (json!({"sub": "other"}), "assertion-subject"),
        (json!({"aud": "https://other.example"}), "assertion-claims"),
        (json!({"aud": [ISSUER, "https://other.example"]}), "assertion-audience"),
        (json!({"aud": []}), "assertion-claims"),
        (json!({"exp": 9900}), "assertion-claims"),
        (json!({"nbf": 10_100}), "assertion-claims"),
        (json!({"iat": 10_100}), "assertion-claims"),
        (json!({"exp": 13_601}), "assertion-lives-too-long"),
        (json!({"jti": null}), "assertion-id-missing"),
        (json!({"jti": ""}), "assertion-id-missing"),
        (json!({"exp": null}), "assertion-malformed"),
    ] {
        assert_eq!(world.judge("JWT", &changes), Err(why), "{changes}");
    }
}

#[test]
fn an_access_token_or_another_key_is_no_assertion() {
    let world = World::new();
    assert_eq!(world.judge("at+jwt", &json!({})), Err("assertion-refused"));
    let claims = json!({
        "iss": "billing", "sub": "billing", "aud": ISSUER, "exp": 10_060, "jti": "1",
    });
    let other = World::new();
    let text = other.key.sign("JWT", claims.as_object().unwrap()).unwrap();
    let judged = judge(&text, "billing", &world.jwks(), &[ISSUER.to_owned()], NOW);
    assert_eq!(judged, Err("assertion-refused"));
    assert_eq!(unverified_client(&text).as_deref(), Some("billing"));
    assert_eq!(unverified_client("x.y.z"), None);
}
