use std::sync::Arc;

use serde_json::{Value, json};
use wardgate_core::config::{At, Problems, Read as _};
use wardgate_core::jwk::{KeyOrigin, KeySet};
use wardgate_core::reason::Reason;
use wardgate_core::time::UnixSeconds;
use wardgate_core::token::{
    IssuerRules, SoftwareSignatures, UnverifiedToken, check_claims, verify,
};

use super::{RotateKeysError, RotateSigningKeys, SigningKeyView};
use crate::clock::Clock;
use crate::config::{IssuerSection, SigningKeysSection};
use crate::desk::{Desk, TokenRequest};
use crate::keys::{KeyState, RETIRED_SECONDS};
use crate::random::Random;
use crate::seal::StoreKeys;
use crate::store::{Embedded, Store, Table, Transaction};

const DAY: u64 = 86_400;
const HOUR: u64 = 3600;
const ISSUER: &str = "https://auth.example.com";

/// A directory with a store, and what opens it.
struct Place {
    directory: tempfile::TempDir,
    store_keys: StoreKeys,
    clock: Clock,
    algorithms: Value,
}

impl Place {
    fn new() -> Self {
        let store_keys = StoreKeys::generate(Random::system()).unwrap();
        Self {
            directory: tempfile::tempdir().unwrap(),
            store_keys: StoreKeys::parse(&store_keys).unwrap(),
            clock: Clock::manual(UnixSeconds(1_000_000)),
            algorithms: json!(["ES256"]),
        }
    }

    fn store(&self) -> Arc<Embedded> {
        let path = self.directory.path().join("store.redb");
        Arc::new(Embedded::open_with(&path, self.clock.clone(), Random::system()).unwrap())
    }

    async fn desk_on(&self, store: Arc<dyn Store>) -> Desk {
        let section =
            json!({"issuer": ISSUER, "audiences": ["api"], "algorithms": self.algorithms});
        let issuer = IssuerSection::read(&section, &At::ROOT, &mut Problems::new()).unwrap();
        let clock = self.clock.clone();
        let desk = Desk::open(store, &self.store_keys, issuer, clock, Random::system());
        desk.await.unwrap().with_signing_keys(&SigningKeysSection::default())
    }

    async fn desk(&self) -> Desk {
        self.desk_on(self.store()).await
    }

    fn now(&self) -> UnixSeconds {
        self.clock.now()
    }
}

fn token(desk: &Desk, expires_in_seconds: u64) -> String {
    let asked = TokenRequest {
        subject: "alice".to_owned(),
        expires_in_seconds: Some(expires_in_seconds.cast_signed()),
        ..TokenRequest::default()
    };
    desk.issue_token(asked).unwrap().access_token
}

/// What a filter that has heard of the last settings says of a token.
fn in_filter(desk: &Desk, token: &str, now: UnixSeconds) -> Result<(), Reason> {
    let set = desk.own_key_set();
    let (keys, skipped) = KeySet::parse(&set.jwks, KeyOrigin::Fetched).unwrap();
    assert_eq!(skipped, []);
    let rules = IssuerRules::new(set.issuer, vec!["api".to_owned()]);
    let token = UnverifiedToken::parse(token.as_bytes(), 8192)?;
    let verified = verify(&token, &rules, &keys, &SoftwareSignatures)?;
    check_claims(&verified, &rules, now)
}

fn states(desk: &Desk) -> Vec<KeyState> {
    desk.signing_key_list().keys.iter().map(|key| key.state).collect()
}

fn kid(token: &str) -> String {
    UnverifiedToken::parse(token.as_bytes(), 8192).unwrap().key_id().unwrap().to_owned()
}

