//! A sidecar over HTTP with records of a test's choice: states that the real one reaches only in time,
//! such as a key that has expired.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Result;
use http_body_util::{BodyExt as _, Collected, Full};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::HeaderValue,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Runtime};
use wardgate_core::{
    base64url,
    secret::Secret,
    time::UnixSeconds,
    wire::{
        AUDIT_PATH, ApiKeyRecord, FEED_PATH,
        mac::{self, MAC_HEADER, RequestParts},
    },
};

use super::issuer::now;
use crate::feed::FakeFeed;

/// How far the clocks may differ; here there is but one.
const WINDOW_SECONDS: u64 = 30;
/// How often a question that is held looks for news.
const LOOK: Duration = Duration::from_millis(5);

/// What the desk knows.
pub struct Records {
    /// The key of the digests.
    pub digest_key: Vec<u8>,
    /// API key records by id.
    pub api_keys: BTreeMap<String, ApiKeyRecord>,
}

/// The running desk; it ends when dropped.
pub struct Desk {
    address: SocketAddr,
    secret: Vec<u8>,
    clerk: Arc<Clerk>,
    runtime: Option<Runtime>,
}

impl Desk {
    /// Listens on a free port of loopback, with a new secret.
    ///
    /// # Errors
    ///
    /// When the machine has no port or no randomness.
    pub fn start(records: Records) -> Result<Self> {
        let mut secret = vec![0; 32];
        aws_lc_rs::rand::fill(&mut secret).map_err(|_| anyhow::anyhow!("no randomness"))?;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0)))?;
        let address = listener.local_addr()?;
        let shared = Secret::new(secret.clone());
        let mut feed = FakeFeed::new(&shared, &Secret::new(records.digest_key));
        for record in records.api_keys.values() {
            feed.put_api_key(record, 0)?;
        }
        let clerk = Clerk { secret: shared, feed: Mutex::new(feed), events: Mutex::default() };
        let clerk = Arc::new(clerk);
        runtime.spawn(serve(listener, Arc::clone(&clerk)));
        Ok(Self { address, secret, clerk, runtime: Some(runtime) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The feed secret as the environment variable holds it.
    pub fn feed_secret(&self) -> String {
        base64url::encode(&self.secret)
    }

    /// The audit events taken so far.
    pub fn events(&self) -> Vec<Value> {
        self.clerk.events.lock().map(|events| events.clone()).unwrap_or_default()
    }

    /// What it has for filters.
    pub fn feed(&self) -> MutexGuard<'_, FakeFeed> {
        self.clerk.feed()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

struct Clerk {
    secret: Secret,
    feed: Mutex<FakeFeed>,
    events: Mutex<Vec<Value>>,
}

async fn serve(listener: TcpListener, clerk: Arc<Clerk>) {
    while let Ok((stream, _)) = listener.accept().await {
        let clerk = Arc::clone(&clerk);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(Arc::clone(&clerk), request));
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    clerk: Arc<Clerk>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
    let path = head.uri.path_and_query().map_or("", |path| path.as_str());
    let parts = RequestParts { method: head.method.as_str(), path, body: &body };
    let header = head.headers.get(MAC_HEADER).map(HeaderValue::as_bytes).unwrap_or_default();
    let time = UnixSeconds(now());
    let Ok(nonce) = mac::verify_request(&clerk.secret, parts, header, time, WINDOW_SECONDS) else {
        return Ok(status(StatusCode::UNAUTHORIZED));
    };
    if head.uri.path() == FEED_PATH {
        clerk.wait_for_news(path).await;
    }
    let Ok(said) = clerk.say(path, &body) else { return Ok(status(StatusCode::BAD_REQUEST)) };
    let mac = mac::sign_answer(&clerk.secret, nonce, 200, &said);
    let mut response = Response::new(Full::from(said));
    if let Ok(mac) = mac.parse() {
        response.headers_mut().insert(MAC_HEADER, mac);
    }
    Ok(response)
}

fn status(code: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = code;
    response
}

impl Clerk {
    async fn wait_for_news(&self, path: &str) {
        let start = Instant::now();
        let wait = Duration::from_millis(FakeFeed::wait_of(path));
        while start.elapsed() < wait && !self.feed().news(path).1 {
            tokio::time::sleep(LOOK).await;
        }
    }

    fn feed(&self) -> MutexGuard<'_, FakeFeed> {
        self.feed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, path: &str, asked: &[u8]) -> Result<Vec<u8>> {
        if path == AUDIT_PATH {
            return Ok(self.take(&serde_json::from_slice(asked)?).to_string().into_bytes());
        }
        self.feed().body(path)
    }

    fn take(&self, batch: &Value) -> Value {
        let batch = batch.get("events").and_then(Value::as_array).cloned().unwrap_or_default();
        let last = batch.last().and_then(|event| event.get("sequence")).cloned();
        if let Ok(mut events) = self.events.lock() {
            events.extend(batch);
        }
        json!({"acknowledged": last})
    }
}
