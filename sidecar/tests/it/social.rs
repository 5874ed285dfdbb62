//! Tokens of users at providers, over real HTTP.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};
use wardgate::store::{Embedded, Store as _, Table, Transaction};

use crate::home::{DEADLINE, Home};
use crate::http::{Answer, request};
use crate::oauth::post;

/// A provider that gives these access tokens, one after the other; its address.
fn provider(tokens: &'static [&'static str]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for token in tokens {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            // The form is short: it is the last that comes.
            while !String::from_utf8_lossy(&asked).contains("\r\n\r\ngrant_type=refresh_token&") {
                let mut some = [0; 1024];
                let read = stream.read(&mut some).unwrap();
                asked.extend_from_slice(&some[..read]);
            }
            let body = json!({"access_token": token, "expires_in": 3600, "refresh_token": "next"});
            let body = body.to_string();
            let length = body.len();
            write!(stream, "HTTP/1.1 200 x\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
        }
    });
    format!("http://{address}/token")
}

/// Asks the admin listener.
fn admin(home: &Home, method: &str, path: &str, body: &Value) -> Answer {
    let mut stream = UnixStream::connect(home.path("run/admin.sock")).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let headers = [("content-type", "application/json")];
    stream.write_all(&request(method, path, &headers, body.as_bytes())).unwrap();
    Answer::read(&mut stream)
}

fn configure(home: &Home, url: &str) {
    let secret = home.path("secrets/forge.secret");
    fs::write(&secret, "our secret\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let section = format!(
        "social_providers:\n  forge: {{token_endpoint: \"{url}\", client_id: us, \
         client_secret_file: secrets/forge.secret, clients: [photos, page]}}\nlog:"
    );
    home.edit("log:", &section);
}

fn put_user(home: &Home, id: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Embedded::open(&home.path("data/wardgate.redb")).unwrap();
        store.commit(Transaction::new().put(Table::Users, id, "{}")).await.unwrap();
    });
}

#[test]
fn a_token_of_a_provider_goes_to_the_service_that_may_have_it_and_is_on_the_record() {
    let home = Home::new();
    configure(&home, &provider(&["second-token"]));
    put_user(&home, "usr_1");
    let sidecar = home.serve();
    let place = "/admin/v1/users/usr_1/social-tokens/forge";
    let tokens = json!({"access_token": "first-token", "refresh_token": "r", "expires_in": 3600});
    let kept = admin(&home, "PUT", place, &tokens);
    assert_eq!((kept.status, &kept.json()["state"]), (200, &json!("usable")));
    let mut secrets = Vec::new();
    for id in ["photos", "mail"] {
        let made = home.json(&["client", "create", "--id", id]);
        secrets.push(made["client_secret"].as_str().unwrap().to_owned());
    }
    home.json(&["client", "create", "--id", "page", "--auth-method", "none"]);
    let ask = |client: Option<(&str, &str)>, form: &str| {
        post(&sidecar, "/auth/social-tokens", client, form)
    };
    let form = "subject=usr_1&provider=forge";
    let photos = Some(("photos", &*secrets[0]));
    let given = ask(photos, form);
    assert_eq!((given.status, given.header("cache-control")), (200, Some("no-store")));
    assert_eq!(given.json()["access_token"], "first-token");
    // One that is about to end.
    let tokens = json!({"access_token": "x", "refresh_token": "r", "expires_in": 5});
    admin(&home, "PUT", place, &tokens);
    let given = ask(photos, form).json();
    assert_eq!(
        (&given["access_token"], &given["token_type"]),
        (&json!("second-token"), &json!("Bearer"))
    );
    assert!(given["expires_in"].as_u64().unwrap() > 3000);
    for (client, form, status, code) in [
        (Some(("mail", &*secrets[1])), form, 400, "unauthorized_client"),
        (None, "client_id=page&subject=usr_1&provider=forge", 400, "unauthorized_client"),
        (Some(("photos", "wrong")), form, 401, "invalid_client"),
        (photos, "subject=usr_2&provider=forge", 400, "invalid_grant"),
        (photos, "subject=usr_1&provider=other", 400, "unauthorized_client"),
        (photos, "subject=usr_1", 400, "invalid_request"),
    ] {
        let answer = ask(client, form);
        assert_eq!((answer.status, &answer.json()["error"]), (status, &json!(code)), "{form}");
    }
    let list = admin(&home, "GET", "/admin/v1/users/usr_1/social-tokens", &Value::Null);
    assert_eq!(list.json()["social_tokens"][0]["provider"], "forge");
    assert_eq!(admin(&home, "DELETE", place, &Value::Null).status, 204);
    assert_eq!(admin(&home, "DELETE", place, &Value::Null).status, 404);
    assert_eq!(ask(photos, form).json()["error"], "invalid_grant");
    let log = fs::read_to_string(home.path("data/audit.jsonl")).unwrap();
    assert!(!log.contains("-token\"") && !log.contains("our secret"), "{log}");
    let events: Vec<Value> = log.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let of = |decision: &str| {
        let of = events.iter().filter(|event| event["decision"] == decision);
        of.map(|event| (event["client_id"].clone(), event["provider"].clone())).collect::<Vec<_>>()
    };
    let photos = (json!("photos"), json!("forge"));
    assert_eq!(of("social-token-given"), [photos.clone(), photos]);
    assert_eq!(of("social-token-refused").len(), 4);
    assert_eq!((of("social-tokens-kept").len(), of("social-tokens-forgotten").len()), (2, 1));
    // Kept twice, handed out twice and once refreshed for it; of the refusals one was of another.
    let usage = home.json(&["token", "usage", "--by", "user"]);
    let counted = json!({
        "name": "usr_1", "issuer": "http://127.0.0.1:8180", "token_type": "social", "issued": 2,
        "used": 2, "refreshed": 1, "denied": 3,
    });
    assert!(usage["rows"].as_array().unwrap().contains(&counted), "{usage}");
}

