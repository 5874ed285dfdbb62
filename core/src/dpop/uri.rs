//! Addresses of requests, normalised so that one address has one text ([RFC 3986 §6.2]).
//!
//! [RFC 3986 §6.2]: https://www.rfc-editor.org/rfc/rfc3986#section-6.2

use core::fmt;

/// Longest address that is looked at; the same as the longest path of a request.
const MAX_URI_BYTES: usize = crate::path::MAX_PATH_BYTES;

/// Why a text is no address that a request can have.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParseUriError {
    /// Not `http` or `https`, no host, a user name, a port that is none, or a bad escape.
    #[error("expected an absolute http or https URL without user name")]
    Invalid,
    /// An origin with a path, query or fragment.
    #[error("expected scheme, host and port only, as https://api.example.com")]
    NotAnOrigin,
}

/// An `http` or `https` address without query and fragment, normalised: two that name the same
/// resource by RFC 3986 §6.2.2 and §6.2.3 are equal.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct HttpUri(String);

/// Scheme, host and port under which clients reach a service, normalised.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Origin(String);

impl HttpUri {
    /// Reads an address; query and fragment are left out, as RFC 9449 §4.3 demands for `htu`.
    ///
    /// # Errors
    ///
    /// [`ParseUriError::Invalid`].
    pub fn parse(text: &str) -> Result<Self, ParseUriError> {
        let (mut uri, rest) = split_origin(text).ok_or(ParseUriError::Invalid)?;
        append_path(&mut uri, rest.as_bytes()).ok_or(ParseUriError::Invalid)?;
        Ok(Self(uri))
    }

    /// The normalised text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Origin {
    /// Reads an origin; a `/` at the end is left out.
    ///
    /// # Errors
    ///
    /// [`ParseUriError`].
    pub fn parse(text: &str) -> Result<Self, ParseUriError> {
        let (origin, rest) = split_origin(text).ok_or(ParseUriError::Invalid)?;
        if matches!(rest, "" | "/") { Ok(Self(origin)) } else { Err(ParseUriError::NotAnOrigin) }
    }

    /// The address of `path`, a path as it stands in a request, with or without query. `None` if it
    /// is no path.
    pub fn at(&self, path: &[u8]) -> Option<HttpUri> {
        if path.first() != Some(&b'/') {
            return None;
        }
        let mut uri = self.0.clone();
        append_path(&mut uri, path)?;
        Some(HttpUri(uri))
    }

    /// The normalised text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is reached by TLS.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// Whether only this machine reaches it: `localhost`, or a loopback address.
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let address = address.unwrap_or(host).parse::<core::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    /// Whether `authority`, as it stands in a request, names this host. Ports are not compared: what
    /// a proxy listens on is seldom what its clients know.
    pub fn has_host(&self, authority: &str) -> bool {
        split_port(authority).is_some_and(|(host, _)| host.eq_ignore_ascii_case(self.host()))
    }

    fn host(&self) -> &str {
        let authority = self.0.split_once("://").map_or("", |(_, authority)| authority);
        split_port(authority).map_or("", |(host, _)| host)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for HttpUri {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The normalised origin of `text`, and what follows it.
fn split_origin(text: &str) -> Option<(String, &str)> {
    if text.len() > MAX_URI_BYTES {
        return None;
    }
    let (scheme, rest) = text.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(end)?;
    let (host, port) = split_port(authority)?;
    let host = host.to_ascii_lowercase();
    let mut origin = format!("{scheme}://{host}");
    if let Some(port) = port.filter(|port| *port != default_port) {
        origin.push_str(&format!(":{port}"));
    }
    Some((origin, rest))
}

/// Host and port of an authority. A user name is refused: `https://api.example.com@evil.example`
/// has fooled readers for as long as there are URLs.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.find(']')) {
        Some(end) => authority.split_at_checked(end.checked_add(2)?)?,
        None => authority.split_at_checked(authority.find(':').unwrap_or(authority.len()))?,
    };
    let is_address = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => !address.is_empty() && address.bytes().all(is_address),
        // Letters beyond ASCII stand in a URI as Punycode.
        None => !host.is_empty() && host.bytes().all(is_name),
    };
    if !is_host {
        return None;
    }
    match port.strip_prefix(':') {
        None => port.is_empty().then_some((host, None)),
        // An empty port is the default one (RFC 3986 §6.2.3).
        Some("") => Some((host, None)),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some((host, Some(digits.parse().ok()?)))
        }
        Some(_) => None,
    }
}

/// Appends what comes before query and fragment of `rest`: escapes in upper case and only where one
/// is needed, without dot segments, and `/` for nothing.
fn append_path(uri: &mut String, rest: &[u8]) -> Option<()> {
    let end = rest.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(rest.len());
    let path = normalised_escapes(rest.get(..end)?)?;
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            _ => {
                kept.push(segment);
                continue;
            }
        }
        // RFC 3986 §5.2.4: `/a/.` is `/a/`.
        if is_last {
            kept.push("");
        }
    }
    for segment in &kept {
        uri.push('/');
        uri.push_str(segment);
    }
    if kept.is_empty() {
        uri.push('/');
    }
    Some(())
}

