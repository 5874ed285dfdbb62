//! Start, stop, and what may be left behind.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use wardgate_core::base64url;
use wardgate_core::wire::AUDIT_PATH;
use wardgate_core::wire::mac::MAC_HEADER;

use crate::home::Home;
use crate::http::{Answer, request};
use crate::internal::{Filter, new_nonce};
use crate::servers::until;

#[test]
fn a_request_under_way_is_answered_before_the_process_ends() {
    let home = Home::new();
    let mut sidecar = home.serve();
    let filter = Filter::of(&home);
    let body = json!({"incarnation": "vm", "events": [{"sequence": 1}]}).to_string().into_bytes();
    let mac = filter.mac("POST", AUDIT_PATH, &body, new_nonce());
    let headers = [(MAC_HEADER, mac.as_str()), ("expect", "100-continue")];
    let whole = request("POST", AUDIT_PATH, &headers, &body);
    let (head, rest) = whole.split_at(whole.len() - body.len());
    let mut stream = filter.connect().unwrap();
    stream.write_all(head).unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100 Continue"), "{go_on:?}");
    sidecar.terminate();
    sidecar.wait_for("stopping");
    stream.write_all(rest).unwrap();
    let answer = Answer::read(&mut stream);
    assert_eq!((answer.status, answer.json()), (200, json!({"acknowledged": 1})));
    let (status, log) = sidecar.exit();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(fs::read_dir(home.path("run")).unwrap().next().is_none());
}

#[test]
fn sockets_left_by_a_crash_are_replaced_and_have_their_permissions() {
    let home = Home::new();
    home.serve().kill();
    home.edit("socket_mode: \"0600\"", "socket_mode: \"0660\"");
    let _sidecar = home.serve();
    for (name, mode) in [("run/internal.sock", 0o660), ("run/admin.sock", 0o600)] {
        assert_eq!(fs::metadata(home.path(name)).unwrap().permissions().mode() & 0o777, mode);
    }
    assert_eq!(
        fs::metadata(home.path("data/wardgate.redb")).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn a_file_in_the_place_of_a_socket_is_not_removed() {
    let home = Home::new();
    fs::write(home.path("run/admin.sock"), "mine").unwrap();
    let output = home.run(&["serve"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(fs::read(home.path("run/admin.sock")).unwrap(), b"mine");
}

#[test]
fn a_cut_store_is_an_error_of_its_own_and_is_left_alone() {
    let home = Home::new();
    home.done(&["apikey", "create", "--name", "ci"]);
    let path = home.path("data/wardgate.redb");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let output = home.run(&["serve"]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    assert_eq!(fs::read(&path).unwrap(), &bytes[..bytes.len() / 2]);
}

#[test]
fn keys_survive_kill_9() {
    let home = Home::new();
    let sidecar = home.serve();
    let created = home.json(&["apikey", "create", "--name", "ci"]);
    sidecar.kill();
    let _sidecar = home.serve();
    let shown = home.json(&["apikey", "show", "ci"]);
    assert_eq!(shown["id"], created["id"]);
}

#[test]
fn an_idle_sidecar_is_small() {
    let home = Home::new();
    let sidecar = home.serve();
    // Without the pages of the program itself, which a build for tests has twice as many of: of the
    // budget of 20 MB they take about 9 in a release.
    let kib = sidecar.allocated_kib();
    assert!(kib < 8 * 1024, "{kib} KiB");
}

#[test]
fn secrets_are_sealed_anew_after_the_start_and_the_older_store_key_may_go() {
    let home = Home::new();
    let mut sidecar = home.serve();
    let told = "all secrets are under the first store key";
    assert!(!sidecar.log_text().contains(told));
    let created = home.json(&["apikey", "create", "--name", "ci"]);
    let keys = home.json(&["keys", "list"]);
    sidecar.kill();
    let path = home.path("secrets/store.keys");
    let old = fs::read_to_string(&path).unwrap();
    let new = base64url::encode(&[7; 32]) + "=\n";
    fs::write(&path, format!("{new}{old}")).unwrap();
    let mut sidecar = home.serve();
    until("secrets that are sealed anew", || sidecar.log_text().contains(told));
    let log = sidecar.log_text();
    // The five secrets that the sidecar makes for itself, and the three signing keys.
    assert!(log.contains("\"resealed\":8"), "{log}");
    sidecar.kill();
    fs::write(&path, new).unwrap();
    let _sidecar = home.serve();
    assert_eq!(home.json(&["keys", "list"]), keys);
    assert_eq!(home.json(&["apikey", "show", "ci"])["id"], created["id"]);
}
