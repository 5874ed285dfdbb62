use super::*;

#[tokio::test]
async fn each_warning_is_given_once_whoever_gives_it() {
    let two = Two::open().await;
    let asked = CreateApiKey { expires_in_seconds: Some(60 * DAY), ..ci() };
    let id = created(&two.one, asked).await.view.id;
    let mut warned = Vec::new();
    for day in 0..60 {
        for desk in [&two.one, &two.other, &two.one] {
            let swept = desk.sweep_api_keys(None).await.unwrap();
            warned.extend(swept.notices.iter().map(|notice| (day, notice.event)));
            assert!(swept.notices.iter().all(|notice| notice.api_key_id == id));
        }
        two.clock.advance(DAY);
    }
    let expected = [30, 53, 59].map(|day| (day, "api-key-expires"));
    assert_eq!(warned, expected);
    assert!(two.sweep().await.notices.is_empty(), "what has ended is not warned of");
}

#[tokio::test]
async fn two_that_sweep_at_once_warn_once() {
    let two = Two::open().await;
    for number in 0..20 {
        let name = format!("key-{number}");
        let asked = CreateApiKey { name, expires_in_seconds: Some(10 * DAY), ..ci() };
        created(&two.one, asked).await;
    }
    two.clock.advance(4 * DAY);
    let sweep = |desk: &Arc<Desk>| {
        let desk = Arc::clone(desk);
        tokio::spawn(async move { desk.sweep_api_keys(None).await.unwrap().notices.len() })
    };
    let (one, other) = (sweep(&two.one), sweep(&two.other));
    assert_eq!(one.await.unwrap() + other.await.unwrap(), 20);
}

#[tokio::test]
async fn a_sidecar_that_was_away_gives_the_nearest_warning_alone_and_a_new_end_is_warned_of_anew() {
    let two = Two::open().await;
    created(&two.one, CreateApiKey { expires_in_seconds: Some(60 * DAY), ..ci() }).await;
    two.clock.advance(60 * DAY - 3600);
    assert_eq!(two.sweep().await.notices.len(), 1);
    assert_eq!(two.sweep().await.notices.len(), 0);
    let later = UpdateApiKey { expires_in_seconds: Some(Some(5 * DAY)), ..UpdateApiKey::default() };
    two.one.update_api_key("ci", later).await.unwrap();
    assert_eq!(two.sweep().await.notices.len(), 1);
    // A key that lives for an hour is not warned of a day before.
    let short = CreateApiKey { name: "short".to_owned(), expires_in_seconds: Some(3600), ..ci() };
    created(&two.one, short).await;
    assert_eq!(two.sweep().await.notices.len(), 0);
}

#[tokio::test]
async fn what_is_revoked_or_over_is_forgotten_after_its_time() {
    let two = Two::open().await;
    let revoked = created(&two.one, ci()).await.view.id;
    two.one.change_api_key("ci", ApiKeyAction::Revoke).await.unwrap();
    let over = CreateApiKey { name: "over".to_owned(), expires_in_seconds: Some(DAY), ..ci() };
    let over = created(&two.one, over).await.view.id;
    created(&two.one, CreateApiKey { name: "stays".to_owned(), ..ci() }).await;
    two.clock.advance(90 * DAY - 1);
    assert_eq!(two.sweep().await.forgotten, 0);
    let head = two.store.log_head().await.unwrap();
    two.clock.advance(1);
    assert_eq!(two.sweep().await.forgotten, 1);
    two.clock.advance(DAY);
    assert_eq!(two.sweep().await.forgotten, 1);
    for id in [&revoked, &over] {
        assert!(matches!(two.one.api_key(id).await, Err(ApiKeyError::Unknown)));
    }
    let LogPage::Entries { entries } = two.store.log_after(head, MAX_LOG_PAGE).await.unwrap()
    else {
        panic!("the head is in the log");
    };
    let gone = entries.iter().map(|(_, bytes)| {
        let entry: LogEntry = serde_json::from_slice(bytes).unwrap();
        let ChangeKind::ApiKeyGone { fingerprint } = entry.kind else { panic!("{entry:?}") };
        fingerprint
    });
    let expected = [&revoked, &over].map(|id| Fingerprint::of_api_key(id));
    assert_eq!(gone.collect::<Vec<_>>(), expected);
    assert_eq!(two.one.api_key("stays").await.unwrap().state, ApiKeyState::Active);
    // The name of one that has ended is free again.
    created(&two.one, CreateApiKey { name: "over".to_owned(), ..ci() }).await;
}

#[tokio::test]
async fn one_of_several_sidecars_sweeps_in_each_interval() {
    let two = Two::open().await;
    assert!(two.one.take_api_key_sweep(300).await.unwrap());
    assert!(!two.other.take_api_key_sweep(300).await.unwrap());
    two.clock.advance(299);
    assert!(!two.one.take_api_key_sweep(300).await.unwrap());
    two.clock.advance(1);
    assert!(two.other.take_api_key_sweep(300).await.unwrap());
}

#[tokio::test]
async fn other_thresholds_may_be_set() {
    let two = Two::open().await;
    let keys = StoreKeys::parse(&StoreKeys::generate(Random::system()).unwrap()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let section =
        ApiKeysSection { warn_before_seconds: vec![Bounded(2 * DAY)], ..ApiKeysSection::default() };
    let desk = desk(&store, &keys, &two.clock).await.with_api_keys(section);
    created(&desk, CreateApiKey { expires_in_seconds: Some(10 * DAY), ..ci() }).await;
    two.clock.advance(7 * DAY);
    assert!(desk.sweep_api_keys(None).await.unwrap().notices.is_empty());
    two.clock.advance(DAY);
    assert_eq!(desk.sweep_api_keys(None).await.unwrap().notices.len(), 1);
}
