//! The sections about API keys: their life, their use, and who is told.

use std::net::IpAddr;

use serde_json::{Value, json};
use wardgate_core::config::{At, Bounded, NonEmpty, Problems, Read};
use wardgate_core::section;

section! {
    /// The life of API keys.
    pub struct ApiKeysSection = "api_keys" {
        /// How long before its end a key is warned of, in seconds; each of these once.
        pub warn_before_seconds: Vec<Bounded<60, 31_622_400>>, default(default_warnings(), [2_592_000, 604_800, 86_400]);
        /// How long the old secret works after a rotation when nothing else is asked, in seconds.
        pub grace_seconds: Bounded<0, 2_678_400>, default(Bounded(86_400), 86_400);
        /// How long the old secret works after a rotation by schedule while nobody collects the new
        /// one, in seconds.
        pub collect_within_seconds: Bounded<3600, 31_622_400>, default(Bounded(2_592_000), 2_592_000);
        /// How long a key stays in the store after it was revoked or has ended, in days.
        pub keep_revoked_days: Bounded<1, 36_500>, default(Bounded(90), 90);
        /// How often all keys are looked through for what is due, in seconds; by one of the sidecars
        /// of a store.
        pub sweep_interval_seconds: Bounded<1, 86_400>, default(Bounded(300), 300);
    }
}

section! {
    /// The counts of how API keys and tokens are used.
    pub struct UsageSection = "usage" {
        /// How long the counts of a day are kept, in days.
        pub keep_days: Bounded<1, 3660>, default(Bounded(90), 90);
        /// How often what was counted is added to the store, in milliseconds: what a killed sidecar
        /// loses.
        pub flush_interval_milliseconds: Bounded<10, 600_000>, default(Bounded(5000), 5000);
    }
}

section! {
    /// Who is told of API keys that end soon or have a new secret.
    pub struct NotifySection = "notify" {
        /// Where notices are sent (`POST`, JSON): `https://…`, or `http://` to a loopback address.
        pub webhook_url: WebhookUrl, required;
        /// File with the secret that signs notices: at least 32 random bytes as base64url, readable
        /// by its owner alone.
        pub secret_file: NonEmpty, required;
        /// File with the certificates (PEM) of the authorities to trust. Default: those of the
        /// operating system.
        pub ca_file: Option<NonEmpty>, optional;
    }
}

fn default_warnings() -> Vec<Bounded<60, 31_622_400>> {
    vec![Bounded(2_592_000), Bounded(604_800), Bounded(86_400)]
}

impl Default for ApiKeysSection {
    fn default() -> Self {
        Self {
            warn_before_seconds: default_warnings(),
            grace_seconds: Bounded(86_400),
            collect_within_seconds: Bounded(2_592_000),
            keep_revoked_days: Bounded(90),
            sweep_interval_seconds: Bounded(300),
        }
    }
}

impl Default for UsageSection {
    fn default() -> Self {
        Self { keep_days: Bounded(90), flush_interval_milliseconds: Bounded(5000) }
    }
}

/// Longest URL of a webhook.
const MAX_URL_BYTES: usize = 2048;

/// Where notices are sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WebhookUrl {
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

impl WebhookUrl {
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
        // What a notice says is for its receiver alone: who has which keys, and when they end.
        (right && !host.is_empty() && (tls || loopback)).then(|| Self {
            tls,
            host: host.to_owned(),
            port,
            authority: authority.to_owned(),
            path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
        })
    }
}

impl Read for WebhookUrl {
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
    use super::{ApiKeysSection, UsageSection, WebhookUrl};
    use serde_json::json;
    use wardgate_core::config::{At, Problems, Read};

    #[test]
    fn defaults_are_what_an_empty_section_gives() {
        let mut problems = Problems::new();
        let keys = ApiKeysSection::read(&json!({}), &At::ROOT, &mut problems);
        assert_eq!(keys, Some(ApiKeysSection::default()));
        let usage = UsageSection::read(&json!({}), &At::ROOT, &mut problems);
        assert_eq!(usage, Some(UsageSection::default()));
        assert_eq!(problems, []);
    }

    #[test]
    fn a_webhook_is_encrypted_or_on_this_machine() {
        let parts =
            |text: &str| WebhookUrl::parse(text).map(|url| (url.tls, url.host, url.port, url.path));
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