/// RFC 3986 §6.2.2.1 and §6.2.2.2: unreserved letters plain, other escapes in upper case. What no
/// URI can have is escaped, as RFC 3987 §3.1 does; spaces and control bytes are refused.
fn normalised_escapes(path: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(path.len());
    let mut bytes = path.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            let escaped = u8::try_from(high.checked_mul(16)?.checked_add(low)?).ok()?;
            if is_unreserved(escaped) {
                text.push(char::from(escaped));
            } else {
                text.push_str(&format!("%{escaped:02X}"));
            }
        } else if is_unreserved(byte) || is_delimiter(byte) {
            text.push(char::from(byte));
        } else if byte <= b' ' || byte == 0x7f {
            return None;
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    Some(text)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// The delimiters that may stand in a path, and the slash (RFC 3986 §3.3).
fn is_delimiter(byte: u8) -> bool {
    const DELIMITERS: &[u8] = b"/!$&'()*+,;=:@";
    DELIMITERS.contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::{HttpUri, Origin, ParseUriError};

    #[track_caller]
    fn same(text: &str, expected: &str) {
        assert_eq!(HttpUri::parse(text).as_ref().map(HttpUri::as_str), Ok(expected), "{text}");
    }

    #[track_caller]
    fn refused(text: &str) {
        assert_eq!(HttpUri::parse(text), Err(ParseUriError::Invalid), "{text}");
    }

    #[test]
    fn one_address_has_one_text() {
        for text in [
            "https://api.example.com/a",
            "HTTPS://API.Example.COM/a",
            "https://api.example.com:443/a",
            "https://api.example.com:/a",
            "https://api.example.com:0443/a",
            "https://api.example.com/%61",
            "https://api.example.com/a?b=c",
            "https://api.example.com/a#b",
            "https://api.example.com/b/../a",
            "https://api.example.com/../%2e/a",
        ] {
            same(text, "https://api.example.com/a");
        }
        same("https://a.example", "https://a.example/");
        same("https://a.example?b", "https://a.example/");
        same("http://a.example:80/", "http://a.example/");
        same("http://a.example:443/", "http://a.example:443/");
        same("http://[2001:DB8::1]:8080/a/", "http://[2001:db8::1]:8080/a/");
    }

    #[test]
    fn what_differs_stays_different() {
        same("https://a.example/a/", "https://a.example/a/");
        same("https://a.example//a", "https://a.example//a");
        same("https://a.example/A", "https://a.example/A");
        same("https://a.example/a%2fb", "https://a.example/a%2Fb");
        same("https://a.example/a%3Fb", "https://a.example/a%3Fb");
        same("https://a.example/a/.", "https://a.example/a/");
        same("https://a.example/a/b/..", "https://a.example/a/");
        same("https://a.example/..", "https://a.example/");
        same("https://a.example/%25", "https://a.example/%25");
    }

    #[test]
    fn what_no_uri_can_have_is_escaped() {
        same("https://a.example/\u{e4}{|}", "https://a.example/%C3%A4%7B%7C%7D");
        same("https://a.example/%c3%a4%7b|%7D", "https://a.example/%C3%A4%7B%7C%7D");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "/a",
            "ftp://a.example/",
            "https:/a.example/",
            "https:///a",
            "https://user@a.example/",
            "https://user:pw@a.example/",
            "https://a.example:x/",
            "https://a.example:65536/",
            "https://a.example:+1/",
            "https://a.ex%61mple/",
            "https://\u{e4}.example/",
            "https://[::1/",
            "https://[]/",
            "https://[::1]x/",
            "https://a.example/a b",
            "https://a.example/%",
            "https://a.example/%4",
            "https://a.example/%+1",
            "https://a.example/\u{0}",
            " https://a.example/",
        ] {
            refused(text);
        }
        refused(&format!("https://a.example/{}", "a".repeat(10_000)));
    }

    #[test]
    fn an_origin_has_no_path() {
        let origin = Origin::parse("https://API.example.com:443/").unwrap();
        assert_eq!(origin.as_str(), "https://api.example.com");
        for text in ["https://a.example/a", "https://a.example?", "https://a.example#a"] {
            assert_eq!(Origin::parse(text), Err(ParseUriError::NotAnOrigin), "{text}");
        }
        assert_eq!(Origin::parse("api.example.com"), Err(ParseUriError::Invalid));
    }

    #[test]
    fn an_origin_and_a_path_make_an_address() {
        let origin = Origin::parse("https://a.example").unwrap();
        assert_eq!(origin.at(b"/%61?b"), HttpUri::parse("https://a.example/a").ok());
        for path in [&b""[..], b"*", b"a", b"@evil.example/", b"/%zz", b"/a b"] {
            assert_eq!(origin.at(path), None);
        }
    }
}
