use wardgate_core::base64url;
use wardgate_core::wire::feed::ChangeKind;

use super::*;

fn key(name: &str, byte: u8) -> ImportApiKey {
    ImportApiKey {
        name: name.to_owned(),
        sha256: base64url::encode(&[byte; 32]),
        prefix: "acme_".to_owned(),
        roles: vec!["viewer".to_owned()],
        ..ImportApiKey::default()
    }
}

fn batch(keys: Vec<ImportApiKey>) -> ImportApiKeys {
    ImportApiKeys { api_keys: keys }
}

#[tokio::test]
async fn an_imported_key_is_found_by_its_hash_under_a_declared_prefix() {
    let two = Two::open().await;
    let head = two.store.log_head().await.unwrap();
    let done = two.one.import_api_keys(batch(vec![key("old-ci", 7)])).await.unwrap();
    assert_eq!((done.imported, done.problems.len()), (1, 0));
    assert_eq!(two.one.api_key_prefixes().await.unwrap(), ["acme_"]);
    let LogPage::Entries { entries } = two.store.log_after(head, MAX_LOG_PAGE).await.unwrap()
    else {
        panic!("the head is in the log");
    };
    let kinds: Vec<ChangeKind> = entries
        .iter()
        .map(|(_, bytes)| serde_json::from_slice::<LogEntry>(bytes).unwrap().kind)
        .collect();
    let [ChangeKind::Settings, ChangeKind::ApiKey { fingerprint, record }] = kinds.as_slice()
    else {
        panic!("{kinds:?}");
    };
    assert_eq!(*fingerprint, Fingerprint::of_imported_api_key(&[7; 32]));
    assert_ne!(record.digest, key("old-ci", 7).sha256);
    let view = two.one.api_key("old-ci").await.unwrap();
    assert_eq!((view.imported_prefix.as_deref(), view.roles.len()), (Some("acme_"), 1));
    let refused = two.one.rotate_api_key("old-ci", RotateApiKey::default()).await;
    assert!(matches!(refused, Err(ApiKeyError::ImportedKey)));
    // What concerns its life is as of any key.
    two.one.change_api_key("old-ci", ApiKeyAction::Revoke).await.unwrap();
}

#[tokio::test]
async fn an_import_can_be_repeated_and_a_problem_hinders_nobody_else() {
    let two = Two::open().await;
    created(&two.one, ci()).await;
    let keys = vec![
        key("a", 1),
        key("ci", 2),
        key("b", 1),
        ImportApiKey { prefix: "wg_x".to_owned(), ..key("c", 3) },
        ImportApiKey { prefix: "acme_sub_".to_owned(), ..key("d", 4) },
        ImportApiKey { sha256: "abc".to_owned(), ..key("e", 5) },
        key("f", 6),
    ];
    let done = two.one.import_api_keys(batch(keys.clone())).await.unwrap();
    let places: Vec<usize> = done.problems.iter().map(|problem| problem.index).collect();
    let mut sorted = places.clone();
    sorted.sort_unstable();
    assert_eq!((done.imported, done.unchanged, sorted.as_slice()), (2, 0, &[1, 2, 3, 4, 5][..]));
    let again = two.other.import_api_keys(batch(keys)).await.unwrap();
    assert_eq!((again.imported, again.unchanged, again.problems.len()), (0, 2, 5));
    let renamed = two.one.import_api_keys(batch(vec![key("g", 1)])).await.unwrap();
    assert!(renamed.problems[0].problem.contains("another name"), "{renamed:?}");
    // A second import does not bring a revoked key back.
    two.one.change_api_key("a", ApiKeyAction::Revoke).await.unwrap();
    let again = two.one.import_api_keys(batch(vec![key("a", 1)])).await.unwrap();
    assert_eq!((again.imported, again.unchanged), (0, 1));
    assert!(matches!(two.one.api_key("a").await, Err(ApiKeyError::Unknown)));
}

#[tokio::test]
async fn two_that_import_the_same_at_once_import_each_key_once() {
    let two = Two::open().await;
    let keys: Vec<ImportApiKey> = (0..200).map(|byte| key(&format!("k-{byte}"), byte)).collect();
    let import = |desk: &Arc<Desk>| {
        let (desk, keys) = (Arc::clone(desk), batch(keys.clone()));
        tokio::spawn(async move { desk.import_api_keys(keys).await.unwrap() })
    };
    let (one, other) = (import(&two.one), import(&two.other));
    let (one, other) = (one.await.unwrap(), other.await.unwrap());
    assert_eq!(one.imported + other.imported, 200);
    assert_eq!(one.unchanged + other.unchanged, 200);
    assert_eq!(two.one.api_key_prefixes().await.unwrap().len(), 1);
    let too_many = batch(vec![key("a", 1); super::super::MAX_IMPORT_BATCH + 1]);
    assert!(matches!(two.one.import_api_keys(too_many).await, Err(ApiKeyError::Invalid(_))));
}
