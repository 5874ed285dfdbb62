use std::sync::Arc;

use serde_json::{Map, Value, json};
use wardgate_core::wire::IssuerKeySet;
use zeroize::Zeroizing;

use super::super::tests::open;
use super::{InspectToken, JwtInspection, Signature, TokenInspection, inspect_refresh_token};
use crate::config::RefreshTokensSection;
use crate::desk::{CreateApiKey, Desk, RotateSigningKeys, TokenRequest};
use crate::families::{EndCause, Families, Ground, NewFamily};
use crate::keys::{KeyState, SigningAlgorithm, SigningKey, generate};
use crate::metrics::Metrics;
use crate::random::Random;

const ISSUER: &str = "https://auth.example.com";
const OTHER: &str = "https://other.example.com";

fn policy() -> Value {
    let issuer = |name: &str, issuer: &str, more: Value| {
        let mut section = json!({"name": name, "issuer": issuer, "audiences": ["api"]});
        section.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        section
    };
    let algorithms = json!({"algorithms": ["ES256"], "jwks_uri": "https://a.example/keys"});
    let issuers = [issuer("own", ISSUER, json!({})), issuer("other", OTHER, algorithms)];
    json!({"version": 1, "issuers": issuers, "routes": []})
}

fn token(desk: &Desk, more: TokenRequest) -> String {
    let asked = TokenRequest { subject: "alice".to_owned(), ..more };
    desk.issue_token(asked).unwrap().access_token
}

async fn inspect(desk: &Desk, token: &str, others: &[IssuerKeySet]) -> TokenInspection {
    let asked = InspectToken { token: Zeroizing::new(token.to_owned()) };
    desk.inspect_token(&asked, &policy(), others).await.unwrap()
}

async fn jwt(desk: &Desk, token: &str) -> JwtInspection {
    let TokenInspection::Jwt(jwt) = inspect(desk, token, &[]).await else {
        panic!("it is a token")
    };
    *jwt
}

#[tokio::test]
async fn a_good_token_is_shown_and_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let desk = open(directory.path()).await;
    let good = token(&desk, TokenRequest::default());
    let seen = jwt(&desk, &format!("  {good}\n")).await;
    assert_eq!((&seen.header["typ"], &seen.claims["sub"]), (&json!("at+jwt"), &json!("alice")));
    assert_eq!((seen.signature, seen.verdict.accepted), (Signature::Good, true));
    assert_eq!(seen.key.map(|key| key.state), Some(KeyState::Signing));
    let signature = good.rsplit('.').next().unwrap();
    let shown = serde_json::to_string(&inspect(&desk, &good, &[]).await).unwrap();
    assert!(!shown.contains(signature), "what it needs to be used is not shown");
}

#[tokio::test]
async fn what_a_filter_refuses_is_said_with_its_reason() {
    let directory = tempfile::tempdir().unwrap();
    let desk = open(directory.path()).await;
    let good = token(&desk, TokenRequest::default());
    let (signed, _) = good.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", wardgate_core::base64url::encode(&[7; 64]));
    let expired =
        token(&desk, TokenRequest { expires_in_seconds: Some(-500), ..TokenRequest::default() });
    let elsewhere =
        token(&desk, TokenRequest { audiences: vec!["x".to_owned()], ..TokenRequest::default() });
    for (token, signature, reason) in [
        (forged, Signature::Bad, "token-signature-invalid"),
        (expired, Signature::Good, "token-expired"),
        (elsewhere, Signature::Good, "token-audience-mismatch"),
    ] {
        let seen = jwt(&desk, &token).await;
        assert_eq!((seen.signature, seen.verdict.accepted), (signature, false));
        assert_eq!(seen.verdict.reason.as_deref(), Some(reason));
    }
    let TokenInspection::Unknown { verdict } = inspect(&desk, "nonsense", &[]).await else {
        panic!("it is no token")
    };
    assert_eq!(verdict.reason.as_deref(), Some("token-malformed"));
}

#[tokio::test]
async fn every_revocation_that_a_token_meets_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let desk = open(directory.path()).await;
    let claims = Map::from_iter([("sid".to_owned(), json!("s1"))]);
    let good = token(&desk, TokenRequest { claims, ..TokenRequest::default() });
    for target in [
        json!({"kind": "subject", "issuer": ISSUER, "subject": "alice"}),
        json!({"kind": "session", "issuer": ISSUER, "session": "s1"}),
        json!({"kind": "subject", "issuer": ISSUER, "subject": "bob"}),
        json!({"kind": "session", "issuer": OTHER, "session": "s1"}),
    ] {
        let asked = json!({"target": target, "reason": "left"});
        desk.revoke(serde_json::from_value(asked).unwrap(), 1000).await.unwrap();
    }
    let seen = jwt(&desk, &good).await;
    let kinds: Vec<Value> =
        seen.revocations.iter().map(|it| json!(it.stored.target)["kind"].clone()).collect();
    assert_eq!(kinds, ["session", "subject"]);
    assert_eq!(seen.verdict.reason.as_deref(), Some("token-revoked"));
    let asked = RotateSigningKeys { at_once: true, revoke_old: true, ..Default::default() };
    desk.rotate_signing_keys(&asked).await.unwrap();
    let seen = jwt(&desk, &good).await;
    assert_eq!(seen.key.map(|key| key.state), Some(KeyState::Revoked));
    assert_eq!(seen.revocations.len(), 3);
}

