//! Issuers that rotate, lie, are slow, are away.

mod server;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use wardgate_core::config::Bounded;
use wardgate_core::time::UnixSeconds;
use wardgate_core::wire::feed::UnknownKey;

use super::fetch::FetchError;
use super::key_set::KeySetError;
use super::refresh::RefreshError;
use super::{Issuers, Source, Sources};
use crate::clock::Clock;
use crate::config::IssuersSection;
use crate::metrics::Metrics;
use crate::outgoing::OutgoingError;
use crate::random::Random;
use crate::store::{Embedded, LogPage, Store};
use server::{Answer, Server};

/// Whether it is the error that is expected.
type Right = fn(&RefreshError) -> bool;

/// Longest wait for something that takes milliseconds.
const DEADLINE: Duration = Duration::from_mins(1);

struct Home {
    _directory: tempfile::TempDir,
    store: Arc<dyn Store>,
    clock: Clock,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Embedded::open(&directory.path().join("store.redb")).unwrap());
        let clock = Clock::manual(UnixSeconds(1_800_000_000));
        Self { _directory: directory, store, clock }
    }

    /// The issuers of a sidecar that starts.
    fn issuers(&self, ca_file: Option<&std::path::Path>) -> Arc<Issuers> {
        let section = IssuersSection {
            allow_http: true,
            timeout_milliseconds: Bounded(1000),
            ..IssuersSection::default()
        };
        let parts = (Arc::clone(&self.store), self.clock.clone(), Random::system());
        let metrics = Arc::new(Metrics::new());
        Arc::new(Issuers::new(&section, ca_file, parts, metrics).unwrap())
    }

    /// How many changes the log has told of.
    async fn told(&self) -> u64 {
        self.store.log_head().await.unwrap().sequence
    }
}

/// A key that nobody has the private part of.
fn key(kid: &str) -> Value {
    let x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    let y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
    json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": x, "y": y, "x5c": ["AAAA"]})
}

fn set(kids: &[&str]) -> String {
    json!({"keys": kids.iter().map(|kid| key(kid)).collect::<Vec<_>>()}).to_string()
}

fn follow(issuers: &Arc<Issuers>, issuer: &str, source: Source) {
    issuers.follow_policy(&Sources::from([(issuer.to_owned(), source)]));
}

