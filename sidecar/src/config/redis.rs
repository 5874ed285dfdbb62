//! The section of a Redis store.

use std::fmt;

use serde_json::{Value, json};
use wardgate_core::config::{At, Bounded, NonEmpty, Problems, Read};
use wardgate_core::section;

section! {
    /// A Redis (7 or newer) or Valkey that several sidecars share.
    pub struct RedisSection = "redis" {
        /// The servers: `redis://HOST:PORT`, `rediss://HOST:PORT` for TLS, or `unix:///PATH` of a
        /// single server. The server itself (`single`), all Sentinels (`sentinel`; `rediss` here
        /// means TLS to Sentinels and servers), or some nodes of the Cluster (`cluster`).
        pub urls: Vec<RedisUrl>, required;
        /// What answers at these addresses.
        pub mode: RedisMode, default(RedisMode::Single, "single");
        /// The name that the Sentinels know the master by; for `sentinel` only.
        pub master_name: Option<NonEmpty>, optional;
        /// The ACL user. Without one the password is that of the user `default`.
        pub username: Option<NonEmpty>, optional;
        /// File with the password, readable by its owner alone.
        pub password_file: Option<NonEmpty>, optional;
        /// Environment variable with the password.
        pub password_env: Option<NonEmpty>, optional;
        /// The ACL user of the Sentinels.
        pub sentinel_username: Option<NonEmpty>, optional;
        /// File with the password of the Sentinels, readable by its owner alone.
        pub sentinel_password_file: Option<NonEmpty>, optional;
        /// Whom to trust; needs `rediss://`.
        pub tls: Option<RedisTlsSection>, optional;
        /// What every key begins with, in braces, so that all of them share a slot of a Cluster.
        /// Two systems on one Redis need two prefixes.
        pub key_prefix: KeyPrefix, default(KeyPrefix("wardgate".to_owned()), "wardgate");
        /// How many replicas must have a change before it is acknowledged (`WAIT`).
        pub wait_replicas: Bounded<0, 16>, default(Bounded(0), 0);
        /// How long to wait for them, in milliseconds.
        pub wait_timeout_milliseconds: Bounded<1, 60_000>, default(Bounded(1000), 1000);
        /// How long one command may take, and how long the store looks for a server that answers,
        /// in milliseconds.
        pub timeout_milliseconds: Bounded<10, 60_000>, default(Bounded(2000), 2000);
    }
}

section! {
    /// TLS to Redis. The names in the servers' certificates are always checked.
    pub struct RedisTlsSection = "redis_tls" {
        /// File with the certificates (PEM) of the authorities to trust. Default: those of the
        /// operating system.
        pub ca_file: Option<NonEmpty>, optional;
        /// File with our certificate (PEM), where the servers ask for one.
        pub certificate_file: Option<NonEmpty>, optional;
        /// File with its private key (PEM), readable by its owner alone.
        pub key_file: Option<NonEmpty>, optional;
    }
}

section! {
    /// How Redis is run.
    pub enum RedisMode = "redis_mode" {
        /// One server.
        Single = "single",
        /// A master with replicas, watched by Sentinels.
        Sentinel = "sentinel",
        /// A Cluster.
        Cluster = "cluster",
    }
}

/// Where a server is. It cannot hold a password: an address is shown in logs and errors.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RedisUrl {
    /// `redis://` or `rediss://`.
    Tcp {
        /// Name or IP address.
        host: String,
        /// Port.
        port: u16,
        /// Whether it is `rediss://`.
        tls: bool,
    },
    /// `unix://`.
    Unix(String),
}

/// The port where none is given.
const DEFAULT_PORT: u16 = 6379;

impl RedisUrl {
    /// Reads a URL. The error never shows the text: there may be a password in it.
    fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str =
            "expected redis://HOST:PORT, rediss://HOST:PORT or unix:///PATH and nothing more";
        if text.contains('@') {
            return Err("no user or password here: use username and password_file or password_env");
        }
        if let Some(path) = text.strip_prefix("unix://") {
            let right = path.starts_with('/') && path.len() > 1;
            return if right { Ok(Self::Unix(path.to_owned())) } else { Err(EXPECTED) };
        }
        let (tls, place) = match (text.strip_prefix("redis://"), text.strip_prefix("rediss://")) {
            (Some(place), _) => (false, place),
            (_, Some(place)) => (true, place),
            (None, None) => return Err(EXPECTED),
        };
        // An IPv6 address stands in brackets (RFC 3986 §3.2.2).
        let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, rest)) => {
                (host, rest.strip_prefix(':').or((rest.is_empty()).then_some("")))
            }
            None => {
                place.split_once(':').map_or((place, Some("")), |(host, port)| (host, Some(port)))
            }
        };
        let port = match port.ok_or(EXPECTED)? {
            "" => DEFAULT_PORT,
            port => port.parse().map_err(|_| EXPECTED)?,
        };
        let of_host =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
        if host.is_empty() || !host.bytes().all(of_host) {
            return Err(EXPECTED);
        }
        Ok(Self::Tcp { host: host.to_owned(), port, tls })
    }

    /// Whether the connection is encrypted.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tcp { tls: true, .. })
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, tls } => {
                let scheme = if *tls { "rediss" } else { "redis" };
                let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
                write!(formatter, "{scheme}://{open}{host}{close}:{port}")
            }
            Self::Unix(path) => write!(formatter, "unix://{path}"),
        }
    }
}

impl Read for RedisUrl {
    fn read(value: &Value, at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        let text = String::read(value, at, problems)?;
        Self::parse(&text).map_err(|message| at.problem(problems, message)).ok()
    }

    fn kind() -> String {
        "URL".to_owned()
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": "^(rediss?|unix)://[^@]+$"})
    }
}

/// What the keys of one system begin with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyPrefix(pub String);

impl Read for KeyPrefix {
    fn read(value: &Value, at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        let text = String::read(value, at, problems)?;
        // A brace would end the hash tag, a star would widen a pattern of an ACL.
        let of_prefix =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
        if text.is_empty() || text.len() > 64 || !text.bytes().all(of_prefix) {
            at.problem(problems, "expected 1 to 64 of A-Z, a-z, 0-9 and -_.:");
            return None;
        }
        Some(Self(text))
    }

    fn kind() -> String {
        "string".to_owned()
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,64}$"})
    }
}

#[cfg(test)]
mod tests {
    use super::RedisUrl;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(RedisUrl::parse(text).ok().map(|url| url.to_string()).as_deref(), expected);
    }

    #[test]
    fn addresses_are_read_strictly() {
        check("redis://127.0.0.1:7000", Some("redis://127.0.0.1:7000"));
        check("rediss://redis.example.com", Some("rediss://redis.example.com:6379"));
        check("redis://[::1]:7000", Some("redis://[::1]:7000"));
        check("unix:///run/redis.sock", Some("unix:///run/redis.sock"));
        for wrong in [
            "",
            "redis://",
            "redis://h:99999",
            "http://h",
            "redis://h/1",
            "unix://redis.sock",
            "redis://[::1",
            "redis://[::1]7",
            "redis://:1",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn a_password_in_an_address_is_refused_and_not_repeated() {
        let error = RedisUrl::parse("redis://user:hunter2@h:1").unwrap_err();
        assert!(error.contains("password_file") && !error.contains("hunter2"), "{error}");
    }
}
