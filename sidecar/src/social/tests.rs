#![expect(clippy::arithmetic_side_effects, reason = "tests")]

mod server;
mod usage;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use wardgate_core::config::{At, Problems, Read as _};
use wardgate_core::secret::Secret;
use wardgate_core::time::UnixSeconds;

use self::server::{Manner, Provider};
use super::{
    ClearToken, FetchError, Ground, KeepError, KeepSocialTokens, ProviderSettings, SocialVault,
};
use crate::clock::Clock;
use crate::config::{SecureUrl, SocialAuthMethod, StoreSettings, UsageSection, store_settings};
use crate::metrics::Metrics;
use crate::random::Random;
use crate::seal::StoreKeys;
use crate::social::SocialState;
use crate::store::redis_servers::Server;
use crate::store::{Embedded, Redis, Store, Table, Transaction};
use crate::usage::UsageRecorder;

const ISSUER: &str = "https://auth.example.com";

/// Some sidecars on one store, and the provider.
struct Stand {
    store: Arc<dyn Store>,
    keys: StoreKeys,
    clock: Clock,
    provider: Provider,
    settings: ProviderSettings,
    usage: Arc<UsageRecorder>,
}

impl Stand {
    async fn new(store: Arc<dyn Store>, clock: Clock, manner: Manner) -> Self {
        let keys = StoreKeys::parse(&StoreKeys::generate(Random::system()).unwrap()).unwrap();
        let provider = Provider::start(manner).await;
        let url = json!(format!("http://{}/token", provider.address));
        let settings = ProviderSettings {
            token_endpoint: SecureUrl::read(&url, &At::ROOT, &mut Problems::new()).unwrap(),
            client_id: "our id".to_owned(),
            client_secret: Some(Secret::new(b"our:secret".to_vec())),
            auth_method: SocialAuthMethod::Basic,
            rotates_refresh_tokens: true,
            clients: vec!["photos".to_owned()],
            ca_pem: None,
        };
        let users = Transaction::new().put(Table::Users, "alice", "{}");
        store.commit(users).await.unwrap();
        let usage = UsageRecorder::new(&UsageSection::default(), clock.clone(), &Metrics::new());
        Self { store, keys, clock, provider, settings, usage: Arc::new(usage) }
    }

    async fn embedded(directory: &Path, manner: Manner) -> Self {
        let clock = Clock::manual(UnixSeconds(1_000_000));
        let path = directory.join("store.redb");
        let store = Embedded::open_with(&path, clock.clone(), Random::system()).unwrap();
        Self::new(Arc::new(store), clock, manner).await
    }

    /// One more sidecar.
    fn vault(&self) -> SocialVault {
        let ground = Ground {
            store: Arc::clone(&self.store),
            store_keys: self.keys.clone(),
            clock: self.clock.clone(),
            random: Random::system(),
            issuer: ISSUER.to_owned(),
            usage: Some(Arc::clone(&self.usage)),
        };
        let providers = BTreeMap::from([("forge".to_owned(), self.settings.clone())]);
        SocialVault::new(ground, providers).unwrap()
    }
}

fn tokens(refresh_token: Option<&str>) -> KeepSocialTokens {
    KeepSocialTokens {
        access_token: ClearToken::new("access-0".to_owned()),
        refresh_token: refresh_token.map(|token| ClearToken::new(token.to_owned())),
        expires_in: Some(3600),
        scope: Some("photos".to_owned()),
    }
}

async fn keep(vault: &SocialVault) {
    vault.keep("alice", "forge", tokens(Some("refresh-0"))).await.unwrap();
}

async fn fetch(vault: &SocialVault) -> Result<String, FetchError> {
    let fetched = vault.fetch("alice", "forge", "photos").await;
    fetched.map(|token| token.access_token.to_string())
}

