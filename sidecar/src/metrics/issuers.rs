//! What is measured of other issuers. Their names are the policy's, never a token's.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Metrics of the issuers whose keys are fetched.
#[derive(Debug, Default)]
pub struct IssuerMetrics {
    heard: Family<IssuerLabels, Gauge>,
    failures: Family<IssuerLabels, Counter>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct IssuerLabels {
    issuer: String,
}

impl IssuerMetrics {
    /// The keys of the issuer are of then, in seconds since the epoch.
    pub fn heard(&self, issuer: &str, at: u64) {
        let at = i64::try_from(at).unwrap_or(i64::MAX);
        self.heard.get_or_create(&labels(issuer)).set(at);
    }

    /// The keys of the issuer could not be fetched.
    pub fn failed(&self, issuer: &str) {
        self.failures.get_or_create(&labels(issuer)).inc();
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "When the keys of an issuer were fetched, in seconds since the epoch";
        registry.register("issuer_keys_fetched_timestamp_seconds", help, self.heard.clone());
        let help = "Fetches of the keys of an issuer that failed";
        registry.register("issuer_fetch_failures", help, self.failures.clone());
    }
}

fn labels(issuer: &str) -> IssuerLabels {
    IssuerLabels { issuer: issuer.to_owned() }
}
