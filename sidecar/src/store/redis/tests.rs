#![expect(clippy::arithmetic_side_effects, clippy::print_stdout, reason = "tests")]

pub(crate) mod servers;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wardgate_core::config::Problems;

use self::servers::{DEADLINE, Server, Six, Trio, free_port, until};
use super::Redis;
use crate::config::{RedisSettings, StoreSettings, store_settings};
use crate::random::Random;
use crate::store::conformance::{self, Two, api_key, known, store_tests};
use crate::store::cursor::{self, Kind};
use crate::store::records::api_keys;
use crate::store::{LogPage, OpenStoreError, Store as _, StoreError, Table, Transaction};

/// The settings of a section; paths are absolute in these tests.
#[track_caller]
fn settings(section: &Value) -> RedisSettings {
    let mut problems = Problems::new();
    let document = json!({"store": {"redis": section}});
    match store_settings(&document, Path::new("/"), &mut problems) {
        Some(StoreSettings::Redis(settings)) => *settings,
        other => panic!("{other:?} {problems:?}"),
    }
}

async fn opened(section: &Value) -> Result<Redis, OpenStoreError> {
    Redis::open(&settings(section), Random::system()).await
}

async fn two(section: &Value) -> Two {
    let (one, other) = (opened(section).await.unwrap(), opened(section).await.unwrap());
    Two { one: Arc::new(one), other: Arc::new(other) }
}

async fn single() -> (Server, Two) {
    let server = Server::start(&[]);
    let two = two(&json!({"urls": [server.url()]})).await;
    (server, two)
}

store_tests!(single().await);

#[test]
fn a_place_that_the_server_would_take_for_an_error_is_an_unknown_cursor() {
    let table = Table::Users;
    for place in ["", "x", "-1", "1.5", " 1", "18446744073709551616"] {
        let cursor = cursor::write(Kind::Redis, table, place);
        let refused = super::place(table, &cursor);
        assert!(matches!(refused, Err(StoreError::CursorUnknown)), "{place}");
    }
    let cursor = cursor::write(Kind::Redis, table, "18446744073709551615");
    assert_eq!(super::place(table, &cursor).unwrap(), u64::MAX);
}