#[tokio::test]
async fn a_token_is_handed_out_as_it_is_until_it_is_about_to_end() {
    let directory = tempfile::tempdir().unwrap();
    let stand = Stand::embedded(directory.path(), Manner::Rotates).await;
    let vault = stand.vault();
    keep(&vault).await;
    let given = vault.fetch("alice", "forge", "photos").await.unwrap();
    assert_eq!(given.expires_at, Some(stand.clock.now().plus(3600)));
    assert_eq!(given.scope.as_deref(), Some("photos"));
    stand.clock.advance(3539);
    assert_eq!(fetch(&vault).await.unwrap(), "access-0");
    assert_eq!(stand.provider.times(), 0);
    stand.clock.advance(1);
    assert_eq!(fetch(&vault).await.unwrap(), "access-1");
    stand.clock.advance(3540);
    assert_eq!(fetch(&vault).await.unwrap(), "access-2");
    let asked = stand.provider.asked();
    assert_eq!(
        asked.forms,
        [
            "grant_type=refresh_token&refresh_token=refresh-0",
            "grant_type=refresh_token&refresh_token=refresh-1"
        ]
    );
    // `our%20id:our%3Asecret`, RFC 6749 §2.3.1.
    let head = &asked.heads[0];
    assert!(head.contains("authorization: Basic b3VyJTIwaWQ6b3VyJTNBc2VjcmV0\r\n"), "{head}");
    assert!(head.contains("accept: application/json\r\n"), "{head}");
}

#[tokio::test]
async fn only_clients_of_the_configuration_get_tokens() {
    let directory = tempfile::tempdir().unwrap();
    let stand = Stand::embedded(directory.path(), Manner::Rotates).await;
    let vault = stand.vault();
    keep(&vault).await;
    for (user, provider, client) in
        [("alice", "forge", "mail"), ("bob", "forge", "mail"), ("alice", "other", "photos")]
    {
        let fetched = vault.fetch(user, provider, client).await;
        assert!(matches!(fetched, Err(FetchError::NotPermitted)), "{user} {provider} {client}");
    }
    let fetched = vault.fetch("bob", "forge", "photos").await;
    assert!(matches!(fetched, Err(FetchError::Unknown)));
}

#[tokio::test]
async fn tokens_are_kept_sealed_listed_without_themselves_and_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let stand = Stand::embedded(directory.path(), Manner::Rotates).await;
    let vault = stand.vault();
    keep(&vault).await;
    let stands = stand.store.get(Table::SocialTokens, "alice/forge").await.unwrap().unwrap();
    assert!(!String::from_utf8(stands.clone()).unwrap().contains("access-0"));
    let list = vault.list("alice").await.unwrap();
    let shown = serde_json::to_string(&list).unwrap();
    assert!(shown.contains("forge") && !shown.contains("access-0"), "{shown}");
    // What is one user's does not open as another's.
    let copied = Transaction::new().put(Table::Users, "mallory", "{}").put(
        Table::SocialTokens,
        "mallory/forge",
        stands,
    );
    stand.store.commit(copied).await.unwrap();
    let fetched = vault.fetch("mallory", "forge", "photos").await;
    assert!(matches!(fetched, Err(FetchError::Seal)));
    assert!(vault.forget("alice", "forge").await.unwrap());
    assert!(!vault.forget("alice", "forge").await.unwrap());
    assert!(vault.forget_all("alice").await.unwrap().social_tokens.is_empty());
    keep(&vault).await;
    assert_eq!(vault.forget_all("alice").await.unwrap().social_tokens.len(), 1);
    // Nobody else's are gone with them.
    assert_eq!(vault.list("mallory").await.unwrap().social_tokens.len(), 1);
    assert!(matches!(fetch(&vault).await, Err(FetchError::Unknown)));
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused_without_being_quoted() {
    let directory = tempfile::tempdir().unwrap();
    let stand = Stand::embedded(directory.path(), Manner::Rotates).await;
    let vault = stand.vault();
    let kept = async |user: &str, provider: &str, access_token: &str| {
        let tokens = KeepSocialTokens {
            access_token: ClearToken::new(access_token.to_owned()),
            ..tokens(None)
        };
        vault.keep(user, provider, tokens).await.unwrap_err()
    };
    assert!(matches!(kept("alice", "other", "secret").await, KeepError::UnknownProvider));
    assert!(matches!(kept("bob", "forge", "secret").await, KeepError::UnknownUser));
    let error = kept("alice", "forge", &"secret".repeat(3000)).await;
    assert!(matches!(error, KeepError::Invalid(_)) && !error.to_string().contains("secret"));
    assert!(matches!(kept("alice", "forge", "").await, KeepError::Invalid(_)));
}

