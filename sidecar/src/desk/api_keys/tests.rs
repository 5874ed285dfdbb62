use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use wardgate_core::api_key::{ApiKey, ApiKeyDigest};
use wardgate_core::config::{At, Bounded, Problems, Read as _};
use wardgate_core::feed::Fingerprint;
use wardgate_core::secret::Secret;
use wardgate_core::time::UnixSeconds;
use wardgate_core::wire::feed::{ChangeKind, LogEntry};
use wardgate_core::wire::{ApiKeyRecord, ApiKeyState, RateLimitRecord};

use super::{
    ApiKeyAction, ApiKeyError, ApiKeyFilter, CreateApiKey, CreatedApiKey, ImportApiKey,
    ImportApiKeys, RotateApiKey, Swept, UpdateApiKey,
};
use crate::clock::Clock;
use crate::config::{ApiKeysSection, IssuerSection};
use crate::desk::Desk;
use crate::random::Random;
use crate::seal::StoreKeys;
use crate::store::records::api_keys as stored_api_keys;
use crate::store::{Embedded, LogPage, MAX_LOG_PAGE, Store, StoreError};

mod import;
mod rotation;
mod sweep;

const DAY: u64 = 86_400;
const START: UnixSeconds = UnixSeconds(1_000_000);

fn issuer() -> IssuerSection {
    let section = json!({"issuer": "https://auth.example.com", "algorithms": ["EdDSA"]});
    IssuerSection::read(&section, &At::ROOT, &mut Problems::new()).unwrap()
}

/// Two sidecars on one store, which share a clock.
struct Two {
    one: Arc<Desk>,
    other: Arc<Desk>,
    store: Arc<Embedded>,
    clock: Clock,
    directory: tempfile::TempDir,
}

impl Two {
    async fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        let keys = StoreKeys::parse(&StoreKeys::generate(Random::system()).unwrap()).unwrap();
        let clock = Clock::manual(START);
        let one = Arc::new(desk(&store, &keys, &clock).await);
        let other = Arc::new(desk(&store, &keys, &clock).await);
        Self { one, other, store, clock, directory }
    }

    /// What filters know of a key.
    async fn record(&self, id: &str) -> ApiKeyRecord {
        stored_api_keys::get(&*self.store, id).await.unwrap().unwrap().record
    }

    /// Whether filters take this key now, by digest and time alone.
    async fn works(&self, key: &str) -> bool {
        let key = ApiKey::parse(key.as_bytes()).unwrap();
        let digest = key.digest(self.one.digest_key()).text();
        let record = self.record(key.id()).await;
        let previous = record.previous.filter(|it| it.until > self.clock.now().0);
        record.digest == digest || previous.is_some_and(|it| it.digest == digest)
    }

    async fn sweep(&self) -> Swept {
        let swept = self.one.sweep_api_keys(None).await.unwrap();
        assert!(swept.next.is_none() && swept.failed == 0, "{swept:?}");
        swept
    }
}

fn open(directory: &Path) -> Arc<Embedded> {
    Arc::new(Embedded::open(&directory.join("store.redb")).unwrap())
}

async fn desk(store: &Arc<Embedded>, keys: &StoreKeys, clock: &Clock) -> Desk {
    let store: Arc<dyn Store> = store.clone();
    Desk::open(store, keys, issuer(), clock.clone(), Random::system()).await.unwrap()
}

fn ci() -> CreateApiKey {
    CreateApiKey {
        name: "ci".to_owned(),
        environment: "live".to_owned(),
        roles: vec!["viewer".to_owned()],
        ..CreateApiKey::default()
    }
}

async fn created(desk: &Desk, asked: CreateApiKey) -> CreatedApiKey {
    desk.create_api_key(asked).await.unwrap()
}

#[tokio::test]
async fn a_key_has_what_was_asked_for_and_shows_its_last_letters() {
    let two = Two::open().await;
    let asked = CreateApiKey {
        networks: vec!["10.0.0.0/8".to_owned()],
        rate_limit: Some(RateLimitRecord { requests: 5, period_seconds: 60 }),
        metadata: [("team".to_owned(), "blue".to_owned())].into(),
        description: Some("builds".to_owned()),
        expires_in_seconds: Some(60),
        ..ci()
    };
    let made = created(&two.one, asked).await;
    let secret = &made.api_key[..made.api_key.len() - 7];
    assert_eq!(made.view.last_four.as_deref(), secret.get(secret.len() - 4..));
    assert_eq!(two.other.api_key("ci").await.unwrap(), made.view);
    let record = two.record(&made.view.id).await;
    assert_eq!(record.networks, ["10.0.0.0/8"]);
    assert_eq!(record.rate_limit, made.view.rate_limit);
    assert_eq!(record.expires_at, Some(START.0 + 60));
    assert!(two.works(&made.api_key).await);
}

