//! The life of API keys as an operator lives it: by command, with and without a running sidecar.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use wardgate_core::base64url;
use wardgate_core::wire::AUDIT_PATH;

use crate::home::Home;
use crate::http::get;
use crate::internal::{Filter, now};
use crate::servers::until;

const DAY: u64 = 86_400;

fn deliver(home: &Home, incarnation: &str, id: &str, routes: &[&str]) {
    let events: Vec<Value> = routes
        .iter()
        .zip(1_u64..)
        .map(|(route, sequence)| {
            json!({
                "sequence": sequence, "time": now().0 * 1000, "decision": "permit", "route": route,
                "auth": "api_key", "credential_id": id, "source_address": "10.0.0.9",
            })
        })
        .collect();
    let body = json!({"incarnation": incarnation, "events": events});
    assert_eq!(Filter::of(home).ask("POST", AUDIT_PATH, &body).status, 200);
}

#[test]
fn a_key_is_changed_and_rotated_by_command() {
    let home = Home::new();
    let made = home.json(&[
        "apikey",
        "create",
        "--name",
        "ci",
        "--role",
        "viewer",
        "--network",
        "10.0.0.0/8",
        "--rate-limit",
        "100/60",
        "--meta",
        "team=blue",
        "--expires-in",
        "30d",
    ]);
    assert_eq!(made["rate_limit"], json!({"requests": 100, "period_seconds": 60}));
    let left = made["expires_at"].as_u64().unwrap() - made["created_at"].as_u64().unwrap();
    assert_eq!(left, 30 * DAY);
    let _sidecar = home.serve();
    let changed = home.json(&[
        "apikey",
        "update",
        "ci",
        "--role",
        "editor",
        "--no-networks",
        "--no-expiry",
        "--unset-meta",
        "team",
        "--rotate-every",
        "30d",
    ]);
    assert_eq!((&changed["roles"], &changed["networks"]), (&json!(["editor"]), &json!([])));
    assert_eq!((&changed["expires_at"], &changed["metadata"]), (&Value::Null, &json!({})));
    assert_eq!(changed["rotation"]["every_seconds"], 30 * DAY);
    let rotated = home.json(&["apikey", "rotate", "ci", "--grace", "24h"]);
    assert_eq!(rotated["id"], made["id"]);
    assert_ne!(rotated["api_key"], made["api_key"]);
    let again = home.run(&["apikey", "rotate", "ci", "--grace", "24h"]);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    assert!(String::from_utf8_lossy(&again.stderr).contains("still works, until"));
    home.done(&["apikey", "rotate", "ci", "--grace", "0"]);
    let nothing = home.run(&["apikey", "collect", "ci"]);
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("no new secret waits"));
    let text = home.done(&["apikey", "show", "ci"]);
    assert!(text.contains("last four") && text.contains("every 2592000 s"), "{text}");
}

