use super::*;

fn by_hand(grace: u64) -> RotateApiKey {
    RotateApiKey { grace_seconds: Some(grace), lost: false }
}

#[tokio::test]
async fn after_a_rotation_both_secrets_work_until_the_grace_ends() {
    let two = Two::open().await;
    let old = created(&two.one, ci()).await;
    let new = two.one.rotate_api_key("ci", by_hand(60)).await.unwrap();
    assert_eq!((&new.view.id, &new.view.name), (&old.view.id, &old.view.name));
    assert_eq!((new.view.rotations, new.view.previous_works_until), (1, Some(START.0 + 60)));
    assert_ne!(new.api_key, old.api_key);
    two.clock.advance(59);
    assert!(two.works(&old.api_key).await && two.works(&new.api_key).await);
    two.clock.advance(1);
    assert!(!two.works(&old.api_key).await && two.works(&new.api_key).await);
    // Without grace the old one stops at once, also if two work.
    let newer = two.one.rotate_api_key("ci", by_hand(60)).await.unwrap();
    let newest = two.one.rotate_api_key("ci", by_hand(0)).await.unwrap();
    assert!(!two.works(&new.api_key).await && !two.works(&newer.api_key).await);
    assert!(two.works(&newest.api_key).await);
}

#[tokio::test]
async fn a_second_rotation_does_not_stop_the_secret_that_clients_still_use() {
    let two = Two::open().await;
    let old = created(&two.one, ci()).await;
    let lost = two.one.rotate_api_key("ci", by_hand(600)).await.unwrap();
    let refused = two.one.rotate_api_key("ci", by_hand(60)).await.err();
    assert!(
        matches!(refused, Some(ApiKeyError::RotationUnderWay(until)) if until == START.0 + 600)
    );
    let again = RotateApiKey { grace_seconds: Some(900), lost: true };
    let new = two.one.rotate_api_key("ci", again).await.unwrap();
    assert!(two.works(&old.api_key).await && two.works(&new.api_key).await);
    assert!(!two.works(&lost.api_key).await);
    // The grace does not grow by saying that a secret was lost, again and again.
    assert_eq!(new.view.previous_works_until, Some(START.0 + 600));
}

#[tokio::test]
async fn two_that_rotate_at_once_make_one_rotation() {
    let two = Two::open().await;
    for round in 0..20 {
        let name = format!("key-{round}");
        created(&two.one, CreateApiKey { name: name.clone(), ..ci() }).await;
        let rotate = |desk: &Arc<Desk>| {
            let (desk, name) = (Arc::clone(desk), name.clone());
            tokio::spawn(async move { desk.rotate_api_key(&name, by_hand(60)).await })
        };
        let (one, other) = (rotate(&two.one), rotate(&two.other));
        let results = [one.await.unwrap(), other.await.unwrap()];
        let done: Vec<_> = results.iter().flatten().collect();
        assert_eq!(done.len(), 1);
        assert!(two.works(&done[0].api_key).await);
        assert_eq!(two.one.api_key(&name).await.unwrap().rotations, 1);
        let refused = results.iter().find_map(|result| result.as_ref().err()).unwrap();
        let right = matches!(
            refused,
            ApiKeyError::RotationUnderWay(_) | ApiKeyError::Store(StoreError::Changed)
        );
        assert!(right, "{refused}");
    }
}

fn scheduled() -> CreateApiKey {
    CreateApiKey { rotate_every_seconds: Some(7 * DAY), grace_seconds: Some(3600), ..ci() }
}

#[tokio::test]
async fn a_scheduled_secret_waits_sealed_until_its_owner_collects_it_once() {
    let two = Two::open().await;
    let old = created(&two.one, scheduled()).await;
    assert_eq!(two.sweep().await.rotated, 0);
    two.clock.advance(7 * DAY);
    let swept = two.sweep().await;
    assert_eq!((swept.rotated, swept.notices[0].event), (1, "api-key-rotated"));
    assert_eq!(two.sweep().await.rotated, 0);
    let view = two.one.api_key("ci").await.unwrap();
    assert!(view.waits_for_collection && two.works(&old.api_key).await);
    two.clock.advance(DAY);
    let new = two.other.collect_api_key("ci").await.unwrap();
    assert_eq!(new.view.id, old.view.id);
    assert!(matches!(two.one.collect_api_key("ci").await, Err(ApiKeyError::NothingWaits)));
    two.clock.advance(3599);
    assert!(two.works(&old.api_key).await && two.works(&new.api_key).await);
    two.clock.advance(1);
    assert!(!two.works(&old.api_key).await && two.works(&new.api_key).await);
    // And the next one comes in its time.
    assert_eq!(new.view.rotation.unwrap().next_at, START.0 + 14 * DAY);
}

