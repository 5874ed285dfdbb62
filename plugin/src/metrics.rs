//! The gate's counters as metrics of the proxy, brought up to date on each tick: a request pays for
//! none of them.

use std::collections::HashMap;

use wardgate_core::feed::live::Member;
use wardgate_core::gate::Gate;
use wardgate_core::reason::Reason;

use crate::host::{self, MetricKind};

/// The metrics defined so far, and the value each had.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    counters: HashMap<String, (u32, u64)>,
    gauges: HashMap<&'static str, u32>,
    lag: Option<u32>,
    failed_calls: u64,
    is_poller: bool,
    /// When they were brought up to date last, by the monotonic clock.
    updated_nanoseconds: u64,
}

/// Time between two updates: more often nobody looks.
const UPDATE_NANOSECONDS: u64 = 100_000_000;

impl Metrics {
    /// Counts a call to the sidecar that came to nothing.
    pub(crate) fn call_failed(&mut self) {
        self.failed_calls = self.failed_calls.saturating_add(1);
    }

    /// Brings the proxy's metrics up to date, if that is due.
    pub(crate) fn update(&mut self, gate: &Gate, now: u64) {
        if now.saturating_sub(self.updated_nanoseconds) < UPDATE_NANOSECONDS {
            return;
        }
        self.updated_nanoseconds = now;
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

    /// Tells how the feed is: how old changes were when this VM took them in, in milliseconds, and
    /// what the poller counts. Workers share the metrics of a proxy, so only the poller sets gauges.
    pub(crate) fn update_feed(&mut self, member: &mut Member, wall_milliseconds: u64) {
        for at_milliseconds in member.take_ages() {
            self.histogram_of_lag(wall_milliseconds.saturating_sub(at_milliseconds));
        }
        let figures = member.figures();
        self.count("wardgate.feed.reloads", figures.reloads);
        self.count("wardgate.feed.changes", figures.changes);
        self.count("wardgate.feed.failures", figures.failures);
        let is_poller = member.is_poller();
        if is_poller || self.is_poller {
            self.gauge("wardgate.feed.is_poller", u64::from(is_poller));
        }
        self.is_poller = is_poller;
        if is_poller {
            let [revocations, api_keys] = member.records();
            self.gauge("wardgate.feed.revocations", revocations);
            self.gauge("wardgate.feed.api_keys", api_keys);
        }
    }

    fn histogram_of_lag(&mut self, milliseconds: u64) {
        if self.lag.is_none() {
            let name = "wardgate.feed.lag_milliseconds";
            self.lag = host::define_metric(MetricKind::Histogram, name).ok();
        }
        if let Some(id) = self.lag {
            let _ = host::record_metric(id, milliseconds);
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
