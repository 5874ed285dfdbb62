//! Users as an operator keeps them: by command, with and without a running sidecar.

use std::fs;
use std::io::Write as _;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::home::{Home, wardgate};
use crate::http::get;

const GOOD: &str = "correct horse battery staple";
const BETTER: &str = "purple monkey dishwasher lamp";
/// A hash of GOOD, by passlib.
const HASH: &str = "$2b$04$390m5BG5TQKrq4ByMCzrW.ogPuoe/DsnAalhsEMg2BKo91GnuXRea";

/// Runs a command with lines on its standard input.
#[track_caller]
fn told(home: &Home, arguments: &[&str], lines: &[&str]) -> Output {
    let mut command = wardgate();
    command.args(arguments).env("WARDGATE_CONFIG", home.path("wardgate.yaml"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let text = lines.join("\n");
    // A command that does not want to know may have ended.
    let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
    child.wait_with_output().unwrap()
}

#[track_caller]
fn done(home: &Home, arguments: &[&str], lines: &[&str]) -> Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--output", "json"]).collect();
    let output = told(home, &arguments, lines);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn refused(home: &Home, arguments: &[&str], lines: &[&str]) -> String {
    let output = told(home, arguments, lines);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// The life of a user by command.
fn live(home: &Home, name: &str) {
    let create = ["user", "create", name, "--role", "viewer", "--group", "staff", "--meta", "a=b"];
    let weak = refused(home, &create, &["password1"]);
    assert!(weak.contains("too easily guessed") && !weak.contains("password1"), "{weak}");
    assert!(refused(home, &create, &[]).contains("no password"));
    let made = done(home, &create, &[GOOD]);
    let id = made["id"].as_str().unwrap();
    assert_eq!((&made["roles"], &made["groups"]), (&json!(["viewer"]), &json!(["staff"])));
    assert!(refused(home, &create, &[GOOD]).contains("another user has this name"));
    let changed = done(home, &["user", "update", name, "--no-roles", "--unset-meta", "a"], &[]);
    assert_eq!((&changed["roles"], &changed["metadata"]), (&json!([]), &json!({})));
    assert_eq!(done(home, &["user", "show", id], &[]), changed);
    let wrong = ["user", "set-password", name, "--with-old"];
    assert!(refused(home, &wrong, &["a wrong one", BETTER]).contains("is wrong"));
    done(home, &wrong, &[GOOD, BETTER]);
    done(home, &["user", "set-password", name], &[GOOD]);
    let disabled = done(home, &["user", "disable", id], &[]);
    assert_eq!(disabled["state"], "disabled");
    let list = done(home, &["user", "list", "--state", "disabled"], &[]);
    assert_eq!(list["users"], json!([disabled]));
    assert_eq!(done(home, &["user", "enable", name], &[])["state"], "active");
    let out = done(home, &["user", "logout", name], &[]);
    assert!(out["tokens_not_before"].as_u64() >= made["tokens_not_before"].as_u64());
    let text = home.done(&["user", "show", name]);
    assert!(text.contains("password set") && !text.contains("argon2"), "{text}");
    assert_eq!(done(home, &["user", "delete", name], &[]), json!({"deleted": name}));
    assert!(refused(home, &["user", "show", name], &[]).contains("there is no user"));
    let revoked = home.json(&["revocation", "list"]);
    let subjects: Vec<&Value> =
        revoked.as_array().unwrap().iter().map(|it| &it["target"]["subject"]).collect();
    assert!(subjects.contains(&&Value::from(id)), "{revoked}");
}

#[test]
fn a_user_lives_by_command_with_and_without_a_running_sidecar() {
    let home = Home::new();
    live(&home, "alice");
    let mut sidecar = home.serve();
    live(&home, "bob");
    let metrics = String::from_utf8(get(&sidecar, "/metrics").body).unwrap();
    assert!(metrics.contains("wardgate_logins_total{result=\"password-wrong\"} 1"), "{metrics}");
    let audit = fs::read_to_string(home.path("data/audit.jsonl")).unwrap();
    for decision in ["user-created", "user-disabled", "user-password-changed", "login-failed"] {
        assert!(audit.contains(decision), "{decision}: {audit}");
    }
    let log = sidecar.log_text();
    for secret in [GOOD, BETTER, "a wrong one", "argon2id$"] {
        assert!(!audit.contains(secret) && !log.contains(secret), "{secret}");
    }
}

#[test]
fn an_import_of_a_thousand_names_every_problem_and_then_imports_nothing() {
    let home = Home::new();
    let line = |number: usize| match number {
        100 => json!({"name": "user99"}).to_string(),
        200 => json!({"name": "bad name", "password_hash": "hunter2"}).to_string(),
        300 => "{\"name\": ".to_owned(),
        400 => json!({"name": "user400", "password_hash": 7}).to_string(),
        500 => json!({"name": "user500", "colour": "red"}).to_string(),
        number => json!({"name": format!("user{number}"), "password_hash": HASH}).to_string(),
    };
    let lines: Vec<String> = (0..1000).map(line).collect();
    let file = home.path("users.jsonl");
    fs::write(&file, lines.join("\n")).unwrap();
    let import = ["user", "import", file.to_str().unwrap()];
    let _sidecar = home.serve();
    let problems = refused(&home, &import, &[]);
    for piece in [
        "line 101: the same `name` stands in an earlier line",
        "line 201: `name` has something else",
        "line 201: `password_hash`: the hash is of no kind that is read",
        "line 301: ",
        "line 401: ",
        "line 501: unknown field `colour`",
        "6 problems: nothing was imported",
    ] {
        assert!(problems.contains(piece), "{piece}: {problems}");
    }
    assert!(!problems.contains("hunter2"), "{problems}");
    assert_eq!(done(&home, &["user", "list"], &[])["users"], json!([]));
    let good: Vec<String> = (0..1000).filter(|n| n % 100 != 0).map(line).collect();
    fs::write(&file, good.join("\n")).unwrap();
    assert_eq!(done(&home, &import, &[]), json!({"imported": 990, "unchanged": 0}));
    assert_eq!(done(&home, &import, &[]), json!({"imported": 0, "unchanged": 990}));
    // An event for each batch that brought somebody, and none for each user.
    let audit = fs::read_to_string(home.path("data/audit.jsonl")).unwrap();
    let events: Vec<Value> = audit.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    assert!(events.iter().all(|event| event["decision"] == "users-imported"), "{audit}");
    let imported = events.iter().map(|event| event["imported"].as_u64().unwrap());
    assert_eq!((imported.sum::<u64>(), events.len()), (990, 2));
    let by = format!("user {} of the machine", rustix::process::getuid().as_raw());
    assert!(events.iter().all(|event| event["by"] == by.as_str()), "{audit}");
    // What the store knows is looked at before anything is imported too.
    done(&home, &["user", "create", "carol"], &[GOOD]);
    fs::write(&file, "{\"name\": \"dave\"}\n{\"name\": \"Carol\"}\n").unwrap();
    assert!(refused(&home, &import, &[]).contains("line 2: another user has this name"));
    assert!(refused(&home, &["user", "show", "dave"], &[]).contains("there is no user"));
}

#[test]
fn an_import_may_be_a_csv_file_and_a_hash_from_elsewhere_is_known() {
    let home = Home::new();
    let file = home.path("users.csv");
    let text =
        format!("name,password_hash,id,roles,disabled\nalice,\"{HASH}\",7,viewer editor,False\n");
    fs::write(&file, text).unwrap();
    let import = ["user", "import", file.to_str().unwrap(), "--check"];
    assert!(home.run(&import).status.success());
    assert_eq!(done(&home, &import[..3], &[]), json!({"imported": 1, "unchanged": 0}));
    let user = done(&home, &["user", "show", "7"], &[]);
    assert_eq!((&user["roles"], &user["imported"]), (&json!(["viewer", "editor"]), &json!(true)));
    done(&home, &["user", "set-password", "alice", "--with-old"], &[GOOD, BETTER]);
}
