//! How tokens are used, as an operator sees it: by command, with and without a running sidecar.

use serde_json::{Value, json};
use wardgate_core::wire::AUDIT_PATH;

use crate::home::Home;
use crate::internal::{Filter, now};

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
    let row = |name: &str, kind: &str, counts: [u64; 4]| {
        let [issued, used, refreshed, denied] = counts;
        json!({
            "name": name, "token_type": kind,
            "issued": issued, "used": used, "refreshed": refreshed, "denied": denied,
        })
    };
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
