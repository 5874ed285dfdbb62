//! The internal listener: who is believed, and what is answered.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use wardgate_core::api_key::ApiKey;
use wardgate_core::base64url;
use wardgate_core::feed::Fingerprint;
use wardgate_core::secret::Secret;
use wardgate_core::time::UnixSeconds;
use wardgate_core::wire::feed::{Change, ChangeKind, FeedAnswer, LogEntry};
use wardgate_core::wire::mac::{MAC_HEADER, Nonce, RequestParts, sign_request, verify_answer};
use wardgate_core::wire::rate::RATE_LEASES_PATH;
use wardgate_core::wire::{AUDIT_PATH, ApiKeyRecord, ApiKeyState, FEED_PATH, UNKNOWN_KEY_PATH};

use crate::feed::ask;
use crate::home::Home;
use crate::http::{Answer, request};

/// A filter, as the sidecar sees it.
pub(crate) struct Filter {
    socket: std::path::PathBuf,
    secret: Secret,
}

pub(crate) fn now() -> UnixSeconds {
    UnixSeconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

pub(crate) fn new_nonce() -> Nonce {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::SeqCst).to_be_bytes());
    bytes[8..].copy_from_slice(&u64::from(std::process::id()).to_be_bytes());
    Nonce(bytes)
}

impl Filter {
    pub(crate) fn of(home: &Home) -> Self {
        Self { socket: home.path("run/internal.sock"), secret: home.feed_secret() }
    }

    pub(crate) fn connect(&self) -> std::io::Result<UnixStream> {
        let stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(crate::home::DEADLINE))?;
        Ok(stream)
    }

    pub(crate) fn mac(&self, method: &str, path: &str, body: &[u8], nonce: Nonce) -> String {
        sign_request(&self.secret, RequestParts { method, path, body }, now(), nonce)
    }

    fn send(&self, method: &str, path: &str, mac: Option<&str>, body: &[u8]) -> Answer {
        let headers: Vec<_> = mac.iter().map(|mac| (MAC_HEADER, *mac)).collect();
        let mut stream = self.connect().unwrap();
        stream.write_all(&request(method, path, &headers, body)).unwrap();
        Answer::read(&mut stream)
    }

    /// Asks properly, and believes the answer only with its MAC.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let nonce = new_nonce();
        let answer = self.send(method, path, Some(&self.mac(method, path, &body, nonce)), &body);
        let header = answer.header(MAC_HEADER).unwrap_or_default();
        let verified =
            verify_answer(&self.secret, nonce, answer.status, &answer.body, header.as_bytes());
        assert_eq!(verified, Ok(()), "{}", String::from_utf8_lossy(&answer.body));
        answer
    }
}

#[track_caller]
fn refused(answer: &Answer) {
    assert_eq!((answer.status, answer.header(MAC_HEADER)), (401, None));
    assert_eq!(answer.json()["reason"], "not-authenticated");
}

#[test]
fn only_a_fresh_request_with_the_right_mac_is_believed() {
    let home = Home::new();
    let mut sidecar = home.serve();
    let filter = Filter::of(&home);
    let (method, path) = ("GET", &*format!("{FEED_PATH}?wait=0"));
    let sign = |secret: &Secret, path: &str, time| {
        sign_request(secret, RequestParts { method, path, body: b"" }, time, new_nonce())
    };
    refused(&filter.send(method, path, None, b""));
    refused(&filter.send(method, path, Some("v1,t=1"), b""));
    let wrong = Secret::new(vec![7; 32]);
    refused(&filter.send(method, path, Some(&sign(&wrong, path, now())), b""));
    for time in [now().minus(31 + 5), now().plus(31 + 5)] {
        refused(&filter.send(method, path, Some(&sign(&filter.secret, path, time)), b""));
    }
    for other in ["/else", FEED_PATH, &format!("{FEED_PATH}?wait=1")] {
        refused(&filter.send(method, path, Some(&sign(&filter.secret, other, now())), b""));
    }
    assert_eq!(ask(&filter, "wait=0").settings.unwrap().key_sets.len(), 1);
    assert!(sidecar.log_text().contains("an internal request was not believed"));
}