#[tokio::test]
async fn a_wrong_request_makes_no_key_and_changes_none() {
    let two = Two::open().await;
    let limit = |requests, period_seconds| Some(RateLimitRecord { requests, period_seconds });
    for wrong in [
        CreateApiKey { networks: vec!["10.0.0.1/8".to_owned()], ..ci() },
        CreateApiKey { networks: vec!["10.0.0.0/8".to_owned(); 65], ..ci() },
        CreateApiKey { rate_limit: limit(0, 60), ..ci() },
        CreateApiKey { rate_limit: limit(1, 0), ..ci() },
        CreateApiKey { rate_limit: limit(u64::MAX, 1), ..ci() },
        CreateApiKey { metadata: [(String::new(), String::new())].into(), ..ci() },
        CreateApiKey { metadata: [("a".to_owned(), "x".repeat(513))].into(), ..ci() },
        CreateApiKey { description: Some("x".repeat(1025)), ..ci() },
        CreateApiKey { expires_in_seconds: Some(u64::MAX), ..ci() },
        CreateApiKey { rotate_every_seconds: Some(60), ..ci() },
        CreateApiKey { rotate_every_seconds: Some(DAY), grace_seconds: Some(DAY), ..ci() },
        CreateApiKey { grace_seconds: Some(1), ..ci() },
    ] {
        let refused = two.one.create_api_key(wrong.clone()).await.err();
        assert!(matches!(refused, Some(ApiKeyError::Invalid(_))), "{wrong:?}: {refused:?}");
    }
    let before = created(&two.one, ci()).await.view;
    for wrong in [
        json!({"networks": ["x"]}),
        json!({"roles": [""]}),
        json!({"expires_in_seconds": 0}),
        json!({"metadata": {"a b": "c"}}),
        json!({"grace_seconds": 5}),
    ] {
        let asked: UpdateApiKey = serde_json::from_value(wrong.clone()).unwrap();
        let refused = two.one.update_api_key("ci", asked).await.err();
        assert!(matches!(refused, Some(ApiKeyError::Invalid(_))), "{wrong}: {refused:?}");
    }
    assert_eq!(two.one.api_key("ci").await.unwrap(), before);
}

#[tokio::test]
async fn a_change_changes_what_it_names_and_null_takes_away() {
    let two = Two::open().await;
    let made = created(&two.one, CreateApiKey { expires_in_seconds: Some(60), ..ci() }).await;
    let change = |value| {
        let asked: UpdateApiKey = serde_json::from_value(value).unwrap();
        two.one.update_api_key("ci", asked)
    };
    let view = change(json!({
        "scopes": ["a"], "metadata": {"x": "1", "y": "2"}, "expires_in_seconds": 90,
        "rate_limit": {"requests": 1, "period_seconds": 1}, "description": "d",
    }));
    let view = view.await.unwrap();
    assert_eq!(
        (view.scopes.as_deref(), view.roles),
        (Some(&["a".to_owned()][..]), made.view.roles)
    );
    assert_eq!(view.expires_at, Some(START.0 + 90));
    let view = change(json!({
        "scopes": null, "metadata": {"x": null}, "expires_in_seconds": null, "rate_limit": null,
        "description": null, "rotate_every_seconds": DAY * 30,
    }));
    let view = view.await.unwrap();
    assert_eq!((view.scopes, view.expires_at, view.rate_limit), (None, None, None));
    assert_eq!((view.description, view.metadata.len()), (None, 1));
    assert_eq!(view.rotation.unwrap().next_at, START.0 + 30 * DAY);
    assert_eq!(change(json!({"rotate_every_seconds": null})).await.unwrap().rotation, None);
    two.one.change_api_key("ci", ApiKeyAction::Revoke).await.unwrap();
    let id = made.view.id;
    let refused = two.one.update_api_key(&id, UpdateApiKey::default()).await;
    assert!(matches!(refused, Err(ApiKeyError::Revoked)));
}

