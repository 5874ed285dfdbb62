//! API keys and secrets.

use wardgate_core::wire::ApiKeyState;

use super::{Two, api_key, in_state, sealed};
use crate::store::StoreError;
use crate::store::records::{api_keys, secrets};

pub(in crate::store) async fn what_was_inserted_is_found(two: &Two) {
    let store = &*two.one;
    assert!(api_keys::get(store, "a").await.unwrap().is_none());
    let (a, b) = (api_key("a", "first"), api_key("b", "second"));
    api_keys::insert(store, &b).await.unwrap();
    api_keys::insert(store, &a).await.unwrap();
    assert_eq!(api_keys::get(store, "a").await.unwrap(), Some(a.clone()));
    assert_eq!(api_keys::id_of_name(store, "second").await.unwrap().as_deref(), Some("b"));
    assert_eq!(api_keys::all(store).await.unwrap(), [a, b]);
}

pub(in crate::store) async fn every_change_of_a_key_changes_the_revision(two: &Two) {
    let store = &*two.one;
    let key = api_key("a", "first");
    let mut revisions = vec![store.log_head().await.unwrap().sequence];
    api_keys::insert(store, &key).await.unwrap();
    revisions.push(store.log_head().await.unwrap().sequence);
    let disabled = in_state(&key, ApiKeyState::Disabled);
    api_keys::replace(store, &key, &disabled).await.unwrap();
    revisions.push(store.log_head().await.unwrap().sequence);
    assert!(revisions.is_sorted_by(|a, b| a < b), "{revisions:?}");
}

pub(in crate::store) async fn a_name_is_free_again_once_its_key_is_revoked(two: &Two) {
    let store = &*two.one;
    let first = api_key("a", "ci");
    api_keys::insert(store, &first).await.unwrap();
    let second = api_key("b", "ci");
    let refused = api_keys::insert(store, &second).await;
    assert!(matches!(refused, Err(StoreError::NameTaken)), "{refused:?}");
    api_keys::replace(store, &first, &in_state(&first, ApiKeyState::Revoked)).await.unwrap();
    assert_eq!(api_keys::id_of_name(store, "ci").await.unwrap(), None);
    api_keys::insert(store, &second).await.unwrap();
    assert_eq!(api_keys::id_of_name(store, "ci").await.unwrap().as_deref(), Some("b"));
    let refused = api_keys::insert(store, &api_key("a", "other")).await;
    assert!(matches!(refused, Err(StoreError::IdTaken)), "{refused:?}");
}

pub(in crate::store) async fn of_two_changes_to_one_record_one_wins(two: &Two) {
    let store = &*two.one;
    let key = api_key("a", "ci");
    api_keys::insert(store, &key).await.unwrap();
    let disabled = in_state(&key, ApiKeyState::Disabled);
    let revoked = in_state(&key, ApiKeyState::Revoked);
    let revision = store.log_head().await.unwrap().sequence;
    let (one, other) = tokio::join!(
        api_keys::replace(store, &key, &disabled),
        api_keys::replace(store, &key, &revoked)
    );
    assert_ne!(one.is_ok(), other.is_ok(), "{one:?} {other:?}");
    assert!(store.log_head().await.unwrap().sequence > revision);
}

pub(in crate::store) async fn the_first_secret_stands(two: &Two) {
    let store = &*two.one;
    let (first, second) = (sealed("a"), sealed("b"));
    assert_eq!(secrets::get_or_insert(store, "digest", &first).await.unwrap(), first);
    assert_eq!(secrets::get_or_insert(store, "digest", &second).await.unwrap(), first);
}

pub(in crate::store) async fn of_many_that_create_one_id_or_name_at_once_one_does(two: &Two) {
    let same_id = two.at_once(16, |number, store| async move {
        api_keys::insert(&*store, &api_key("id", &format!("name {number}"))).await
    });
    let same_id = same_id.await;
    assert_eq!(same_id.iter().filter(|result| result.is_ok()).count(), 1, "{same_id:?}");
    let refused = |result: &&Result<(), StoreError>| matches!(result, Err(StoreError::IdTaken));
    assert_eq!(same_id.iter().filter(refused).count(), 15, "{same_id:?}");
    let same_name = two.at_once(16, |number, store| async move {
        api_keys::insert(&*store, &api_key(&format!("id {number}"), "name")).await
    });
    let same_name = same_name.await;
    assert_eq!(same_name.iter().filter(|result| result.is_ok()).count(), 1, "{same_name:?}");
    let refused = |result: &&Result<(), StoreError>| matches!(result, Err(StoreError::NameTaken));
    assert_eq!(same_name.iter().filter(refused).count(), 15, "{same_name:?}");
    assert_eq!(api_keys::all(&*two.one).await.unwrap().len(), 2);
}

pub(in crate::store) async fn changes_at_once_all_count(two: &Two) {
    let before = two.one.log_head().await.unwrap().sequence;
    let seen = two.at_once(40, |number, store| async move {
        let key = api_key(&format!("id{number}"), &format!("name{number}"));
        let first = store.log_head().await.unwrap().sequence;
        api_keys::insert(&*store, &key).await.unwrap();
        let second = store.log_head().await.unwrap().sequence;
        api_keys::replace(&*store, &key, &in_state(&key, ApiKeyState::Revoked)).await.unwrap();
        let third = store.log_head().await.unwrap().sequence;
        assert!(first < second && second < third, "{first} {second} {third}");
        third
    });
    let last = seen.await.into_iter().max().unwrap();
    let after = two.other.log_head().await.unwrap().sequence;
    assert_eq!(after, last);
    assert!(after >= before.saturating_add(80), "{before} {after}");
}

pub(in crate::store) async fn of_two_that_revoke_one_key_at_once_one_does(two: &Two) {
    let key = api_key("a", "ci");
    api_keys::insert(&*two.one, &key).await.unwrap();
    let revoked = in_state(&key, ApiKeyState::Revoked);
    let (before, after) = (key.clone(), revoked.clone());
    let results = two.at_once(8, move |_, store| {
        let (before, after) = (before.clone(), after.clone());
        async move { api_keys::replace(&*store, &before, &after).await }
    });
    let results = results.await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    let refused = |result: &&Result<(), StoreError>| matches!(result, Err(StoreError::Changed));
    assert_eq!(results.iter().filter(refused).count(), 7, "{results:?}");
    assert_eq!(api_keys::get(&*two.other, "a").await.unwrap(), Some(revoked));
    assert_eq!(api_keys::id_of_name(&*two.other, "ci").await.unwrap(), None);
}
