//! What is counted of users.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Metrics of users.
#[derive(Clone, Debug, Default)]
pub struct AccountMetrics {
    logins: Family<LoginLabels, Counter>,
    hashes: Family<HashLabels, Counter>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct LoginLabels {
    result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct HashLabels {
    work: &'static str,
    kind: &'static str,
}

impl AccountMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "logins",
            "Attempts to log in, by what came of them",
            self.logins.clone(),
        );
        registry.register("password_hashes", "Hashes of passwords computed", self.hashes.clone());
    }

    /// Counts an attempt to log in; `result` is one of a few words.
    pub fn login(&self, result: &'static str) {
        self.logins.get_or_create(&LoginLabels { result }).inc();
    }

    /// How many attempts came to this.
    pub fn logins(&self, result: &'static str) -> u64 {
        self.logins.get_or_create(&LoginLabels { result }).get()
    }

    /// Counts a hash: `verify`, `set` or `improve`, and its kind.
    pub fn hashed(&self, work: &'static str, kind: &'static str) {
        self.hashes.get_or_create(&HashLabels { work, kind }).inc();
    }

    /// How many hashes of a kind were computed for this.
    pub fn hashes(&self, work: &'static str, kind: &'static str) -> u64 {
        self.hashes.get_or_create(&HashLabels { work, kind }).get()
    }
}
