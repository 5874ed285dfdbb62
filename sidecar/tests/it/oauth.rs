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

pub(crate) fn audit(home: &Home) -> Vec<Value> {
    let text = std::fs::read_to_string(home.path("data/audit.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[track_caller]
pub(crate) fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, &answer.json()["error"]), (status, &json!(code)));
    assert!(answer.json()["error_description"].is_string());
    kept_by_nobody(answer);
    let challenge = (status == 401).then_some("Basic realm=\"wardgate\", charset=\"UTF-8\"");
    assert_eq!(answer.header("www-authenticate"), challenge);
}

#[track_caller]
pub(crate) fn kept_by_nobody(answer: &Answer) {
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

/// The answer to a request without anything, for what the metadata names.
fn reached(sidecar: &Sidecar, method: &str, path: &str) -> u16 {
    let mut stream = TcpStream::connect(sidecar.public).unwrap();
    let headers = [("content-type", "application/json")];
    stream.write_all(&request(method, path, &headers, b"")).unwrap();
    Answer::read(&mut stream).status
}

#[test]
fn an_issuer_with_a_path_is_found_as_rfc_8414_says_and_answers_where_its_metadata_says() {
    let host = "https://auth.example.com";
    for (written, path) in [("/tenant", "/tenant"), ("/tenant/", "/tenant"), ("/a/b.c", "/a/b.c")] {
        let home = Home::new();
        let issuer = format!("{host}{written}");
        home.edit("issuer: \"http://127.0.0.1:8180\"", &format!("issuer: \"{issuer}\""));
        let sidecar = home.serve();
        let well_known = "/.well-known/oauth-authorization-server";
        let metadata = get(&sidecar, &format!("{well_known}{path}")).json();
        assert_eq!(metadata["issuer"], issuer);
        let place = |name: &str| {
            let address = metadata[name].as_str().unwrap();
            let place = address.strip_prefix(host).unwrap();
            assert!(place.starts_with(&format!("{path}/")), "{address}");
            place.to_owned()
        };
        for name in ["token_endpoint", "revocation_endpoint", "introspection_endpoint"] {
            assert_eq!(reached(&sidecar, "POST", &place(name)), 400, "{name} of {issuer}");
        }
        assert_eq!(reached(&sidecar, "GET", &place("jwks_uri")), 200, "{issuer}");
        for login in ["/auth/login", "/auth/logout"] {
            assert_eq!(reached(&sidecar, "POST", &format!("{path}{login}")), 400, "{issuer}");
        }
        // What is about the sidecar and not about the issuer is not there twice, nor another issuer.
        for nothing in [format!("{path}/metrics"), format!("{well_known}/other")] {
            assert_eq!(reached(&sidecar, "GET", &nothing), 404, "{nothing}");
        }
        assert_eq!(reached(&sidecar, "POST", "/other/oauth2/token"), 404);
        // A proxy that takes the path away finds what it found before.
        assert_eq!(reached(&sidecar, "POST", "/oauth2/token"), 400);
        assert_eq!(get(&sidecar, well_known).json(), metadata);
    }
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

pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// A home with alice and a first-party application that has a secret.
fn with_alice() -> (Home, Sidecar, String) {
    alice_in(Home::new())
}

/// The same in a home that is there.
pub(crate) fn alice_in(home: Home) -> (Home, Sidecar, String) {
    // As cheap as a hash may be.
    home.edit("log:", "passwords: {argon2_memory_kib: 8192, argon2_passes: 1}\nlog:");
    let sidecar = home.serve();
    let asked = ["user", "create", "alice", "--id", "usr_alice", "--role", "viewer"];
    home.done_with(&asked, format!("{PASSWORD}\n").as_bytes());
    let arguments = ["client", "create", "--id", "app", "--first-party", "--scope", "read"];
    let made = home.json(&arguments);
    (home, sidecar, made["client_secret"].as_str().unwrap().to_owned())
}

pub(crate) fn post_json(
    sidecar: &Sidecar,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Answer {
    let headers = [&[("content-type", "application/json")], headers].concat();
    send(sidecar, path, &headers, body.to_string().as_bytes())
}

#[test]
fn a_user_logs_in_stays_logged_in_and_logs_out() {
    let (home, sidecar, secret) = with_alice();
    let credentials = format!("Basic {}", STANDARD.encode(format!("app:{secret}")));
    let headers = [("authorization", &*credentials)];
    let body = json!({"name": "Alice", "password": PASSWORD, "device": "a phone"});
    let answer = post_json(&sidecar, "/auth/login", &headers, &body);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    kept_by_nobody(&answer);
    let first = answer.json();
    let text = |answer: &Value, name: &str| answer[name].as_str().unwrap().to_owned();
    let app = Some(("app", &*secret));
    let refresh = |token: &str| {
        let form = format!("grant_type=refresh_token&refresh_token={token}");
        post(&sidecar, "/oauth2/token", app, &form)
    };
    let second = refresh(&text(&first, "refresh_token"));
    assert_eq!(second.status, 200);
    // The answer was lost: it is given again, byte for byte.
    assert_eq!(refresh(&text(&first, "refresh_token")).body, second.body);
    let second = second.json();
    let sessions = home.json(&["session", "list"]);
    assert!(sessions.to_string().contains(&text(&first, "session")), "{sessions}");
    let bearer = format!("Bearer {}", text(&second, "access_token"));
    let logout = post_json(&sidecar, "/auth/logout", &[("authorization", &bearer)], &json!({}));
    assert_eq!((logout.status, logout.body.len()), (204, 0));
    refused(&refresh(&text(&second, "refresh_token")), 400, "invalid_grant");
    let decisions: Vec<Value> =
        audit(&home).into_iter().map(|event| event["decision"].clone()).collect();
    for expected in ["session-begun", "session-ended"] {
        assert!(decisions.iter().any(|decision| decision == expected), "{decisions:?}");
    }
    let log = std::fs::read_to_string(home.path("data/audit.jsonl")).unwrap();
    for secret in [PASSWORD, &secret, &text(&first, "refresh_token"), &text(&first, "access_token")]
    {
        assert!(!log.contains(secret));
    }
}

#[test]
fn a_login_that_is_refused_is_a_problem_with_the_code_of_oauth() {
    let (_home, sidecar, secret) = with_alice();
    let check = |body: Value, status: u16, reason: &str| {
        let answer = post_json(&sidecar, "/auth/login", &[], &body);
        assert_eq!((answer.status, &answer.json()["reason"]), (status, &json!(reason)), "{body}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    };
    let right = json!({"name": "alice", "password": PASSWORD});
    check(right.clone(), 401, "invalid-client");
    // The secret in the body is for clients that are registered so.
    let mut by_post = right.clone();
    by_post["client_id"] = json!("app");
    by_post["client_secret"] = json!(secret);
    check(by_post, 401, "invalid-client");
    check(json!({"name": "alice"}), 400, "malformed");
    let credentials = format!("Basic {}", STANDARD.encode(format!("app:{secret}")));
    let headers = [("authorization", &*credentials)];
    let wrong = json!({"name": "alice", "password": "wrong"});
    let answer = post_json(&sidecar, "/auth/login", &headers, &wrong);
    assert_eq!((answer.status, &answer.json()["reason"]), (400, &json!("invalid-grant")));
    let nobody = json!({"name": "nobody", "password": "wrong"});
    let other = post_json(&sidecar, "/auth/login", &headers, &nobody);
    assert_eq!((other.status, &other.body), (answer.status, &answer.body));
    let nothing = post_json(&sidecar, "/auth/logout", &[], &json!({}));
    assert_eq!((nothing.status, &nothing.json()["reason"]), (400, &json!("invalid-request")));
}

#[test]
fn a_token_that_comes_back_later_ends_the_login_and_is_recorded() {
    let (home, sidecar, secret) = with_alice();
    let credentials = format!("Basic {}", STANDARD.encode(format!("app:{secret}")));
    let headers = [("authorization", &*credentials)];
    let body = json!({"name": "alice", "password": PASSWORD});
    let first = post_json(&sidecar, "/auth/login", &headers, &body).json();
    let app = Some(("app", &*secret));
    let refresh = |answer: &Value| {
        let token = answer["refresh_token"].as_str().unwrap();
        let form = format!("grant_type=refresh_token&refresh_token={token}");
        post(&sidecar, "/oauth2/token", app, &form)
    };
    // The third use makes the first token one of long ago, whatever the time.
    let second = refresh(&first).json();
    let third = refresh(&second).json();
    refused(&refresh(&first), 400, "invalid_grant");
    refused(&refresh(&third), 400, "invalid_grant");
    let reuse = audit(&home).into_iter().find(|event| event["decision"] == "refresh-token-reuse");
    let reuse = reuse.unwrap();
    assert_eq!((&reuse["subject"], &reuse["client_id"]), (&json!("usr_alice"), &json!("app")));
}

#[test]
fn the_printed_envoy_configuration_routes_to_the_token_service_and_the_first_policy_lets_pass() {
    let home = Home::new();
    // Nobody knows the port that a test listens on.
    let without = home.done(&["envoy", "config"]);
    assert!(!without.contains("wardgate_token_service"));
    home.edit("listen: 127.0.0.1:0", "listen: 0.0.0.0:8180");
    let config = home.done(&["envoy", "config"]);
    for piece in [
        "- match: {prefix: \"/oauth2/\"}\n                route: {cluster: wardgate_token_service}",
        "- match: {path: \"/.well-known/oauth-authorization-server\"}",
        "socket_address: {address: \"127.0.0.1\", port_value: 8180}",
    ] {
        assert!(config.contains(piece), "{config}");
    }
    assert!(!config.contains("/metrics"));
    // The upstream gets what is left.
    assert!(config.find("/oauth2/") < config.find("match: {prefix: \"/\"}"));
    let off = home.done(&["envoy", "config", "--no-token-service"]);
    assert_eq!(off, without);
    home.edit("issuer: \"http://127.0.0.1:8180\"", "issuer: \"https://a.example/tenant/\"");
    let below = home.done(&["envoy", "config"]);
    for piece in [
        "- match: {prefix: \"/tenant/oauth2/\"}",
        "- match: {prefix: \"/tenant/auth/\"}",
        "- match: {path: \"/tenant/.well-known/jwks.json\"}",
        "- match: {path: \"/.well-known/oauth-authorization-server/tenant\"}",
    ] {
        assert!(below.contains(piece), "{piece}: {below}");
    }
    // Another issuer of the same host may be there.
    assert!(!below.contains("{prefix: \"/oauth2/\"}"), "{below}");
}
