//! What every store must do. Each test takes a new, empty store, opened by two sidecars where the
//! store allows that.

use std::sync::Arc;

use wardgate_core::secret::Secret;
use wardgate_core::time::UnixSeconds;
use wardgate_core::wire::{ApiKeyRecord, ApiKeyState};

use super::{Entry, Store, StoreError, StoredApiKey, StoredSigningKey, Table};
use crate::random::Random;
use crate::seal::{Sealed, StoreKeys};

pub(in crate::store) fn api_key(id: &str, name: &str) -> StoredApiKey {
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
            previous: None,
            networks: Vec::new(),
            rate_limit: None,
        },
        created_at: 7,
    }
}

pub(in crate::store) fn sealed(text: &str) -> Sealed {
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
    assert!(store.api_key_revision().await.unwrap() > revision);
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

/// The store as two sidecars see it.
pub(in crate::store) struct Two {
    pub(in crate::store) one: Arc<dyn Store>,
    pub(in crate::store) other: Arc<dyn Store>,
}

impl Two {
    /// Runs `task` some times at once, from either sidecar in turn.
    async fn at_once<T, F>(&self, times: usize, task: impl Fn(usize, Arc<dyn Store>) -> F) -> Vec<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..times {
            let store = if number % 2 == 0 { &self.one } else { &self.other };
            tasks.spawn(task(number, Arc::clone(store)));
        }
        tasks.join_all().await
    }
}

pub(super) async fn of_many_that_create_one_id_or_name_at_once_one_does(two: &Two) {
    let same_id = two.at_once(16, |number, store| async move {
        store.insert_api_key(&api_key("id", &format!("name {number}"))).await
    });
    let same_id = same_id.await;
    assert_eq!(same_id.iter().filter(|result| result.is_ok()).count(), 1, "{same_id:?}");
    let refused = |result: &&Result<(), StoreError>| matches!(result, Err(StoreError::IdTaken));
    assert_eq!(same_id.iter().filter(refused).count(), 15, "{same_id:?}");
    let same_name = two.at_once(16, |number, store| async move {
        store.insert_api_key(&api_key(&format!("id {number}"), "name")).await
    });
    let same_name = same_name.await;
    assert_eq!(same_name.iter().filter(|result| result.is_ok()).count(), 1, "{same_name:?}");
    let refused = |result: &&Result<(), StoreError>| matches!(result, Err(StoreError::NameTaken));
    assert_eq!(same_name.iter().filter(refused).count(), 15, "{same_name:?}");
    assert_eq!(two.one.api_keys().await.unwrap().len(), 2);
}

pub(super) async fn changes_at_once_all_count(two: &Two) {
    let before = two.one.api_key_revision().await.unwrap();
    let seen = two.at_once(40, |number, store| async move {
        let key = api_key(&format!("id{number}"), &format!("name{number}"));
        let first = store.api_key_revision().await.unwrap();
        store.insert_api_key(&key).await.unwrap();
        let second = store.api_key_revision().await.unwrap();
        store.replace_api_key(&key, &in_state(&key, ApiKeyState::Revoked)).await.unwrap();
        let third = store.api_key_revision().await.unwrap();
        assert!(first < second && second < third, "{first} {second} {third}");
        third
    });
    let last = seen.await.into_iter().max().unwrap();
    let after = two.other.api_key_revision().await.unwrap();
    assert_eq!(after, last);
    assert!(after >= before.saturating_add(80), "{before} {after}");
}

pub(super) async fn of_two_that_revoke_one_key_at_once_one_does(two: &Two) {
    let key = api_key("a", "ci");
    two.one.insert_api_key(&key).await.unwrap();
    let revoked = in_state(&key, ApiKeyState::Revoked);
    let (before, after) = (key.clone(), revoked.clone());
    let results = two.at_once(8, move |_, store| {
        let (before, after) = (before.clone(), after.clone());
        async move { store.replace_api_key(&before, &after).await }
    });
    let results = results.await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    let refused = |result: &&Result<(), StoreError>| matches!(result, Err(StoreError::Changed));
    assert_eq!(results.iter().filter(refused).count(), 7, "{results:?}");
    assert_eq!(two.other.api_key("a").await.unwrap(), Some(revoked));
    assert_eq!(two.other.api_key_named("ci").await.unwrap(), None);
}

