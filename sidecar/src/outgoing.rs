//! Asks others over HTTP: one request over one connection, for nobody is asked often.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderValue, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

/// Whose certificates are believed.
#[derive(Debug)]
pub struct Authorities(RootCertStore);

/// Whom to believe cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// It cannot be read, or is no PEM.
    #[error(transparent)]
    Pem(#[from] pem::Error),
    /// A certificate is none.
    #[error(transparent)]
    Certificate(#[from] rustls::Error),
    /// There is none in it.
    #[error("there is no certificate")]
    Empty,
}

impl Authorities {
    /// Those of the operating system; there may be none.
    pub fn of_system() -> Self {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        for error in found.errors {
            tracing::warn!(%error, "the system's certificates cannot all be read");
        }
        // Old systems have some that nobody reads any more.
        let _ = roots.add_parsable_certificates(found.certs);
        Self(roots)
    }

    /// Those of a file, and nobody else.
    ///
    /// # Errors
    ///
    /// [`TrustError`] when it has none, or something else.
    pub fn of_file(file: &Path) -> Result<Self, TrustError> {
        Self::of_certificates(CertificateDer::pem_file_iter(file)?)
    }

    /// Those of a text, and nobody else.
    ///
    /// # Errors
    ///
    /// [`TrustError`] when it has none, or something else.
    pub fn of_pem(text: &[u8]) -> Result<Self, TrustError> {
        Self::of_certificates(CertificateDer::pem_slice_iter(text))
    }

    /// Nobody: for who only asks in clear.
    pub fn none() -> Self {
        Self(RootCertStore::empty())
    }

    /// Whether nobody is believed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn of_certificates(
        certificates: impl Iterator<Item = Result<CertificateDer<'static>, pem::Error>>,
    ) -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate?)?;
        }
        // A file that is empty by mistake: every question would fail, and not say why.
        if roots.is_empty() { Err(TrustError::Empty) } else { Ok(Self(roots)) }
    }
}

/// Where a question goes. Whether it may go in clear is for the caller to know.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Whether it is asked by TLS, and must show who it is.
    pub is_tls: bool,
    /// Name or address, without brackets.
    pub host: &'a str,
    /// Port.
    pub port: u16,
}

/// Why there is no answer. Says nothing of where the question went: there may be a token in it.
#[derive(Debug, thiserror::Error)]
pub enum OutgoingError {
    /// Nobody is there, or they cannot show who they are.
    #[error("no connection: {0}")]
    Connect(#[source] std::io::Error),
    /// The host.
    #[error("not a name that a certificate could have")]
    Name,
    /// The time is over.
    #[error("no answer in time")]
    Timeout,
    /// What came is no HTTP.
    #[error("no HTTP answer: {0}")]
    Http(#[source] hyper::Error),
    /// The body.
    #[error("the answer breaks off, or is longer than {0} bytes")]
    Body(usize),
}

/// Asks others.
pub struct Client {
    tls: TlsConnector,
    timeout: Duration,
}

impl Client {
    /// Believes these authorities. All of a question is to take no longer than `timeout`, from the
    /// look-up of the name on.
    ///
    /// # Errors
    ///
    /// [`TrustError`] when no TLS can be made of it.
    pub fn new(authorities: Authorities, timeout: Duration) -> Result<Self, TrustError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(authorities.0)
            .with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), timeout })
    }

    /// When a question that begins now must be done, with all that follows from it.
    pub fn deadline(&self) -> Instant {
        Instant::now().checked_add(self.timeout).unwrap_or_else(Instant::now)
    }

    /// Sends a request; the head of the answer. Redirects are answers like others.
    ///
    /// # Errors
    ///
    /// [`OutgoingError`] when there is none in time.
    pub async fn send(
        &self,
        place: Place<'_>,
        mut request: Request<Full<Bytes>>,
        deadline: Instant,
    ) -> Result<Response<Incoming>, OutgoingError> {
        let name = HeaderValue::from_static(concat!("wardgate/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(USER_AGENT, name);
        let answer = timeout_at(deadline, self.connect_and_send(place, request)).await;
        answer.map_err(|_| OutgoingError::Timeout)?
    }

    async fn connect_and_send(
        &self,
        place: Place<'_>,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, OutgoingError> {
        let stream = TcpStream::connect((place.host, place.port)).await;
        let stream = stream.map_err(OutgoingError::Connect)?;
        if !place.is_tls {
            return exchange(stream, request).await;
        }
        let name = ServerName::try_from(place.host.to_owned()).map_err(|_| OutgoingError::Name)?;
        let stream = self.tls.connect(name, stream).await.map_err(OutgoingError::Connect)?;
        exchange(stream, request).await
    }
}

/// The body of an answer, if it is no longer than `limit`: who answers decides how long it is.
///
/// # Errors
///
/// [`OutgoingError`] when it is longer, breaks off, or is not there in time.
pub async fn body(
    answer: Response<Incoming>,
    limit: usize,
    deadline: Instant,
) -> Result<Bytes, OutgoingError> {
    let body = timeout_at(deadline, Limited::new(answer.into_body(), limit).collect()).await;
    let body = body.map_err(|_| OutgoingError::Timeout)?;
    body.map(Collected::to_bytes).map_err(|_| OutgoingError::Body(limit))
}

async fn exchange<S>(
    stream: S,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, OutgoingError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(OutgoingError::Http)?;
    // Ends with the answer, or when nobody wants it any more; what goes wrong in it the sender says
    // too.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(OutgoingError::Http)
}
