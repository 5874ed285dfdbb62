//! Hosts of requests and of routes.

use serde_json::{Value, json};

use crate::config::{At, Problems, Read};

/// The longest name that DNS allows (RFC 1035 §2.3.4).
const MAX_HOST_BYTES: usize = 253;

/// The hosts that a route is about.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum HostPattern {
    /// One host.
    Exact(String),
    /// Everything below a domain; kept with its leading dot.
    Below(String),
}

/// The host of a request, for comparison: in lower case, without port.
///
/// `None` if it is no host: empty, with user information, with bytes that no host has, with a dot at
/// the end (which Envoy, as it comes, takes for another host than the one without). Were such
/// text compared, `api.example.com` with an odd byte would dodge the routes of its host.
pub(super) fn canonical(authority: &str) -> Option<String> {
    let (host, port) = if authority.starts_with('[') {
        split_address(authority)?
    } else {
        let end = authority.find(':').unwrap_or(authority.len());
        let host = authority.get(..end)?;
        if !is_host(host) {
            return None;
        }
        (host, authority.get(end..)?)
    };
    // A port of nothing is allowed (RFC 3986 §3.2.3).
    let digits = if port.is_empty() { port } else { port.strip_prefix(':')? };
    if digits.len() > 5 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(host.to_ascii_lowercase())
}

/// An IPv6 address in its brackets, and what follows it.
fn split_address(authority: &str) -> Option<(&str, &str)> {
    let end = authority.find(']')?;
    let address = authority.get(1..end)?;
    let fits = |byte: u8| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.';
    if address.is_empty() || !address.bytes().all(fits) {
        return None;
    }
    authority.split_at_checked(end.saturating_add(1))
}

fn is_host(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    text.len() <= MAX_HOST_BYTES
        && text.split('.').all(|label| !label.is_empty() && label.bytes().all(fits))
}

impl Read for HostPattern {
    fn read(value: &Value, at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        let text = String::read(value, at, problems)?;
        let below = text.strip_prefix("*.");
        let name = below.unwrap_or(&text);
        let is_address = below.is_none() && name.starts_with('[');
        // Without a port: a route cannot depend on which port a client writes.
        if canonical(name).as_deref() != Some(name) || (!is_address && name.contains(':')) {
            at.problem(
                problems,
                "expected a host in lower case without port, or `*.` and a domain",
            );
            return None;
        }
        Some(match below {
            Some(domain) => Self::Below(format!(".{domain}")),
            None => Self::Exact(text),
        })
    }

    fn kind() -> String {
        "host or `*.` and domain".to_owned()
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": "^(\\*\\.)?[a-z0-9_-]+(\\.[a-z0-9_-]+)*$|^\\[[0-9a-f:.]+\\]$"})
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{HostPattern, canonical};
    use crate::config::{At, Problems, Read};

    #[test]
    fn a_host_is_compared_without_case_and_port() {
        for authority in
            ["api.example.com", "API.Example.COM", "api.example.com:8443", "api.example.com:"]
        {
            assert_eq!(canonical(authority).as_deref(), Some("api.example.com"), "{authority}");
        }
        assert_eq!(canonical("[::1]:80").as_deref(), Some("[::1]"));
        assert_eq!(canonical("127.0.0.1:80").as_deref(), Some("127.0.0.1"));
    }

    #[test]
    fn what_is_no_host_is_none() {
        for authority in [
            "",
            ".",
            "api.example.com.",
            "api.example.com.:80",
            "a..b",
            "user@a",
            "a b",
            "a/b",
            "a,b",
            "caf\u{e9}",
            "a:80:80",
            "a:x",
            "a:123456",
            "[::1",
            "[]",
            "[::1]x",
            "%61",
            "a..",
        ] {
            assert_eq!(canonical(authority), None, "{authority}");
        }
    }

    #[test]
    fn patterns_are_exact_or_below_a_domain() {
        let read = |text: &str| HostPattern::read(&json!(text), &At::ROOT, &mut Problems::new());
        assert_eq!(read("a.example"), Some(HostPattern::Exact("a.example".to_owned())));
        assert_eq!(read("*.example"), Some(HostPattern::Below(".example".to_owned())));
        assert_eq!(read("[::1]"), Some(HostPattern::Exact("[::1]".to_owned())));
        for bad in ["", "*", "a:80", "A", "a.", "*.*.a", "a*", "*.[::1]", "https://a", "[::1]:80"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
