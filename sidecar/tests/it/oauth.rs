//! OAuth clients over real HTTP, from the command line to the endpoints.

use std::io::Write as _;
use std::net::TcpStream;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::home::{Home, Sidecar};
use crate::http::{Answer, get, request};

/// Sends a form, with the credentials of a client in the header.
pub(crate) fn post(
    sidecar: &Sidecar,
    path: &str,
    client: Option<(&str, &str)>,
    form: &str,
) -> Answer {
    let mut headers = vec![("content-type", "application/x-www-form-urlencoded")];
    let basic =
        client.map(|(id, secret)| format!("Basic {}", STANDARD.encode(format!("{id}:{secret}"))));
    headers.extend(basic.as_deref().map(|basic| ("authorization", basic)));
    send(sidecar, path, &headers, form.as_bytes())
}

pub(crate) fn send(sidecar: &Sidecar, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(sidecar.public).unwrap();
    stream.write_all(&request("POST", path, headers, body)).unwrap();
    Answer::read(&mut stream)
}

fn audit(home: &Home) -> Vec<Value> {
    let text = std::fs::read_to_string(home.path("data/audit.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, &answer.json()["error"]), (status, &json!(code)));
    assert!(answer.json()["error_description"].is_string());
    kept_by_nobody(answer);
    let challenge = (status == 401).then_some("Basic realm=\"wardgate\", charset=\"UTF-8\"");
    assert_eq!(answer.header("www-authenticate"), challenge);
}

#[track_caller]
fn kept_by_nobody(answer: &Answer) {
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("pragma"), Some("no-cache"));
}

#[test]
fn a_client_gets_a_token_shows_it_and_ends_it() {
    let home = Home::new();
    let sidecar = home.serve();
    let made =
        home.json(&["client", "create", "--id", "billing", "--scope", "read", "--role", "viewer"]);
    let secret = made["client_secret"].as_str().unwrap().to_owned();
    let client = Some(("billing", &*secret));
    let gateway = home.json(&["client", "create", "--id", "gateway", "--may-introspect"]);
    let asker = Some(("gateway", gateway["client_secret"].as_str().unwrap()));
    let answer = post(&sidecar, "/oauth2/token", client, "grant_type=client_credentials");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    kept_by_nobody(&answer);
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    let introspect = |form: &str| post(&sidecar, "/oauth2/introspect", asker, form);
    let said = introspect(&format!("token={token}"));
    assert_eq!((&said.json()["active"], &said.json()["sub"]), (&json!(true), &json!("billing")));
    kept_by_nobody(&said);
    let revoked = post(&sidecar, "/oauth2/revoke", client, &format!("token={token}"));
    assert_eq!((revoked.status, revoked.body.len()), (200, 0));
    assert_eq!(introspect(&format!("token={token}")).json(), json!({"active": false}));
    let again = post(&sidecar, "/oauth2/revoke", client, &format!("token={token}"));
    assert_eq!(again.status, 200);
    let decisions: Vec<Value> =
        audit(&home).iter().map(|event| event["decision"].clone()).collect();
    assert_eq!(decisions, ["client-created", "client-created", "revocation"]);
    let log = std::fs::read_to_string(home.path("data/audit.jsonl")).unwrap();
    assert!(!log.contains(&secret) && !log.contains(&token));
}

#[test]
fn errors_are_those_of_the_rfcs() {
    let home = Home::new();
    let mut sidecar = home.serve();
    let made = home.json(&["client", "create", "--id", "a"]);
    let client = Some(("a", made["client_secret"].as_str().unwrap()));
    let token = "/oauth2/token";
    let own = "grant_type=client_credentials";
    for (who, form, status, code) in [
        (Some(("a", "wrong-secret")), own, 401, "invalid_client"),
        (Some(("nobody", "x")), own, 401, "invalid_client"),
        (None, own, 401, "invalid_client"),
        (client, "", 400, "invalid_request"),
        (
            client,
            "grant_type=client_credentials&grant_type=client_credentials",
            400,
            "invalid_request",
        ),
        (client, "grant_type=password&username=a&password=b", 400, "unsupported_grant_type"),
        (client, "grant_type=refresh_token&refresh_token=x", 400, "unauthorized_client"),
        (client, "grant_type=client_credentials&scope=read", 400, "invalid_scope"),
        (client, "grant_type=client_credentials&resource=x", 400, "invalid_target"),
        (client, "grant_type=client_credentials&client_secret=x", 400, "invalid_request"),
    ] {
        refused(&post(&sidecar, token, who, form), status, code);
    }
    refused(&post(&sidecar, "/oauth2/introspect", client, "token=x"), 400, "unauthorized_client");
    refused(&post(&sidecar, "/oauth2/revoke", client, ""), 400, "invalid_request");
    let json = [("content-type", "application/json")];
    refused(&send(&sidecar, token, &json, b"{}"), 400, "invalid_request");
    let long = format!("{own}&x={}", "y".repeat(70_000));
    refused(&post(&sidecar, token, client, &long), 400, "invalid_request");
    let refusals: Vec<Value> =
        audit(&home).into_iter().filter(|event| event["decision"] == "client-refused").collect();
    let reasons: Vec<&str> = refusals.iter().map(|it| it["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["secret-wrong", "client-unknown", "client-not-named"]);
    assert_eq!(
        (&refusals[0]["client_id"], &refusals[0]["source_address"]),
        (&json!("a"), &json!("127.0.0.1"))
    );
    assert!(!sidecar.log_text().contains("wrong-secret"));
    let metrics = String::from_utf8(get(&sidecar, "/metrics").body).unwrap();
    let line = "wardgate_oauth_requests_total{endpoint=\"token\",result=\"invalid_client\"} 3";
    assert!(metrics.contains(line), "{metrics}");
}

#[test]
fn an_address_that_fails_too_often_is_told_when_to_come_back() {
    let home = Home::new();
    home.edit("log:", "oauth: {failures_per_minute_per_address: 2}\nlog:");
    let sidecar = home.serve();
    let ask = || post(&sidecar, "/oauth2/token", Some(("a", "b")), "grant_type=client_credentials");
    refused(&ask(), 401, "invalid_client");
    refused(&ask(), 401, "invalid_client");
    let answer = ask();
    refused(&answer, 429, "temporarily_unavailable");
    assert!(answer.header("retry-after").is_some());
}

#[test]
fn metadata_is_found_at_its_well_known_place() {
    let home = Home::new();
    let sidecar = home.serve();
    let answer = get(&sidecar, "/.well-known/oauth-authorization-server");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let metadata = answer.json();
    assert_eq!(metadata["issuer"], "http://127.0.0.1:8180");
    assert_eq!(metadata["token_endpoint"], "http://127.0.0.1:8180/oauth2/token");
}

#[test]
fn a_client_is_made_changed_and_removed_with_and_without_a_running_sidecar() {
    let home = Home::new();
    let life = |id: &str| {
        home.done(&["client", "create", "--id", id, "--name", "A", "--scope", "read write"]);
        let changed = home.json(&["client", "update", id, "--disabled", "--unset", "scope"]);
        assert_eq!((&changed["disabled"], changed.get("scope")), (&json!(true), None));
        let on =
            home.json(&["client", "update", id, "--disabled=false", "--access-lifetime", "2m"]);
        assert_eq!(
            (&on["disabled"], &on["access_token_lifetime_seconds"]),
            (&json!(false), &json!(120))
        );
        let rotated = home.json(&["client", "rotate-secret", id, "--grace", "0"]);
        assert_eq!(rotated["secrets"].as_array().map(Vec::len), Some(1));
        assert!(home.done(&["client", "list"]).contains(id));
        assert!(home.done(&["client", "show", id]).contains("client_secret_basic"));
        home.done(&["client", "delete", id]);
        let gone = home.run(&["client", "show", id]);
        assert_eq!(gone.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&gone.stderr).contains("there is no client of this id"));
    };
    life("near");
    let _sidecar = home.serve();
    life("far");
    let wrong = home.run(&[
        "client",
        "create",
        "--id",
        "x",
        "--auth-method",
        "private_key_jwt",
        "--grant",
        "token-exchange",
    ]);
    let told = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(told.contains("needs `jwks`") && told.contains("go together"), "{told}");
}
