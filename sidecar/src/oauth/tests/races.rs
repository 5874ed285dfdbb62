//! What must happen once, asked for many times at once at two sidecars of one store, of either kind.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::proofs::ProofKey;
use super::{ClientKey, OWN, form, object, service, usage};
use crate::accounts::Password;
use crate::clock::Clock;
use crate::oauth::request::JWT_BEARER;
use crate::oauth::{ClientError, LoginRequest, OAuthError, OAuthRequest, TokenService};
use crate::random::Random;
use crate::seal::StoreKeys;
use crate::store::StoreError;
use crate::store::shared::{SharedStore, at_once};

/// How many ask at once.
const MANY: usize = 8;
/// How often it is tried: a race is not lost each time.
const ROUNDS: usize = 4;
const PASSWORD: &str = "correct horse battery staple";

/// Two sidecars on one store.
struct Two {
    services: [Arc<TokenService>; 2],
    clock: Clock,
    _store: SharedStore,
}

impl Two {
    async fn on(store: SharedStore) -> Self {
        let keys = StoreKeys::parse(&StoreKeys::generate(Random::system()).unwrap()).unwrap();
        // Redis ends entries by its own clock.
        let clock = Clock::manual(Clock::system().now());
        let usage = usage(&clock);
        let [one, other] = &store.stores;
        let one = service((one, &keys, &clock), &usage, json!({})).await;
        let other = service((other, &keys, &clock), &usage, json!({})).await;
        Self { services: [Arc::new(one), Arc::new(other)], clock, _store: store }
    }

    /// Does something many times at once, at either sidecar in turn.
    async fn at_once<T, F>(&self, task: impl Fn(usize, Arc<TokenService>) -> F) -> Vec<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        at_once(&self.services, MANY, task).await
    }

    /// Shows one request many times at once; what came of each, sorted.
    async fn shown_at_once(&self, request: &OAuthRequest) -> Vec<&'static str> {
        let shown = self.at_once(|_, service| {
            let request = request.clone();
            async move { service.token(&request).await.map_or_else(|error| error.code(), |_| "ok") }
        });
        let mut words = shown.await;
        words.sort_unstable();
        words
    }

    /// Alice, a first-party application, and the refresh tokens of some logins.
    async fn logins(&self, count: usize) -> (super::CreatedClient, Vec<String>) {
        let [service, _] = &self.services;
        let alice = json!({"name": "alice", "password": PASSWORD});
        service.accounts.create(serde_json::from_value(alice).unwrap()).await.unwrap();
        let app = json!({"client_id": "app", "first_party": true});
        let app = service.clients().create(object(app)).await.unwrap();
        let mut tokens = Vec::new();
        for _ in 0..count {
            let asked = LoginRequest {
                request: form(&[]).by_secret(&app),
                name: "alice".to_owned(),
                password: Password::new(PASSWORD.to_owned()),
                device: None,
            };
            tokens.push(refresh_token(&service.login(asked).await.unwrap().body));
        }
        (app, tokens)
    }
}

fn refresh_token(answer: &str) -> String {
    let answer: Value = serde_json::from_str(answer).unwrap();
    answer["refresh_token"].as_str().unwrap().to_owned()
}

fn refresh(app: &super::CreatedClient, token: &str) -> OAuthRequest {
    form(&[("grant_type", "refresh_token"), ("refresh_token", token)]).by_secret(app)
}

