use super::{MigrateError, Migrated, migrate};
use crate::random::Random;
use crate::seal::{Sealed, StoreKeys};
use crate::store::conformance::api_key;
use crate::store::{Embedded, Store as _, StoredSigningKey, Table};
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
        store.add_entries(Table::ApiKeys, entries(record)).await.unwrap();
        store.add_entries(Table::ApiKeyNames, entries(|id| id.into())).await.unwrap();
        store.digest_key_or_insert(&self.sealed()).await.unwrap();
        let key = StoredSigningKey {
            kid: "kid".to_owned(),
            algorithm: "ES256".to_owned(),
            private: self.sealed(),
            created_at: 1,
        };
        store.signing_key_or_insert(&key).await.unwrap();
        store.raise_api_key_revision(77).await.unwrap();
        store
    }
}

async fn copy(place: &Place, from: &Embedded, to: &Embedded) -> Result<Migrated, MigrateError> {
    migrate(from, to, &place.keys, |_, _, _| {}).await
}

#[tokio::test]
async fn everything_arrives_and_a_second_time_nothing_is_left_to_do() {
    let place = Place::new();
    let (source, target) = (place.filled().await, place.store("target"));
    let first = copy(&place, &source, &target).await.unwrap();
    assert_eq!((first.copied, first.records["api_keys"]), (5002, 2500));
    assert_eq!(target.api_keys().await.unwrap(), source.api_keys().await.unwrap());
    assert_eq!(target.signing_keys().await.unwrap(), source.signing_keys().await.unwrap());
    assert_eq!(target.api_key_named("id7").await.unwrap().as_deref(), Some("id7"));
    assert_eq!(target.api_key_revision().await.unwrap(), 78);
    let second = copy(&place, &source, &target).await.unwrap();
    assert_eq!((second.copied, second.digest), (0, first.digest));
}

#[tokio::test]
async fn a_migration_that_was_broken_off_goes_on() {
    let place = Place::new();
    let (source, target) = (place.filled().await, place.store("target"));
    let page = source.page(Table::ApiKeys, None).await.unwrap();
    target.add_entries(Table::ApiKeys, page.entries).await.unwrap();
    assert_eq!(copy(&place, &source, &target).await.unwrap().copied, 4002);
}

#[tokio::test]
async fn a_target_with_something_of_its_own_is_refused_and_left_alone() {
    let place = Place::new();
    let (source, target) = (place.filled().await, place.store("target"));
    target.digest_key_or_insert(&place.sealed()).await.unwrap();
    let error = copy(&place, &source, &target).await.unwrap_err();
    assert!(matches!(error, MigrateError::NotEmpty("secrets")), "{error}");
    assert!(target.api_keys().await.unwrap().is_empty());
}

#[tokio::test]
async fn secrets_that_the_target_cannot_open_are_not_moved() {
    let place = Place::new();
    let (source, target) = (place.filled().await, place.store("target"));
    let error = copy(&Place::new(), &source, &target).await.unwrap_err();
    assert!(matches!(error, MigrateError::Keys), "{error}");
    assert!(target.api_keys().await.unwrap().is_empty());
}
