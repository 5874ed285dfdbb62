#![expect(clippy::arithmetic_side_effects, reason = "tests")]

mod change;
mod create;
mod import;
mod login;
mod races;
mod throttle;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};
use wardgate_core::time::UnixSeconds;

use super::{
    AccountGround, AccountSettings, Accounts, CreateUser, HashParameters, LoginAttempt, LoginError,
    LoginLimits, Password, PasswordRules, User,
};
use crate::audit::AuditSink;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::random::Random;
use crate::seal::StoreKeys;
use crate::store::{Embedded, Store};

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
const GOOD: &str = "correct horse battery staple";
const BETTER: &str = "purple monkey dishwasher lamp";
const ISSUER: &str = "https://auth.example.com";

/// As little work as there can be.
const SMALL: HashParameters = HashParameters::Argon2id { memory_kib: 64, passes: 1, lanes: 1 };

pub(crate) fn settings() -> AccountSettings {
    AccountSettings {
        parameters: SMALL,
        at_once: 2,
        waiting: 64,
        rules: PasswordRules { min_letters: 8, min_score: 3, for_bcrypt: false, leaked: None },
        limits: LoginLimits {
            per_network: 3,
            per_address: 6,
            per_account: 10,
            max_delay_seconds: 900,
            forget_seconds: 86_400,
            remember_seconds: 1_000_000,
        },
        keep_seconds: 1000,
        social_providers: vec!["github".to_owned()],
    }
}

/// Users, and what can be seen of them from outside.
struct World {
    directory: tempfile::TempDir,
    clock: Clock,
    metrics: Arc<Metrics>,
    store_keys: StoreKeys,
    store: Arc<dyn Store>,
    accounts: Accounts,
}

impl World {
    async fn new() -> Self {
        Self::with(settings()).await
    }

    async fn with(settings: AccountSettings) -> Self {
        let (directory, clock) = (tempfile::tempdir().unwrap(), Clock::manual(NOW));
        let file = directory.path().join("store.redb");
        let store = Embedded::open_with(&file, clock.clone(), Random::system()).unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let keys = StoreKeys::parse(&StoreKeys::generate(Random::system()).unwrap()).unwrap();
        let metrics = Arc::new(Metrics::new());
        let audit = audit(directory.path(), &clock, &metrics);
        let parts = (&store, &keys, &clock, &metrics);
        let accounts = accounts(parts, Some(audit), settings).await;
        Self { directory, clock, metrics, store_keys: keys, store, accounts }
    }

    /// The same users with other settings, as after a restart.
    async fn again(&self, settings: AccountSettings) -> Accounts {
        accounts((&self.store, &self.store_keys, &self.clock, &self.metrics), None, settings).await
    }

    async fn alice(&self) -> User {
        self.accounts.create(user("alice")).await.unwrap()
    }

    /// The events of the audit log.
    fn events(&self) -> Vec<Map<String, Value>> {
        let text = std::fs::read_to_string(self.directory.path().join("audit.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn audit(directory: &Path, clock: &Clock, metrics: &Arc<Metrics>) -> Arc<AuditSink> {
    let file = directory.join("audit.jsonl");
    Arc::new(AuditSink::open(&file, 0, clock.clone(), Arc::clone(metrics)).unwrap())
}

async fn accounts(
    (store, keys, clock, metrics): (&Arc<dyn Store>, &StoreKeys, &Clock, &Arc<Metrics>),
    audit: Option<Arc<AuditSink>>,
    settings: AccountSettings,
) -> Accounts {
    let ground = AccountGround {
        store: Arc::clone(store),
        store_keys: keys.clone(),
        issuer: ISSUER.to_owned(),
        clock: clock.clone(),
        random: Random::system(),
        metrics: Arc::clone(metrics),
        audit,
    };
    Accounts::open(ground, settings).await.unwrap()
}

fn password(text: &str) -> Password {
    Password::new(text.to_owned())
}

fn user(name: &str) -> CreateUser {
    CreateUser {
        name: name.to_owned(),
        password: Some(password(GOOD)),
        roles: vec!["viewer".to_owned()],
        ..CreateUser::default()
    }
}

fn attempt(name: &str, text: &str, address: &str) -> LoginAttempt {
    let address = address.parse::<IpAddr>().ok();
    LoginAttempt { name: name.to_owned(), password: password(text), address }
}

/// What came of an attempt, in a word or the seconds to wait.
fn word(result: &Result<User, LoginError>) -> String {
    match result {
        Ok(_) => "in".to_owned(),
        Err(LoginError::WrongCredentials) => "wrong".to_owned(),
        Err(LoginError::Throttled { retry_after_seconds }) => format!("wait {retry_after_seconds}"),
        Err(LoginError::Busy { .. }) => "busy".to_owned(),
        Err(error) => error.to_string(),
    }
}

impl World {
    async fn try_from(&self, name: &str, text: &str, address: &str) -> String {
        word(&self.accounts.login(attempt(name, text, address)).await)
    }
}
