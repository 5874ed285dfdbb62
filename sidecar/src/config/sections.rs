//! The sections of the configuration file.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};
use wardgate_core::config::{At, Bounded, NonEmpty, Problems, Read};
use wardgate_core::section;

use super::accounts::{LoginSection, PasswordsSection};
use super::keys::{ApiKeysSection, NotifySection, UsageSection};
use super::live::{FeedSection, IssuersSection, RevocationsSection};
use super::oauth::OAuthSection;
use super::redis::RedisSection;
use super::refresh_tokens::RefreshTokensSection;
use super::signing_keys::SigningKeysSection;
use super::social::SocialProviderSection;
use crate::keys::SigningAlgorithm;

section! {
    /// The configuration of the sidecar. Relative paths start at the directory of the file.
    pub struct Config = "sidecar" {
        /// Address of the public HTTP listener: `/healthz`, `/readyz`, `/metrics` and
        /// `/.well-known/jwks.json`. Whoever reaches it can read all of these; the metrics tell how
        /// much is asked and refused, and which version runs.
        pub listen: Address, default(default_listen(), "127.0.0.1:8180");
        /// The listener for filters.
        pub internal: InternalSection, required;
        /// The listener for the command line.
        pub admin: AdminSection, required;
        /// Where records are kept.
        pub store: StoreSection, required;
        /// Where the secrets are.
        pub secrets: SecretsSection, required;
        /// The tokens that the sidecar issues.
        pub issuer: IssuerSection, required;
        /// The life of the keys that the sidecar signs with.
        pub signing_keys: SigningKeysSection, default(SigningKeysSection::default(), {});
        /// OAuth: how clients authenticate and get tokens.
        pub oauth: OAuthSection, default(OAuthSection::default(), {});
        /// The policy that is handed to filters.
        pub policy: PolicySection, required;
        /// The feed to the filters.
        pub feed: FeedSection, default(FeedSection::default(), {});
        /// Revocations.
        pub revocations: RevocationsSection, default(RevocationsSection::default(), {});
        /// The keys of other issuers.
        pub issuers: IssuersSection, default(IssuersSection::default(), {});
        /// The audit log.
        pub audit: AuditSection, required;
        /// The life of API keys.
        pub api_keys: ApiKeysSection, default(ApiKeysSection::default(), {});
        /// The counts of how API keys and tokens are used.
        pub usage: UsageSection, default(UsageSection::default(), {});
        /// Passwords of users.
        pub passwords: PasswordsSection, default(PasswordsSection::default(), {});
        /// What bounds failed logins.
        pub login: LoginSection, default(LoginSection::default(), {});
        /// Who is told of API keys that end soon or have a new secret.
        pub notify: Option<NotifySection>, optional;
        /// The life of refresh tokens.
        pub refresh_tokens: RefreshTokensSection, default(RefreshTokensSection::default(), {});
        /// Providers whose tokens are kept for users, by name.
        pub social_providers: BTreeMap<String, SocialProviderSection>, default(BTreeMap::new(), {});
        /// The log of the sidecar itself.
        pub log: LogSection, default(LogSection::default(), {});
        /// What bounds the work of the sidecar.
        pub limits: LimitsSection, default(LimitsSection::default(), {});
    }
}

section! {
    /// The listener for filters. What passes here is authenticated in both directions under the
    /// feed secret, which is never sent.
    pub struct InternalSection = "internal" {
        /// Path of the Unix socket.
        pub socket: NonEmpty, required;
        /// Permissions of the socket; wider ones for an Envoy that runs as another user.
        pub socket_mode: SocketMode, default(SocketMode::Owner, "0600");
        /// A loopback address to listen on as well, for an Envoy that cannot use the socket.
        pub address: Option<Loopback>, optional;
        /// How far the clocks of filter and sidecar may differ, in seconds; an older message is
        /// refused.
        pub window_seconds: Bounded<1, 300>, default(Bounded(30), 30);
    }
}

