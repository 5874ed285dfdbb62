use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use wardgate_core::config::{At, Problems, Read as _};
use wardgate_core::secret::Secret;
use wardgate_core::time::UnixSeconds;

use super::{Notifier, NotifySettings, SIGNATURE_HEADER, sign};
use crate::clock::Clock;
use crate::config::SecureUrl;
use crate::metrics::Metrics;
use crate::random::Random;

const DEADLINE: Duration = Duration::from_secs(30);

/// What a receiver got: the head and the body.
struct Got {
    head: String,
    body: Vec<u8>,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        let start = format!("{name}: ");
        self.head.lines().find_map(|line| line.strip_prefix(&start)).unwrap()
    }
}

/// A receiver that answers with these statuses, one after the other, then ends.
fn receiver(statuses: &'static [u16]) -> (u16, mpsc::Receiver<Got>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, got) = mpsc::channel();
    std::thread::spawn(move || {
        for status in statuses {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = Vec::new();
            let (head, length) = loop {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                bytes.push(byte[0]);
                if bytes.ends_with(b"\r\n\r\n") {
                    let head = String::from_utf8(bytes).unwrap().to_ascii_lowercase();
                    let length = head.lines().find_map(|it| it.strip_prefix("content-length: "));
                    let length = length.unwrap().parse().unwrap();
                    break (head, length);
                }
            };
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            write!(stream, "HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n").unwrap();
            sender.send(Got { head, body }).unwrap();
        }
    });
    (port, got)
}

fn secret() -> Secret {
    Secret::new(vec![7; 32])
}

struct Stand {
    notifier: Notifier,
    metrics: Arc<Metrics>,
    _stopping: watch::Sender<bool>,
}

fn stand(port: u16) -> Stand {
    let url = json!(format!("http://127.0.0.1:{port}/hook?a=b"));
    let url = SecureUrl::read(&url, &At::ROOT, &mut Problems::new()).unwrap();
    let settings = NotifySettings { url, secret: secret(), ca_pem: None };
    let (stopping, stopped) = watch::channel(false);
    let (clock, metrics) = (Clock::manual(UnixSeconds(1000)), Arc::new(Metrics::new()));
    let counted = Arc::clone(&metrics);
    let notifier = Notifier::start(Some(settings), clock, Random::system(), counted, stopped);
    Stand { notifier: notifier.unwrap(), metrics, _stopping: stopping }
}

async fn next(got: mpsc::Receiver<Got>) -> (Got, mpsc::Receiver<Got>) {
    let task = tokio::task::spawn_blocking(move || (got.recv_timeout(DEADLINE).unwrap(), got));
    task.await.unwrap()
}

/// Waits until so many notices are sent and given up.
async fn counted(metrics: &Metrics, sent: u64, failed: u64) {
    let reached = async {
        while (metrics.notices_sent.get(), metrics.notices_failed.get()) != (sent, failed) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, reached).await.unwrap();
}

#[tokio::test]
async fn a_notice_is_signed_and_tried_again_until_it_is_taken() {
    let (port, got) = receiver(&[503, 204]);
    let stand = stand(port);
    stand.notifier.tell("api-key-expires", 1_000_500, &json!({"name": "ci"}), Random::system());
    let (first, got) = next(got).await;
    let (second, _) = next(got).await;
    assert!(first.head.starts_with("post /hook?a=b http/1.1\r\n"), "{}", first.head);
    let body: Value = serde_json::from_slice(&first.body).unwrap();
    let id = body["id"].as_str().unwrap();
    let expected =
        json!({"id": id, "event": "api-key-expires", "time": 1_000_500, "data": {"name": "ci"}});
    assert_eq!(body, expected);
    let signature = sign(&secret(), UnixSeconds(1000), id, &first.body);
    assert_eq!(first.header(SIGNATURE_HEADER), signature);
    // The same notice, so that a receiver can see that it came twice.
    assert_eq!(second.body, first.body);
    counted(&stand.metrics, 1, 0).await;
}

#[tokio::test]
async fn a_notice_that_is_refused_for_good_does_not_hold_up_the_next() {
    let (port, got) = receiver(&[400, 200]);
    let stand = stand(port);
    for name in ["one", "two"] {
        stand.notifier.tell("api-key-expires", 0, &json!({"name": name}), Random::system());
    }
    let (_, got) = next(got).await;
    let (second, _) = next(got).await;
    let body: Value = serde_json::from_slice(&second.body).unwrap();
    assert_eq!(body["data"]["name"], "two");
    counted(&stand.metrics, 1, 1).await;
}

#[tokio::test]
async fn a_receiver_that_cannot_show_who_it_is_gets_nothing() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, mut got) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let accepted = acceptor.accept(stream).await.is_ok();
            sender.send(accepted).unwrap();
        }
    });
    let url = json!(format!("https://localhost:{port}/"));
    let url = SecureUrl::read(&url, &At::ROOT, &mut Problems::new()).unwrap();
    for (trusted, right) in [(&made, true), (&other, false)] {
        let client = super::Client::new(&url, Some(trusted.cert.pem().as_bytes())).unwrap();
        // The receiver never answers: what matters is whether anything was said to it.
        let said = tokio::select! {
            said = got.recv() => said.unwrap(),
            refused = client.post(b"{}", "id", "s") => {
                assert!(matches!(refused, Err(super::client::PostError::Connection(_))));
                got.recv().await.unwrap()
            }
        };
        assert_eq!(said, right);
    }
    assert!(super::Client::new(&url, Some(b"no certificate")).is_err());
}

#[tokio::test]
async fn without_a_webhook_nothing_is_sent() {
    let (_stopping, stopped) = watch::channel(false);
    let metrics = Arc::new(Metrics::new());
    let (clock, counted) = (Clock::system(), Arc::clone(&metrics));
    let notifier = Notifier::start(None, clock, Random::system(), counted, stopped).unwrap();
    notifier.tell("api-key-expires", 0, &json!({}), Random::system());
    assert_eq!((metrics.notices_sent.get(), metrics.notices_failed.get()), (0, 0));
}