pub(super) async fn two_that_start_at_once_have_the_same_keys(two: &Two) {
    let stand = two.at_once(8, |number, store| async move {
        let mut keys = Vec::new();
        for algorithm in ["ES256", "EdDSA"] {
            let new = StoredSigningKey {
                kid: format!("{algorithm} {number}"),
                algorithm: algorithm.to_owned(),
                private: sealed("private"),
                created_at: 1,
            };
            keys.push(store.signing_key_or_insert(&new).await.unwrap());
        }
        (store.digest_key_or_insert(&sealed("digest")).await.unwrap(), keys)
    });
    let stand = stand.await;
    assert!(stand.iter().all(|other| other == &stand[0]), "{stand:?}");
    assert_eq!(two.other.signing_keys().await.unwrap().len(), 2);
}

pub(super) async fn entries_are_copied_whole_or_not(two: &Two) {
    let store = &*two.one;
    let entry = |number: usize| (format!("key{number}"), vec![b'v'; number % 7]);
    for table in Table::ALL {
        let all: Vec<Entry> = (0..2500).map(entry).collect();
        store.add_entries(table, all.clone()).await.unwrap();
        store.add_entries(table, all.clone()).await.unwrap();
        let more = vec![("new".to_owned(), b"v".to_vec()), ("key7".to_owned(), b"other".to_vec())];
        let refused = store.add_entries(table, more).await;
        assert!(matches!(refused, Err(StoreError::Changed)), "{refused:?}");
        let (mut found, mut cursor) = (std::collections::BTreeMap::new(), None);
        loop {
            let page = store.page(table, cursor).await.unwrap();
            found.extend(page.entries);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert!(found == all.into_iter().collect(), "{}", table.name());
    }
    let stat = two.other.stat().await.unwrap();
    assert_eq!(stat.records["api_keys"], 2500);
    store.raise_api_key_revision(5_000_000_000_000_000).await.unwrap();
    assert_eq!(two.other.api_key_revision().await.unwrap(), 5_000_000_000_000_000);
    store.raise_api_key_revision(7).await.unwrap();
    assert_eq!(two.other.api_key_revision().await.unwrap(), 5_000_000_000_000_001);
}

/// Runs every test against what `$new` makes: what must live as long as the store, and [`Two`].
macro_rules! store_tests {
    ($new:expr) => {
        $crate::store::conformance::store_tests!(@ $new;
            what_was_inserted_is_found,
            every_change_of_a_key_changes_the_revision,
            a_name_is_free_again_once_its_key_is_revoked,
            of_two_changes_to_one_record_one_wins,
            the_first_secret_stands;
            of_many_that_create_one_id_or_name_at_once_one_does,
            changes_at_once_all_count,
            of_two_that_revoke_one_key_at_once_one_does,
            two_that_start_at_once_have_the_same_keys,
            entries_are_copied_whole_or_not,
        );
    };
    (@ $new:expr; $($test:ident),+; $($race:ident,)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let (_guard, two) = $new;
                $crate::store::conformance::$test(&*two.one).await;
            }
        )+
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $race() {
                let (_guard, two) = $new;
                $crate::store::conformance::$race(&two).await;
            }
        )+
    };
}
pub(super) use store_tests;

/// Runs every test, one after the other, where a store is too costly to be made for each: `new`
/// gives an empty part of it.
pub(in crate::store) async fn all(new: impl AsyncFn(&str) -> Two) {
    what_was_inserted_is_found(&*new("a").await.one).await;
    every_change_of_a_key_changes_the_revision(&*new("b").await.one).await;
    a_name_is_free_again_once_its_key_is_revoked(&*new("c").await.one).await;
    of_two_changes_to_one_record_one_wins(&*new("d").await.one).await;
    the_first_secret_stands(&*new("e").await.one).await;
    of_many_that_create_one_id_or_name_at_once_one_does(&new("f").await).await;
    changes_at_once_all_count(&new("g").await).await;
    of_two_that_revoke_one_key_at_once_one_does(&new("h").await).await;
    two_that_start_at_once_have_the_same_keys(&new("i").await).await;
    entries_are_copied_whole_or_not(&new("j").await).await;
}