section! {
    /// The listener for the command line: only for the user that runs the sidecar (mode 0600).
    pub struct AdminSection = "admin" {
        /// Path of the Unix socket.
        pub socket: NonEmpty, required;
    }
}

section! {
    /// Where records are kept. Exactly one of `path` and `redis` must be there.
    pub struct StoreSection = "store" {
        /// Path of the embedded store: one file, for one sidecar; it is made at the first start.
        pub path: Option<NonEmpty>, optional;
        /// A Redis or Valkey, for several sidecars.
        pub redis: Option<RedisSection>, optional;
        /// How often entries whose time is over are removed, in seconds. They count for nothing
        /// before that; they take room.
        pub clean_up_interval_seconds: Bounded<1, 86_400>, default(Bounded(60), 60);
    }
}

section! {
    /// Where the secrets are. Files must be readable by their owner alone.
    pub struct SecretsSection = "secrets" {
        /// File with the feed secret: at least 32 random bytes as base64url. One of
        /// `feed_secret_file` and `feed_secret_env` must be there.
        pub feed_secret_file: Option<NonEmpty>, optional;
        /// Environment variable with the feed secret.
        pub feed_secret_env: Option<NonEmpty>, optional;
        /// File with the keys that encrypt secrets in the store: one Fernet key per line; the first
        /// encrypts, all decrypt.
        pub store_keys_file: NonEmpty, required;
    }
}

section! {
    /// The tokens that the sidecar issues.
    pub struct IssuerSection = "issuer" {
        /// The `iss` of the tokens: a URL without query and fragment.
        pub issuer: IssuerUrl, required;
        /// The `aud` of a token for which none is asked.
        pub audiences: Vec<NonEmpty>, default(Vec::new(), Vec::<String>::new());
        /// A signing key is made for each of these; the first signs when none is asked for.
        pub algorithms: Vec<SigningAlgorithm>, default(SigningAlgorithm::ALL.to_vec(), ["ES256", "EdDSA", "RS256"]);
        /// How long an access token lives when nothing else is asked, in seconds.
        pub access_token_lifetime_seconds: Bounded<10, 86_400>, default(Bounded(300), 300);
    }
}

section! {
    /// The policy that is handed to filters.
    pub struct PolicySection = "policy" {
        /// Path of the policy file.
        pub file: NonEmpty, required;
    }
}

section! {
    /// The audit log: one JSON object per line, on disk before it is acknowledged.
    pub struct AuditSection = "audit" {
        /// Path of the file; lines are only ever appended.
        pub file: NonEmpty, required;
        /// Length in bytes above which the file is renamed to `<file>.<UTC time>` and a new one
        /// begun; 0 for never. Old files are never removed by the sidecar; any but the newest of
        /// them may be.
        pub rotate_bytes: Bounded<0, 1_099_511_627_776>, default(Bounded(268_435_456), 268_435_456);
    }
}

section! {
    /// The log of the sidecar itself, on standard error.
    pub struct LogSection = "log" {
        /// One JSON object per line, or lines for a person.
        pub format: LogFormat, default(LogFormat::Text, "text");
        /// The least important level that is shown.
        pub level: LogLevel, default(LogLevel::Info, "info");
    }
}

