//! What is counted, in the Prometheus text format (`OpenMetrics` 1.0).

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

pub use accounts::AccountMetrics;
pub use families::FamilyMetrics;
pub use feed::FeedMetrics;
pub use issuers::IssuerMetrics;
pub use signing_keys::SigningKeyMetrics;

mod accounts;
mod families;
mod feed;
mod issuers;
mod signing_keys;

/// All metrics of the sidecar.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Requests by listener, route and status.
    pub requests: Family<RequestLabels, Counter>,
    /// Internal requests that were not believed, by reason.
    pub refused: Family<RefusedLabels, Counter>,
    /// Events written to the audit log.
    pub audit_events: Counter,
    /// Events that came again.
    pub audit_duplicates: Counter,
    /// Events that never came and were not announced as lost.
    pub audit_missing: Counter,
    /// Syncs of the audit log.
    pub audit_syncs: Counter,
    /// Tokens issued.
    pub tokens_issued: Counter,
    /// Requests of OAuth clients, by endpoint and result.
    pub oauth: Family<OAuthLabels, Counter>,
    /// Policies that were refused when they were read anew.
    pub policy_reload_failures: Counter,
    /// Families of refresh tokens.
    pub families: FamilyMetrics,
    /// The feed.
    pub feed: FeedMetrics,
    /// Other issuers.
    pub issuers: IssuerMetrics,
    /// The sidecar's own signing keys.
    pub signing_keys: SigningKeyMetrics,
    /// Users.
    pub accounts: AccountMetrics,
    /// Counts of the use of API keys that there was no room for.
    pub usage_dropped: Counter,
    /// Notices that the webhook has taken.
    pub notices_sent: Counter,
    /// Notices that it has not.
    pub notices_failed: Counter,
    /// API keys that got a new secret by schedule.
    pub api_keys_rotated: Counter,
    /// API keys that were forgotten, long after their end.
    pub api_keys_forgotten: Counter,
    /// Warnings of the end of API keys.
    pub api_key_warnings: Counter,
    /// Entries of the store that were removed because their time was over.
    pub store_cleaned: Counter,
    /// Sequence of the newest entry of the log of the store, as of the last clean-up.
    pub store_log_sequence: Gauge<u64, AtomicU64>,
    /// Secrets that were sealed anew under the current store key.
    pub store_resealed: Counter,
    /// Secrets that need an older store key, as far as is known.
    pub store_older_secrets: Gauge<u64, AtomicU64>,
}

/// Labels of a request. The route is a pattern of the router, never a path of a client: each
/// distinct value is memory for ever.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct RequestLabels {
    /// `public`, `internal` or `admin`.
    pub listener: &'static str,
    /// The pattern of the route, or `none`.
    pub route: String,
    /// The HTTP status.
    pub status: u16,
}

/// What became of a request of an OAuth client.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct OAuthLabels {
    /// `token`, `revoke` or `introspect`.
    pub endpoint: &'static str,
    /// `ok`, or the code of the error.
    pub result: &'static str,
}

/// Why an internal request was not believed.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct RefusedLabels {
    /// `mac`, `time` or `header`.
    pub reason: &'static str,
}

impl Metrics {
    /// Registers everything.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("wardgate"),
            requests: Family::default(),
            refused: Family::default(),
            audit_events: Counter::default(),
            audit_duplicates: Counter::default(),
            audit_missing: Counter::default(),
            audit_syncs: Counter::default(),
            tokens_issued: Counter::default(),
            oauth: Family::default(),
            policy_reload_failures: Counter::default(),
            families: FamilyMetrics::default(),
            feed: FeedMetrics::default(),
            issuers: IssuerMetrics::default(),
            signing_keys: SigningKeyMetrics::default(),
            accounts: AccountMetrics::default(),
            usage_dropped: Counter::default(),
            notices_sent: Counter::default(),
            notices_failed: Counter::default(),
            api_keys_rotated: Counter::default(),
            api_keys_forgotten: Counter::default(),
            api_key_warnings: Counter::default(),
            store_cleaned: Counter::default(),
            store_log_sequence: Gauge::default(),
            store_resealed: Counter::default(),
            store_older_secrets: Gauge::default(),
        };
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        let registry = &mut metrics.registry;
        registry.register("build", "Version of the sidecar", build);
        registry.register("http_requests", "HTTP requests", metrics.requests.clone());
        registry.register(
            "internal_refused",
            "Internal requests not believed",
            metrics.refused.clone(),
        );
        registry.register("audit_events", "Audit events written", metrics.audit_events.clone());
        registry.register(
            "audit_duplicates",
            "Audit events that came again",
            metrics.audit_duplicates.clone(),
        );
        registry.register(
            "audit_missing",
            "Audit events that never came",
            metrics.audit_missing.clone(),
        );
        registry.register("audit_syncs", "Syncs of the audit log", metrics.audit_syncs.clone());
        registry.register("tokens_issued", "Tokens issued", metrics.tokens_issued.clone());
        registry.register("oauth_requests", "Requests of OAuth clients", metrics.oauth.clone());
        registry.register(
            "policy_reload_failures",
            "Policies that were refused when they were read anew",
            metrics.policy_reload_failures.clone(),
        );
        metrics.families.register(registry);
        metrics.feed.register(registry);
        metrics.issuers.register(registry);
        metrics.signing_keys.register(registry);
        metrics.accounts.register(registry);
        metrics.register_api_keys();
        metrics.register_store();
        metrics
    }

    fn register_store(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "store_cleaned",
            "Entries removed from the store because their time was over",
            self.store_cleaned.clone(),
        );
        registry.register(
            "store_log_sequence",
            "Sequence of the newest entry of the log of the store, as of the last clean-up",
            self.store_log_sequence.clone(),
        );
        registry.register(
            "store_resealed",
            "Secrets sealed anew under the current store key",
            self.store_resealed.clone(),
        );
        registry.register(
            "store_older_secrets",
            "Secrets that need an older store key",
            self.store_older_secrets.clone(),
        );
    }

    fn register_api_keys(&mut self) {
        for (name, help, counter) in [
            ("usage_dropped", "Counts of API keys that there was no room for", &self.usage_dropped),
            ("notices_sent", "Notices that the webhook has taken", &self.notices_sent),
            ("notices_failed", "Notices that it has not", &self.notices_failed),
            ("api_keys_rotated", "API keys with a new secret by schedule", &self.api_keys_rotated),
            ("api_keys_forgotten", "API keys forgotten after their end", &self.api_keys_forgotten),
            ("api_key_warnings", "Warnings of the end of API keys", &self.api_key_warnings),
        ] {
            self.registry.register(name, help, counter.clone());
        }
    }

    /// All metrics as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::Metrics;

    #[test]
    fn the_text_has_each_metric_with_its_help() {
        let metrics = Metrics::new();
        metrics.audit_events.inc_by(3);
        let text = metrics.text();
        for line in ["wardgate_audit_events_total 3", "# HELP wardgate_audit_events ", "# EOF"] {
            assert!(text.contains(line), "{text}");
        }
    }
}