#[tokio::test]
async fn a_secret_that_nobody_collects_ends_the_old_one_all_the_same() {
    let two = Two::open().await;
    let old = created(&two.one, scheduled()).await;
    two.clock.advance(7 * DAY);
    two.sweep().await;
    let limit = ApiKeysSection::default().collect_within_seconds.0;
    two.clock.advance(limit - 1);
    assert!(two.works(&old.api_key).await);
    // It does not go on for a grace after the limit.
    let collected = two.one.collect_api_key("ci").await.unwrap();
    assert_eq!(collected.view.previous_works_until, Some(two.clock.now().0 + 1));
    two.clock.advance(1);
    assert!(!two.works(&old.api_key).await && two.works(&collected.api_key).await);
}

#[tokio::test]
async fn a_rotation_by_hand_takes_the_place_of_a_secret_that_waits() {
    let two = Two::open().await;
    let old = created(&two.one, scheduled()).await;
    two.clock.advance(7 * DAY);
    two.sweep().await;
    let new = two.one.rotate_api_key("ci", by_hand(60)).await.unwrap();
    assert!(!new.view.waits_for_collection);
    assert!(two.works(&old.api_key).await && two.works(&new.api_key).await);
    two.clock.advance(60);
    assert!(!two.works(&old.api_key).await);
}

#[tokio::test]
async fn two_that_collect_at_once_get_it_once() {
    let two = Two::open().await;
    for round in 0..20 {
        let name = format!("key-{round}");
        created(&two.one, CreateApiKey { name, ..scheduled() }).await;
    }
    two.clock.advance(7 * DAY);
    // Two that sweep at once make one rotation of each key.
    let (one, other) = (Arc::clone(&two.one), Arc::clone(&two.other));
    let one = tokio::spawn(async move { one.sweep_api_keys(None).await.unwrap().rotated });
    let other = tokio::spawn(async move { other.sweep_api_keys(None).await.unwrap().rotated });
    assert_eq!(one.await.unwrap() + other.await.unwrap(), 20);
    for round in 0..20 {
        let name = format!("key-{round}");
        assert_eq!(two.one.api_key(&name).await.unwrap().rotations, 1);
        let collect = |desk: &Arc<Desk>| {
            let (desk, name) = (Arc::clone(desk), name.clone());
            tokio::spawn(async move { desk.collect_api_key(&name).await })
        };
        let (one, other) = (collect(&two.one), collect(&two.other));
        let results = [one.await.unwrap(), other.await.unwrap()];
        let got: Vec<_> = results.iter().flatten().collect();
        assert_eq!(got.len(), 1);
        assert!(two.works(&got[0].api_key).await);
    }
}

#[tokio::test]
async fn what_is_off_or_over_is_not_rotated_by_schedule_and_a_revoked_one_not_at_all() {
    let two = Two::open().await;
    let names = ["off", "over", "revoked"];
    for name in names {
        created(&two.one, CreateApiKey { name: name.to_owned(), ..scheduled() }).await;
    }
    let ids: Vec<String> = {
        let list = two.one.api_keys(&ApiKeyFilter::default()).await.unwrap().api_keys;
        list.into_iter().filter(|key| key.name == "revoked").map(|key| key.id).collect()
    };
    two.one.change_api_key("off", ApiKeyAction::Disable).await.unwrap();
    let over = UpdateApiKey { expires_in_seconds: Some(Some(60)), ..UpdateApiKey::default() };
    two.one.update_api_key("over", over).await.unwrap();
    two.one.change_api_key("revoked", ApiKeyAction::Revoke).await.unwrap();
    two.clock.advance(7 * DAY);
    assert_eq!(two.sweep().await.rotated, 0);
    let refused = two.one.rotate_api_key(&ids[0], by_hand(0)).await;
    assert!(matches!(refused, Err(ApiKeyError::Revoked)));
    assert!(matches!(two.one.collect_api_key(&ids[0]).await, Err(ApiKeyError::Revoked)));
}

#[tokio::test]
async fn a_waiting_secret_is_nowhere_in_clear() {
    let two = Two::open().await;
    created(&two.one, scheduled()).await;
    two.clock.advance(7 * DAY);
    two.sweep().await;
    let file = std::fs::read(two.directory.path().join("store.redb")).unwrap();
    let new = two.one.collect_api_key("ci").await.unwrap();
    let secret = &new.api_key.as_bytes()[new.api_key.len() - 39..];
    assert!(!file.windows(secret.len()).any(|bytes| bytes == secret));
}