section! {
    /// What bounds the work of the sidecar.
    pub struct LimitsSection = "limits" {
        /// Longest body of a request, in bytes. A batch of audit events has some 64 KiB and one event.
        pub body_bytes: Bounded<262_144, 67_108_864>, default(Bounded(2_097_152), 2_097_152);
        /// Bytes of events from filters that may be under way, in all requests together; more are
        /// refused, and the filters try again. At least `body_bytes` whatever stands here.
        pub bodies_in_flight_bytes: Bounded<262_144, 4_294_967_296>, default(Bounded(67_108_864), 67_108_864);
        /// Open connections of one listener; more wait.
        pub connections: Bounded<1, 100_000>, default(Bounded(4096), 4096);
        /// Requests that one address may make of the public listener per minute, and at once; of
        /// IPv6 each network of 64 bits. 0 switches it off.
        pub requests_per_minute_per_address: Bounded<0, 1_000_000>, default(Bounded(600), 600);
        /// How many proxies of yours a request to the public listener passes, each of which appends
        /// to `x-forwarded-for`; 0: the peer is the client.
        pub trusted_proxy_hops: Bounded<0, 10>, default(Bounded(0), 0);
        /// Time for the head of a request to arrive, in milliseconds.
        pub header_timeout_milliseconds: Bounded<100, 60_000>, default(Bounded(5000), 5000);
        /// Time for a request to be answered, in milliseconds.
        pub request_timeout_milliseconds: Bounded<100, 300_000>, default(Bounded(30_000), 30_000);
        /// How long a connection may stay silent, in seconds.
        pub idle_timeout_seconds: Bounded<1, 3600>, default(Bounded(120), 120);
        /// How long requests under way may take to finish at shutdown, in seconds.
        pub shutdown_seconds: Bounded<1, 300>, default(Bounded(10), 10);
    }
}

section! {
    /// Permissions of a socket.
    pub enum SocketMode = "socket_mode" {
        /// For the user of the sidecar.
        Owner = "0600",
        /// For its group too.
        Group = "0660",
        /// For everyone; the listener believes nobody without the feed secret.
        Everyone = "0666",
    }
}

impl SocketMode {
    /// The permission bits.
    pub fn bits(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Group => 0o660,
            Self::Everyone => 0o666,
        }
    }
}

section! {
    /// The form of log lines.
    pub enum LogFormat = "log_format" {
        /// One JSON object per line.
        Json = "json",
        /// Lines for a person.
        Text = "text",
    }
}

section! {
    /// How important a log line is.
    pub enum LogLevel = "log_level" {
        /// Something failed that must not.
        Error = "error",
        /// Something needs attention.
        Warn = "warn",
        /// What an operator wants to know.
        Info = "info",
        /// What a developer wants to know.
        Debug = "debug",
    }
}

impl Default for LogSection {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: LogLevel::Info }
    }
}

impl Default for LimitsSection {
    fn default() -> Self {
        Self {
            body_bytes: Bounded(2_097_152),
            bodies_in_flight_bytes: Bounded(67_108_864),
            connections: Bounded(4096),
            requests_per_minute_per_address: Bounded(600),
            trusted_proxy_hops: Bounded(0),
            header_timeout_milliseconds: Bounded(5000),
            request_timeout_milliseconds: Bounded(30_000),
            idle_timeout_seconds: Bounded(120),
            shutdown_seconds: Bounded(10),
        }
    }
}

/// An IP address and port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Address(pub SocketAddr);

fn default_listen() -> Address {
    Address(SocketAddr::from(([127, 0, 0, 1], 8180)))
}

impl Read for Address {
    fn read(value: &Value, at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        let text = String::read(value, at, problems)?;
        let address = text.parse().ok();
        if address.is_none() {
            at.problem(problems, "expected an IP address and port, as 127.0.0.1:8180");
        }
        address.map(Self)
    }

    fn kind() -> String {
        "IP address and port".to_owned()
    }

    fn schema() -> Value {
        json!({"type": "string"})
    }
}

/// A loopback address and port. What the internal listener says is authenticated but not
/// encrypted, so it must not leave the machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Loopback(pub SocketAddr);

impl Read for Loopback {
    fn read(value: &Value, at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        let Address(address) = Address::read(value, at, problems)?;
        if !address.ip().is_loopback() {
            at.problem(
                problems,
                "expected a loopback address: the internal listener is not encrypted",
            );
            return None;
        }
        Some(Self(address))
    }

    fn kind() -> String {
        "loopback address and port".to_owned()
    }

    fn schema() -> Value {
        json!({"type": "string"})
    }
}

/// The identifier of an issuer (RFC 8414 §2): a URL without query and fragment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IssuerUrl(pub String);

impl IssuerUrl {
    /// Its path, without the `/` at its end, which counts for nothing (RFC 8414 §3.1); empty where
    /// there is none.
    pub fn path(&self) -> &str {
        let (_, rest) = self.0.split_once("://").unwrap_or_default();
        let path = rest.find('/').and_then(|start| rest.get(start..));
        path.unwrap_or_default().trim_end_matches('/')
    }
}

