//! An HTTP/2 client for requests that look like gRPC, with headers and trailers of choice.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Request, Version,
    body::Bytes,
    client::conn::http2,
    header::{HeaderName, HeaderValue},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::client::Answer;

/// What a gRPC client sends in one message: not compressed, empty.
const EMPTY_MESSAGE: [u8; 5] = [0; 5];

/// Sends one request over a new HTTP/2 connection and reads the whole answer.
///
/// # Errors
///
/// When the connection fails or a header cannot be sent.
pub fn call(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    trailers: &[(&str, &str)],
) -> Result<Answer> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(exchange(address, path, headers, trailers))
}

async fn exchange(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    trailers: &[(&str, &str)],
) -> Result<Answer> {
    let stream = TcpStream::connect(address).await.context("cannot connect")?;
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);

    let trailers = if trailers.is_empty() { None } else { Some(Ok(header_map(trailers)?)) };
    let body = Full::new(Bytes::from_static(&EMPTY_MESSAGE));
    let body = body.with_trailers(std::future::ready(trailers));
    let mut request =
        Request::post(format!("http://localhost{path}")).version(Version::HTTP_2).body(body)?;
    request.headers_mut().extend(header_map(headers)?);

    let (head, body) = sender.send_request(request).await?.into_parts();
    let collected = body.collect().await?;
    let trailers = collected.trailers().map(pairs).unwrap_or_default();
    Ok(Answer {
        status: head.status.as_u16(),
        headers: pairs(&head.headers),
        body: collected.to_bytes().to_vec(),
        trailers,
    })
}

fn header_map(pairs: &[(&str, &str)]) -> Result<HeaderMap> {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
    }
    Ok(map)
}

fn pairs(map: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    map.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
}