#[test]
fn what_users_have_at_providers_is_listed_and_deleted_by_command() {
    let home = Home::new();
    configure(&home, "http://127.0.0.1:1/token");
    let second = "social_providers:\n  album: {token_endpoint: \"http://127.0.0.1:1/token\", \
                  client_id: us, client_secret_file: secrets/forge.secret}\n";
    home.edit("social_providers:\n", second);
    home.done(&["user", "create", "alice", "--id", "usr_1", "--no-password"]);
    let sidecar = home.serve();
    let keep = || {
        for provider in ["album", "forge"] {
            let place = format!("/admin/v1/users/usr_1/social-tokens/{provider}");
            let tokens =
                json!({"access_token": "the-token", "refresh_token": "r", "scope": "photos"});
            assert_eq!(admin(&home, "PUT", &place, &tokens).status, 200);
        }
    };
    let live = || {
        let list = home.json(&["social", "list", "alice"]);
        let names: Vec<&Value> =
            list.as_array().unwrap().iter().map(|view| &view["provider"]).collect();
        assert_eq!(names, ["album", "forge"]);
        assert_eq!((&list[0]["state"], &list[0]["scope"]), (&json!("usable"), &json!("photos")));
        let table = home.done(&["social", "list", "usr_1"]);
        let heads: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
        let expected =
            ["provider", "state", "scope", "expires", "refreshable", "stored", "refreshed"];
        assert_eq!((heads, table.lines().count()), (expected.to_vec(), 3));
        assert!(!table.contains("the-token") && !list.to_string().contains("the-token"));
        let one = ["social", "delete", "alice", "forge"];
        assert_eq!(home.json(&one), json!({"deleted": ["forge"]}));
        let again = home.run(&one);
        assert_eq!(again.status.code(), Some(1));
        let said = String::from_utf8_lossy(&again.stderr).into_owned();
        assert!(said.contains("the user has no tokens at this provider"), "{said}");
        let all = ["social", "delete", "alice", "--all"];
        assert_eq!(home.json(&all), json!({"deleted": ["album"]}));
        assert_eq!(home.json(&all), json!({"deleted": []}));
        assert_eq!(home.json(&["social", "list", "alice"]), json!([]));
        let nobody = home.run(&["social", "list", "nobody"]);
        assert_eq!(nobody.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&nobody.stderr).contains("there is no user"));
    };
    keep();
    live();
    let log = fs::read_to_string(home.path("data/audit.jsonl")).unwrap();
    let forgotten: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["decision"] == "social-tokens-forgotten")
        .collect();
    let providers: Vec<&Value> = forgotten.iter().map(|event| &event["provider"]).collect();
    assert_eq!(providers, ["forge", "album"]);
    assert!(forgotten.iter().all(|event| event["subject"] == "usr_1"), "{log}");
    keep();
    sidecar.terminate();
    let (status, log) = sidecar.exit();
    assert!(status.success(), "{log}");
    // Now in the store itself.
    live();
    assert_eq!(home.run(&["social", "delete", "alice"]).status.code(), Some(2));
}

#[test]
fn what_is_wrong_with_a_provider_is_a_problem_of_the_configuration() {
    let home = Home::new();
    let section = "social_providers:\n  a/b: {token_endpoint: \"http://elsewhere.example/\", \
                   client_id: us, client_secret_file: secrets/none}\nlog:";
    home.edit("log:", section);
    let output = home.run(&["check-config"]);
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("expected https://HOST/PATH"), "{said}");
    home.edit("http://elsewhere.example/", "https://elsewhere.example/");
    let said = String::from_utf8(home.run(&["check-config"]).stderr).unwrap();
    for piece in ["expected a name of 1 to 64 letters", "secrets/none cannot be read"] {
        assert!(said.contains(piece), "{said}");
    }
}
