//! Calls the webhook.

use std::fmt;
use std::time::Duration;

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;

use super::SIGNATURE_HEADER;
use crate::config::SecureUrl;
use crate::outgoing::{self, Authorities, OutgoingError, Place, TrustError};

/// Time for a whole request, from the look-up of the name to the head of the answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Sends to one place.
pub(super) struct Client {
    url: SecureUrl,
    client: outgoing::Client,
}

/// Nobody can be trusted.
#[derive(Debug, thiserror::Error)]
#[error("the certificates to trust for the webhook: {0}")]
pub struct TlsError(#[from] TrustError);

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
    pub(super) fn new(url: &SecureUrl, ca_pem: Option<&[u8]>) -> Result<Self, TlsError> {
        let authorities = match ca_pem {
            // To loopback, where nobody stands between.
            _ if !url.tls => Authorities::none(),
            Some(pem) => Authorities::of_pem(pem)?,
            None => Authorities::of_system(),
        };
        if url.tls && authorities.is_empty() {
            return Err(TrustError::Empty.into());
        }
        Ok(Self { url: url.clone(), client: outgoing::Client::new(authorities, TIMEOUT)? })
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
            .header("wardgate-notice-id", id)
            .header(SIGNATURE_HEADER, signature)
            .body(Full::new(Bytes::copy_from_slice(body)))
            .map_err(|error| PostError::Connection(error.to_string()))?;
        let place = Place { is_tls: self.url.tls, host: &self.url.host, port: self.url.port };
        // The body of the answer is not read: there is nothing in it for us.
        let answer = self.client.send(place, request, self.client.deadline()).await?;
        match answer.status().as_u16() {
            200..=299 => Ok(()),
            status => Err(PostError::Status(status)),
        }
    }
}

impl From<OutgoingError> for PostError {
    fn from(error: OutgoingError) -> Self {
        if matches!(error, OutgoingError::Timeout) {
            Self::Timeout
        } else {
            Self::Connection(error.to_string())
        }
    }
}
