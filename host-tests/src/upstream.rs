//! An upstream that answers with what reached it, so that a test sees what the gate let through.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Result;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Request, Response,
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, runtime::Runtime};

/// What reached the upstream.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    /// Headers in their order; a value that is not UTF-8 stands as `base64:…`.
    pub headers: Vec<(String, String)>,
    /// Trailers, likewise.
    pub trailers: Vec<(String, String)>,
    /// Length of the body.
    pub body_bytes: usize,
}

impl Seen {
    /// All values of the header of this name.
    pub fn header(&self, name: &str) -> Vec<&str> {
        let found = self.headers.iter().filter(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).collect()
    }
}

/// The running upstream; it ends when dropped. Speaks HTTP/1.1 and HTTP/2 without TLS.
pub struct Upstream {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
    runtime: Option<Runtime>,
}

impl Upstream {
    /// Listens on a free port of loopback.
    ///
    /// # Errors
    ///
    /// When the machine has none.
    pub fn start() -> Result<Self> {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Listens on `address`.
    ///
    /// # Errors
    ///
    /// When something else does.
    pub fn start_at(address: SocketAddr) -> Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind(address))?;
        let address = listener.local_addr()?;
        let requests = Arc::new(AtomicU64::new(0));
        runtime.spawn(serve(listener, Arc::clone(&requests)));
        Ok(Self { address, requests, runtime: Some(runtime) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests reached it.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(listener: TcpListener, requests: Arc<AtomicU64>) {
    while let Ok((stream, _)) = listener.accept().await {
        let requests = Arc::clone(&requests);
        tokio::spawn(async move {
            let service = service_fn(|request| echo(request, Arc::clone(&requests)));
            // A client that hangs up is nothing to report.
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn echo(
    request: Request<Incoming>,
    requests: Arc<AtomicU64>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    requests.fetch_add(1, Ordering::Relaxed);
    let (head, body) = request.into_parts();
    let collected = body.collect().await.ok();
    let trailers = collected.as_ref().and_then(|body| body.trailers()).map(pairs);
    let seen = Seen {
        method: head.method.to_string(),
        target: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: pairs(&head.headers),
        trailers: trailers.unwrap_or_default(),
        body_bytes: collected.map_or(0, |body| body.to_bytes().len()),
    };
    let mut response = Response::new(Full::from(serde_json::to_vec(&seen).unwrap_or_default()));
    let json = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
    Ok(response)
}

fn pairs(map: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &[u8]| match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("base64:{}", BASE64_STANDARD.encode(value)),
    };
    map.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect()
}
