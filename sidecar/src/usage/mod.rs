//! How API keys are used, counted from the audit events that filters deliver anyway.
//!
//! An event counts once it is in the audit log. Counts are kept in memory and added to the store
//! every few seconds, so what a killed sidecar loses is those few seconds, of the counts only: the
//! events are in the audit log.

mod record;
mod recorder;
mod report;
mod tally;

pub use record::{LastUse, forget, last_use};
pub use recorder::UsageRecorder;
pub use report::{UsageCount, UsageDay, UsageReport, UsageSource, report};
