//! What every store must do. Each test takes a new, empty store.

use wardgate_core::secret::Secret;
use wardgate_core::time::UnixSeconds;
use wardgate_core::wire::{ApiKeyRecord, ApiKeyState};

use super::{Store, StoreError, StoredApiKey, StoredSigningKey};
use crate::random::Random;
use crate::seal::{Sealed, StoreKeys};

pub(super) fn api_key(id: &str, name: &str) -> StoredApiKey {
    StoredApiKey {
        record: ApiKeyRecord {
            id: id.to_owned(),
            environment: "test".to_owned(),
            name: name.to_owned(),
            digest: "d".to_owned(),
            issuer: None,
            subject: None,
            roles: vec!["viewer".to_owned()],
            scopes: None,
            expires_at: None,
            state: ApiKeyState::Active,
        },
        created_at: 7,
    }
}

fn sealed(text: &str) -> Sealed {
    let keys = StoreKeys::parse(&StoreKeys::generate(Random::system()).unwrap()).unwrap();
    keys.seal("test", &Secret::new(text.as_bytes().to_vec()), UnixSeconds(1)).unwrap()
}

fn in_state(key: &StoredApiKey, state: ApiKeyState) -> StoredApiKey {
    let mut changed = key.clone();
    changed.record.state = state;
    changed
}

pub(super) async fn what_was_inserted_is_found(store: &dyn Store) {
    assert!(store.api_key("a").await.unwrap().is_none());
    let (a, b) = (api_key("a", "first"), api_key("b", "second"));
    store.insert_api_key(&b).await.unwrap();
    store.insert_api_key(&a).await.unwrap();
    assert_eq!(store.api_key("a").await.unwrap(), Some(a.clone()));
    assert_eq!(store.api_key_named("second").await.unwrap().as_deref(), Some("b"));
    assert_eq!(store.api_keys().await.unwrap(), [a, b]);
}

pub(super) async fn every_change_of_a_key_changes_the_revision(store: &dyn Store) {
    let key = api_key("a", "first");
    let mut revisions = vec![store.api_key_revision().await.unwrap()];
    store.insert_api_key(&key).await.unwrap();
    revisions.push(store.api_key_revision().await.unwrap());
    let disabled = in_state(&key, ApiKeyState::Disabled);
    store.replace_api_key(&key, &disabled).await.unwrap();
    revisions.push(store.api_key_revision().await.unwrap());
    assert!(revisions.is_sorted_by(|a, b| a < b), "{revisions:?}");
}

pub(super) async fn a_name_is_free_again_once_its_key_is_revoked(store: &dyn Store) {
    let first = api_key("a", "ci");
    store.insert_api_key(&first).await.unwrap();
    let second = api_key("b", "ci");
    let refused = store.insert_api_key(&second).await;
    assert!(matches!(refused, Err(StoreError::NameTaken)), "{refused:?}");
    store.replace_api_key(&first, &in_state(&first, ApiKeyState::Revoked)).await.unwrap();
    assert_eq!(store.api_key_named("ci").await.unwrap(), None);
    store.insert_api_key(&second).await.unwrap();
    assert_eq!(store.api_key_named("ci").await.unwrap().as_deref(), Some("b"));
    let refused = store.insert_api_key(&api_key("a", "other")).await;
    assert!(matches!(refused, Err(StoreError::IdTaken)), "{refused:?}");
}

pub(super) async fn of_two_changes_to_one_record_one_wins(store: &dyn Store) {
    let key = api_key("a", "ci");
    store.insert_api_key(&key).await.unwrap();
    let disabled = in_state(&key, ApiKeyState::Disabled);
    let revoked = in_state(&key, ApiKeyState::Revoked);
    let revision = store.api_key_revision().await.unwrap();
    let (one, other) =
        tokio::join!(store.replace_api_key(&key, &disabled), store.replace_api_key(&key, &revoked));
    assert_ne!(one.is_ok(), other.is_ok(), "{one:?} {other:?}");
    assert_eq!(store.api_key_revision().await.unwrap(), revision.saturating_add(1));
}

pub(super) async fn the_first_secret_stands(store: &dyn Store) {
    let (first, second) = (sealed("a"), sealed("b"));
    assert_eq!(store.digest_key_or_insert(&first).await.unwrap(), first);
    assert_eq!(store.digest_key_or_insert(&second).await.unwrap(), first);
    let key = |kid: &str, algorithm: &str, created_at| StoredSigningKey {
        kid: kid.to_owned(),
        algorithm: algorithm.to_owned(),
        private: sealed(kid),
        created_at,
    };
    let (one, two) = (key("k1", "ES256", 2), key("k2", "EdDSA", 1));
    assert_eq!(store.signing_key_or_insert(&one).await.unwrap(), one);
    assert_eq!(store.signing_key_or_insert(&key("k3", "ES256", 3)).await.unwrap(), one);
    assert_eq!(store.signing_key_or_insert(&two).await.unwrap(), two);
    assert_eq!(store.signing_keys().await.unwrap(), [two, one]);
}

/// Runs every test against what `$new` makes.
macro_rules! store_tests {
    ($new:expr) => {
        $crate::store::conformance::store_tests!(@ $new;
            what_was_inserted_is_found,
            every_change_of_a_key_changes_the_revision,
            a_name_is_free_again_once_its_key_is_revoked,
            of_two_changes_to_one_record_one_wins,
            the_first_secret_stands,
        );
    };
    (@ $new:expr; $($test:ident,)+) => { $(
        #[tokio::test]
        async fn $test() {
            let (_guard, store) = $new;
            $crate::store::conformance::$test(&store).await;
        }
    )+ };
}
pub(super) use store_tests;
