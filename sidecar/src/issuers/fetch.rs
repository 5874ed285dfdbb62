//! Fetches one small document over HTTPS.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CACHE_CONTROL, HOST, LOCATION, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::url::Url;

/// Longest document: a hundred keys with their certificates are a third of it.
const MAX_BODY_BYTES: usize = 512 * 1024;
/// Redirects that are followed; none is usual.
const MAX_REDIRECTS: usize = 3;

/// Asks issuers.
pub(super) struct Fetcher {
    tls: TlsConnector,
    timeout: Duration,
    pub(super) allow_http: bool,
}

/// A document.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) body: Bytes,
    /// How long it may be used without being asked for again, if the issuer says so.
    pub(super) max_age_seconds: Option<u64>,
}

/// Why there is no document. Says nothing of its content.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("no connection: {0}")]
    Connect(#[source] std::io::Error),
    #[error("not a name that a certificate could have")]
    Name,
    #[error("no answer in time")]
    Timeout,
    #[error("no HTTP answer: {0}")]
    Http(#[source] hyper::Error),
    #[error("the answer breaks off, or is longer than {MAX_BODY_BYTES} bytes")]
    Body,
    #[error("status {0}")]
    Status(u16),
    #[error("a redirect to somewhere else, or too many of them")]
    Redirect,
    #[error("the question cannot be written: {0}")]
    Question(#[from] hyper::http::Error),
}

/// The trusted authorities cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read or has no certificate.
    #[error("issuers.ca_file: {0}")]
    File(#[from] rustls::pki_types::pem::Error),
    /// A certificate is none.
    #[error("issuers.ca_file: {0}")]
    Certificate(#[from] rustls::Error),
    /// There is none in the file.
    #[error("issuers.ca_file has no certificate")]
    Empty,
}

impl Fetcher {
    /// Trusts the authorities of the file, or those of the system.
    pub(super) fn new(
        ca_file: Option<&std::path::Path>,
        timeout: Duration,
        allow_http: bool,
    ) -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        if let Some(file) = ca_file {
            for certificate in CertificateDer::pem_file_iter(file)? {
                roots.add(certificate?)?;
            }
            if roots.is_empty() {
                return Err(TrustError::Empty);
            }
        } else {
            let found = rustls_native_certs::load_native_certs();
            for error in found.errors {
                tracing::warn!(%error, "the system's certificates cannot all be read");
            }
            // Old systems have some that nobody reads any more.
            let _ = roots.add_parsable_certificates(found.certs);
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), timeout, allow_http })
    }

    /// Fetches a document; all of it has one deadline.
    pub(super) async fn get(&self, url: &Url) -> Result<Fetched, FetchError> {
        let fetched = tokio::time::timeout(self.timeout, self.follow(url.clone())).await;
        fetched.map_err(|_| FetchError::Timeout)?
    }

    async fn follow(&self, mut url: Url) -> Result<Fetched, FetchError> {
        for _ in 0..=MAX_REDIRECTS {
            let response = self.ask(&url).await?;
            let status = response.status();
            if status.is_redirection() {
                let location = response.headers().get(LOCATION).and_then(|it| it.to_str().ok());
                let next = location.and_then(|it| url.redirected(it, self.allow_http));
                url = next.ok_or(FetchError::Redirect)?;
                continue;
            }
            if status != StatusCode::OK {
                return Err(FetchError::Status(status.as_u16()));
            }
            let max_age_seconds = max_age(&response);
            let body = Limited::new(response.into_body(), MAX_BODY_BYTES).collect().await;
            let body = body.map_err(|_| FetchError::Body)?.to_bytes();
            return Ok(Fetched { body, max_age_seconds });
        }
        Err(FetchError::Redirect)
    }

    async fn ask(&self, url: &Url) -> Result<Response<hyper::body::Incoming>, FetchError> {
        let stream = TcpStream::connect((url.host.as_str(), url.port));
        let stream = stream.await.map_err(FetchError::Connect)?;
        if !url.is_tls {
            return exchange(stream, url).await;
        }
        let name = ServerName::try_from(url.host.clone()).map_err(|_| FetchError::Name)?;
        let stream = self.tls.connect(name, stream).await.map_err(FetchError::Connect)?;
        exchange(stream, url).await
    }
}

async fn exchange<S>(stream: S, url: &Url) -> Result<Response<hyper::body::Incoming>, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(FetchError::Http)?;
    // Ends with the answer; what goes wrong in it the sender says too.
    tokio::spawn(connection);
    let request = Request::get(&url.target)
        .header(HOST, url.authority())
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, concat!("wardgate/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())?;
    sender.send_request(request).await.map_err(FetchError::Http)
}

/// `max-age` of `Cache-Control` (RFC 9111 §5.2.2.1); 0 if nothing may be kept.
fn max_age<B>(response: &Response<B>) -> Option<u64> {
    let values = response.headers().get_all(CACHE_CONTROL).into_iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    let directives = texts.flat_map(|text| text.split(',')).map(str::trim);
    let mut found = None;
    for directive in directives {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => return Some(0),
            "max-age" => found = value.trim_matches('"').parse().ok(),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use hyper::Response;

    #[test]
    fn max_age_is_read_from_whatever_stands_around_it() {
        for (header, expected) in [
            ("public, max-age=300, must-revalidate", Some(300)),
            ("MAX-AGE=\"60\"", Some(60)),
            ("max-age=300, no-cache", Some(0)),
            ("public", None),
            ("max-age=-1", None),
            ("s-maxage=5", None),
        ] {
            let response = Response::builder().header("cache-control", header).body(()).unwrap();
            assert_eq!(super::max_age(&response), expected, "{header}");
        }
    }
}
