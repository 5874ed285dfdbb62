use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use wardgate_core::api_key::ApiKey;
use wardgate_core::base64url;
use wardgate_core::config::{At, Problems, Read as _};
use wardgate_core::feed::Fingerprint;
use wardgate_core::time::UnixSeconds;
use wardgate_core::wire::ApiKeyState;
use wardgate_core::wire::feed::{ChangeKind, LogEntry};

use super::{
    ApiKeyAction, ApiKeyError, ApiKeyFilter, CreateApiKey, Desk, OpenDeskError, TokenRequest,
};
use crate::clock::Clock;
use crate::config::IssuerSection;
use crate::random::Random;
use crate::seal::StoreKeys;
use crate::store::records::api_keys;
use crate::store::records::secrets::OpenSecretError;
use crate::store::{Embedded, LogPage};

fn store_keys() -> StoreKeys {
    StoreKeys::parse(&StoreKeys::generate(Random::system()).unwrap()).unwrap()
}

fn issuer_section() -> IssuerSection {
    let section = json!({
        "issuer": "https://auth.example.com", "audiences": ["api"],
        "algorithms": ["ES256", "EdDSA"],
    });
    IssuerSection::read(&section, &At::ROOT, &mut Problems::new()).unwrap()
}

async fn try_open(directory: &Path, keys: &StoreKeys) -> Result<Desk, OpenDeskError> {
    let clock = Clock::manual(UnixSeconds(1000));
    let (path, random) = (directory.join("store.redb"), Random::system());
    let store = Embedded::open_with(&path, clock.clone(), random).unwrap();
    Desk::open(Arc::new(store), keys, issuer_section(), clock, Random::system()).await
}

pub(super) async fn open(directory: &Path) -> Desk {
    try_open(directory, &store_keys()).await.unwrap()
}

fn ci() -> CreateApiKey {
    CreateApiKey {
        name: "ci".to_owned(),
        environment: "live".to_owned(),
        roles: vec!["viewer".to_owned()],
        expires_in_seconds: Some(60),
        ..CreateApiKey::default()
    }
}

fn claims_of(token: &str) -> Map<String, Value> {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64url::decode(payload.as_bytes()).unwrap()).unwrap()
}

#[tokio::test]
async fn keys_stay_the_same_after_a_restart_and_open_with_the_store_keys_only() {
    let directory = tempfile::tempdir().unwrap();
    let keys = store_keys();
    let known = |desk: &Desk| (desk.digest_key().expose().to_vec(), desk.own_key_set().jwks);
    let before = known(&try_open(directory.path(), &keys).await.unwrap());
    let after = known(&try_open(directory.path(), &keys).await.unwrap());
    assert_eq!(before, after);
    assert_eq!((before.0.len(), before.1["keys"].as_array().map(Vec::len)), (32, Some(2)));
    let refused = try_open(directory.path(), &store_keys()).await;
    assert!(matches!(refused, Err(OpenDeskError::Secret(OpenSecretError::Unseal(_)))));
}

#[tokio::test]
async fn a_new_key_is_found_by_its_digest_and_is_one_entry_of_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let desk = open(directory.path()).await;
    let before = desk.store().log_head().await.unwrap();
    let created = desk.create_api_key(ci()).await.unwrap();
    let key = ApiKey::parse(created.api_key.as_bytes()).unwrap();
    let record = api_keys::get(&**desk.store(), key.id()).await.unwrap().unwrap().record;
    assert_eq!(record.digest, key.digest(desk.digest_key()).text());
    assert_eq!((record.expires_at, record.state), (Some(1060), ApiKeyState::Active));
    assert!(api_keys::get(&**desk.store(), "nothere").await.unwrap().is_none());
    let LogPage::Entries { entries } = desk.store().log_after(before, 10).await.unwrap() else {
        panic!("the log begins anew");
    };
    let told: Vec<LogEntry> =
        entries.iter().map(|(_, entry)| serde_json::from_slice(entry).unwrap()).collect();
    let [LogEntry { kind: ChangeKind::ApiKey { fingerprint, record: told }, .. }] = &told[..]
    else {
        panic!("{told:?}");
    };
    assert_eq!((fingerprint, &**told), (&Fingerprint::of_api_key(key.id()), &record));
}

