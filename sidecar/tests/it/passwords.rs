//! Users who change their own password, over real HTTP.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::home::{Home, Sidecar};
use crate::http::{Answer, get};
use crate::oauth::{PASSWORD, alice_in, audit, kept_by_nobody, post, post_json, refused, send};

const BETTER: &str = "purple monkey dishwasher lamp";

/// Asks as the application with this secret.
fn ask(sidecar: &Sidecar, secret: &str, path: &str, body: &Value) -> Answer {
    let credentials = format!("Basic {}", STANDARD.encode(format!("app:{secret}")));
    post_json(sidecar, path, &[("authorization", &*credentials)], body)
}

fn login(sidecar: &Sidecar, secret: &str, password: &str) -> Answer {
    ask(sidecar, secret, "/auth/login", &json!({"name": "alice", "password": password}))
}

fn change(sidecar: &Sidecar, secret: &str, name: &str, [old, new]: [&str; 2]) -> Answer {
    let body = json!({"name": name, "old_password": old, "new_password": new});
    ask(sidecar, secret, "/auth/password", &body)
}

#[track_caller]
fn problem(answer: &Answer, status: u16, reason: &str) {
    assert_eq!((answer.status, &answer.json()["reason"]), (status, &json!(reason)));
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    kept_by_nobody(answer);
}

#[test]
fn a_user_changes_their_password_and_what_they_had_before_is_over() {
    let (home, mut sidecar, secret) = alice_in(Home::new());
    let before = login(&sidecar, &secret, PASSWORD).json();
    problem(&change(&sidecar, &secret, "alice", ["wrong", "weak"]), 400, "invalid-grant");
    let weak = change(&sidecar, &secret, "alice", [PASSWORD, "alice1234"]);
    problem(&weak, 400, "password-refused");
    let detail = weak.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("too easily guessed") && !detail.contains("alice1234"), "{detail}");
    let changed = change(&sidecar, &secret, "Alice", [PASSWORD, BETTER]);
    assert_eq!((changed.status, changed.body.len()), (204, 0));
    kept_by_nobody(&changed);
    let token = before["refresh_token"].as_str().unwrap();
    let form = format!("grant_type=refresh_token&refresh_token={token}");
    refused(&post(&sidecar, "/oauth2/token", Some(("app", &secret)), &form), 400, "invalid_grant");
    problem(&login(&sidecar, &secret, PASSWORD), 400, "invalid-grant");
    assert_eq!(login(&sidecar, &secret, BETTER).status, 200);
    let revoked = home.json(&["revocation", "list"]).to_string();
    assert!(revoked.contains("user-password-changed"), "{revoked}");
    let events = audit(&home);
    let of = |decision: &str| events.iter().filter(|it| it["decision"] == decision).count();
    assert_eq!((of("user-password-changed"), of("login"), of("login-failed")), (1, 4, 2));
    let (log, events) = (sidecar.log_text(), format!("{events:?}"));
    for secret in [PASSWORD, BETTER, "alice1234", &secret] {
        assert!(!log.contains(secret) && !events.contains(secret), "{secret}");
    }
    let metrics = String::from_utf8(get(&sidecar, "/metrics").body).unwrap();
    for (result, count) in [("ok", 1), ("invalid_grant", 1), ("invalid_request", 1)] {
        let line = format!(
            "wardgate_oauth_requests_total{{endpoint=\"password\",result=\"{result}\"}} {count}"
        );
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
}

#[test]
fn a_user_that_there_is_not_is_answered_like_one_with_another_password() {
    let (_home, sidecar, secret) = alice_in(Home::new());
    let known = change(&sidecar, &secret, "alice", ["wrong", BETTER]);
    let unknown = change(&sidecar, &secret, "nobody", ["wrong", BETTER]);
    problem(&known, 400, "invalid-grant");
    assert_eq!((unknown.status, &unknown.body), (known.status, &known.body));
    let headers = |answer: &Answer| {
        let mut headers = answer.headers.clone();
        headers.retain(|(name, _)| name != "date");
        headers
    };
    assert_eq!(headers(&unknown), headers(&known));
}

#[test]
fn who_guesses_at_the_change_of_a_password_waits_at_the_login_too() {
    let home = Home::new();
    // One failure, and networks that never logged in take turns of which each is one attempt: in a
    // day, so that none begins while the test runs.
    home.edit("log:", "login: {failures_per_account: 1, max_delay_seconds: 86400}\nlog:");
    let (home, sidecar, secret) = alice_in(home);
    problem(&change(&sidecar, &secret, "alice", ["wrong", BETTER]), 400, "invalid-grant");
    let answers = [
        login(&sidecar, &secret, PASSWORD),
        change(&sidecar, &secret, "alice", [PASSWORD, BETTER]),
    ];
    for answer in answers {
        problem(&answer, 429, "temporarily-unavailable");
        assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
    }
    let throttled = audit(&home).into_iter().find(|it| it["decision"] == "login-throttled");
    assert_eq!(throttled.unwrap()["reason"], "failures-of-account");
}

#[test]
fn no_page_changes_a_password_by_the_browsers_of_others() {
    let (home, sidecar, secret) = alice_in(Home::new());
    home.json(&["client", "create", "--id", "page", "--auth-method", "none", "--first-party"]);
    // What a page of any origin can send without asking first: no header but a type of these, and a
    // client without a secret.
    let body = json!({
        "client_id": "page", "name": "alice", "old_password": PASSWORD, "new_password": BETTER,
    });
    let origin = ("origin", "https://evil.example");
    for path in ["/auth/password", "/auth/login"] {
        for kind in ["text/plain", "text/plain;charset=UTF-8", "multipart/form-data", ""] {
            let headers = [origin, ("content-type", kind)];
            let headers = if kind.is_empty() { &headers[..1] } else { &headers[..] };
            let answer = send(&sidecar, path, headers, body.to_string().as_bytes());
            assert_eq!(
                (answer.status, &answer.json()["reason"]),
                (415, &json!("media-type-unsupported"))
            );
        }
    }
    // And with the right type, which a browser does not send unasked, it lacks a proof.
    problem(&post_json(&sidecar, "/auth/password", &[origin], &body), 400, "invalid-dpop-proof");
    assert_eq!(login(&sidecar, &secret, PASSWORD).status, 200);
}

#[test]
fn who_may_not_ask_for_passwords_may_not_have_them_changed() {
    let (home, sidecar, _) = alice_in(Home::new());
    let body = json!({"name": "alice", "old_password": PASSWORD, "new_password": BETTER});
    problem(&post_json(&sidecar, "/auth/password", &[], &body), 401, "invalid-client");
    let made =
        home.json(&["client", "create", "--id", "photos", "--auth-method", "client_secret_post"]);
    let mut by_photos = body.clone();
    by_photos["client_id"] = json!("photos");
    by_photos["client_secret"] = made["client_secret"].clone();
    problem(&post_json(&sidecar, "/auth/password", &[], &by_photos), 400, "unauthorized-client");
    let mut without = body;
    without.as_object_mut().unwrap().remove("old_password");
    let malformed = post_json(&sidecar, "/auth/password", &[], &without);
    assert_eq!((malformed.status, &malformed.json()["reason"]), (400, &json!("malformed")));
}