/// Whether requests can come to this path as it stands. Proxies take `.` and empty segments and escapes
/// for others, or refuse them, and to routes a brace or a star is a pattern: what nobody asked for
/// would be open, or what was meant would go elsewhere.
fn is_reachable(path: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let is_segment =
        |it: &str| !it.is_empty() && it != "." && it != ".." && it.bytes().all(is_plain);
    path.is_empty() || path.split('/').skip(1).all(is_segment)
}

impl Read for IssuerUrl {
    fn read(value: &Value, at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        let text = String::read(value, at, problems)?;
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let right = host.is_some_and(|host| !host.is_empty() && !host.starts_with('/'))
            && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#'));
        let url = Self(text);
        let problem = if !right {
            "expected a URL without query and fragment, as https://auth.example.com"
        } else if !is_reachable(url.path()) {
            "expected a path of letters, digits and `-._~`, as https://auth.example.com/tenant"
        } else {
            return Some(url);
        };
        at.problem(problems, problem);
        None
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
    use super::{Config, IssuerUrl, LimitsSection, LogSection};
    use serde_json::json;
    use wardgate_core::config::{At, Problems, Read};

    #[test]
    fn defaults_are_what_an_empty_section_gives() {
        let mut problems = Problems::new();
        let read = LimitsSection::read(&json!({}), &At::ROOT, &mut problems);
        assert_eq!(read, Some(LimitsSection::default()));
        assert_eq!(
            LogSection::read(&json!({}), &At::ROOT, &mut problems),
            Some(LogSection::default())
        );
        assert_eq!(problems, []);
    }

    #[test]
    fn an_issuer_has_a_path_that_every_proxy_reads_alike() {
        let read = |issuer: &str| {
            let mut problems = Problems::new();
            IssuerUrl::read(&json!(issuer), &At::ROOT, &mut problems).is_some()
        };
        for right in ["https://a", "https://a/", "https://a/tenant", "https://a/t-1/b_2.c~/"] {
            assert!(read(right), "{right}");
        }
        for path in ["//t", "/a/../b", "/.", "/a%2Fb", "/{x}", "/*", "/a;b", "/a//b", "/a\\b"] {
            assert!(!read(&format!("https://a{path}")), "{path}");
        }
    }

    #[test]
    fn the_path_of_an_issuer_begins_after_its_host() {
        for (issuer, path) in [
            ("https://auth.example.com", ""),
            ("https://auth.example.com/", ""),
            ("https://auth.example.com:8443/tenant", "/tenant"),
            ("https://auth.example.com/tenant/", "/tenant"),
            ("http://[::1]:80/a/b", "/a/b"),
        ] {
            assert_eq!(IssuerUrl(issuer.to_owned()).path(), path, "{issuer}");
        }
    }

    #[test]
    fn a_whole_batch_of_events_fits_under_every_limit() {
        for (bytes, right) in [(65_536, false), (262_143, false), (262_144, true)] {
            let mut problems = Problems::new();
            LimitsSection::read(&json!({"body_bytes": bytes}), &At::ROOT, &mut problems);
            assert_eq!(problems.is_empty(), right, "{bytes}");
        }
    }

    #[test]
    fn an_internal_address_off_the_machine_is_a_problem() {
        let mut problems = Problems::new();
        let value = json!({"internal": {"socket": "s", "address": "0.0.0.0:1"}, "listen": "here"});
        assert_eq!(Config::read(&value, &At::ROOT, &mut problems), None);
        let found: Vec<_> = problems.iter().map(ToString::to_string).collect();
        for expected in [
            "listen: expected an IP address and port, as 127.0.0.1:8180",
            "internal.address: expected a loopback address: the internal listener is not encrypted",
            "store: required key is missing",
        ] {
            assert!(found.iter().any(|problem| problem == expected), "{found:?}");
        }
    }
}
