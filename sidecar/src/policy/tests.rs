//! The policy of a file and of the store together.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Origin, PolicyDesk, PolicyError};
use crate::clock::Clock;
use crate::config::load_policy;
use crate::metrics::Metrics;
use crate::store::{Embedded, Store};

const POLICY: &str = "version: 1
issuers:
  - {name: corp, issuer: \"https://corp.example\", audiences: [api], jwks_uri: \"https://corp.example/keys\"}
roles:
  viewer: {permissions: [read]}
bindings:
  - {subjects: [\"user:corp/1\"], roles: [viewer]}
routes:
  - {name: all, match: {path: \"/{rest...}\"}, credentials: [jwt], require: {all: [read]}}
";

struct Home {
    directory: tempfile::TempDir,
    store: Arc<dyn Store>,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Embedded::open(&directory.path().join("store.redb")).unwrap());
        let home = Self { directory, store };
        home.write(POLICY);
        home
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("policy.yaml")
    }

    fn write(&self, text: &str) {
        fs::write(self.file(), text).unwrap();
    }

    fn desk(&self) -> PolicyDesk {
        let (store, file) = (Arc::clone(&self.store), self.file());
        let document = load_policy(&file).unwrap();
        PolicyDesk::new(store, &file, &document, Clock::system(), Arc::new(Metrics::new())).unwrap()
    }
}

fn members(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn role(permissions: &[&str], inherits: &[&str]) -> Map<String, Value> {
    members(&json!({"permissions": permissions, "inherits": inherits}))
}

fn binding(role: &str) -> Map<String, Value> {
    members(&json!({"subjects": ["user:corp/2"], "roles": [role]}))
}

async fn roles_of(desk: &PolicyDesk) -> Vec<String> {
    let document = desk.current().await.unwrap().document;
    document["roles"].as_object().unwrap().keys().cloned().collect()
}

#[tokio::test]
async fn roles_and_bindings_of_run_time_stand_beside_those_of_the_file() {
    let home = Home::new();
    let desk = home.desk();
    let before = home.store.log_head().await.unwrap().sequence;
    desk.put_role("auditor", role(&["read"], &["viewer"])).await.unwrap();
    desk.put_binding("two", binding("auditor")).await.unwrap();
    assert_eq!(home.store.log_head().await.unwrap().sequence, before + 2, "filters hear of both");
    // Another sidecar on the same store.
    let other = home.desk();
    assert_eq!(roles_of(&other).await, ["viewer", "auditor"]);
    let bindings = other.bindings().await.unwrap().bindings;
    let ids: Vec<_> = bindings.iter().map(|it| (it.id.as_deref(), it.origin)).collect();
    assert_eq!(ids, [(None, Origin::File), (Some("two"), Origin::RunTime)]);
    let status = other.status().await.unwrap();
    assert_eq!((status.roles_at_run_time, status.bindings_at_run_time), (1, 1));
    assert_eq!(status.hash, desk.status().await.unwrap().hash);

    // What is in use is not removed.
    assert!(matches!(desk.delete_role("auditor").await, Err(PolicyError::Invalid(_))));
    desk.delete_binding("two").await.unwrap();
    desk.delete_role("auditor").await.unwrap();
    assert_eq!(roles_of(&other).await, ["viewer"]);
    assert!(matches!(desk.delete_role("auditor").await, Err(PolicyError::Unknown)));
    assert!(matches!(desk.delete_binding("two").await, Err(PolicyError::Unknown)));
}

#[tokio::test]
async fn what_stands_in_the_file_is_changed_in_the_file() {
    let home = Home::new();
    let desk = home.desk();
    assert!(matches!(
        desk.put_role("viewer", role(&["admin"], &[])).await,
        Err(PolicyError::OfFile)
    ));
    assert!(matches!(desk.delete_role("viewer").await, Err(PolicyError::OfFile)));
}

#[tokio::test]
async fn what_the_policy_would_refuse_is_refused() {
    let home = Home::new();
    let desk = home.desk();
    for wrong in [
        role(&["no-such-permission"], &[]),
        role(&[], &["no-such-role"]),
        role(&[], &["odd"]),
        members(&json!({"permissions": "read"})),
        members(&json!({"more": 1})),
    ] {
        let put = desk.put_role("odd", wrong.clone()).await;
        assert!(matches!(put, Err(PolicyError::Invalid(_))), "{wrong:?}");
    }
    for name in ["", "a b", "a/b", "ä", &"n".repeat(129)] {
        assert!(desk.put_role(name, role(&[], &[])).await.is_err(), "{name}");
        assert!(desk.put_binding(name, binding("viewer")).await.is_err(), "{name}");
    }
    assert_eq!(roles_of(&desk).await, ["viewer"]);
}

#[tokio::test]
async fn two_sidecars_at_once_do_not_make_what_neither_would_alone() {
    let home = Home::new();
    let (one, other) = (home.desk(), home.desk());
    one.put_role("a", role(&[], &[])).await.unwrap();
    one.put_role("b", role(&[], &[])).await.unwrap();
    let (first, second) =
        tokio::join!(one.put_role("a", role(&[], &["b"])), other.put_role("b", role(&[], &["a"])));
    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
}

#[tokio::test]
async fn a_bad_file_is_refused_and_the_one_before_serves() {
    let home = Home::new();
    let desk = home.desk();
    let before = desk.current().await.unwrap().document;
    home.write(&POLICY.replace("permissions: [read]", "permissions: [raed]"));
    assert!(!desk.reload());
    assert_eq!(desk.current().await.unwrap().document, before);
    let problems = desk.status().await.unwrap().problems;
    assert!(
        problems[0].contains("policy.yaml:5:") && problems[0].contains("roles.viewer"),
        "{problems:?}"
    );
    assert_eq!(desk.metrics.policy_reload_failures.get(), 1);
    fs::remove_file(home.file()).unwrap();
    assert!(!desk.reload());
    home.write(&POLICY.replace("viewer: {", "reader: {permissions: []}\n  viewer: {"));
    assert!(desk.reload());
    assert_eq!(roles_of(&desk).await, ["reader", "viewer"]);
    assert!(desk.status().await.unwrap().problems.is_empty());
    assert!(!desk.reload(), "the same file is no news");
}

#[tokio::test]
async fn a_file_that_takes_over_a_role_goes_before_the_one_of_run_time() {
    let home = Home::new();
    let desk = home.desk();
    desk.put_role("auditor", role(&["admin"], &[])).await.unwrap();
    home.write(&POLICY.replace("viewer: {", "auditor: {permissions: [read]}\n  viewer: {"));
    assert!(desk.reload());
    let document = desk.current().await.unwrap().document;
    assert_eq!(document["roles"]["auditor"], json!({"permissions": ["read"]}));
}

#[tokio::test]
async fn a_file_that_what_was_made_does_not_fit_to_is_not_taken() {
    let home = Home::new();
    let desk = home.desk();
    desk.put_binding("two", binding("viewer")).await.unwrap();
    let before = desk.current().await.unwrap().document;
    // Nobody has the role any more that the binding gives.
    home.write(&POLICY.replace("viewer", "reader"));
    assert!(desk.reload());
    assert_eq!(desk.current().await.unwrap().document, before);
    assert!(!desk.status().await.unwrap().problems.is_empty());
    // A start is not held up: the binding grants nothing meanwhile.
    let started = home.desk();
    assert_eq!(roles_of(&started).await, ["reader"]);
}