async fn kids(issuers: &Issuers) -> Vec<String> {
    let sets = issuers.key_sets().await.unwrap();
    let keys = sets.iter().flat_map(|set| set.jwks["keys"].as_array().unwrap());
    keys.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

async fn until(issuers: &Issuers, expected: &[&str]) {
    let reached = tokio::time::timeout(DEADLINE, async {
        while kids(issuers).await != expected {
            tokio::task::yield_now().await;
        }
    });
    reached.await.unwrap();
}

#[tokio::test]
async fn keys_are_fetched_and_a_new_one_is_when_it_is_seen() {
    let home = Home::new();
    let server = Server::start(Answer::json(set(&["one"]))).await;
    let issuers = home.issuers(None);
    follow(&issuers, "https://corp", Source::Uri(server.url("/keys")));
    until(&issuers, &["one"]).await;
    assert_eq!((server.asked(), home.told().await), (1, 1));
    let sets = issuers.key_sets().await.unwrap();
    assert_eq!(sets[0].jwks["keys"][0].get("x5c"), None, "only what filters need");

    server.say(Answer::json(set(&["two", "one"])));
    let unknown = |issuer: &str, key_id: &str| UnknownKey {
        issuer: issuer.to_owned(),
        key_id: key_id.to_owned(),
    };
    assert!(!issuers.unknown_key(&unknown("https://corp", "one")).await.unwrap(), "it is known");
    assert!(!issuers.unknown_key(&unknown(&server.url(""), "two")).await.unwrap(), "no issuer");
    assert!(issuers.unknown_key(&unknown("https://corp", "two")).await.unwrap());
    until(&issuers, &["one", "two"]).await;
    assert_eq!((server.asked(), home.told().await), (2, 2));
    // Made-up names cost the issuer one more question, and no more.
    assert!(issuers.unknown_key(&unknown("https://corp", "x")).await.unwrap());
    for n in 0..100 {
        assert!(!issuers.unknown_key(&unknown("https://corp", &n.to_string())).await.unwrap());
    }
}

#[tokio::test]
async fn the_same_keys_in_another_order_are_no_news() {
    let home = Home::new();
    let server = Server::start(Answer::json(set(&["one", "two"]))).await;
    let issuers = home.issuers(None);
    let source = Source::Uri(server.url("/keys"));
    issuers.refresh("https://corp", &source).await.unwrap();
    server.say(Answer::json(set(&["two", "one"])));
    issuers.refresh("https://corp", &source).await.unwrap();
    let LogPage::Entries { entries } =
        home.store.log_after(home.store.log_head().await.unwrap(), 10).await.unwrap()
    else {
        panic!("the head is in the log");
    };
    assert_eq!((entries.len(), home.told().await), (0, 1));
}

#[tokio::test]
async fn a_sidecar_that_starts_while_the_issuer_is_away_has_its_keys_for_a_day() {
    let home = Home::new();
    let server = Server::start(Answer::json(set(&["one"]))).await;
    let source = Source::Uri(server.url("/keys"));
    home.issuers(None).refresh("https://corp", &source).await.unwrap();
    server.say(Answer::status(503));
    let issuers = home.issuers(None);
    follow(&issuers, "https://corp", source.clone());
    assert_eq!(kids(&issuers).await, ["one"]);
    home.clock.advance(86_400);
    assert!(issuers.refresh("https://corp", &source).await.is_err());
    issuers.drop_if_old("https://corp", &source).await;
    assert_eq!(kids(&issuers).await, ["one"]);
    home.clock.advance(1);
    issuers.drop_if_old("https://corp", &source).await;
    assert_eq!((kids(&issuers).await.len(), home.told().await), (0, 2));
}

#[tokio::test]
async fn keys_of_an_old_address_do_not_count_at_a_new_one() {
    let home = Home::new();
    let server = Server::start(Answer::json(set(&["one"]))).await;
    let issuers = home.issuers(None);
    issuers.refresh("https://corp", &Source::Uri(server.url("/old"))).await.unwrap();
    server.say(Answer::status(404));
    follow(&issuers, "https://corp", Source::Uri(server.url("/new")));
    assert!(kids(&issuers).await.is_empty());
    issuers.follow_policy(&Sources::new());
    assert!(issuers.key_sets().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_no_key_set_changes_nothing() {
    let home = Home::new();
    let server = Server::start(Answer::json(set(&["one"]))).await;
    let issuers = home.issuers(None);
    let source = Source::Uri(server.url("/keys"));
    issuers.refresh("https://corp", &source).await.unwrap();
    let symmetric = json!({"keys": [{"kty": "oct", "k": "AAAA"}]}).to_string();
    let elsewhere = "http://127.0.0.1:1/keys";
    let cases: [(Answer, Right); 9] = [
        (Answer::status(500), |it| matches!(it, RefreshError::Fetch(FetchError::Status(500)))),
        (Answer::redirect(elsewhere), |it| matches!(it, RefreshError::Fetch(FetchError::Redirect))),
        (Answer::redirect("/again"), |it| matches!(it, RefreshError::Fetch(FetchError::Redirect))),
        (Answer::Silence, |it| {
            matches!(it, RefreshError::Fetch(FetchError::Outgoing(OutgoingError::Timeout)))
        }),
        (Answer::json("{".to_owned()), |it| matches!(it, RefreshError::KeySet(KeySetError::Json))),
        (Answer::json("{}".to_owned()), |it| {
            matches!(it, RefreshError::KeySet(KeySetError::Form(_)))
        }),
        (Answer::json(symmetric), |it| matches!(it, RefreshError::KeySet(KeySetError::NoKey(1)))),
        (Answer::json(set(&["k"; 65])), |it| {
            matches!(it, RefreshError::KeySet(KeySetError::Form(_)))
        }),
        (Answer::json(" ".repeat(600_000)), |it| {
            matches!(it, RefreshError::Fetch(FetchError::Outgoing(OutgoingError::Body(_))))
        }),
    ];
    for (answer, right) in cases {
        server.say(answer);
        let error = issuers.refresh("https://corp", &source).await.unwrap_err();
        assert!(right(&error), "{error:?}");
    }
    follow(&issuers, "https://corp", source);
    assert_eq!(kids(&issuers).await, ["one"]);
}

#[tokio::test]
async fn discovery_believes_the_issuer_only_about_itself() {
    let home = Home::new();
    let server = Server::start(Answer::status(404)).await;
    let issuers = home.issuers(None);
    let issuer = server.url("/tenant");
    let metadata = |issuer: &str, uri: &str| {
        Answer::Paths(vec![
            (
                "/tenant/.well-known/openid-configuration",
                json!({"issuer": issuer, "jwks_uri": uri}).to_string(),
            ),
            ("/keys", set(&["one"])),
        ])
    };
    for (named, uri) in [
        (server.url("/other"), server.url("/keys")),
        (format!("{issuer}/"), server.url("/keys")),
        (issuer.clone(), "file:///etc/passwd".to_owned()),
        (issuer.clone(), "http://192.0.2.1/keys".to_owned()),
    ] {
        server.say(metadata(&named, &uri));
        assert!(issuers.refresh(&issuer, &Source::Discover).await.is_err(), "{named} {uri}");
    }
    server.say(metadata(&issuer, &server.url("/keys")));
    issuers.refresh(&issuer, &Source::Discover).await.unwrap();
    follow(&issuers, &issuer, Source::Discover);
    assert_eq!(kids(&issuers).await, ["one"]);
}

#[tokio::test]
async fn only_the_authorities_of_the_file_are_trusted() {
    let home = Home::new();
    let server = Server::start_tls(Answer::json(set(&["one"]))).await;
    let directory = tempfile::tempdir().unwrap();
    let own = directory.path().join("own.pem");
    std::fs::write(&own, server.certificate()).unwrap();
    let source = Source::Uri(server.url("/keys"));
    home.issuers(Some(&own)).refresh("https://corp", &source).await.unwrap();
    let error = home.issuers(None).refresh("https://corp", &source).await.unwrap_err();
    assert!(
        matches!(error, RefreshError::Fetch(FetchError::Outgoing(OutgoingError::Connect(_)))),
        "{error:?}"
    );
    std::fs::write(&own, "").unwrap();
    let parts = (Arc::clone(&home.store), home.clock.clone(), Random::system());
    let none = Issuers::new(&IssuersSection::default(), Some(&own), parts, Arc::default());
    assert!(none.is_err(), "an empty file trusts nobody, which is a mistake");
}
