use std::sync::Arc;
use std::time::Duration;

use wardgate_core::secret::Secret;
use wardgate_core::time::UnixSeconds;

use super::{Resealed, Upkeep};
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::random::Random;
use crate::seal::StoreKeys;
use crate::store::records::{StoredSigningKey, secrets, signing_keys};
use crate::store::{Embedded, Store, Table, Transaction};

fn key() -> String {
    StoreKeys::generate(Random::system()).unwrap().to_string()
}

fn upkeep(store: &Embedded, clock: &Clock, keys: &str) -> Upkeep {
    Upkeep {
        store: Arc::new(store.clone()),
        keys: StoreKeys::parse(keys).unwrap(),
        clock: clock.clone(),
        metrics: Arc::new(Metrics::new()),
        interval: Duration::from_mins(1),
    }
}

fn new() -> (tempfile::TempDir, Clock, Embedded) {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::manual(UnixSeconds(1000));
    let path = directory.path().join("store.redb");
    let store = Embedded::open_with(&path, clock.clone(), Random::system()).unwrap();
    (directory, clock, store)
}

/// Some secrets and a signing key under these keys.
async fn fill(store: &dyn Store, keys: &str, secrets: usize) {
    let keys = StoreKeys::parse(keys).unwrap();
    let seal = |context: &str| {
        let secret = Secret::new(context.as_bytes().to_vec());
        keys.seal(context, &secret, UnixSeconds(1)).unwrap()
    };
    let waiting = serde_json::json!({
        "created_at": 7, "details": {"waiting": {"sealed": seal("api-key id"), "made_at": 9}},
    });
    let none = serde_json::json!({"created_at": 7, "details": {}});
    let keys = Transaction::new().put(Table::ApiKeys, "id", waiting.to_string()).put(
        Table::ApiKeys,
        "other",
        none.to_string(),
    );
    store.commit(keys).await.unwrap();
    for number in 0..secrets {
        let name = format!("secret {number}");
        secrets::get_or_insert(store, &name, &seal(&name)).await.unwrap();
    }
    let (kid, algorithm) = ("kid".to_owned(), "ES256".to_owned());
    let key = StoredSigningKey::first(kid, algorithm, seal("signing-key kid"), 7);
    store.commit(signing_keys::rotation(&[], Some(&key), 1).unwrap()).await.unwrap();
}

#[tokio::test]
async fn secrets_under_older_keys_are_sealed_anew_some_at_a_time() {
    let (_directory, clock, store) = new();
    let (old, new) = (key(), key());
    fill(&store, &old, 150).await;
    let head = store.log_head().await.unwrap();
    let upkeep = upkeep(&store, &clock, &format!("{new}\n{old}"));
    let first = upkeep.reseal_once().await.unwrap();
    assert_eq!(first, Resealed { resealed: 100, left: 52, unreadable: 0 });
    assert_eq!(upkeep.metrics.store_older_secrets.get(), 52);
    let second = upkeep.reseal_once().await.unwrap();
    assert_eq!(second, Resealed { resealed: 52, left: 0, unreadable: 0 });
    assert_eq!(upkeep.reseal_once().await.unwrap(), Resealed::default());
    assert_eq!(upkeep.metrics.store_resealed.get(), 152);
    // The new key is enough now, and everything else stayed.
    let only = StoreKeys::parse(&new).unwrap();
    let keys = signing_keys::all(&store).await.unwrap();
    assert_eq!((keys[0].kid.as_str(), keys[0].created_at), ("kid", 7));
    let private = only.open("signing-key kid", &keys[0].private).unwrap();
    assert_eq!(private.expose(), b"signing-key kid");
    let waiting = store.get(Table::ApiKeys, "id").await.unwrap().unwrap();
    let waiting: serde_json::Value = serde_json::from_slice(&waiting).unwrap();
    let sealed = serde_json::from_value(waiting["details"]["waiting"]["sealed"].clone()).unwrap();
    assert_eq!(only.open("api-key id", &sealed).unwrap().expose(), b"api-key id");
    assert_eq!(
        (&waiting["created_at"], &waiting["details"]["waiting"]["made_at"]),
        (&7.into(), &9.into())
    );
    let page = store.page(Table::Secrets, None).await.unwrap();
    for entry in page.entries {
        let sealed = serde_json::from_slice(&entry.value).unwrap();
        assert_eq!(only.open(&entry.key, &sealed).unwrap().expose(), entry.key.as_bytes());
    }
    assert_eq!(store.log_head().await.unwrap(), head);
}

#[tokio::test]
async fn two_that_seal_anew_at_once_do_no_harm() {
    let (_directory, clock, store) = new();
    let (old, new) = (key(), key());
    fill(&store, &old, 50).await;
    let keys = format!("{new}\n{old}");
    let (one, other) = (upkeep(&store, &clock, &keys), upkeep(&store, &clock, &keys));
    let (first, second) = tokio::join!(one.reseal_once(), other.reseal_once());
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.resealed.checked_add(second.resealed), Some(52), "{first:?} {second:?}");
    assert_eq!(one.reseal_once().await.unwrap(), Resealed::default());
}

#[tokio::test]
async fn what_no_key_opens_is_left_as_it_is() {
    let (_directory, clock, store) = new();
    fill(&store, &key(), 1).await;
    let before = store.get(Table::Secrets, "secret 0").await.unwrap();
    let tick = upkeep(&store, &clock, &key()).reseal_once().await.unwrap();
    assert_eq!(tick, Resealed { resealed: 0, left: 0, unreadable: 3 });
    assert_eq!(store.get(Table::Secrets, "secret 0").await.unwrap(), before);
}

#[tokio::test]
async fn what_has_ended_is_removed_in_steps_and_counted() {
    let (_directory, clock, store) = new();
    let put = |transaction: Transaction, number: u64| {
        let end = Some(UnixSeconds(1010 + number % 2 * 1000));
        transaction.put_until(Table::Usage, format!("{number}"), "1", end)
    };
    store.commit((0..3000).fold(Transaction::new().append("entry"), put)).await.unwrap();
    let upkeep = upkeep(&store, &clock, &key());
    assert_eq!(upkeep.clean_up_once().await.unwrap(), 0);
    clock.advance(10);
    assert_eq!(upkeep.clean_up_once().await.unwrap(), 1500);
    assert_eq!(upkeep.metrics.store_cleaned.get(), 1500);
    assert_eq!(upkeep.metrics.store_log_sequence.get(), 1);
    assert_eq!(store.stat().await.unwrap().records["usage"], 1500);
    let text = upkeep.metrics.text();
    for line in ["wardgate_store_cleaned_total 1500", "wardgate_store_log_sequence 1"] {
        assert!(text.contains(line), "{text}");
    }
}
