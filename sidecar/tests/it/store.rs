//! `store …`, and sidecars that share a Redis.

use std::fs;

use serde_json::Value;

use crate::home::Home;
use crate::servers::Server;

/// Puts the store of this home into the Redis.
pub(crate) fn on_redis(home: &Home, server: &Server) {
    let section = format!("  redis: {{urls: [\"{}\"]}}", server.url());
    home.edit("  path: data/wardgate.redb", &section);
}

/// The second home of a system: with the secrets of the first.
pub(crate) fn beside(first: &Home, server: &Server) -> Home {
    let home = Home::new();
    for name in ["secrets/feed.secret", "secrets/store.keys"] {
        fs::copy(first.path(name), home.path(name)).unwrap();
    }
    on_redis(&home, server);
    home
}

fn names(home: &Home) -> Vec<String> {
    let list = home.json(&["apikey", "list"]);
    let keys = list["api_keys"].as_array().unwrap();
    keys.iter().map(|key| key["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn sidecars_on_one_redis_are_one_system() {
    let server = Server::start(&[]);
    let one = Home::new();
    on_redis(&one, &server);
    let other = beside(&one, &server);
    // Both make the first keys, at once.
    let (_one, _other) = std::thread::scope(|scope| {
        let first = scope.spawn(|| one.serve());
        (other.serve(), first.join().unwrap())
    });
    one.done(&["apikey", "create", "--name", "ci"]);
    assert_eq!(names(&other), ["ci"]);
    other.done(&["apikey", "revoke", "ci"]);
    assert_eq!(one.json(&["apikey", "list"])["api_keys"][0]["state"], "revoked");
    let keys = |home: &Home| home.json(&["keys", "list"]);
    assert_eq!(keys(&one), keys(&other));
    let stat = one.json(&["store", "stat"]);
    assert_eq!((&stat["kind"], &stat["records"]["api_keys"]), (&"redis".into(), &1.into()));
    assert_eq!(stat["records"]["signing_keys"], 3);
}

#[test]
fn stat_is_shown_with_a_sidecar_and_without_and_makes_no_store() {
    let home = Home::new();
    let output = home.run(&["store", "stat"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(!home.path("data/wardgate.redb").exists());
    home.done(&["apikey", "create", "--name", "ci"]);
    let count = |stat: &Value| stat["records"]["api_keys"].as_u64();
    assert_eq!(count(&home.json(&["store", "stat"])), Some(1));
    let _sidecar = home.serve();
    assert_eq!(count(&home.json(&["store", "stat"])), Some(1));
}

#[test]
fn a_store_moves_to_redis_and_back_and_its_keys_go_on_working() {
    let server = Server::start(&[]);
    let (embedded, back) = (Home::new(), Home::new());
    embedded.done(&["apikey", "create", "--name", "ci"]);
    let redis = beside(&embedded, &server);
    fs::copy(embedded.path("secrets/store.keys"), back.path("secrets/store.keys")).unwrap();
    let file = |home: &Home| home.path("wardgate.yaml").to_str().unwrap().to_owned();
    let migrate = |from: &Home, to: &Home| {
        embedded.json(&["store", "migrate", "--from", &file(from), "--to", &file(to)])
    };
    let keys = embedded.json(&["keys", "list"]);
    let there = migrate(&embedded, &redis);
    assert_eq!(there["records"]["api_keys"], 1);
    assert_eq!(redis.json(&["keys", "list"]), keys);
    assert_eq!(names(&redis), ["ci"]);
    assert_eq!(migrate(&redis, &back)["digest"], there["digest"]);
    assert_eq!(back.json(&["keys", "list"]), keys);
    // Another store has keys of its own by now.
    let own = Home::new();
    own.done(&["apikey", "create", "--name", "own"]);
    let refused = embedded.run(&["store", "migrate", "--from", &file(&own), "--to", &file(&redis)]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(text.contains("not empty"), "{text}");
}

#[test]
fn a_redis_that_does_not_answer_is_an_error_of_the_store() {
    let mut server = Server::start(&[]);
    let home = Home::new();
    on_redis(&home, &server);
    home.edit("}", ", timeout_milliseconds: 200}");
    server.kill();
    let output = home.run(&["serve"]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
}
