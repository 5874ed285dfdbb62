//! Asks a provider for the next tokens (RFC 6749 §6).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{ClearToken, ProviderSettings};
use crate::config::SocialAuthMethod;
use crate::outgoing::{self, Authorities, OutgoingError, Place, TrustError};

/// Longest answer of a provider: some tokens of 16 KiB each.
const MAX_ANSWER_BYTES: usize = 128 * 1024;
/// What stands in a form as it is (RFC 6749 appendix B), all else percent-encoded.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Errors that say that the refresh token is worth nothing any more; the second is GitHub's.
const REFUSALS: [&str; 2] = ["invalid_grant", "bad_refresh_token"];

/// A provider that can be asked.
pub(super) struct Provider {
    pub(super) settings: ProviderSettings,
    client: outgoing::Client,
}

/// The next tokens, as the provider gives them (RFC 6749 §5.1).
#[derive(Deserialize)]
pub(super) struct Next {
    pub(super) access_token: ClearToken,
    #[serde(default)]
    pub(super) refresh_token: Option<ClearToken>,
    #[serde(default)]
    pub(super) expires_in: Option<u64>,
    #[serde(default)]
    pub(super) scope: Option<String>,
}

/// Why a provider gave no tokens. Says nothing of what was sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProviderProblem {
    /// It does not take the refresh token.
    #[error("the provider refuses the refresh token")]
    Refused,
    /// It was not reached, or has answered that it did not do it: it may be asked again.
    #[error("the provider cannot be asked: {0}")]
    NotDone(String),
    /// It may have taken the refresh token, and nobody knows what it answered.
    #[error("the answer of the provider was lost: {0}")]
    Unknown(String),
}

impl Provider {
    pub(super) fn new(
        settings: ProviderSettings,
        authorities: Authorities,
        timeout: Duration,
    ) -> Result<Self, TrustError> {
        Ok(Self { settings, client: outgoing::Client::new(authorities, timeout)? })
    }

    /// Uses a refresh token.
    pub(super) async fn refresh(&self, refresh_token: &str) -> Result<Next, ProviderProblem> {
        let request = self.request(refresh_token)?;
        let endpoint = &self.settings.token_endpoint;
        let place = Place { is_tls: endpoint.tls, host: &endpoint.host, port: endpoint.port };
        let deadline = self.client.deadline();
        let answer =
            self.client.send(place, request, deadline).await.map_err(|error| unsent(&error))?;
        let status = answer.status().as_u16();
        let body = outgoing::body(answer, MAX_ANSWER_BYTES, deadline).await;
        let body = match body {
            Ok(body) => body,
            // Whatever else it says, it says that it did not do it.
            Err(_) if !(200..300).contains(&status) => Bytes::new(),
            Err(error) => return Err(ProviderProblem::Unknown(error.to_string())),
        };
        read(status, &body)
    }

    fn request(&self, refresh_token: &str) -> Result<Request<Full<Bytes>>, ProviderProblem> {
        let settings = &self.settings;
        let mut form = Zeroizing::new(format!(
            "grant_type=refresh_token&refresh_token={}",
            utf8_percent_encode(refresh_token, FORM)
        ));
        let secret = settings.client_secret.as_ref();
        let secret = secret.map(|secret| String::from_utf8_lossy(secret.expose()));
        let secret = secret.map(|secret| Zeroizing::new(secret.into_owned()));
        let id = utf8_percent_encode(&settings.client_id, FORM);
        let mut authorization = None;
        match (secret, settings.auth_method) {
            (Some(secret), SocialAuthMethod::Basic) => {
                let secret = utf8_percent_encode(&secret, FORM);
                let pair = Zeroizing::new(format!("{id}:{secret}"));
                authorization = Some(Zeroizing::new(format!("Basic {}", STANDARD.encode(&*pair))));
            }
            (Some(secret), SocialAuthMethod::Post) => {
                let secret = utf8_percent_encode(&secret, FORM);
                form.push_str(&format!("&client_id={id}&client_secret={secret}"));
            }
            (None, SocialAuthMethod::Basic | SocialAuthMethod::Post) => {
                form.push_str(&format!("&client_id={id}"));
            }
        }
        let mut request = Request::post(&settings.token_endpoint.path)
            .header("host", &settings.token_endpoint.authority)
            .header("content-type", "application/x-www-form-urlencoded")
            // GitHub answers with a form otherwise.
            .header("accept", "application/json");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization.as_str());
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(form.as_bytes())));
        request.map_err(|error| ProviderProblem::NotDone(error.to_string()))
    }
}

/// Without a connection nothing was sent. In all else the provider may have taken the token.
fn unsent(error: &OutgoingError) -> ProviderProblem {
    match error {
        OutgoingError::Connect(_) | OutgoingError::Name => {
            ProviderProblem::NotDone(error.to_string())
        }
        OutgoingError::Timeout | OutgoingError::Http(_) | OutgoingError::Body(_) => {
            ProviderProblem::Unknown(error.to_string())
        }
    }
}

#[derive(Deserialize)]
struct ErrorAnswer {
    error: String,
}

/// Reads an answer (RFC 6749 §5.1 and §5.2). GitHub says errors with 200.
fn read(status: u16, body: &[u8]) -> Result<Next, ProviderProblem> {
    if let Ok(ErrorAnswer { error }) = serde_json::from_slice::<ErrorAnswer>(body) {
        if REFUSALS.contains(&error.as_str()) {
            return Err(ProviderProblem::Refused);
        }
        // The provider's own words go no further: they could quote what was sent.
        return Err(ProviderProblem::NotDone(format!("it answers {status} with an error")));
    }
    if !(200..300).contains(&status) {
        return Err(ProviderProblem::NotDone(format!("it answers {status}")));
    }
    let next = serde_json::from_slice::<Next>(body).ok();
    let next = next.filter(|next| !next.access_token.is_empty());
    next.ok_or_else(|| ProviderProblem::Unknown("it is no answer with tokens".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{ProviderProblem, read};

    #[track_caller]
    fn check(status: u16, body: &str, expected: &str) {
        let word = match read(status, body.as_bytes()) {
            Ok(_) => "tokens",
            Err(ProviderProblem::Refused) => "refused",
            Err(ProviderProblem::NotDone(_)) => "not done",
            Err(ProviderProblem::Unknown(_)) => "unknown",
        };
        assert_eq!(word, expected, "{status} {body}");
    }

    #[test]
    fn what_a_provider_says_is_read_as_it_is_meant() {
        check(200, r#"{"access_token": "a", "token_type": "bearer"}"#, "tokens");
        check(400, r#"{"error": "invalid_grant"}"#, "refused");
        check(200, r#"{"error": "bad_refresh_token"}"#, "refused");
        check(401, r#"{"error": "invalid_client"}"#, "not done");
        check(400, "no JSON", "not done");
        check(503, "", "not done");
        check(200, r#"{"access_token": ""}"#, "unknown");
        check(200, "<html>", "unknown");
    }
}
