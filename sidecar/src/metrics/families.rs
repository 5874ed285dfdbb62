//! What is counted of families of refresh tokens.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Metrics of families of refresh tokens.
#[derive(Debug, Default)]
pub struct FamilyMetrics {
    /// Families that were begun.
    pub begun: Counter,
    /// Tokens that were used.
    pub refreshed: Counter,
    /// Answers that were given again.
    pub repeated: Counter,
    refused: Family<WhyLabels, Counter>,
    ended: Family<WhyLabels, Counter>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct WhyLabels {
    why: &'static str,
}

impl FamilyMetrics {
    /// A token was refused.
    pub fn refuse(&self, why: &'static str) {
        self.refused.get_or_create(&WhyLabels { why }).inc();
    }

    /// A family has ended before its time.
    pub fn end(&self, why: &'static str) {
        self.ended.get_or_create(&WhyLabels { why }).inc();
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let counters = [
            ("logins_begun", "Families of refresh tokens begun", &self.begun),
            ("refresh_tokens_used", "Refresh tokens used", &self.refreshed),
            ("refresh_answers_repeated", "Answers to refreshes given again", &self.repeated),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        registry.register("refresh_tokens_refused", "Refresh tokens refused", self.refused.clone());
        let help = "Families of refresh tokens ended before their time";
        registry.register("logins_ended", help, self.ended.clone());
    }
}
