//! Lists of compromised tokens.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use serde_json::json;
use wardgate_core::base64url;

use crate::home::{Home, wardgate};
use crate::servers::until;

const ISSUER: &str = "http://127.0.0.1:8180";

/// A list of `jti`s.
fn list(home: &Home, count: u32) -> String {
    let file = home.path("jtis.txt");
    let lines: Vec<String> = (0..count).map(|number| format!("jti-{number}")).collect();
    fs::write(&file, lines.join("\n")).unwrap();
    file.to_str().unwrap().to_owned()
}

fn revocations(home: &Home) -> u64 {
    home.json(&["store", "stat"])["records"]["revocations"].as_u64().unwrap()
}

#[test]
fn a_list_of_ten_thousand_tokens_is_revoked_and_a_second_time_nothing_changes() {
    let home = Home::new();
    let _sidecar = home.serve();
    let file = list(&home, 10_000);
    let revoke = ["token", "revoke", "--from", &file, "--issuer", ISSUER, "--reason", "leaked"];
    let checked = home.run(&[&revoke[..], &["--check"]].concat());
    let told = String::from_utf8(checked.stderr).unwrap();
    assert!(told.contains("10000 lines, no problem; nothing was revoked"), "{told}");
    assert_eq!(revocations(&home), 0);
    assert_eq!(home.json(&revoke), json!({"revoked": 10_000, "unchanged": 0, "problems": 0}));
    assert_eq!(home.json(&revoke), json!({"revoked": 0, "unchanged": 10_000, "problems": 0}));
    let all = home.json(&["revocation", "list"]);
    let all = all.as_array().unwrap();
    assert_eq!(all.len(), 10_000);
    assert_eq!(all[0]["reason"], "leaked");
    let events = home.json(&["audit", "tail", "--lines", "100"]);
    let events = events.as_array().unwrap();
    let revoked: u64 = events.iter().map(|event| event["batch"]["revoked"].as_u64().unwrap()).sum();
    assert_eq!((revoked, &events[0]["reason"]), (10_000, &json!("leaked")));
}

#[test]
fn bad_lines_are_named_by_their_number_and_hold_up_no_good_one() {
    let home = Home::new();
    let issue = || home.json(&["token", "issue", "--subject", "alice"]);
    let (first, second) = (issue(), issue());
    let token = |issued: &serde_json::Value| issued["access_token"].as_str().unwrap().to_owned();
    let digest = base64url::encode(&[7; 32]);
    let damaged = &token(&first)[..40];
    let text = format!(
        "{}\r\n\nnonsense-secret\n{digest}\n{damaged}\n{}\n{}",
        token(&first),
        "x".repeat(70_000),
        token(&second)
    );
    let mut child = wardgate()
        .args(["token", "revoke", "--from", "-", "--output", "json"])
        .env("WARDGATE_CONFIG", home.path("wardgate.yaml"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary, json!({"revoked": 3, "unchanged": 0, "problems": 3}));
    let told = String::from_utf8(output.stderr).unwrap();
    for piece in [
        "line 3: neither a token nor the digest of one",
        "line 5: `token` is no token",
        "line 6: longer than 65536 bytes",
        "3 problems: these lines revoked nothing; all others are revoked",
    ] {
        assert!(told.contains(piece), "{piece}: {told}");
    }
    assert!(!told.contains("nonsense-secret") && !told.contains(damaged), "{told}");
    let all = home.json(&["revocation", "list"]);
    let targets: Vec<_> = all.as_array().unwrap().iter().map(|it| &it["target"]).collect();
    for issued in [&first, &second] {
        assert!(targets.iter().any(|target| target["token_id"] == issued["jti"]), "{targets:?}");
    }
    assert!(targets.iter().any(|target| target["digest"] == digest), "{targets:?}");
    let inspected = home.json(&["token", "inspect", &token(&first)]);
    assert_eq!(inspected["verdict"]["reason"], "token-revoked");
    assert_eq!(inspected["revocations"][0]["target"]["token_id"], first["jti"]);
    let table = home.done(&["token", "inspect", &token(&first)]);
    let signature = token(&first).rsplit('.').next().unwrap().to_owned();
    assert!(table.contains("signature") && !table.contains(&signature), "{table}");
    assert!(table.contains("refused, token-revoked"), "{table}");
}

#[test]
fn a_list_that_was_broken_off_is_finished_by_the_next_run() {
    let home = Home::new();
    let file = list(&home, 60_000);
    let sidecar = home.serve();
    let revoker = std::thread::spawn({
        let (config, file) = (home.path("wardgate.yaml"), file.clone());
        move || {
            let mut command = wardgate();
            command.args(["token", "revoke", "--from", &file, "--issuer", ISSUER]);
            command.env("WARDGATE_CONFIG", config).output().unwrap()
        }
    });
    until("the list has begun", || revocations(&home) > 0);
    sidecar.kill();
    let broken = revoker.join().unwrap();
    let before = revocations(&home);
    // On a machine with nothing else to do it may be through already.
    if !broken.status.success() {
        let told = String::from_utf8(broken.stderr).unwrap();
        assert!(told.contains("run the command again for the rest"), "{told}");
        assert!(before.is_multiple_of(1000), "{before}");
    }
    let done = home.json(&["token", "revoke", "--from", &file, "--issuer", ISSUER]);
    assert_eq!(done, json!({"revoked": 60_000 - before, "unchanged": before, "problems": 0}));
    assert_eq!(revocations(&home), 60_000);
}
