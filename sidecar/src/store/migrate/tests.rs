use super::{MigrateError, Migrated, migrate};
use crate::clock::Clock;
use crate::random::Random;
use crate::seal::{Sealed, StoreKeys};
use crate::store::conformance::api_key;
use crate::store::records::{StoredSigningKey, api_keys, secrets, signing_keys};
use crate::store::{Embedded, LogPage, Store, Table, Transaction};
use wardgate_core::secret::Secret;
use wardgate_core::time::UnixSeconds;

struct Place {
    directory: tempfile::TempDir,
    keys: StoreKeys,
}

impl Place {
    fn new() -> Self {
        let keys = StoreKeys::parse(&StoreKeys::generate(Random::system()).unwrap()).unwrap();
        Self { directory: tempfile::tempdir().unwrap(), keys }
    }

    fn store(&self, name: &str) -> Embedded {
        Embedded::open(&self.directory.path().join(name)).unwrap()
    }

    fn sealed(&self) -> Sealed {
        self.keys.seal("test", &Secret::new(b"secret".to_vec()), UnixSeconds(1)).unwrap()
    }

    /// A store with 2500 keys and secrets.
    async fn filled(&self) -> Embedded {
        let store = self.store("source");
        let entries = |value: fn(&str) -> Vec<u8>| {
            (0..2500).map(|number| (format!("id{number}"), value(&format!("id{number}")))).collect()
        };
        let record = |id: &str| serde_json::to_vec(&api_key(id, id)).unwrap();
        add(&store, Table::ApiKeys, entries(record)).await;
        add(&store, Table::ApiKeyNames, entries(|id| id.into())).await;
        secrets::get_or_insert(&store, "digest", &self.sealed()).await.unwrap();
        let (kid, algorithm) = ("kid".to_owned(), "ES256".to_owned());
        let key = StoredSigningKey::first(kid, algorithm, self.sealed(), 1);
        store.commit(signing_keys::rotation(&[], Some(&key), 1).unwrap()).await.unwrap();
        let soon = Clock::system().now().plus(30);
        let ending = Transaction::new()
            .put_until(Table::Revocations, "soon", "v", Some(soon))
            .put_until(Table::Revocations, "late", "v", Some(soon.plus(600)))
            .put(Table::Revocations, "never", "v")
            .append("entry");
        store.commit(ending).await.unwrap();
        store
    }
}

async fn add(store: &dyn Store, table: Table, entries: Vec<(String, Vec<u8>)>) {
    for part in entries.chunks(1000) {
        let put = |transaction: Transaction, (key, value): &(String, Vec<u8>)| {
            transaction.put(table, key.clone(), value.clone())
        };
        store.commit(part.iter().fold(Transaction::new(), put)).await.unwrap();
    }
}

async fn copy(place: &Place, from: &Embedded, to: &Embedded) -> Result<Migrated, MigrateError> {
    migrate(from, to, &place.keys, &Clock::system(), |_, _, _| {}).await
}

#[tokio::test]
async fn everything_arrives_and_a_second_time_nothing_is_left_to_do() {
    let place = Place::new();
    let (source, target) = (place.filled().await, place.store("target"));
    let head = target.log_head().await.unwrap();
    let first = copy(&place, &source, &target).await.unwrap();
    assert_eq!((first.copied, first.records["api_keys"]), (5005, 2500));
    assert_eq!(first.records["revocations"], 2);
    assert_eq!(api_keys::all(&target).await.unwrap(), api_keys::all(&source).await.unwrap());
    assert_eq!(
        signing_keys::all(&target).await.unwrap(),
        signing_keys::all(&source).await.unwrap()
    );
    assert_eq!(api_keys::id_of_name(&target, "id7").await.unwrap().as_deref(), Some("id7"));
    for key in ["soon", "late", "never"] {
        assert!(target.get(Table::Revocations, key).await.unwrap().is_some(), "{key}");
    }
    let page = async |store: &Embedded| store.page(Table::Revocations, None).await.unwrap().entries;
    assert_eq!(page(&target).await, page(&source).await);
    // Whoever has followed either of them reads all of it.
    for position in [head, source.log_head().await.unwrap()] {
        assert_eq!(target.log_after(position, 9).await.unwrap(), LogPage::Unknown);
    }
    let second = copy(&place, &source, &target).await.unwrap();
    assert_eq!((second.copied, second.digest), (0, first.digest));
}

#[tokio::test]
async fn a_migration_that_was_broken_off_goes_on() {
    let place = Place::new();
    let (source, target) = (place.filled().await, place.store("target"));
    let page = source.page(Table::ApiKeys, None).await.unwrap();
    let entries = page.entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
    add(&target, Table::ApiKeys, entries).await;
    assert_eq!(copy(&place, &source, &target).await.unwrap().copied, 4005);
}

#[tokio::test]
async fn a_target_with_something_of_its_own_is_refused_and_left_alone() {
    let place = Place::new();
    let (source, target) = (place.filled().await, place.store("target"));
    secrets::get_or_insert(&target, "digest", &place.sealed()).await.unwrap();
    let error = copy(&place, &source, &target).await.unwrap_err();
    assert!(matches!(error, MigrateError::NotEmpty("secrets")), "{error}");
    assert!(api_keys::all(&target).await.unwrap().is_empty());
}

#[tokio::test]
async fn secrets_that_the_target_cannot_open_are_not_moved() {
    let place = Place::new();
    let (source, target) = (place.filled().await, place.store("target"));
    let error = copy(&Place::new(), &source, &target).await.unwrap_err();
    assert!(matches!(error, MigrateError::Keys), "{error}");
    assert!(api_keys::all(&target).await.unwrap().is_empty());
}
