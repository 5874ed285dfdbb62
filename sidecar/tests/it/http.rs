//! A client that does exactly what the test says, and the public listener.

use std::io::{Read, Write};
use std::net::TcpStream;

use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};

use crate::home::Home;

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The one value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(found, _)| found == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} stands twice");
        value
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Reads an answer up to the end of the connection.
    pub(crate) fn read(stream: &mut impl Read) -> Self {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
        Self { status, headers: headers.collect(), body: bytes[end + 4..].to_vec() }
    }
}

/// The bytes of a request.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let headers: Vec<String> =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: sidecar\r\nconnection: close\r\n{}content-length: {}\r\n\r\n",
        headers.concat(),
        body.len()
    );
    [head.as_bytes(), body].concat()
}

pub(crate) fn get(sidecar: &crate::home::Sidecar, path: &str) -> Answer {
    let mut stream = TcpStream::connect(sidecar.public).unwrap();
    stream.write_all(&request("GET", path, &[], b"")).unwrap();
    Answer::read(&mut stream)
}

#[test]
fn the_public_listener_shows_health_metrics_and_public_keys() {
    let home = Home::new();
    let sidecar = home.serve();
    assert_eq!(get(&sidecar, "/healthz").json(), json!({"status": "ok"}));
    // The feed reads the store when the listeners are open already.
    let until = std::time::Instant::now() + crate::home::DEADLINE;
    while get(&sidecar, "/readyz").json() != json!({"status": "ready"}) {
        assert!(std::time::Instant::now() < until, "it is never ready");
    }
    let keys = get(&sidecar, "/.well-known/jwks.json");
    assert_eq!(keys.header("cache-control"), Some("public, max-age=300"));
    let text = String::from_utf8(keys.body.clone()).unwrap();
    let private = ["\"d\"", "\"p\"", "\"q\"", "\"dp\"", "\"dq\"", "\"qi\""];
    assert!(private.iter().all(|name| !text.contains(name)), "{text}");
    let algorithms: Vec<Value> =
        keys.json()["keys"].as_array().unwrap().iter().map(|key| key["alg"].clone()).collect();
    assert_eq!(algorithms, ["ES256", "EdDSA", "RS256"]);
    let metrics = String::from_utf8(get(&sidecar, "/metrics").body).unwrap();
    let line =
        "wardgate_http_requests_total{listener=\"public\",route=\"/healthz\",status=\"200\"} 1";
    assert!(metrics.contains(line), "{metrics}");
}

#[test]
fn what_is_for_filters_and_operators_is_not_public() {
    let home = Home::new();
    let sidecar = home.serve();
    for path in ["/internal/v1/feed", "/admin/v1/api-keys", "/admin/v1/keys", "/nothing"] {
        let answer = get(&sidecar, path);
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (404, Some("application/problem+json"))
        );
        assert_eq!(answer.json()["reason"], "not-found");
    }
}

#[test]
fn a_client_that_sends_nothing_is_cut_off() {
    let home = Home::new();
    home.edit("log:", "limits: {header_timeout_milliseconds: 100}\nlog:");
    let sidecar = home.serve();
    for first in [&b""[..], b"P", b"GET /healthz HTTP/1.1\r\nhost: sidecar\r\n"] {
        let mut stream = TcpStream::connect(sidecar.public).unwrap();
        stream.set_read_timeout(Some(crate::home::DEADLINE)).unwrap();
        stream.write_all(first).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "{rest:?}");
    }
}

#[test]
fn a_kept_connection_may_be_idle_for_longer_than_a_head_may_take() {
    let home = Home::new();
    home.edit("log:", "limits: {header_timeout_milliseconds: 100}\nlog:");
    let sidecar = home.serve();
    let mut stream = TcpStream::connect(sidecar.public).unwrap();
    stream.set_read_timeout(Some(crate::home::DEADLINE)).unwrap();
    for _ in 0..3 {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: sidecar\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        std::thread::sleep(std::time::Duration::from_millis(400));
    }
    // But what has begun must come to its end in time.
    stream.write_all(b"GET /heal").unwrap();
    let mut rest = Vec::new();
    let begun = std::time::Instant::now();
    // Cut off, or closed in order: either way nothing is answered.
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.is_empty() && begun.elapsed() < crate::home::DEADLINE / 2, "{rest:?}");
}

#[tokio::test]
async fn http_2_is_spoken_with_prior_knowledge() {
    let home = Home::new();
    let sidecar = home.serve();
    let stream = tokio::net::TcpStream::connect(sidecar.public).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://sidecar/healthz").body(Empty::<Bytes>::new()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, hyper::Version::HTTP_2));
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body.as_ref(), b"{\"status\":\"ok\"}");
}

#[test]
fn an_address_that_asks_too_often_is_told_when_to_come_back() {
    let home = Home::new();
    home.edit("log:", "limits: {requests_per_minute_per_address: 3}\nlog:");
    let sidecar = home.serve();
    let ask = || {
        let mut stream = TcpStream::connect(sidecar.public).unwrap();
        stream.write_all(&request("GET", "/healthz", &[], b"")).unwrap();
        Answer::read(&mut stream)
    };
    for _ in 0..3 {
        assert_eq!(ask().status, 200);
    }
    let refused = ask();
    assert_eq!((refused.status, &refused.json()["reason"]), (429, &json!("rate-limited")));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
    assert_eq!(refused.header("ratelimit-policy"), Some("\"public\";q=3;w=60"));
    assert!(refused.header("ratelimit").unwrap().starts_with("\"public\";r=0;t="));
}
