//! The addresses that keys are fetched from. They are from the policy, or from a document that such an
//! address has; never from a token.

use hyper::Uri;

/// Longest URL.
const MAX_URL_BYTES: usize = 2048;

/// An address that may be asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Url {
    pub(super) is_tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// Path and query.
    pub(super) target: String,
}

/// A text is no such address.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected an https:// URL")]
pub(super) struct UrlError;

impl Url {
    /// Reads a URL. `http` is for loopback, where nobody stands between, and only if allowed.
    pub(super) fn parse(text: &str, allow_http: bool) -> Result<Self, UrlError> {
        if text.len() > MAX_URL_BYTES {
            return Err(UrlError);
        }
        let uri: Uri = text.parse().map_err(|_| UrlError)?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if allow_http => false,
            _ => return Err(UrlError),
        };
        let authority = uri.authority().ok_or(UrlError)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let is_loopback = matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1");
        // A name and password in a URL would stand in logs.
        if host.is_empty() || authority.as_str().contains('@') || !(is_tls || is_loopback) {
            return Err(UrlError);
        }
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        Ok(Self { is_tls, host, port, target })
    }

    /// Where a redirect leads, if that is at the same place: somewhere else somebody else answers.
    pub(super) fn redirected(&self, location: &str, allow_http: bool) -> Option<Self> {
        if location.starts_with('/') && !location.starts_with("//") {
            let target = location.split('#').next().unwrap_or_default().to_owned();
            let uri: Uri = target.parse().ok()?;
            let target = uri.path_and_query()?.as_str().to_owned();
            return Some(Self { target, ..self.clone() });
        }
        let other = Self::parse(location, allow_http).ok()?;
        let same = (other.is_tls, &other.host, other.port) == (self.is_tls, &self.host, self.port);
        same.then_some(other)
    }

    /// As the `Host` header has it.
    pub(super) fn authority(&self) -> String {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.is_tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

/// Where the metadata of an issuer is (OIDC Discovery 1.0 §4).
pub(super) fn discovery(issuer: &str) -> String {
    format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::{Url, discovery};

    #[test]
    fn only_https_is_asked_and_http_on_loopback_if_allowed() {
        let url = Url::parse("https://login.example.com/keys?v=2", false).unwrap();
        assert_eq!((url.host.as_str(), url.port), ("login.example.com", 443));
        assert_eq!((url.target.as_str(), url.authority()), ("/keys?v=2", url.host.clone()));
        assert_eq!(Url::parse("https://[::1]:8443/", false).unwrap().authority(), "[::1]:8443");
        assert!(Url::parse("http://127.0.0.1:80/keys", true).is_ok());
        for (text, allow_http) in [
            ("http://127.0.0.1/keys", false),
            ("http://login.example.com/keys", true),
            ("http://127.0.0.1.example.com/keys", true),
            ("file:///etc/passwd", true),
            ("https://user:word@login.example.com/", true),
            ("/keys", true),
            ("", true),
        ] {
            assert!(Url::parse(text, allow_http).is_err(), "{text}");
        }
    }

    #[test]
    fn a_redirect_stays_where_it_is() {
        let url = Url::parse("https://login.example.com/keys", false).unwrap();
        let to = |location: &str| url.redirected(location, false).map(|url| url.target);
        assert_eq!(to("/other?x#y").as_deref(), Some("/other?x"));
        assert_eq!(to("https://login.example.com/other").as_deref(), Some("/other"));
        for elsewhere in [
            "https://evil.example.com/keys",
            "//evil.example.com/keys",
            "https://login.example.com:444/keys",
            "http://login.example.com/keys",
            "keys",
        ] {
            assert_eq!(to(elsewhere), None, "{elsewhere}");
        }
    }

    #[test]
    fn metadata_is_below_the_path_of_the_issuer() {
        let expected = "https://a.example/t/.well-known/openid-configuration";
        assert_eq!(discovery("https://a.example/t"), expected);
        assert_eq!(discovery("https://a.example/t/"), expected);
    }
}