/// One that was taken, and all others refused with this code.
fn one_ok(code: &'static str) -> Vec<&'static str> {
    let mut words = vec![code; MANY - 1];
    words.push("ok");
    words.sort_unstable();
    words
}

async fn of_many_that_show_one_assertion_one_gets_in(two: &Two) {
    let key = ClientKey::new();
    let method = "private_key_jwt";
    let job = json!({"client_id": "job", "token_endpoint_auth_method": method, "jwks": key.jwks()});
    two.services[0].clients().create(object(job)).await.unwrap();
    for round in 0..ROUNDS {
        let until = two.clock.now().plus(60).0;
        let assertion = key.assertion_until("job", &format!("id {round}"), until);
        let kind = ("client_assertion_type", JWT_BEARER);
        let request = form(&[OWN, kind, ("client_assertion", &assertion)]);
        assert_eq!(two.shown_at_once(&request).await, one_ok("invalid_client"), "{round}");
    }
}

async fn of_many_that_show_one_proof_one_gets_a_token(two: &Two) {
    let client = object(json!({"client_id": "a"}));
    let client = two.services[0].clients().create(client).await.unwrap();
    let key = ProofKey::new();
    for round in 0..ROUNDS {
        let now = json!({"iat": two.clock.now().0});
        let proof = key.proof("/oauth2/token", &format!("id {round}"), now);
        let request = form(&[OWN]).by_secret(&client).with_proof(&proof);
        assert_eq!(two.shown_at_once(&request).await, one_ok("invalid_dpop_proof"), "{round}");
    }
}

async fn of_many_that_register_one_client_one_does(two: &Two) {
    for round in 0..ROUNDS {
        let made = two.at_once(|number, service| async move {
            let client =
                json!({"client_id": format!("c{round}"), "client_name": number.to_string()});
            service.clients().create(object(client)).await
        });
        let (made, refused): (Vec<_>, Vec<_>) = made.await.into_iter().partition(Result::is_ok);
        assert!(refused.iter().all(|it| matches!(it, Err(ClientError::IdTaken))), "{round}");
        let [Ok(made)] = made.as_slice() else { panic!("{} made one client", made.len()) };
        for service in &two.services {
            // What stands is of the one who was told so.
            let stands = service.clients().show(&made.view.client_id).await.unwrap();
            assert_eq!(stands.metadata.client_name, made.view.metadata.client_name);
            assert!(service.token(&form(&[OWN]).by_secret(made)).await.is_ok());
        }
    }
}

async fn of_clients_and_users_that_want_one_id_one_gets_it(two: &Two) {
    let user =
        |name: String, id: String| serde_json::from_value(json!({"name": name, "id": id})).unwrap();
    // Users with such names and ids are made, where nobody is in the way.
    let free = user("user9x9".to_owned(), "id9".to_owned());
    two.services[0].accounts.create(free).await.unwrap();
    for round in 0..ROUNDS {
        let made = two.at_once(|number, service| async move {
            let id = format!("id{round}");
            if number % 4 < 2 {
                return service.clients().create(object(json!({"client_id": id}))).await.is_ok();
            }
            service.accounts.create(user(format!("user{round}x{number}"), id)).await.is_ok()
        });
        assert_eq!(made.await.into_iter().filter(|made| *made).count(), 1, "{round}");
    }
}

async fn changes_of_a_client_at_once_are_not_lost_unnoticed(two: &Two) {
    for round in 0..ROUNDS {
        let id = format!("c{round}");
        two.services[0].clients().create(object(json!({"client_id": id}))).await.unwrap();
        let changed = two.at_once(|number, service| {
            let id = id.clone();
            async move {
                let patch = [json!({"client_name": "A"}), json!({"scope": "read"})];
                let is_name = number % 4 < 2;
                let patch = object(patch[usize::from(!is_name)].clone());
                (is_name, service.clients().update(&id, patch).await)
            }
        });
        let mut done = BTreeSet::new();
        for (is_name, outcome) in changed.await {
            match outcome {
                Ok(_) => {
                    done.insert(is_name);
                }
                Err(ClientError::Store(StoreError::Changed)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        let stands = two.services[1].clients().show(&id).await.unwrap().metadata;
        let there = [stands.client_name.map(|_| true), stands.scope.map(|_| false)];
        assert_eq!(done, there.into_iter().flatten().collect(), "{round}");
        assert!(!done.is_empty(), "{round}");
    }
}

async fn of_many_that_refresh_at_once_all_get_one_answer(two: &Two) {
    let (app, tokens) = two.logins(ROUNDS).await;
    for token in tokens {
        let refreshed = two.at_once(|_, service| {
            let request = refresh(&app, &token);
            async move { service.token(&request).await.map(|answer| answer.body.to_string()) }
        });
        let answers: BTreeSet<String> = refreshed.await.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers.len(), 1, "one live branch");
        let next = refresh_token(answers.first().unwrap());
        assert_ne!(next, token);
        assert!(two.services[1].token(&refresh(&app, &next)).await.is_ok());
        // Now the first is one of long ago, whoever comes with it, and however many at once.
        let old = refresh(&app, &token);
        assert_eq!(two.shown_at_once(&old).await, ["invalid_grant"; MANY]);
        assert_eq!(two.shown_at_once(&refresh(&app, &next)).await, ["invalid_grant"; MANY]);
    }
}

async fn of_many_that_come_with_an_old_token_one_is_told_to_the_operators(two: &Two) {
    let (app, tokens) = two.logins(ROUNDS).await;
    for token in tokens {
        two.services[0].token(&refresh(&app, &token)).await.unwrap();
        two.clock.advance(11);
        let shown = two.at_once(|_, service| {
            let request = refresh(&app, &token);
            async move { service.token(&request).await.map(drop) }
        });
        let shown = shown.await;
        let alarms = shown
            .iter()
            .filter(|it| matches!(it, Err(OAuthError::LoginEnded(ended)) if ended.is_alarming()));
        assert_eq!(alarms.count(), 1, "{shown:?}");
        assert!(shown.iter().all(|it| it.as_ref().is_err_and(|it| it.code() == "invalid_grant")));
    }
}

async fn a_login_that_is_ended_while_it_is_refreshed_is_over(two: &Two) {
    let (app, tokens) = two.logins(ROUNDS).await;
    for token in tokens {
        let outcomes = two.at_once(|number, service| {
            let request = refresh(&app, &token);
            let end = form(&[("token", &token)]).by_secret(&app);
            async move {
                if number % 4 < 2 {
                    return service.revoke(&end).await.map(|_| None);
                }
                service.token(&request).await.map(|answer| Some(refresh_token(&answer.body)))
            }
        });
        let outcomes = outcomes.await;
        let mut given = vec![token];
        for outcome in outcomes {
            match outcome {
                Ok(next) => given.extend(next),
                Err(error) => assert_eq!(error.code(), "invalid_grant"),
            }
        }
        for token in given {
            assert_eq!(two.shown_at_once(&refresh(&app, &token)).await, ["invalid_grant"; MANY]);
        }
    }
}

macro_rules! on_both_stores {
    ($($test:ident)+) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() { super::$test(&super::Two::on(super::SharedStore::embedded().await).await).await; })+
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() { super::$test(&super::Two::on(super::SharedStore::redis().await).await).await; })+
        }
    };
}

on_both_stores! {
    of_many_that_show_one_assertion_one_gets_in
    of_many_that_show_one_proof_one_gets_a_token
    of_many_that_register_one_client_one_does
    of_clients_and_users_that_want_one_id_one_gets_it
    changes_of_a_client_at_once_are_not_lost_unnoticed
    of_many_that_refresh_at_once_all_get_one_answer
    of_many_that_come_with_an_old_token_one_is_told_to_the_operators
    a_login_that_is_ended_while_it_is_refreshed_is_over
}
