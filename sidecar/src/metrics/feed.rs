//! What is measured of the feed.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use wardgate_core::feed::Table;

/// Bounds of the lag: what is promised is tens of milliseconds; a reader that comes back after a
/// while has changes of minutes ago to hear.
const LAG_SECONDS: [f64; 12] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 300.0];

/// Metrics of the feed.
#[derive(Debug)]
pub struct FeedMetrics {
    /// Filters that wait for changes.
    pub readers: Gauge,
    /// Readers that were told to load the tables anew.
    pub reloads: Counter,
    lag: Histogram,
    records: Family<TableLabels, Gauge>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct TableLabels {
    table: &'static str,
}

impl FeedMetrics {
    /// An answer is given whose oldest change was made so long ago.
    pub fn lag(&self, milliseconds: u64) {
        let milliseconds = u32::try_from(milliseconds).unwrap_or(u32::MAX);
        self.lag.observe(f64::from(milliseconds) / 1000.0);
    }

    /// A table has so many records.
    pub fn records(&self, table: Table, records: u64) {
        let labels = TableLabels { table: table.word() };
        let records = i64::try_from(records).unwrap_or(i64::MAX);
        self.records.get_or_create(&labels).set(records);
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let readers = self.readers.clone();
        registry.register("feed_readers", "Filters that wait for changes", readers);
        let help = "Readers that were told to load the tables anew";
        registry.register("feed_reloads", help, self.reloads.clone());
        let help = "Time from a change to the answer that tells it";
        registry.register("feed_lag_seconds", help, self.lag.clone());
        let help = "Records in memory, by table";
        registry.register("feed_mirror_records", help, self.records.clone());
    }
}

impl Default for FeedMetrics {
    fn default() -> Self {
        Self {
            readers: Gauge::default(),
            reloads: Counter::default(),
            lag: Histogram::new(LAG_SECONDS),
            records: Family::default(),
        }
    }
}
