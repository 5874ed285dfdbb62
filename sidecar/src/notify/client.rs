//! One request over one connection: a webhook is called seldom.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::SIGNATURE_HEADER;
use crate::config::WebhookUrl;

/// Time for a whole request, from the look-up of the name to the head of the answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Sends to one place.
pub(super) struct Client {
    url: WebhookUrl,
    tls: Option<TlsConnector>,
}

/// Nobody can be trusted.
#[derive(Debug, thiserror::Error)]
#[error("the certificates to trust for the webhook: {0}")]
pub struct TlsError(String);

/// Why a notice was not taken. Never shows the URL: there may be a token in it.
#[derive(Debug)]
pub(super) enum PostError {
    /// No answer.
    Connection(String),
    /// No answer in time.
    Timeout,
    /// The receiver does not want it, or not now.
    Status(u16),
}

impl PostError {
    /// Whether trying again may help: whoever answers 4xx will do so again, but for those that say
    /// 'later' (RFC 9110 §15.5.9, RFC 6585 §4) or have an access list that is being mended.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Connection(_) | Self::Timeout => true,
            Self::Status(status) => {
                !(400..500).contains(status) || matches!(status, 401 | 403 | 404 | 408 | 425 | 429)
            }
        }
    }
}

impl fmt::Display for PostError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(error) => formatter.write_str(error),
            Self::Timeout => write!(formatter, "no answer within {} seconds", TIMEOUT.as_secs()),
            Self::Status(status) => write!(formatter, "the receiver answered {status}"),
        }
    }
}

impl Client {
    pub(super) fn new(url: &WebhookUrl, ca_pem: Option<&[u8]>) -> Result<Self, TlsError> {
        let tls = if url.tls { Some(connector(ca_pem)?) } else { None };
        Ok(Self { url: url.clone(), tls })
    }

    /// Sends a notice. Redirects are not followed: the place is the one that the operator named.
    pub(super) async fn post(
        &self,
        body: &[u8],
        id: &str,
        signature: &str,
    ) -> Result<(), PostError> {
        let request = Request::post(&self.url.path)
            .header("host", &self.url.authority)
            .header("content-type", "application/json")
            .header("user-agent", concat!("wardgate/", env!("CARGO_PKG_VERSION")))
            .header("wardgate-notice-id", id)
            .header(SIGNATURE_HEADER, signature)
            .body(Full::new(Bytes::copy_from_slice(body)))
            .map_err(connection)?;
        let status = tokio::time::timeout(TIMEOUT, self.send(request));
        match status.await.map_err(|_| PostError::Timeout)?? {
            200..=299 => Ok(()),
            status => Err(PostError::Status(status)),
        }
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<u16, PostError> {
        let place = (self.url.host.as_str(), self.url.port);
        let stream = TcpStream::connect(place).await.map_err(connection)?;
        match &self.tls {
            None => exchange(stream, request).await,
            Some(tls) => {
                let name = ServerName::try_from(self.url.host.clone()).map_err(connection)?;
                exchange(tls.connect(name, stream).await.map_err(connection)?, request).await
            }
        }
    }
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<u16, PostError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, driver) = handshake.map_err(connection)?;
    // Ends with the sender; what goes wrong in it the sender says too. The body of the answer is not
    // read: there is nothing in it for us.
    tokio::spawn(driver);
    let response = sender.send_request(request).await.map_err(connection)?;
    Ok(response.status().as_u16())
}

fn connection(error: impl fmt::Display) -> PostError {
    PostError::Connection(error.to_string())
}

fn connector(ca_pem: Option<&[u8]>) -> Result<TlsConnector, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(pem) = ca_pem {
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| TlsError(error.to_string()))?;
            roots.add(certificate).map_err(|error| TlsError(error.to_string()))?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if roots.is_empty() {
        return Err(TlsError("there are none".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