#[tokio::test]
async fn tokens_of_before_at_and_after_a_rotation_verify_until_they_end() {
    let place = Place::new();
    let mut desk = place.desk().await;
    let mut tokens: Vec<(String, u64)> = Vec::new();
    // From a day before the next key is published, hour by hour, until the first one is gone.
    place.clock.advance(89 * DAY);
    let mut seen = Vec::new();
    for hour in 0..3 * 24 + 2 {
        desk.keep_signing_keys().await.unwrap();
        desk.refresh_signing_keys().await.unwrap();
        if hour % 7 == 0 {
            let store = Arc::clone(desk.store());
            desk = place.desk_on(store).await;
        }
        let lifetime = if hour % 2 == 0 { DAY } else { 300 };
        tokens.push((token(&desk, lifetime), place.now().0 + lifetime));
        tokens.retain(|(_, until)| *until > place.now().0);
        for (token, _) in &tokens {
            assert_eq!(in_filter(&desk, token, place.now()), Ok(()));
            assert!(desk.verify_own_token(token).is_ok());
            let public = Value::Object(desk.signing_keys().jwks(place.now())).to_string();
            assert!(public.contains(&kid(token)));
        }
        let now = states(&desk);
        if seen.last() != Some(&now) {
            seen.push(now);
        }
        place.clock.advance(HOUR);
    }
    let (published, signing) = (KeyState::Published, KeyState::Signing);
    let expected =
        [vec![signing], vec![signing, published], vec![KeyState::Retired, signing], vec![signing]];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_store_of_before_keys_had_times_goes_on_with_its_key() {
    let place = Place::new();
    let store = place.store();
    let desk = place.desk_on(store.clone()).await;
    let before = token(&desk, DAY);
    let page = store.page(Table::SigningKeys, None).await.unwrap();
    let [entry] = page.entries.as_slice() else { panic!("one key") };
    assert_eq!(entry.key, "ES256");
    let mut old: Value = serde_json::from_slice(&entry.value).unwrap();
    let members = old.as_object_mut().unwrap();
    members.retain(|name, _| ["kid", "algorithm", "private", "created_at"].contains(&&**name));
    let old = Transaction::new().put(Table::SigningKeys, "ES256", old.to_string());
    store.commit(old).await.unwrap();
    place.clock.advance(HOUR);
    let desk = place.desk_on(store).await;
    assert_eq!(kid(&token(&desk, DAY)), kid(&before));
    assert_eq!(in_filter(&desk, &before, place.now()), Ok(()));
    place.clock.advance(90 * DAY);
    assert_eq!(desk.keep_signing_keys().await.unwrap().len(), 1);
    desk.refresh_signing_keys().await.unwrap();
    assert_eq!(states(&desk), [KeyState::Signing, KeyState::Published]);
    assert_eq!(kid(&token(&desk, DAY)), kid(&before));
    place.clock.advance(HOUR);
    assert_ne!(kid(&token(&desk, DAY)), kid(&before));
}

#[tokio::test]
async fn a_rotation_by_hand_is_published_first_and_asked_for_twice_is_one() {
    let place = Place::new();
    let desk = place.desk().await;
    let before = token(&desk, DAY);
    let asked = RotateSigningKeys::default();
    let first = desk.rotate_signing_keys(&asked).await.unwrap();
    let again = desk.rotate_signing_keys(&asked).await.unwrap();
    assert_eq!((first.made.len(), first.waiting.len(), again.made.len()), (1, 0, 0));
    assert_eq!(first.made, again.waiting);
    let SigningKeyView { state, signs_from, .. } = &first.made[0];
    assert_eq!((*state, *signs_from), (KeyState::Published, place.now().0 + HOUR));
    assert_eq!(kid(&token(&desk, DAY)), kid(&before));
    place.clock.advance(HOUR);
    assert_eq!(kid(&token(&desk, DAY)), first.made[0].kid);
    assert_eq!(in_filter(&desk, &before, place.now()), Ok(()));
}

#[tokio::test]
async fn a_rotation_at_once_signs_at_once_and_revokes_what_it_is_told_to() {
    let place = Place::new();
    let desk = place.desk().await;
    let first = token(&desk, DAY);
    desk.rotate_signing_keys(&RotateSigningKeys::default()).await.unwrap();
    let at_once = RotateSigningKeys { at_once: true, ..RotateSigningKeys::default() };
    let rotated = desk.rotate_signing_keys(&at_once).await.unwrap();
    assert_eq!(kid(&token(&desk, DAY)), rotated.made[0].kid);
    let retired = KeyState::Retired;
    assert_eq!(states(&desk), [retired, retired, KeyState::Signing]);
    assert_eq!(in_filter(&desk, &first, place.now()), Ok(()));
    let reason = Some("stolen".to_owned());
    let asked = RotateSigningKeys { revoke_old: true, reason: reason.clone(), ..at_once };
    let rotated = desk.rotate_signing_keys(&asked).await.unwrap();
    let revoked = KeyState::Revoked;
    assert_eq!(states(&desk), [revoked, revoked, revoked, KeyState::Signing]);
    assert_eq!(rotated.revoked.len(), 3);
    assert!(rotated.revoked.iter().all(|view| view.stored.reason == reason));
    let event = serde_json::to_value(&rotated.events[0]).unwrap();
    assert_eq!((&event["revoked"], &event["reason"]), (&json!(true), &json!("stolen")));
    assert_eq!(event["replaces"].as_array().map(Vec::len), Some(3));
    assert_eq!(desk.verify_own_token(&first).err(), Some(Reason::TokenRevoked));
    let public = desk.signing_keys().jwks(place.now());
    assert_eq!(public["keys"].as_array().map(Vec::len), Some(1));
    place.clock.advance(RETIRED_SECONDS);
    desk.keep_signing_keys().await.unwrap();
    desk.refresh_signing_keys().await.unwrap();
    assert_eq!(states(&desk), [KeyState::Signing]);
}

#[tokio::test]
async fn what_cannot_be_rotated_is_said_and_nothing_changes() {
    let place = Place::new();
    let desk = place.desk().await;
    let default = RotateSigningKeys::default;
    for (asked, expected) in [
        (RotateSigningKeys { revoke_old: true, ..default() }, "`revoke_old` needs `at_once`"),
        (RotateSigningKeys { algorithm: Some("HS256".to_owned()), ..default() }, "is not ES256"),
        (
            RotateSigningKeys { algorithm: Some("RS256".to_owned()), ..default() },
            "RS256 is not in `issuer.algorithms`",
        ),
        (RotateSigningKeys { reason: Some("x".repeat(1025)), ..default() }, "1024 bytes"),
    ] {
        let error = desk.rotate_signing_keys(&asked).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(states(&desk), [KeyState::Signing]);
    let at_once = RotateSigningKeys { at_once: true, ..default() };
    let mut rotations = 0;
    let full = loop {
        match desk.rotate_signing_keys(&at_once).await {
            Ok(_) => rotations += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, RotateKeysError::TooMany), "{full}");
    assert_eq!(rotations, 47);
    let set = desk.own_key_set();
    assert!(KeySet::parse(&set.jwks, KeyOrigin::Fetched).is_ok(), "filters take the set");
}

#[tokio::test]
async fn an_algorithm_that_left_the_configuration_leaves_later() {
    let mut place = Place::new();
    place.algorithms = json!(["ES256", "EdDSA"]);
    let store = place.store();
    let before = place.desk_on(store.clone()).await;
    let asked = TokenRequest {
        subject: "alice".to_owned(),
        algorithm: Some("EdDSA".to_owned()),
        ..TokenRequest::default()
    };
    let token = before.issue_token(asked.clone()).unwrap().access_token;
    place.algorithms = json!(["ES256"]);
    let desk = place.desk_on(store).await;
    assert_eq!(in_filter(&desk, &token, place.now()), Ok(()));
    place.clock.advance(91 * DAY);
    for _ in 0..3 {
        for desk in [&desk, &before] {
            desk.keep_signing_keys().await.unwrap();
            desk.refresh_signing_keys().await.unwrap();
        }
    }
    // The sidecar with the older configuration has replaced it, and the other leaves that alone.
    let published: Vec<_> = desk.signing_key_list().keys;
    let of = |word: &str| published.iter().filter(|key| key.algorithm == word).count();
    assert_eq!((of("EdDSA"), of("ES256")), (2, 2));
    place.clock.advance(200 * DAY);
    for _ in 0..2 {
        desk.keep_signing_keys().await.unwrap();
        place.clock.advance(RETIRED_SECONDS);
    }
    desk.refresh_signing_keys().await.unwrap();
    assert!(desk.signing_key_list().keys.iter().all(|key| key.algorithm == "ES256"));
    // Back again, there is a new one.
    place.algorithms = json!(["ES256", "EdDSA"]);
    let store = Arc::clone(desk.store());
    assert!(place.desk_on(store).await.issue_token(asked).is_ok());
}

#[tokio::test]
async fn a_key_that_does_not_open_leaves_the_ring_as_it_was() {
    let place = Place::new();
    let desk = place.desk().await;
    let before = token(&desk, DAY);
    let page = desk.store().page(Table::SigningKeys, None).await.unwrap();
    let mut other: Value = serde_json::from_slice(&page.entries[0].value).unwrap();
    (other["kid"], other["generation"]) = ("other".into(), 2.into());
    let put = Transaction::new().put(Table::SigningKeys, "ES256/2", other.to_string());
    desk.store().commit(put).await.unwrap();
    assert!(desk.refresh_signing_keys().await.is_err());
    assert_eq!(kid(&token(&desk, DAY)), kid(&before));
}

#[tokio::test]
async fn an_own_token_is_one_of_this_issuer_and_of_this_type() {
    let place = Place::new();
    let (desk, other) = (place.desk().await, Place::new().desk().await);
    let good = token(&desk, DAY);
    let verified = desk.verify_own_token(&good).unwrap();
    assert_eq!((verified.subject(), verified.issuer()), ("alice", ISSUER));
    assert_eq!(desk.verify_own_token(&token(&other, DAY)).err(), Some(Reason::TokenKeyUnknown));
    let (signed, _) = good.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", wardgate_core::base64url::encode(&[7; 64]));
    assert_eq!(desk.verify_own_token(&forged).err(), Some(Reason::TokenSignatureInvalid));
    assert_eq!(desk.verify_own_token("x").err(), Some(Reason::TokenMalformed));
    let keys = desk.signing_keys();
    let held = keys.iter().next().unwrap();
    let claims = json!({"iss": ISSUER, "sub": "alice", "aud": "api", "exp": u32::MAX});
    let id_token = held.key.sign("JWT", claims.as_object().unwrap()).unwrap();
    assert_eq!(desk.verify_own_token(&id_token).err(), Some(Reason::TokenTypeRefused));
}