#[test]
fn a_list_is_whole_however_many_keys_there_are() {
    let home = Home::new();
    let file = home.path("keys.jsonl");
    let mut text = String::new();
    for number in 0..3000_u32 {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        let line = json!({"name": format!("k-{number}"), "sha256": base64url::encode(&bytes)});
        text.push_str(&format!("{line}\n"));
    }
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let import = ["apikey", "import", file, "--prefix", "acme_"];
    let _sidecar = home.serve();
    let done = home.json(&import);
    assert_eq!(done, json!({"imported": 3000, "unchanged": 0, "problems": 0}));
    let again = home.json(&import);
    assert_eq!(again, json!({"imported": 0, "unchanged": 3000, "problems": 0}));
    let list = home.json(&["apikey", "list"]);
    let mut names: Vec<&str> = list["api_keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["name"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 3000);
    assert_eq!(
        home.done(&["apikey", "list"]).lines().filter(|it| it.contains(" k-")).count(),
        3000
    );
    let none = home.json(&["apikey", "list", "--state", "revoked"]);
    assert_eq!(none, json!({"api_keys": []}));
}

#[test]
fn an_import_names_every_problem_with_its_line_and_then_imports_nothing() {
    let home = Home::new();
    let hash = |byte: u8| format!("{byte:02x}").repeat(32);
    let file = home.path("keys.csv");
    let text = format!(
        "name,sha256,prefix,roles\nci,{},acme_,viewer editor\nci,{},acme_,\nbad name,{},acme_,\n\
         other,xyz,acme_,\nthird,{},wg_,\nfourth,{}\n",
        hash(1),
        hash(2),
        hash(3),
        hash(4),
        hash(5)
    );
    fs::write(&file, &text).unwrap();
    let import = ["apikey", "import", file.to_str().unwrap()];
    let refused = home.run(&import);
    assert_eq!(refused.status.code(), Some(1));
    let message = String::from_utf8(refused.stderr).unwrap();
    for piece in [
        "line 3: the same `name` stands in an earlier line",
        "line 4: `name` is not",
        "line 5: `sha256` is not",
        "line 6: `prefix` must not begin with `wg_`",
        "line 7: 2 fields, and 4 columns",
        "5 problems: nothing was imported",
    ] {
        assert!(message.contains(piece), "{piece}: {message}");
    }
    assert_eq!(home.json(&["apikey", "list"]), json!({"api_keys": []}));
    fs::write(&file, text.lines().take(2).collect::<Vec<_>>().join("\n")).unwrap();
    home.done(&["apikey", "import", file.to_str().unwrap(), "--check"]);
    assert_eq!(home.json(&import)["imported"], 1);
    let view = home.json(&["apikey", "show", "ci"]);
    assert_eq!(
        (&view["roles"], &view["imported_prefix"]),
        (&json!(["viewer", "editor"]), &json!("acme_"))
    );
}

#[test]
fn an_import_that_was_killed_is_finished_by_the_next() {
    let home = Home::new();
    let file = home.path("keys.jsonl");
    let lines = (0..20_000_u32).map(|number| {
        let hash = base64url::encode(&[&number.to_be_bytes()[..], &[0; 28]].concat());
        json!({"name": format!("k-{number}"), "sha256": hash, "prefix": "acme_"}).to_string() + "\n"
    });
    fs::write(&file, lines.collect::<String>()).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let mut sidecar = home.serve();
    let importer = std::thread::spawn({
        let (config, file) = (home.path("wardgate.yaml"), file.clone());
        move || {
            let mut command = crate::home::wardgate();
            command
                .args(["apikey", "import", &file])
                .env("WARDGATE_CONFIG", config)
                .output()
                .unwrap()
        }
    });
    let count = || {
        let metrics = home.json(&["store", "stat"]);
        metrics["records"]["api_keys"].as_u64().unwrap()
    };
    until("the import has begun", || count() > 0);
    sidecar.log_text();
    sidecar.kill();
    let broken = importer.join().unwrap();
    assert!(!broken.status.success(), "{broken:?}");
    let before = count();
    assert!(before < 20_000 && before.is_multiple_of(500), "{before}");
    let done = home.json(&["apikey", "import", &file]);
    let expected = json!({"imported": 20_000 - before, "unchanged": before, "problems": 0});
    assert_eq!((done, count()), (expected, 20_000));
}

#[test]
fn use_is_counted_from_the_events_and_kept_over_a_stop() {
    let home = Home::new();
    let id = home.json(&["apikey", "create", "--name", "ci"])["id"].as_str().unwrap().to_owned();
    home.done(&["apikey", "create", "--name", "idle"]);
    // So long that only the end of the process writes what came last.
    home.edit("log:", "usage: {flush_interval_milliseconds: 600000}\nlog:");
    let sidecar = home.serve();
    deliver(&home, "vm1", &id, &["orders", "orders", "carts"]);
    let usage = home.json(&["apikey", "usage", "ci"]);
    assert_eq!(
        (usage["total"].as_u64(), usage["last_use"]["source"].as_str()),
        (Some(3), Some("10.0.0.9"))
    );
    let counts = json!([
        {"route": "carts", "result": "permit", "count": 1},
        {"route": "orders", "result": "permit", "count": 2},
    ]);
    assert_eq!(usage["days"][0]["counts"], counts);
    // The same batch again counts nothing: it is in the log already.
    deliver(&home, "vm1", &id, &["orders", "orders", "carts"]);
    deliver(&home, "vm2", &id, &["orders"]);
    sidecar.terminate();
    let (status, log) = sidecar.exit();
    assert!(status.success(), "{log}");
    assert_eq!(home.json(&["apikey", "usage", "ci", "--days", "2"])["total"], 4);
    let table = home.done(&["apikey", "usage"]);
    let line = |name: &str| table.lines().find(|line| line.contains(name)).unwrap().to_owned();
    assert!(line("idle").contains("never") && !line("ci").contains("never"), "{table}");
    let unused = home.json(&["apikey", "list", "--unused-days", "0"]);
    let idle = unused["api_keys"].as_array().unwrap().iter().find(|key| key["name"] == "idle");
    assert!(idle.is_some_and(|key| key["last_used_at"].is_null()), "{unused}");
}

#[test]
fn what_was_flushed_survives_kill_9() {
    let home = Home::new();
    let id = home.json(&["apikey", "create", "--name", "ci"])["id"].as_str().unwrap().to_owned();
    home.edit("log:", "usage: {flush_interval_milliseconds: 600000}\nlog:");
    let sidecar = home.serve();
    deliver(&home, "vm1", &id, &["orders", "orders"]);
    // A question has the counts written before it is answered.
    assert_eq!(home.json(&["apikey", "usage", "ci"])["total"], 2);
    sidecar.kill();
    assert_eq!(home.json(&["apikey", "usage", "ci"])["total"], 2);
}

#[test]
fn the_end_of_a_key_is_announced_in_the_audit_log_and_by_webhook_once() {
    let home = Home::new();
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = receiver.local_addr().unwrap().port();
    let secret = home.path("secrets/webhook.secret");
    fs::write(&secret, base64url::encode(&[7; 32])).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let section = format!(
        "api_keys: {{sweep_interval_seconds: 1, warn_before_seconds: [60]}}\nnotify:\n  webhook_url: http://127.0.0.1:{port}/x\n  \
         secret_file: secrets/webhook.secret\nlog:"
    );
    home.edit("log:", &section);
    let made = home.json(&["apikey", "create", "--name", "ci", "--expires-in", "62"]);
    home.done(&["apikey", "create", "--name", "other", "--expires-in", "30d"]);
    let sidecar = home.serve();
    let mut stream = receiver.accept().unwrap().0;
    let mut bytes = Vec::new();
    let text = loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if text.ends_with("}}") {
            break text;
        }
    };
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
    assert!(text.contains("wardgate-signature: t="), "{text}");
    let body: Value = serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body["event"], "api-key-expires");
    assert_eq!((&body["data"]["name"], &body["data"]["api_key_id"]), (&json!("ci"), &made["id"]));
    let events = || {
        let text = fs::read_to_string(home.path("data/audit.jsonl")).unwrap();
        let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        events.filter(|event| event["decision"] == "notice").collect::<Vec<_>>()
    };
    until("the event is in the audit log", || !events().is_empty());
    let metrics = || String::from_utf8(get(&sidecar, "/metrics").body).unwrap();
    until("the notice is counted", || metrics().contains("wardgate_notices_sent_total 1"));
    assert!(metrics().contains("wardgate_api_key_warnings_total 1"));
    let found = events();
    assert_eq!((found.len(), &found[0]["name"]), (1, &json!("ci")));
}