#[tokio::test]
async fn without_a_refresh_token_the_user_must_log_in_again_once_it_is_over() {
    let directory = tempfile::tempdir().unwrap();
    let stand = Stand::embedded(directory.path(), Manner::Rotates).await;
    let vault = stand.vault();
    vault.keep("alice", "forge", tokens(None)).await.unwrap();
    stand.clock.advance(3599);
    assert_eq!(fetch(&vault).await.unwrap(), "access-0");
    stand.clock.advance(1);
    assert!(matches!(fetch(&vault).await, Err(FetchError::LoginNeeded)));
    let list = vault.list("alice").await.unwrap().social_tokens;
    assert_eq!(list[0].state, SocialState::LoginNeeded);
}

#[tokio::test]
async fn a_provider_that_fails_is_asked_again_later_and_one_that_refuses_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let stand = Stand::embedded(directory.path(), Manner::Fails(503)).await;
    let vault = stand.vault();
    keep(&vault).await;
    // While the old one lives it is better than none.
    stand.clock.advance(3590);
    assert_eq!(fetch(&vault).await.unwrap(), "access-0");
    assert_eq!(fetch(&vault).await.unwrap(), "access-0");
    assert_eq!(stand.provider.times(), 1);
    stand.clock.advance(10);
    assert!(matches!(fetch(&vault).await, Err(FetchError::Unavailable(_))));
    assert!(matches!(fetch(&vault).await, Err(FetchError::Unavailable(_))));
    assert_eq!(stand.provider.times(), 2);
    stand.provider.behave(Manner::Refuses);
    stand.clock.advance(2);
    assert!(matches!(fetch(&vault).await, Err(FetchError::LoginNeeded)));
    stand.clock.advance(100);
    assert!(matches!(fetch(&vault).await, Err(FetchError::LoginNeeded)));
    assert_eq!(stand.provider.times(), 3);
    // Until the user has logged in.
    keep(&vault).await;
    assert_eq!(fetch(&vault).await.unwrap(), "access-0");
}

#[tokio::test]
async fn a_refresh_token_whose_answer_was_lost_is_not_sent_again_where_it_rotates() {
    let directory = tempfile::tempdir().unwrap();
    let mut stand = Stand::embedded(directory.path(), Manner::HangsUp).await;
    let vault = stand.vault();
    keep(&vault).await;
    stand.clock.advance(3600);
    assert!(matches!(fetch(&vault).await, Err(FetchError::LoginNeeded)));
    stand.provider.behave(Manner::Rotates);
    stand.clock.advance(1000);
    assert!(matches!(fetch(&vault).await, Err(FetchError::LoginNeeded)));
    assert_eq!(stand.provider.times(), 1);
    // Where it does not, it is.
    stand.settings.rotates_refresh_tokens = false;
    let vault = stand.vault();
    keep(&vault).await;
    stand.provider.behave(Manner::HangsUp);
    stand.clock.advance(3600);
    assert!(matches!(fetch(&vault).await, Err(FetchError::Unavailable(_))));
    stand.provider.behave(Manner::Keeps);
    stand.clock.advance(2);
    assert_eq!(fetch(&vault).await.unwrap(), "access-3");
    stand.clock.advance(3600);
    assert_eq!(fetch(&vault).await.unwrap(), "access-4");
    assert!(stand.provider.asked().forms.iter().all(|form| form.ends_with("refresh-0")));
}

#[tokio::test]
async fn a_sidecar_that_died_while_it_asked_is_waited_for_and_then_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let mut stand = Stand::embedded(directory.path(), Manner::Rotates).await;
    for rotates in [true, false] {
        stand.settings.rotates_refresh_tokens = rotates;
        let vault = stand.vault();
        keep(&vault).await;
        stand.clock.advance(3600);
        // As the record stands when a sidecar has just begun to ask.
        let stands = stand.store.get(Table::SocialTokens, "alice/forge").await.unwrap().unwrap();
        let mut record: serde_json::Value = serde_json::from_slice(&stands).unwrap();
        let until = stand.clock.now_milliseconds() + 30_000;
        record["lease"] = json!({"holder": "dead", "until_milliseconds": until});
        let put = Transaction::new().put(Table::SocialTokens, "alice/forge", record.to_string());
        stand.store.commit(put).await.unwrap();
        let times = stand.provider.times();
        let waiting = tokio::spawn(async move { fetch(&vault).await });
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        assert_eq!(stand.provider.times(), times, "another asks");
        stand.clock.advance(30);
        let fetched = waiting.await.unwrap();
        if rotates {
            assert!(matches!(fetched, Err(FetchError::LoginNeeded)));
        } else {
            assert!(fetched.is_ok());
        }
    }
}

