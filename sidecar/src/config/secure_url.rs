//! Addresses that the sidecar sends secrets to.

use std::net::IpAddr;

use serde_json::{Value, json};
use wardgate_core::config::{At, Problems, Read};

/// Longest URL.
const MAX_URL_BYTES: usize = 2048;

/// An address where nobody on the way reads along: with TLS, or of this machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SecureUrl {
    /// Whether it is `https://`.
    pub tls: bool,
    /// Name or IP address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Host and port as the URL has them.
    pub authority: String,
    /// Path and query.
    pub path: String,
}

impl SecureUrl {
    fn parse(text: &str) -> Option<Self> {
        let (tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return None,
        };
        let right = text.len() <= MAX_URL_BYTES
            && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'@'));
        let start = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(start)?;
        // An IPv6 address stands in brackets (RFC 3986 §3.2.2).
        let (host, port) = match authority.strip_prefix('[').and_then(|it| it.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':').or(port.is_empty().then_some(""))?),
            None => authority.split_once(':').unwrap_or((authority, "")),
        };
        let port = match port {
            "" => {
                if tls {
                    443
                } else {
                    80
                }
            }
            port => port.parse().ok()?,
        };
        let loopback = host == "localhost"
            || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        // What is sent there is for its receiver alone: who has which keys, or a provider's tokens.
        (right && !host.is_empty() && (tls || loopback)).then(|| Self {
            tls,
            host: host.to_owned(),
            port,
            authority: authority.to_owned(),
            path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
        })
    }
}

impl Read for SecureUrl {
    fn read(value: &Value, at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        let text = String::read(value, at, problems)?;
        let url = Self::parse(&text);
        if url.is_none() {
            // Never the text: there may be a token in it.
            at.problem(problems, "expected https://HOST/PATH, or http:// to a loopback address");
        }
        url
    }

    fn kind() -> String {
        "URL".to_owned()
    }

    fn schema() -> Value {
        json!({"type": "string", "format": "uri"})
    }
}

#[cfg(test)]
mod tests {
    use super::SecureUrl;

    #[test]
    fn an_address_is_encrypted_or_on_this_machine() {
        let parts =
            |text: &str| SecureUrl::parse(text).map(|url| (url.tls, url.host, url.port, url.path));
        let owned =
            |tls, host: &str, port, path: &str| Some((tls, host.to_owned(), port, path.to_owned()));
        assert_eq!(parts("https://a.example/x?y=1"), owned(true, "a.example", 443, "/x?y=1"));
        assert_eq!(parts("https://a.example?y"), owned(true, "a.example", 443, "/?y"));
        assert_eq!(parts("http://127.0.0.1:81"), owned(false, "127.0.0.1", 81, "/"));
        assert_eq!(parts("http://[::1]:81/"), owned(false, "::1", 81, "/"));
        for wrong in [
            "",
            "a.example",
            "http://a.example/",
            "http://10.0.0.1/",
            "https:///x",
            "https://u:p@h/",
            "https://h:0x1/",
            "https://h:99999/",
            "https://h/#f",
            "https://h/ x",
            "ftp://h/",
            "http://[::1]81/",
            "http://localhost.example/",
        ] {
            assert_eq!(parts(wrong), None, "{wrong}");
        }
    }
}