#[tokio::test]
async fn tokens_of_other_issuers_are_judged_by_their_keys() {
    let directory = tempfile::tempdir().unwrap();
    let desk = Arc::new(open(directory.path()).await);
    let pkcs8 = generate(SigningAlgorithm::Es256).unwrap();
    let key = SigningKey::from_pkcs8(SigningAlgorithm::Es256, &pkcs8, desk.clock.now()).unwrap();
    let claims = |issuer: &str| {
        let claims = json!({"iss": issuer, "sub": "1", "aud": "api", "exp": 2000, "jti": "j"});
        claims.as_object().unwrap().clone()
    };
    let keys = Value::Array(vec![Value::Object(key.jwk().clone())]);
    let set = IssuerKeySet {
        issuer: OTHER.to_owned(),
        jwks: Map::from_iter([("keys".to_owned(), keys)]),
    };
    let other = key.sign("JWT", &claims(OTHER)).unwrap();
    for (others, signature, reason) in [
        (vec![set.clone()], Signature::Good, None),
        (vec![], Signature::KeyUnknown, Some("token-key-unknown")),
    ] {
        let TokenInspection::Jwt(seen) = inspect(&desk, &other, &others).await else {
            panic!("it is a token")
        };
        assert_eq!((seen.signature, seen.verdict.reason.as_deref()), (signature, reason));
        assert!(seen.key.is_none());
    }
    // The keys of one issuer say nothing of another.
    let stranger = key.sign("JWT", &claims("https://stranger.example.com")).unwrap();
    let TokenInspection::Jwt(seen) = inspect(&desk, &stranger, &[set]).await else {
        panic!("it is a token")
    };
    assert_eq!(seen.verdict.reason.as_deref(), Some("token-issuer-unknown"));
    assert_eq!(seen.signature, Signature::KeyUnknown);
}

#[tokio::test]
async fn an_api_key_is_named_by_its_id_and_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    let desk = open(directory.path()).await;
    let asked = CreateApiKey {
        name: "ci".to_owned(),
        environment: "live".to_owned(),
        ..CreateApiKey::default()
    };
    let created = desk.create_api_key(asked).await.unwrap();
    let seen = inspect(&desk, &created.api_key, &[]).await;
    let shown = serde_json::to_value(&seen).unwrap();
    assert_eq!(shown, json!({"kind": "api_key", "id": created.view.id}));
}

#[tokio::test]
async fn a_refresh_token_is_shown_by_its_session_while_it_can_be_used() {
    let directory = tempfile::tempdir().unwrap();
    let desk = open(directory.path()).await;
    let ground = Ground {
        store: Arc::clone(desk.store()),
        store_keys: desk.store_keys.clone(),
        clock: desk.clock.clone(),
        random: Random::system(),
        metrics: Arc::new(Metrics::new()),
    };
    let families = Families::open(ground, ISSUER, RefreshTokensSection::default()).await.unwrap();
    let new = NewFamily {
        subject: "alice".to_owned(),
        client_id: "app".to_owned(),
        ..NewFamily::default()
    };
    let begun = families.begin(new).await.unwrap();
    let inspect = async |token: &str| {
        let asked = InspectToken { token: Zeroizing::new(token.to_owned()) };
        let seen = inspect_refresh_token(&families, &asked).await.unwrap();
        seen.map(|seen| serde_json::to_value(&seen).unwrap())
    };
    let seen = inspect(&format!(" {} ", &*begun.refresh_token)).await.unwrap();
    assert_eq!((&seen["kind"], &seen["usable"]), (&json!("refresh_token"), &json!(true)));
    assert_eq!(
        (&seen["session"]["id"], &seen["session"]["subject"]),
        (&json!(begun.family.id), &json!("alice"))
    );
    assert!(!seen.to_string().contains(&*begun.refresh_token));
    let unusable = Some(json!({"kind": "refresh_token", "usable": false}));
    assert_eq!(inspect("wgr_made-up").await, unusable);
    families.end(&begun.family.id, EndCause::Administrator, None).await.unwrap();
    assert_eq!(inspect(&begun.refresh_token).await, unusable);
    assert_eq!(inspect("eyJ.x.y").await, None);
}