#[tokio::test]
async fn the_log_has_each_change_that_filters_must_hear_of_and_no_other() {
    let two = Two::open().await;
    let head = two.store.log_head().await.unwrap();
    let id = created(&two.one, ci()).await.view.id;
    let note = |value| serde_json::from_value::<UpdateApiKey>(value).unwrap();
    two.one.update_api_key("ci", note(json!({"metadata": {"a": "b"}}))).await.unwrap();
    two.one.update_api_key("ci", note(json!({"roles": ["editor"]}))).await.unwrap();
    two.one.change_api_key("ci", ApiKeyAction::Disable).await.unwrap();
    two.one.change_api_key("ci", ApiKeyAction::Disable).await.unwrap();
    let LogPage::Entries { entries } = two.store.log_after(head, MAX_LOG_PAGE).await.unwrap()
    else {
        panic!("the head is in the log");
    };
    let mut found = Vec::new();
    for (_, bytes) in entries {
        let entry: LogEntry = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(entry.at_milliseconds, START.0 * 1000);
        let ChangeKind::ApiKey { fingerprint, record } = entry.kind else { panic!("{entry:?}") };
        assert_eq!(fingerprint, Fingerprint::of_api_key(&id));
        found.push((record.roles.join(","), record.state));
    }
    let expected = [
        ("viewer".to_owned(), ApiKeyState::Active),
        ("editor".to_owned(), ApiKeyState::Active),
        ("editor".to_owned(), ApiKeyState::Disabled),
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn two_that_change_a_key_at_once_both_succeed() {
    let two = Two::open().await;
    created(&two.one, ci()).await;
    let note = |desk: &Arc<Desk>, name: String| {
        let desk = Arc::clone(desk);
        let asked: UpdateApiKey = serde_json::from_value(json!({"metadata": {name: "x"}})).unwrap();
        tokio::spawn(async move { desk.update_api_key("ci", asked).await })
    };
    let tasks: Vec<_> = (0..8)
        .map(|number| {
            note(if number % 2 == 0 { &two.one } else { &two.other }, format!("m{number}"))
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(two.one.api_key("ci").await.unwrap().metadata.len(), 8);
}

#[tokio::test]
async fn a_list_has_those_that_were_asked_for() {
    let two = Two::open().await;
    let owned = CreateApiKey {
        name: "owned".to_owned(),
        issuer: Some("https://i".to_owned()),
        subject: Some("42".to_owned()),
        ..ci()
    };
    created(&two.one, owned).await;
    let ending = CreateApiKey { name: "ending".to_owned(), expires_in_seconds: Some(DAY), ..ci() };
    created(&two.one, ending).await;
    let off = created(&two.one, CreateApiKey { name: "off".to_owned(), ..ci() }).await.view.id;
    two.one.change_api_key("off", ApiKeyAction::Disable).await.unwrap();
    two.clock.advance(3600);
    let list = async |filter: ApiKeyFilter| {
        let list = two.one.api_keys(&filter).await.unwrap();
        assert_eq!(list.next, None);
        let mut names: Vec<String> = list.api_keys.into_iter().map(|key| key.name).collect();
        names.sort();
        names.join(" ")
    };
    let all = ApiKeyFilter::default;
    assert_eq!(list(all()).await, "ending off owned");
    let disabled = ApiKeyFilter { state: Some(ApiKeyState::Disabled), ..all() };
    assert_eq!(list(disabled).await, "off");
    let of_42 = ApiKeyFilter { subject: Some("42".to_owned()), ..all() };
    assert_eq!(list(of_42).await, "owned");
    for (within, expected) in [(DAY, "ending"), (3600, "")] {
        let filter = ApiKeyFilter { expiring_within_seconds: Some(within), ..all() };
        assert_eq!(list(filter).await, expected);
    }
    for (days, expected) in [(0, "ending off owned"), (1, "")] {
        let filter = ApiKeyFilter { unused_days: Some(days), ..all() };
        assert_eq!(list(filter).await, expected);
    }
    two.one.change_api_key(&off, ApiKeyAction::Revoke).await.unwrap();
    assert!(two.one.api_key(&off).await.unwrap().revoked_at.is_some());
}

/// A check that a digest of an imported key is neither the key nor its hash.
#[test]
fn the_digest_of_an_imported_key_depends_on_the_digest_key() {
    let (one, other) = (Secret::new(vec![1; 32]), Secret::new(vec![2; 32]));
    let sha256 = [7; 32];
    let digest = ApiKeyDigest::of_imported(&sha256, &one);
    assert!(digest != ApiKeyDigest::of_imported(&sha256, &other) && digest.bytes() != &sha256);
}
