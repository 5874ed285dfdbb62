use std::sync::Arc;

use serde_json::{Map, Value, json};
use wardgate_core::time::UnixSeconds;

use super::{ClientError, Clients, RotateClientSecret};
use crate::clock::Clock;
use crate::random::Random;
use crate::seal::StoreKeys;
use crate::store::{Embedded, Store, StoreError, Table, Transaction};

struct World {
    _directory: tempfile::TempDir,
    store: Arc<dyn Store>,
    keys: StoreKeys,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Embedded::open(&directory.path().join("store.redb")).unwrap());
        let keys = StoreKeys::parse(&StoreKeys::generate(Random::system()).unwrap()).unwrap();
        Self { _directory: directory, store, keys }
    }

    async fn clients(&self) -> Clients {
        let clock = Clock::manual(UnixSeconds(1000));
        let store = Arc::clone(&self.store);
        Clients::open(store, &self.keys, clock, Random::system()).await.unwrap()
    }
}

fn members(value: Value) -> Map<String, Value> {
    let Value::Object(members) = value else { panic!("no object") };
    members
}

#[tokio::test]
async fn a_secret_is_kept_as_a_digest_that_another_sidecar_knows_too() {
    let world = World::new();
    let clients = world.clients().await;
    let created = clients.create(members(json!({"client_id": "a"}))).await.unwrap();
    let secret = created.client_secret.unwrap();
    assert_eq!(secret.len(), 43);
    let stands = world.store.get(Table::Clients, "a").await.unwrap().unwrap();
    assert!(!String::from_utf8(stands).unwrap().contains(&secret));
    let other = world.clients().await;
    let found = other.find("a").await.unwrap();
    assert!(other.has_secret(found.as_ref(), "a", &secret));
    assert!(!other.has_secret(found.as_ref(), "a", "x"));
    assert!(!other.has_secret(found.as_ref(), "a", &"x".repeat(300)));
    // A record that was copied to the place of another brings no secret along.
    assert!(!other.has_secret(found.as_ref(), "b", &secret));
    assert!(!other.has_secret(None, "a", &secret));
}

#[tokio::test]
async fn an_id_belongs_to_one_client_or_user() {
    let world = World::new();
    let clients = world.clients().await;
    clients.create(members(json!({"client_id": "a"}))).await.unwrap();
    world.store.commit(Transaction::new().put(Table::Users, "u", "{}")).await.unwrap();
    for taken in ["a", "u"] {
        let refused = clients.create(members(json!({"client_id": taken}))).await;
        assert!(matches!(refused, Err(ClientError::IdTaken)), "{taken}");
    }
    for wrong in [json!("a b"), json!(1), json!("")] {
        let refused = clients.create(members(json!({"client_id": wrong}))).await;
        assert!(matches!(refused, Err(ClientError::Invalid(_))));
    }
    let random = clients.create(Map::new()).await.unwrap();
    assert!(random.view.client_id.starts_with("cli_"));
    let (page, next) = (clients.list(None).await.unwrap(), None::<String>);
    assert_eq!((page.clients.len(), page.next), (2, next));
}

#[tokio::test]
async fn two_that_make_one_client_make_it_once() {
    let world = World::new();
    let (one, other) = (world.clients().await, world.clients().await);
    let asked = || members(json!({"client_id": "a"}));
    let (first, second) = tokio::join!(one.create(asked()), other.create(asked()));
    assert_eq!([first.is_ok(), second.is_ok()].iter().filter(|made| **made).count(), 1);
}

#[tokio::test]
async fn an_update_replaces_what_it_names_and_takes_away_what_is_null() {
    let world = World::new();
    let clients = world.clients().await;
    let made = json!({"client_id": "a", "scope": "read", "client_name": "A"});
    clients.create(members(made)).await.unwrap();
    let patch = members(json!({"scope": null, "client_name": "B", "roles": ["viewer"]}));
    let view = clients.update("a", patch).await.unwrap();
    assert_eq!((view.metadata.scope, view.metadata.client_name), (None, Some("B".to_owned())));
    assert_eq!((view.metadata.roles, view.secrets.len()), (vec!["viewer".to_owned()], 1));
    for wrong in [json!({"scop": "read"}), json!({"scope": 1}), json!({"client_id": "b"})] {
        let refused = clients.update("a", members(wrong)).await;
        assert!(matches!(refused, Err(ClientError::Invalid(_))));
    }
    assert!(matches!(clients.update("b", Map::new()).await, Err(ClientError::Unknown)));
    let public = json!({"token_endpoint_auth_method": "none", "grant_types": ["refresh_token"], "roles": null});
    let view = clients.update("a", members(public)).await.unwrap();
    assert_eq!((view.secrets.len(), view.metadata.dpop_bound_access_tokens), (0, true));
    let rotated = clients.rotate_secret("a", &RotateClientSecret::default()).await;
    assert!(matches!(rotated, Err(ClientError::NoSecret)));
}

#[tokio::test]
async fn of_two_changes_at_once_none_is_lost_unnoticed() {
    let world = World::new();
    let (one, other) = (world.clients().await, world.clients().await);
    one.create(members(json!({"client_id": "a"}))).await.unwrap();
    let (first, second) = tokio::join!(
        one.update("a", members(json!({"client_name": "A"}))),
        other.update("a", members(json!({"scope": "read"}))),
    );
    let view = one.show("a").await.unwrap();
    for (outcome, there) in
        [(first, view.metadata.client_name.is_some()), (second, view.metadata.scope.is_some())]
    {
        match outcome {
            Ok(_) => assert!(there),
            Err(ClientError::Store(StoreError::Changed)) => assert!(!there),
            Err(error) => panic!("{error}"),
        }
    }
}
