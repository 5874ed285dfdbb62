//! Fetches one small document over HTTPS.

use std::path::Path;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CACHE_CONTROL, HOST, LOCATION};
use hyper::{Request, Response, StatusCode};
use tokio::time::Instant;

use super::url::Url;
use crate::outgoing::{self, Authorities, Client, OutgoingError, Place, TrustError};

/// Longest document: a hundred keys with their certificates are a third of it.
const MAX_BODY_BYTES: usize = 512 * 1024;
/// Redirects that are followed; none is usual.
const MAX_REDIRECTS: usize = 3;

/// Asks issuers.
pub(super) struct Fetcher {
    client: Client,
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
    #[error(transparent)]
    Outgoing(#[from] OutgoingError),
    #[error("status {0}")]
    Status(u16),
    #[error("a redirect to somewhere else, or too many of them")]
    Redirect,
    #[error("the question cannot be written: {0}")]
    Question(#[from] hyper::http::Error),
}

/// The trusted authorities cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("issuers.ca_file: {0}")]
pub struct CaFileError(#[from] TrustError);

impl Fetcher {
    /// Trusts the authorities of the file, or those of the system.
    pub(super) fn new(
        ca_file: Option<&Path>,
        timeout: Duration,
        allow_http: bool,
    ) -> Result<Self, CaFileError> {
        let authorities = match ca_file {
            Some(file) => Authorities::of_file(file)?,
            None => Authorities::of_system(),
        };
        Ok(Self { client: Client::new(authorities, timeout)?, allow_http })
    }

    /// Fetches a document; all of it has one deadline.
    pub(super) async fn get(&self, url: &Url) -> Result<Fetched, FetchError> {
        let (mut url, deadline) = (url.clone(), self.client.deadline());
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.ask(&url, deadline).await?;
            let status = answer.status();
            if status.is_redirection() {
                let location = answer.headers().get(LOCATION).and_then(|it| it.to_str().ok());
                let next = location.and_then(|it| url.redirected(it, self.allow_http));
                url = next.ok_or(FetchError::Redirect)?;
                continue;
            }
            if status != StatusCode::OK {
                return Err(FetchError::Status(status.as_u16()));
            }
            let max_age_seconds = max_age(&answer);
            let body = outgoing::body(answer, MAX_BODY_BYTES, deadline).await?;
            return Ok(Fetched { body, max_age_seconds });
        }
        Err(FetchError::Redirect)
    }

    async fn ask(&self, url: &Url, deadline: Instant) -> Result<Response<Incoming>, FetchError> {
        let request = Request::get(&url.target)
            .header(HOST, url.authority())
            .header(ACCEPT, "application/json")
            .body(Full::default())?;
        let place = Place { is_tls: url.is_tls, host: &url.host, port: url.port };
        Ok(self.client.send(place, request, deadline).await?)
    }
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