#[tokio::test]
async fn a_key_goes_off_and_on_and_never_comes_back_from_revoked() {
    let directory = tempfile::tempdir().unwrap();
    let desk = open(directory.path()).await;
    let id = desk.create_api_key(ci()).await.unwrap().view.id;
    for (action, state) in [
        (ApiKeyAction::Disable, ApiKeyState::Disabled),
        (ApiKeyAction::Disable, ApiKeyState::Disabled),
        (ApiKeyAction::Enable, ApiKeyState::Active),
        (ApiKeyAction::Revoke, ApiKeyState::Revoked),
    ] {
        assert_eq!(desk.change_api_key("ci", action).await.unwrap().state, state);
    }
    let refused = desk.change_api_key(&id, ApiKeyAction::Enable).await;
    assert!(matches!(refused, Err(ApiKeyError::Revoked)));
    let unknown = desk.change_api_key("ci", ApiKeyAction::Revoke).await;
    assert!(matches!(unknown, Err(ApiKeyError::Unknown)));
}

#[tokio::test]
async fn a_key_named_like_the_id_of_another_is_not_revoked_in_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(Embedded::open(&directory.path().join("store.redb")).unwrap());
    let clock = Clock::manual(UnixSeconds(1000));
    let (keys, random) = (store_keys(), Random::system());
    let desk = Desk::open(store.clone(), &keys, issuer_section(), clock, random).await.unwrap();
    let id = desk.create_api_key(ci()).await.unwrap().view.id;
    // As an older version let it be made.
    let mut other = api_keys::get(&*store, &id).await.unwrap().unwrap();
    other.record.name.clone_from(&id);
    "decoy".clone_into(&mut other.record.id);
    api_keys::insert(&*store, &other).await.unwrap();
    let revoked = desk.change_api_key(&id, ApiKeyAction::Revoke).await.unwrap();
    assert_eq!((revoked.id, revoked.state), (id, ApiKeyState::Revoked));
    assert_eq!(desk.api_key("decoy").await.unwrap().state, ApiKeyState::Active);
}

#[tokio::test]
async fn a_wrong_request_makes_no_key() {
    let directory = tempfile::tempdir().unwrap();
    let desk = open(directory.path()).await;
    for wrong in [
        CreateApiKey { name: "a b".to_owned(), ..ci() },
        CreateApiKey { name: "av5IXtFtXsvh".to_owned(), ..ci() },
        CreateApiKey { environment: "LIVE".to_owned(), ..ci() },
        CreateApiKey { subject: Some("42".to_owned()), ..ci() },
        CreateApiKey { roles: vec![String::new()], ..ci() },
        CreateApiKey { expires_in_seconds: Some(0), ..ci() },
    ] {
        let refused = desk.create_api_key(wrong).await.err();
        assert!(matches!(refused, Some(ApiKeyError::Invalid(_))), "{refused:?}");
    }
    assert!(desk.api_keys(&ApiKeyFilter::default()).await.unwrap().api_keys.is_empty());
}

#[tokio::test]
async fn a_token_has_the_claims_of_an_access_token() {
    let directory = tempfile::tempdir().unwrap();
    let desk = open(directory.path()).await;
    let asked = TokenRequest {
        subject: "42".to_owned(),
        roles: vec!["viewer".to_owned()],
        claims: Map::from_iter([("tenant".to_owned(), json!("blue"))]),
        ..TokenRequest::default()
    };
    let issued = desk.issue_token(asked).unwrap();
    let expected = json!({
        "iss": "https://auth.example.com", "sub": "42", "aud": "api", "exp": 1300, "iat": 1000,
        "jti": issued.jti, "client_id": "wardgate-cli", "roles": ["viewer"], "tenant": "blue",
    });
    assert_eq!(Value::Object(claims_of(&issued.access_token)), expected);
    let expired = TokenRequest {
        subject: "42".to_owned(),
        audiences: vec!["a".to_owned(), "b".to_owned()],
        expires_in_seconds: Some(-100),
        ..TokenRequest::default()
    };
    let claims = claims_of(&desk.issue_token(expired).unwrap().access_token);
    assert_eq!((&claims["exp"], &claims["iat"]), (&json!(900), &json!(899)));
    assert_eq!(claims["aud"], json!(["a", "b"]));
}

#[tokio::test]
async fn a_claim_cannot_replace_one_of_the_sidecar() {
    let directory = tempfile::tempdir().unwrap();
    let desk = open(directory.path()).await;
    for name in ["iss", "exp", "roles"] {
        let claims = Map::from_iter([(name.to_owned(), json!("x"))]);
        let asked = TokenRequest { subject: "42".to_owned(), claims, ..TokenRequest::default() };
        assert!(desk.issue_token(asked).is_err(), "{name}");
    }
    let missing = TokenRequest {
        algorithm: Some("RS256".to_owned()),
        subject: "42".to_owned(),
        ..TokenRequest::default()
    };
    let error = desk.issue_token(missing).err().unwrap().to_string();
    assert_eq!(error, "there is no signing key for RS256; add it to `issuer.algorithms`");
}