#[test]
fn a_recorded_message_changes_nothing_when_it_is_played_again() {
    let home = Home::new();
    let _sidecar = home.serve();
    let filter = Filter::of(&home);
    let body = json!({"incarnation": "vm", "events": [{"sequence": 1}, {"sequence": 2}]});
    let body = body.to_string().into_bytes();
    let mac = filter.mac("POST", AUDIT_PATH, &body, new_nonce());
    let first = filter.send("POST", AUDIT_PATH, Some(&mac), &body);
    assert_eq!(first.json(), json!({"acknowledged": 2}));
    let log = std::fs::read(home.path("data/audit.jsonl")).unwrap();
    let again = filter.send("POST", AUDIT_PATH, Some(&mac), &body);
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert_eq!(std::fs::read(home.path("data/audit.jsonl")).unwrap(), log);
    // No filter that waits for another answer believes the one to the recording.
    let header = again.header(MAC_HEADER).unwrap();
    let other =
        verify_answer(&filter.secret, new_nonce(), again.status, &again.body, header.as_bytes());
    assert!(other.is_err());
}

#[test]
fn a_changed_body_is_refused_before_it_is_parsed() {
    let home = Home::new();
    let _sidecar = home.serve();
    let filter = Filter::of(&home);
    let mac = filter.mac("POST", AUDIT_PATH, b"{\"incarnation\":\"a\",\"events\":[]}", new_nonce());
    refused(&filter.send("POST", AUDIT_PATH, Some(&mac), b"not json"));
    let answer = filter.ask("POST", AUDIT_PATH, &json!({"incarnation": "a", "events": [{}]}));
    assert_eq!((answer.status, &answer.json()["reason"]), (400, &json!("malformed")));
}

#[test]
fn a_body_over_the_limit_is_refused() {
    let home = Home::new();
    home.edit("log:", "limits: {body_bytes: 262144}\nlog:");
    let _sidecar = home.serve();
    let filter = Filter::of(&home);
    let body = vec![b' '; 262_145];
    let mac = filter.mac("POST", AUDIT_PATH, &body, new_nonce());
    let mut stream = filter.connect().unwrap();
    // The sidecar may close before all is sent.
    let _ = stream.write_all(&request("POST", AUDIT_PATH, &[(MAC_HEADER, &mac)], &body));
    assert_eq!(Answer::read(&mut stream).status, 413);
}

#[test]
fn bodies_that_nobody_has_believed_yet_have_a_budget_and_leave_room_for_the_feed() {
    let home = Home::new();
    let limits = "limits: {body_bytes: 262144, bodies_in_flight_bytes: 262144}\nlog:";
    home.edit("log:", limits);
    let _sidecar = home.serve();
    let filter = Filter::of(&home);
    let body = json!({"incarnation": "vm", "events": [{"sequence": 1}]});
    let text = body.to_string().into_bytes();
    let deliver = || {
        let mac = filter.mac("POST", AUDIT_PATH, &text, new_nonce());
        filter.send("POST", AUDIT_PATH, Some(&mac), &text).status
    };
    let until = std::time::Instant::now() + crate::home::DEADLINE;
    // All but the last byte, from somebody without the secret. If the question comes before all of
    // it is there, it may be the flood that finds no room; then there is another.
    let flood = loop {
        let mut flood = filter.connect().unwrap();
        let whole = request("POST", AUDIT_PATH, &[], &vec![b' '; 262_144]);
        flood.write_all(&whole[..whole.len() - 1]).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
        if deliver() == 503 {
            break flood;
        }
        assert!(std::time::Instant::now() < until, "the budget is never used up");
    };
    let unknown = json!({"issuer": "https://nowhere.example.com", "key_id": "1"});
    assert_eq!(filter.ask("POST", UNKNOWN_KEY_PATH, &unknown).status, 204);
    assert!(ask(&filter, "wait=0").reload);
    drop(flood);
    while deliver() != 200 {
        assert!(std::time::Instant::now() < until, "the budget never comes back");
    }
}

