//! How tokens are used, as an operator sees it: by command, with and without a running sidecar.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wardgate_core::wire::AUDIT_PATH;

use crate::home::Home;
use crate::internal::{Filter, now};
use crate::oauth::{PASSWORD, alice_in, post, post_json};

fn row(name: &str, kind: &str, counts: [u64; 4]) -> Value {
    json!({
        "name": name, "token_type": kind, "issued": counts[0], "used": counts[1],
        "refreshed": counts[2], "denied": counts[3],
    })
}

#[test]
fn what_is_issued_used_and_denied_is_counted_by_client_user_type_and_day() {
    let home = Home::new();
    // So long that only a question, or the end of the process, has it written.
    home.edit("log:", "usage: {flush_interval_milliseconds: 600000}\nlog:");
    let sidecar = home.serve();
    home.done(&["token", "issue", "--subject", "alice", "--client-id", "web", "--audience", "api"]);
    home.done(&["apikey", "create", "--name", "ci"]);
    home.done(&["apikey", "rotate", "ci"]);
    let time = now().0 * 1000;
    let issuer = "http://127.0.0.1:8180";
    let permit = json!({
        "sequence": 1, "time": time, "decision": "permit", "auth": "jwt", "issuer": issuer,
        "subject": "alice", "client_id": "web", "credential_id": "one", "route": "orders",
    });
    let deny = json!({
        "sequence": 2, "time": time, "decision": "deny", "auth": "none", "reason": "token-expired",
    });
    let body = json!({"incarnation": "vm1", "events": [permit, deny]});
    assert_eq!(Filter::of(&home).ask("POST", AUDIT_PATH, &body).status, 200);
    let usage = |by: &str| home.json(&["token", "usage", "--by", by, "--days", "2"]);
    assert_eq!(
        usage("client")["rows"],
        json!([
            row("(none)", "api", [1, 0, 1, 0]),
            row("web", "access", [1, 1, 0, 0]),
            row("(none)", "access", [0, 0, 0, 1]),
        ])
    );
    let mut alice = row("alice", "access", [1, 1, 0, 0]);
    alice["issuer"] = Value::from(issuer);
    assert!(usage("user")["rows"].as_array().unwrap().contains(&alice));
    sidecar.terminate();
    let (status, log) = sidecar.exit();
    assert!(status.success(), "{log}");
    let expected = json!([row("access", "access", [1, 1, 0, 1]), row("api", "api", [1, 0, 1, 0])]);
    assert_eq!(usage("type")["rows"], expected);
    let total = json!({"issued": 2, "used": 1, "refreshed": 1, "denied": 1});
    assert_eq!(usage("day")["total"], total);
    let table = home.done(&["token", "usage"]);
    assert!(table.lines().any(|line| line.starts_with("access")), "{table}");
}

#[test]
fn a_login_and_what_becomes_of_its_refresh_tokens_is_counted() {
    let (home, sidecar, secret) = alice_in(Home::new());
    let kiosk = ["client", "create", "--id", "kiosk", "--first-party"];
    let kiosk = home.json(&[&kiosk[..], &["--grant", "client_credentials"]].concat());
    let login = |client: &str, secret: &str| {
        let basic = format!("Basic {}", STANDARD.encode(format!("{client}:{secret}")));
        let body = json!({"name": "alice", "password": PASSWORD});
        post_json(&sidecar, "/auth/login", &[("authorization", &*basic)], &body).json()
    };
    let refresh = |token: &Value| {
        let form = format!("grant_type=refresh_token&refresh_token={}", token.as_str().unwrap());
        post(&sidecar, "/oauth2/token", Some(("app", &secret)), &form)
    };
    let first = login("app", &secret)["refresh_token"].clone();
    let second = refresh(&first);
    assert_eq!(refresh(&first).body, second.body, "the same answer again is no second refresh");
    assert_eq!(refresh(&second.json()["refresh_token"]).status, 200);
    assert_eq!(refresh(&json!("wgr_none")).status, 400);
    assert_eq!(refresh(&first).status, 400, "reuse, which is counted from its event");
    // A client that gets no refresh tokens has none that is counted.
    let secret = kiosk["client_secret"].as_str().unwrap();
    assert_eq!(login("kiosk", secret).get("refresh_token"), None);
    let rows = |by: &str| home.json(&["token", "usage", "--by", by])["rows"].clone();
    let expected = [
        row("app", "refresh", [1, 0, 2, 2]),
        row("app", "access", [3, 0, 0, 0]),
        row("kiosk", "access", [1, 0, 0, 0]),
    ];
    assert_eq!(rows("client"), json!(expected));
    let mut alice = row("usr_alice", "refresh", [1, 0, 2, 1]);
    alice["issuer"] = json!("http://127.0.0.1:8180");
    let by_user = rows("user");
    assert!(by_user.as_array().unwrap().contains(&alice), "{by_user}");
    assert!(by_user.as_array().unwrap().contains(&row("(none)", "refresh", [0, 0, 0, 1])));
}
