//! Where a command finds the desk: in the running sidecar, or in the store itself.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::UnixStream;

use super::{Failure, note};
use crate::clock::Clock;
use crate::config::Loaded;
use crate::desk::Desk;
use crate::random::Random;
use crate::store;

/// Longest answer of the sidecar: a page of long API keys.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// The desk, near or far.
pub(super) enum Office {
    /// In the running sidecar.
    Running(Admin),
    /// In this process.
    Direct(Box<Desk>),
}

/// The admin listener of a running sidecar.
pub(super) struct Admin {
    socket: PathBuf,
}

/// Finds the desk. The embedded store serves one process, so a running sidecar is asked.
pub(super) async fn reach(loaded: &Loaded) -> Result<Office, Failure> {
    match running(loaded).await? {
        Some(admin) => Ok(Office::Running(admin)),
        None => direct(loaded).await,
    }
}

/// The admin listener, if a sidecar runs here.
pub(super) async fn running(loaded: &Loaded) -> Result<Option<Admin>, Failure> {
    let socket = loaded.resolve(&loaded.config.admin.socket);
    match UnixStream::connect(&socket).await {
        Ok(_) => {
            note("through the running sidecar");
            Ok(Some(Admin { socket }))
        }
        Err(error) if nobody_listens(&error) => Ok(None),
        Err(error) => {
            Err(Failure::Failed(format!("the admin socket {}: {error}", socket.display())))
        }
    }
}

fn nobody_listens(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

async fn direct(loaded: &Loaded) -> Result<Office, Failure> {
    let store = store::open(&loaded.store).await.map_err(|error| {
        if error.is_in_use() {
            let socket = loaded.resolve(&loaded.config.admin.socket);
            note(&format!("no sidecar answers at the admin socket {}", socket.display()));
        }
        Failure::Store(error)
    })?;
    note("no sidecar runs: the store was opened directly");
    let issuer = loaded.config.issuer.clone();
    let (clock, random) = (Clock::system(), Random::system());
    let desk = Desk::open(store, &loaded.store_keys, issuer, clock, random).await;
    let desk = desk.map_err(Failure::failed)?;
    let desk = desk.with_api_keys(loaded.config.api_keys.clone());
    Ok(Office::Direct(Box::new(desk.with_signing_keys(&loaded.config.signing_keys))))
}

impl Admin {
    /// Asks for something.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.call(Method::GET, path, Vec::new()).await
    }

    /// Has something done.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(Failure::failed)?;
        self.call(Method::POST, path, body).await
    }

    /// Puts something in its place.
    pub(super) async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(Failure::failed)?;
        self.call(Method::PUT, path, body).await
    }

    /// Removes something.
    pub(super) async fn delete(&self, path: &str) -> Result<(), Failure> {
        self.answer(Method::DELETE, path, Vec::new()).await.map(|_| ())
    }

    /// Removes something, and says what it was.
    pub(super) async fn remove<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.call(Method::DELETE, path, Vec::new()).await
    }

    /// Has something changed.
    pub(super) async fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(Failure::failed)?;
        self.call(Method::PATCH, path, body).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<T, Failure> {
        let answer = self.answer(method, path, body).await?;
        serde_json::from_slice(&answer).map_err(Failure::failed)
    }

    async fn answer(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Bytes, Failure> {
        let stream = UnixStream::connect(&self.socket).await.map_err(Failure::failed)?;
        let stream = TokioIo::new(stream);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(stream).await.map_err(Failure::failed)?;
        // Ends with the connection; what goes wrong in it the sender says too.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "wardgate")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(Failure::failed)?;
        let response = sender.send_request(request).await.map_err(Failure::failed)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES);
        let body = body.collect().await.map_err(Failure::failed)?.to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
        let detail = problem.get("detail").and_then(Value::as_str);
        Err(Failure::Failed(detail.unwrap_or(status.as_str()).to_owned()))
    }
}

/// A segment of a path (RFC 3986 §3.3), everything but letters, digits and `-._~` encoded.
pub(super) fn segment(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => {
                // Writing to a string cannot fail.
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}