/// The one change of an API key in an answer, which says nothing else.
#[track_caller]
fn changed_key(answer: &FeedAnswer) -> (&Fingerprint, &ApiKeyRecord) {
    assert!(answer.settings.is_none() && !answer.reload, "no cache of tokens is emptied for a key");
    match &answer.changes[..] {
        [
            Change {
                entry: LogEntry { kind: ChangeKind::ApiKey { fingerprint, record }, .. }, ..
            },
        ] => (fingerprint, record),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_filter_learns_of_every_change_of_a_key() {
    let home = Home::new();
    let _sidecar = home.serve();
    let filter = Filter::of(&home);
    let first = ask(&filter, "wait=0");
    let settings = first.settings.unwrap();
    let next = |cursor: &str| {
        ask(&filter, &format!("cursor={cursor}&settings={}&wait=20000", settings.generation))
    };
    let created =
        home.json(&["apikey", "create", "--name", "ci", "--role", "viewer", "--scope", "read"]);
    let key = ApiKey::parse(created["api_key"].as_str().unwrap().as_bytes()).unwrap();
    let second = next(&first.cursor);
    let (fingerprint, record) = changed_key(&second);
    assert_eq!(*fingerprint, Fingerprint::of_api_key(key.id()));
    let digest_key = base64url::decode(settings.api_key_digest_key.as_bytes()).unwrap();
    assert_eq!(record.digest, key.digest(&Secret::new(digest_key)).text());
    assert_eq!(
        (&record.roles[..], record.scopes.as_deref()),
        (&["viewer".to_owned()][..], Some(&["read".to_owned()][..]))
    );
    assert_eq!(record.state, ApiKeyState::Active);
    let mut cursor = second.cursor.clone();
    for (command, state) in [
        ("disable", ApiKeyState::Disabled),
        ("enable", ApiKeyState::Active),
        ("revoke", ApiKeyState::Revoked),
    ] {
        home.done(&["apikey", command, "ci"]);
        let heard = next(&cursor);
        assert_eq!(changed_key(&heard).1.state, state);
        cursor = heard.cursor;
    }
}

#[test]
fn the_loopback_address_serves_filters_too() {
    let home = Home::new();
    home.edit("  socket: run/internal.sock", "  socket: run/internal.sock\n  address: 127.0.0.1:0");
    let mut sidecar = home.serve();
    let text = sidecar.log_text();
    let listening: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let address = listening["internal"].as_str().unwrap().split(' ').nth(1).unwrap();
    let filter = Filter::of(&home);
    let body = json!({"incarnation": "vm", "events": [{"sequence": 1}]}).to_string().into_bytes();
    let mac = filter.mac("POST", AUDIT_PATH, &body, new_nonce());
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(&request("POST", AUDIT_PATH, &[(MAC_HEADER, &mac)], &body)).unwrap();
    assert_eq!(Answer::read(&mut stream).status, 200);
}

#[test]
fn filters_get_pieces_of_a_global_limit_and_a_recorded_message_gets_none() {
    let home = Home::new();
    let _sidecar = home.serve();
    let filter = Filter::of(&home);
    let ask = |wanted: u64| {
        let account = base64url::encode(&[7; 16]);
        json!({"asks": [{
            "account": account, "interval_nanoseconds": 3_600_000_000_000_u64, "burst": 100,
            "used": 0, "returned": 0, "wanted": wanted,
        }]})
    };
    let granted = |answer: &Answer| answer.json()["grants"][0]["granted"].as_u64().unwrap();
    let first = filter.ask("POST", RATE_LEASES_PATH, &ask(60));
    assert_eq!(granted(&first), 50);
    let body = ask(60).to_string().into_bytes();
    let mac = filter.mac("POST", RATE_LEASES_PATH, &body, new_nonce());
    let second = filter.send("POST", RATE_LEASES_PATH, Some(&mac), &body);
    assert_eq!(granted(&second), 25);
    assert_eq!(second.json()["grants"][0]["limited"], json!(true));
    let again = filter.send("POST", RATE_LEASES_PATH, Some(&mac), &body);
    assert_eq!(granted(&again), 0);
    assert_eq!(granted(&filter.ask("POST", RATE_LEASES_PATH, &ask(60))), 13);
    let malformed = filter.ask("POST", RATE_LEASES_PATH, &json!({"asks": [{"account": "AA"}]}));
    assert_eq!(malformed.status, 400);
    refused(&filter.send("POST", RATE_LEASES_PATH, None, &body));
}