/// Writes from eight tasks while `kill` kills the master, and reads back what was acknowledged.
async fn nothing_acknowledged_is_lost<T: Send + 'static>(
    section: Value,
    kill: impl FnOnce() -> T + Send + 'static,
) {
    let store = Arc::new(opened(&section).await.unwrap());
    let (acknowledged, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let (store, acknowledged, stop) =
            (Arc::clone(&store), Arc::clone(&acknowledged), Arc::clone(&stop));
        tasks.spawn(async move {
            let (mut done, mut failed) = (Vec::new(), 0_u32);
            for number in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let id = format!("{writer} {number}");
                match api_keys::insert(&*store, &api_key(&id, &id)).await {
                    Ok(()) => {
                        acknowledged.fetch_add(1, Ordering::Relaxed);
                        done.push(id);
                    }
                    Err(_) => failed += 1,
                }
            }
            (done, failed)
        });
    }
    let reaches = async |count: usize| {
        let deadline = Instant::now() + DEADLINE;
        while acknowledged.load(Ordering::Relaxed) < count {
            assert!(Instant::now() < deadline, "{count} writes were not acknowledged in time");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    reaches(500).await;
    let killed = Instant::now();
    let _still_runs = tokio::task::spawn_blocking(kill).await.unwrap();
    let before = acknowledged.load(Ordering::Relaxed);
    // Answers that were under way when the master died are counted by then.
    reaches(before + 100).await;
    let back = killed.elapsed();
    reaches(before + 500).await;
    stop.store(true, Ordering::Relaxed);
    let (mut ids, mut failed) = (Vec::new(), 0);
    while let Some(result) = tasks.join_next().await {
        let (done, failures) = result.unwrap();
        ids.extend(done);
        failed += failures;
    }
    let fresh = opened(&section).await.unwrap();
    for id in &ids {
        assert!(
            api_keys::get(&fresh, id).await.unwrap().is_some(),
            "{id} was acknowledged and is lost"
        );
        assert_eq!(api_keys::id_of_name(&fresh, id).await.unwrap().as_ref(), Some(id));
    }
    println!(
        "{} acknowledged, all there; {failed} not acknowledged; writes again after {back:?}",
        ids.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sentinel_trio_behaves_alike_and_keeps_what_it_acknowledged() {
    let mut trio = tokio::task::spawn_blocking(Trio::start).await.unwrap();
    let section = json!({
        "urls": trio.urls(), "mode": "sentinel", "master_name": "wardgate",
        "wait_replicas": 1, "timeout_milliseconds": 1000,
    });
    conformance::all(async |prefix| {
        let mut section = section.clone();
        section["key_prefix"] = prefix.into();
        two(&section).await
    })
    .await;
    let mut servers = std::mem::take(&mut trio.servers);
    let replicas = servers.split_off(1);
    nothing_acknowledged_is_lost(section, move || servers[0].kill()).await;
    drop(replicas);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_six_behaves_alike_and_keeps_what_it_acknowledged() {
    let mut six = tokio::task::spawn_blocking(Six::start).await.unwrap();
    let section = json!({
        "urls": six.urls(), "mode": "cluster", "wait_replicas": 1, "timeout_milliseconds": 1000,
    });
    conformance::all(async |prefix| {
        let mut section = section.clone();
        section["key_prefix"] = prefix.into();
        two(&section).await
    })
    .await;
    let place = six.master_of("{wardgate}:numbers");
    let replica = six.nodes.remove(place + 3);
    let mut master = six.nodes.remove(place);
    nothing_acknowledged_is_lost(section, move || {
        master.kill();
        until("a new master", || {
            replica.ask::<String>(&["INFO", "replication"]).contains("role:master")
        });
        // Without it the new master has no replica, and nothing can be acknowledged.
        master.restart();
        (master, replica)
    })
    .await;
}

#[tokio::test]
async fn a_change_that_no_replica_has_is_not_acknowledged() {
    let server = Server::start(&[]);
    let section = json!({
        "urls": [server.url()], "wait_replicas": 1, "wait_timeout_milliseconds": 50,
    });
    let store = opened(&section).await.unwrap();
    let error = api_keys::insert(&store, &api_key("a", "a")).await.unwrap_err().to_string();
    assert!(error.contains("0 of 1 replicas"), "{error}");
    // Nothing at all is a question to the replicas too.
    let error = store.commit(Transaction::new()).await.unwrap_err().to_string();
    assert!(error.contains("0 of 1 replicas"), "{error}");
    // What was not made waits for nobody.
    let refused = store.commit(Transaction::new().absent(Table::ApiKeys, "a")).await;
    assert!(matches!(refused, Err(StoreError::Conflict { check: 0 })), "{refused:?}");
}

#[tokio::test]
async fn a_master_is_confirmed_while_its_replica_hears_it_also_when_it_is_full() {
    let master = Server::start(&[]);
    let replica = tokio::task::spawn_blocking(move || (master.replica(), master)).await.unwrap();
    let (replica, master) = replica;
    let section = json!({
        "urls": [master.url()], "wait_replicas": 1, "wait_timeout_milliseconds": 2000,
    });
    let store = opened(&section).await.unwrap();
    let head = store.log_head().await.unwrap();
    let deadline = Instant::now() + DEADLINE;
    while store.confirm().await.is_err() {
        assert!(Instant::now() < deadline);
    }
    master.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    let full = store.commit(Transaction::new().put(Table::Roles, "r", "v")).await;
    assert!(full.unwrap_err().to_string().contains("OOM"));
    assert_eq!(store.confirm().await.unwrap(), head);
    replica.hold();
    let error = store.confirm().await.unwrap_err().to_string();
    assert!(error.contains("0 of 1 replicas"), "{error}");
    // A read says nothing of it.
    assert_eq!(store.log_head().await.unwrap(), head);
    replica.go_on();
    while store.confirm().await.is_err() {
        assert!(Instant::now() < deadline);
    }
}

#[tokio::test]
async fn a_server_that_was_killed_and_comes_back_is_found_again() {
    let mut server = Server::durable();
    let store =
        opened(&json!({"urls": [server.url()], "timeout_milliseconds": 2000})).await.unwrap();
    api_keys::insert(&store, &api_key("a", "a")).await.unwrap();
    server.kill();
    let error = api_keys::get(&store, "a").await.unwrap_err().to_string();
    assert!(error.contains("the store failed: Redis: "), "{error}");
    server.restart();
    let deadline = Instant::now() + DEADLINE;
    while api_keys::get(&store, "a").await.is_err() {
        assert!(Instant::now() < deadline);
    }
    // The writes have a connection of their own; it may have been thought alive until now.
    while api_keys::insert(&store, &api_key("b", "b")).await.is_err() {
        assert!(Instant::now() < deadline);
    }
    assert_eq!(api_keys::all(&store).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_server_that_is_silent_costs_the_timeout_and_no_more() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let begun = Instant::now();
    let error = opened(&json!({"urls": [url], "timeout_milliseconds": 200})).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(error.to_string().contains("cannot be opened"), "{error}");
}

/// What the release before left in a Redis.
fn store_of_format_1(server: &Server) {
    let revision = "1795000000000123";
    let numbers = ["HSET", "{wardgate}:numbers", "format", "1", "api_key_revision", revision];
    server.ask::<()>(&numbers);
    let record = serde_json::to_string(&api_key("id7", "name7")).unwrap();
    server.ask::<()>(&["HSET", "{wardgate}:api_keys", "id7", &record]);
    server.ask::<()>(&["HSET", "{wardgate}:api_key_names", "name7", "id7"]);
}

#[tokio::test]
async fn a_store_of_the_release_before_is_taken_over_and_its_sidecars_make_no_changes_any_more() {
    let server = Server::start(&[]);
    store_of_format_1(&server);
    let store = two(&json!({"urls": [server.url()]})).await;
    let head = store.one.log_head().await.unwrap();
    assert_eq!(head.sequence, 1_795_000_000_000_123);
    assert_eq!(store.other.log_head().await.unwrap(), head);
    assert_eq!(api_keys::all(&*store.one).await.unwrap(), [api_key("id7", "name7")]);
    // Beyond 10^14 Lua writes numbers in another way by itself.
    let after = store.one.commit(Transaction::new().append("a").append("b")).await.unwrap();
    assert_eq!(after.sequence, head.sequence + 2);
    assert_eq!(known(store.other.log_after(head, 9).await.unwrap()).len(), 2);
    // The script with which the release before revoked a key, shortened to what it counts with.
    let before = "
        local old = tonumber(redis.call('HGET', KEYS[1], 'api_key_revision') or '0')
        return string.format('%.0f', math.max(old + 1, 7))";
    let answer = server.try_ask::<String>(&["EVAL", before, "1", "{wardgate}:numbers"]);
    assert!(answer.is_err(), "{answer:?}");
}

#[tokio::test]
async fn a_copy_that_is_put_back_does_not_know_what_came_after_it() {
    let mut server = Server::durable();
    let section = json!({"urls": [server.url()]});
    let store = opened(&section).await.unwrap();
    let before = store.commit(Transaction::new().append("before")).await.unwrap();
    let files = server.directory.join("appendonlydir");
    let copy = server.directory.join("copy");
    fs::create_dir(&copy).unwrap();
    server.kill();
    let copied = |from: &Path, to: &Path| {
        for file in fs::read_dir(from).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    };
    copied(&files, &copy);
    server.restart();
    let after = opened(&section).await.unwrap().commit(Transaction::new().append("after")).await;
    let after = after.unwrap();
    server.kill();
    copied(&copy, &files);
    server.restart();
    let store = opened(&section).await.unwrap();
    assert_eq!(store.log_after(after, 9).await.unwrap(), LogPage::Unknown);
    assert!(known(store.log_after(before, 9).await.unwrap()).is_empty());
    // Not even when the same is done again: what stood beside it may have been something else.
    let again = store.commit(Transaction::new().append("after")).await.unwrap();
    assert_eq!(again.sequence, after.sequence);
    assert_eq!(store.log_after(after, 9).await.unwrap(), LogPage::Unknown);
    assert_eq!(known(store.log_after(before, 9).await.unwrap()).len(), 1);
}

#[tokio::test]
async fn a_store_that_was_emptied_takes_no_changes() {
    let server = Server::start(&[]);
    let store = opened(&json!({"urls": [server.url()]})).await.unwrap();
    server.ask::<()>(&["FLUSHALL"]);
    let refused = store.commit(Transaction::new().put(Table::Roles, "r", "v")).await;
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("was emptied"), "{error}");
    assert!(store.log_head().await.is_err());
    assert_eq!(server.ask::<u64>(&["DBSIZE"]), 0);
}

#[tokio::test]
async fn a_store_of_another_format_and_a_replica_are_refused() {
    let server = Server::start(&[]);
    let section = json!({"urls": [server.url()], "timeout_milliseconds": 200});
    opened(&section).await.unwrap();
    server.ask::<()>(&["HSET", "{wardgate}:numbers", "format", "3"]);
    let error = opened(&section).await.unwrap_err().to_string();
    assert!(error.contains("has format 3, this version knows 2"), "{error}");
    let replica = Server::start(&["--replicaof", "127.0.0.1", &server.port.to_string()]);
    let section = json!({"urls": [replica.url()], "timeout_milliseconds": 200});
    let error = opened(&section).await.unwrap_err().to_string();
    assert!(error.contains("not a master"), "{error}");
}

#[tokio::test]
async fn a_unix_socket_serves() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("redis.sock");
    let _server = Server::start(&["--unixsocket", socket.to_str().unwrap()]);
    let url = format!("unix://{}", socket.display());
    let store = opened(&json!({"urls": [url]})).await.unwrap();
    api_keys::insert(&store, &api_key("a", "a")).await.unwrap();
    assert!(api_keys::get(&store, "a").await.unwrap().is_some());
}

/// What the guide tells to allow.
const ACL: &str = "resetchannels -@all +eval +hget +hmget +hset +hdel +hlen +hscan +get +mget +set +del +zadd +zrem +zscore +zcard +zscan +zrangebyscore +time +wait +role +info +cluster|slots +cluster|keyslot +ping";

#[tokio::test]
async fn the_user_of_the_guide_is_enough_and_a_wrong_password_is_not_shown() {
    let server = Server::start(&[]);
    let mut user = vec!["ACL", "SETUSER", "wardgate", "on", ">right password", "~{wardgate}:*"];
    user.extend(ACL.split(' '));
    server.ask::<()>(&user);
    server.ask::<()>(&["ACL", "SETUSER", "default", "off"]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    let section = json!({
        "urls": [server.url()], "username": "wardgate", "password_file": file,
        "timeout_milliseconds": 300,
    });
    secret(&file, "right password\n");
    let store = two(&section).await;
    conformance::records::changes_at_once_all_count(&store).await;
    conformance::ends::a_clean_up_is_bounded_and_two_at_once_do_no_harm(&store).await;
    conformance::tables::counters_add_rise_and_stop(&store).await;
    conformance::ends::an_entry_ends_by_itself(&store).await;
    store.one.begin_log_anew().await.unwrap();
    assert!(store.one.stat().await.unwrap().details.contains_key("redis_version"));
    assert!(!format!("{:?}", settings(&section)).contains("right password"));
    secret(&file, "wrong password\n");
    let error = opened(&section).await.unwrap_err();
    for shown in [error.to_string(), format!("{error:?}")] {
        assert!(!shown.contains("wrong password"), "{shown}");
        assert!(shown.contains("assword"), "{shown}");
    }
}

fn secret(file: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(file, text).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Writes `ca.pem`, and certificate and key of a server and a client, of a new authority.
fn certificates(directory: &Path) {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.distinguished_name.push(rcgen::DnType::CommonName, "authority of the tests");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&authority_key).unwrap();
    fs::write(directory.join("ca.pem"), certificate.pem()).unwrap();
    let authority = rcgen::Issuer::new(authority, authority_key);
    for name in ["server", "client"] {
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let parameters = rcgen::CertificateParams::new(names).unwrap();
        let certificate = parameters.signed_by(&key, &authority).unwrap();
        fs::write(directory.join(format!("{name}.pem")), certificate.pem()).unwrap();
        secret(&directory.join(format!("{name}.key")), &key.serialize_pem());
    }
}

#[tokio::test]
async fn tls_believes_the_authority_given_and_shows_our_certificate() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    certificates(ours.path());
    certificates(theirs.path());
    let at = |name: &str| ours.path().join(name).to_str().unwrap().to_owned();
    let port = free_port();
    let port_text = port.to_string();
    let _server = Server::unready(
        port,
        tempfile::tempdir().unwrap(),
        &[
            "--port",
            "0",
            "--tls-port",
            &port_text,
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--tls-cert-file",
            &at("server.pem"),
            "--tls-key-file",
            &at("server.key"),
            "--tls-ca-cert-file",
            &at("ca.pem"),
            "--tls-auth-clients",
            "yes",
        ],
    );
    let section = |tls: Value| {
        json!({
            "urls": [format!("rediss://127.0.0.1:{port}")], "tls": tls,
            "timeout_milliseconds": 1000,
        })
    };
    let right = json!({
        "ca_file": at("ca.pem"), "certificate_file": at("client.pem"), "key_file": at("client.key"),
    });
    let deadline = Instant::now() + DEADLINE;
    let store = loop {
        match opened(&section(right.clone())).await {
            Ok(store) => break store,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    };
    api_keys::insert(&store, &api_key("a", "a")).await.unwrap();
    let mut other = right;
    other["ca_file"] = theirs.path().join("ca.pem").to_str().unwrap().into();
    let error = opened(&section(other)).await.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
    let anonymous = opened(&section(json!({"ca_file": at("ca.pem")}))).await;
    assert!(anonymous.is_err());
}