/// Fifty askers at two sidecars: the provider is asked once, and never twice with one token.
async fn fifty_that_ask_at_once_make_one_refresh(stand: &Stand) {
    let vaults = [stand.vault(), stand.vault()];
    keep(&vaults[0]).await;
    for round in 1..4 {
        stand.clock.advance(3600);
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..50 {
            let vault = vaults[number % 2].clone();
            tasks.spawn(async move { fetch(&vault).await.unwrap() });
        }
        let expected = format!("access-{round}");
        assert!(tasks.join_all().await.iter().all(|token| *token == expected));
        assert_eq!(stand.provider.times(), round);
    }
    assert!(!stand.provider.was_shown_one_twice());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_that_ask_at_once_make_one_refresh_on_the_embedded_store() {
    let directory = tempfile::tempdir().unwrap();
    let stand = Stand::embedded(directory.path(), Manner::Rotates).await;
    fifty_that_ask_at_once_make_one_refresh(&stand).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_that_ask_at_once_make_one_refresh_on_a_redis() {
    let server = tokio::task::spawn_blocking(|| Server::start(&[])).await.unwrap();
    let section = json!({"store": {"redis": {"urls": [server.url()]}}});
    let settings = store_settings(&section, Path::new("/"), &mut Problems::new());
    let Some(StoreSettings::Redis(settings)) = settings else { panic!("{section}") };
    let store = Redis::open(&settings, Random::system()).await.unwrap();
    let clock = Clock::manual(Clock::system().now());
    let stand = Stand::new(Arc::new(store), clock, Manner::Rotates).await;
    fifty_that_ask_at_once_make_one_refresh(&stand).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asked_may_hang_up_and_the_answer_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let stand = Stand::embedded(directory.path(), Manner::Rotates).await;
    let vault = stand.vault();
    keep(&vault).await;
    stand.clock.advance(3600);
    stand.provider.hold(true);
    let asking = vault.clone();
    let task = tokio::spawn(async move { fetch(&asking).await });
    // Sent, and not yet answered.
    while stand.lease().await.is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    task.abort();
    stand.provider.hold(false);
    assert_eq!(fetch(&vault).await.unwrap(), "access-1");
    assert_eq!(stand.provider.times(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_are_sealed_anew_while_a_provider_is_asked_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let stand = Stand::embedded(directory.path(), Manner::Rotates).await;
    let vault = stand.vault();
    keep(&vault).await;
    stand.clock.advance(3600);
    stand.provider.hold(true);
    let asking = vault.clone();
    let task = tokio::spawn(async move { fetch(&asking).await });
    while stand.lease().await.is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    // Another text of the same tokens, as after a change of the store keys.
    let stands = stand.store.get(Table::SocialTokens, "alice/forge").await.unwrap().unwrap();
    let mut record: serde_json::Value = serde_json::from_slice(&stands).unwrap();
    let sealed = serde_json::from_value(record["sealed"].clone()).unwrap();
    let opened = stand.keys.open("social-tokens alice/forge", &sealed).unwrap();
    let anew = stand.keys.seal("social-tokens alice/forge", &opened, stand.clock.now()).unwrap();
    record["sealed"] = json!(anew);
    let put = Transaction::new().same(Table::SocialTokens, "alice/forge", stands).put(
        Table::SocialTokens,
        "alice/forge",
        record.to_string(),
    );
    stand.store.commit(put).await.unwrap();
    stand.provider.hold(false);
    assert_eq!(task.await.unwrap().unwrap(), "access-1");
    stand.clock.advance(3600);
    assert_eq!(fetch(&vault).await.unwrap(), "access-2");
    assert!(!stand.provider.was_shown_one_twice());
}

impl Stand {
    async fn lease(&self) -> Option<serde_json::Value> {
        let stands = self.store.get(Table::SocialTokens, "alice/forge").await.unwrap().unwrap();
        let record: serde_json::Value = serde_json::from_slice(&stands).unwrap();
        record.get("lease").cloned()
    }
}
