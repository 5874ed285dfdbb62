//! A sidecar over HTTP with records of a test's choice: states that the real one reaches only in time,
//! such as a key that has expired.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use anyhow::Result;
use http_body_util::{BodyExt as _, Collected, Full};
use hyper::{
    Request, Response,
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
        API_KEY_LOOKUP_PATH, AUDIT_PATH, ApiKeyRecord, SNAPSHOT_PATH,
        mac::{self, MAC_HEADER, RequestParts},
    },
};

use super::issuer::now;

/// How far the clocks may differ; here there is but one.
const WINDOW_SECONDS: u64 = 30;

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
    events: Arc<Mutex<Vec<Value>>>,
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
        let events = Arc::default();
        let clerk =
            Clerk { secret: Secret::new(secret.clone()), records, events: Arc::clone(&events) };
        runtime.spawn(serve(listener, Arc::new(clerk)));
        Ok(Self { address, secret, events, runtime: Some(runtime) })
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
        self.events.lock().map(|events| events.clone()).unwrap_or_default()
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
    records: Records,
    events: Arc<Mutex<Vec<Value>>>,
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
    let parts = RequestParts { method: head.method.as_str(), path: head.uri.path(), body: &body };
    let header = head.headers.get(MAC_HEADER).map(HeaderValue::as_bytes).unwrap_or_default();
    let time = UnixSeconds(now());
    let Ok(nonce) = mac::verify_request(&clerk.secret, parts, header, time, WINDOW_SECONDS) else {
        let mut refused = Response::new(Full::default());
        *refused.status_mut() = hyper::StatusCode::UNAUTHORIZED;
        return Ok(refused);
    };
    let asked = serde_json::from_slice(&body).unwrap_or_default();
    let said = clerk.say(head.uri.path(), &asked).to_string();
    let mac = mac::sign_answer(&clerk.secret, nonce, 200, said.as_bytes());
    let mut response = Response::new(Full::from(said));
    if let Ok(mac) = mac.parse() {
        response.headers_mut().insert(MAC_HEADER, mac);
    }
    Ok(response)
}

impl Clerk {
    fn say(&self, path: &str, asked: &Value) -> Value {
        match path {
            SNAPSHOT_PATH => json!({
                "generation": "1",
                "api_key_revision": 1,
                "api_key_digest_key": base64url::encode(&self.records.digest_key),
                "key_sets": [],
            }),
            API_KEY_LOOKUP_PATH => {
                let id = asked.get("id").and_then(Value::as_str).unwrap_or_default();
                let record = self.records.api_keys.get(id);
                json!({"record": record, "valid_for_seconds": 300, "api_key_revision": 1})
            }
            AUDIT_PATH => self.take(asked),
            _ => Value::Null,
        }
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
