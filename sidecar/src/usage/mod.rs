//! How API keys and tokens are used, counted from the audit events that filters deliver anyway.
//!
//! An event counts once it is in the audit log. Counts are kept in memory and added to the store
//! every few seconds, so what a killed sidecar loses is those few seconds, of the counts only: the
//! events are in the audit log.

mod record;
mod recorder;
mod report;
mod tally;
mod tokens;

pub use record::{LastUse, forget, last_use};
pub use recorder::UsageRecorder;
pub use report::{UsageCount, UsageDay, UsageReport, UsageSource, report};
pub use tokens::{
    TokenCounts, TokenEvent, TokenType, TokenUsage, TokenUsageBy, TokenUsageRow, TokenUse,
    token_report,
};

/// Days of one report: each is a read of the store.
const MAX_DAYS: u64 = 366;
