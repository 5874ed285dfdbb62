//! What is counted of the sidecar's own signing keys.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::desk::KeyEvent;

/// Metrics of signing keys.
#[derive(Debug, Default)]
pub struct SigningKeyMetrics {
    /// Times that the keys could not be read or what was due could not be done.
    pub failures: Counter,
    changes: Family<ChangeLabels, Counter>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ChangeLabels {
    /// What became of a key: a word of the program.
    event: &'static str,
    /// `ES256`, `EdDSA` or `RS256`.
    algorithm: String,
}

impl SigningKeyMetrics {
    /// Something became of a key, by this sidecar.
    pub fn count(&self, event: &KeyEvent) {
        let event_name = event.event.trim_start_matches("signing-key-");
        let labels = ChangeLabels { event: event_name, algorithm: event.algorithm.clone() };
        self.changes.get_or_create(&labels).inc();
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Signing keys that this sidecar made, let retire or removed";
        registry.register("signing_key_changes", help, self.changes.clone());
        let help = "Times that signing keys could not be read or made";
        registry.register("signing_key_failures", help, self.failures.clone());
    }
}
