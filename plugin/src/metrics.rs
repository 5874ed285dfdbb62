//! The gate's counters as metrics of the proxy, brought up to date on each tick: a request pays for
//! none of them.

use std::collections::HashMap;

use wardgate_core::gate::Gate;
use wardgate_core::reason::Reason;

use crate::host::{self, MetricKind};

/// The metrics defined so far, and the value each had.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    counters: HashMap<String, (u32, u64)>,
    gauges: HashMap<&'static str, u32>,
    failed_calls: u64,
}

impl Metrics {
    /// Counts a call to the sidecar that came to nothing.
    pub(crate) fn call_failed(&mut self) {
        self.failed_calls = self.failed_calls.saturating_add(1);
    }

    /// Brings the proxy's metrics up to date.
    pub(crate) fn update(&mut self, gate: &Gate) {
        let counters = gate.counters().clone();
        self.count("wardgate.requests.permitted", counters.permitted);
        self.count("wardgate.requests.shadow_denied", counters.shadow_denied);
        for (reason, count) in Reason::ALL.iter().zip(&counters.denied) {
            // A reason that never came needs no metric: each is memory of the proxy for good.
            if *count > 0 {
                self.count(&format!("wardgate.requests.denied.{}", reason.code()), *count);
            }
        }
        self.count("wardgate.token_cache.hits", counters.token_cache_hits);
        self.count("wardgate.token_cache.misses", counters.token_cache_misses);
        self.count("wardgate.sidecar.calls_failed", self.failed_calls);
        let counts = gate.audit().and_then(|audit| Some(audit.try_borrow().ok()?.counts()));
        if let Some(counts) = counts {
            self.count("wardgate.audit.recorded", counts.recorded);
            self.count("wardgate.audit.acknowledged", counts.acknowledged);
            self.count("wardgate.audit.lost", counts.lost);
        }
        let bytes = u64::try_from(gate.memory_bytes()).unwrap_or(u64::MAX);
        self.gauge("wardgate.memory_bytes", bytes);
        if let Some(age) = gate.feed_age_nanoseconds() {
            self.gauge("wardgate.feed.age_milliseconds", age / 1_000_000);
        }
    }

    /// Adds what `total` has grown since the last time.
    fn count(&mut self, name: &str, total: u64) {
        if !self.counters.contains_key(name) {
            let Ok(id) = host::define_metric(MetricKind::Counter, name) else { return };
            self.counters.insert(name.to_owned(), (id, 0));
        }
        let Some((id, before)) = self.counters.get_mut(name) else { return };
        let growth = total.saturating_sub(*before);
        if growth > 0 && host::increment_metric(*id, growth).is_ok() {
            *before = total;
        }
    }

    fn gauge(&mut self, name: &'static str, value: u64) {
        if !self.gauges.contains_key(name) {
            let Ok(id) = host::define_metric(MetricKind::Gauge, name) else { return };
            self.gauges.insert(name, id);
        }
        if let Some(id) = self.gauges.get(name) {
            // A gauge that cannot be set is out of date until the next tick; nothing else is lost.
            let _ = host::record_metric(*id, value);
        }
    }
}
