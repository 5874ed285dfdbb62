//! The group `feed`: a thousand Envoys that wait for news at one sidecar.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;
use wardgate_core::{
    base64url,
    feed::{Fingerprint, RevocationTarget},
    secret::Secret,
    time::UnixSeconds,
    wire::{
        FEED_PATH,
        feed::{ChangeKind, FeedAnswer},
        mac::{MAC_HEADER, NONCE_BYTES, Nonce, RequestParts, sign_request},
    },
};
use wardgate_host_tests::{
    envoy::{issuer::now, sidecar::ask_on},
    mesh::{Layout, System},
};

use super::{process::resident_bytes, report::Outcome};

/// Clients that wait, each like the poller of an Envoy.
const READERS: usize = 1000;
/// Revocations that all of them hear of.
const REVOCATIONS: usize = 60;
/// Everybody has heard, or something is lost.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the readers saw.
#[derive(Default)]
struct Heard {
    waiting: AtomicUsize,
    nonces: AtomicU64,
    /// When each fingerprint came, once for each reader.
    at: Mutex<HashMap<Fingerprint, Vec<Instant>>>,
}

impl Heard {
    fn count(&self, fingerprint: &Fingerprint) -> usize {
        self.lock().get(fingerprint).map_or(0, Vec::len)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Fingerprint, Vec<Instant>>> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Measures the whole group.
pub(crate) fn measure() -> Result<Vec<Outcome>> {
    let layout = Layout {
        sidecars: 1,
        redis: false,
        envoys: 0,
        workers: 0,
        max_stale_seconds: 600,
        links: false,
    };
    let system = System::start(layout)?;
    let sidecar = system.sidecars().first().context("no sidecar")?;
    let address = *system.internal_addresses().first().context("no listener")?;
    let process = sidecar.process_id().context("no process")?;
    let secret = base64url::decode(sidecar.feed_secret()?.as_bytes()).context("no secret")?;
    let idle = resident_bytes(process)?;
    let heard = Arc::new(Heard::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for _ in 0..READERS {
        let (heard, secret) = (Arc::clone(&heard), Secret::new(secret.clone()));
        runtime.spawn(async move {
            if let Err(error) = read(address, &secret, &heard).await {
                eprintln!("a reader gave up: {error:#}");
            }
        });
    }
    wait_until(|| heard.waiting.load(Ordering::Relaxed) >= READERS)?;
    let waiting = resident_bytes(process)?;
    let mut lags = Vec::new();
    let mut admin = sidecar.admin()?;
    for number in 0..REVOCATIONS {
        let target = RevocationTarget::Token {
            issuer: system.issuer.name().to_owned(),
            token_id: format!("fanout-{number}"),
        };
        ask_on(&mut admin, "POST", "/admin/v1/revocations", &json!({"target": target}))?;
        let acknowledged = Instant::now();
        let fingerprint = target.fingerprint();
        wait_until(|| heard.count(&fingerprint) >= READERS)?;
        let at = heard.lock().remove(&fingerprint).unwrap_or_default();
        lags.extend(
            at.iter().map(|at| at.saturating_duration_since(acknowledged).as_secs_f64() * 1e3),
        );
    }
    runtime.shutdown_background();
    let bench = "feed/fanout_1000";
    let megabytes = |bytes: u64| f64::from(u32::try_from(bytes / 1000).unwrap_or(u32::MAX)) / 1e3;
    Ok(vec![
        Outcome::percentile(bench, "p50_ms", "ms", &lags, 0.5),
        Outcome::percentile(bench, "p99_ms", "ms", &lags, 0.99),
        Outcome::alone("feed/sidecar_idle", "megabytes", "MB", &[megabytes(idle)]),
        Outcome::alone("feed/sidecar_with_1000", "megabytes", "MB", &[megabytes(waiting)]),
    ])
}

/// Asks for news without end, as a filter does.
async fn read(address: SocketAddr, secret: &Secret, heard: &Heard) -> Result<()> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let (mut cursor, mut settings) = (String::new(), String::new());
    loop {
        let path = if cursor.is_empty() {
            format!("{FEED_PATH}?wait=5000")
        } else {
            heard.waiting.fetch_add(1, Ordering::Relaxed);
            format!("{FEED_PATH}?cursor={cursor}&settings={settings}&wait=5000")
        };
        let parts = RequestParts { method: "GET", path: &path, body: b"" };
        let number = heard.nonces.fetch_add(1, Ordering::Relaxed);
        let mut nonce = [0; NONCE_BYTES];
        nonce.iter_mut().zip(number.to_be_bytes()).for_each(|(to, from)| *to = from);
        let mac = sign_request(secret, parts, UnixSeconds(now()), Nonce(nonce));
        let request = Request::get(&path).header("host", "sidecar").header(MAC_HEADER, mac);
        let answer = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        let at = Instant::now();
        ensure!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
        let answer: FeedAnswer = serde_json::from_slice(&body)?;
        for change in answer.changes {
            if let ChangeKind::Revoked { revocation } = change.entry.kind {
                heard.lock().entry(revocation.fingerprint).or_default().push(at);
            }
        }
        cursor = answer.cursor;
        if let Some(new) = answer.settings {
            settings = new.generation;
        }
    }
}

fn wait_until(mut look: impl FnMut() -> bool) -> Result<()> {
    wardgate_host_tests::envoy::wait::wait_until("every reader", PATIENCE, || Ok(look()))
}
