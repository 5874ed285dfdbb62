//! What was counted, for an operator.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wardgate_core::time::UnixSeconds;

use super::MAX_DAYS;
use super::record::{LastUse, day, last_use};
use crate::clock::date;
use crate::store::{Store, StoreError};

/// How a key was used.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct UsageReport {
    /// The id of the key.
    pub id: String,
    /// Its last use; `null` if it was never used.
    pub last_use: Option<LastUse>,
    /// Requests in all of these days.
    pub total: u64,
    /// The days with any use, the first first.
    pub days: Vec<UsageDay>,
}

/// How a key was used on one day (UTC).
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct UsageDay {
    /// As `2026-01-31`.
    pub day: String,
    /// Requests by route and result.
    pub counts: Vec<UsageCount>,
    /// Requests by address of the client, where filters know it.
    pub sources: Vec<UsageSource>,
}

/// How often something came out.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct UsageCount {
    /// The route that decided.
    pub route: String,
    /// `permit`, or the reason of the refusal.
    pub result: String,
    /// How often.
    pub count: u64,
}

/// How often somebody asked.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct UsageSource {
    /// The address of the client.
    pub address: String,
    /// How often.
    pub count: u64,
}

/// How the key of this id was used from one time to another, the newest 366 days of it at most.
///
/// # Errors
///
/// [`StoreError`] when the store fails.
pub async fn report(
    store: &dyn Store,
    id: &str,
    from: UnixSeconds,
    to: UnixSeconds,
) -> Result<UsageReport, StoreError> {
    let last = to.0 / 86_400;
    let first = (from.0 / 86_400).max(last.saturating_sub(MAX_DAYS.saturating_sub(1)));
    let mut report = UsageReport {
        id: id.to_owned(),
        last_use: last_use(store, id).await?,
        total: 0,
        days: Vec::new(),
    };
    for number in first..=last {
        let Some(tally) = day(store, id, number).await? else { continue };
        let (year, month, day) = date(number);
        let mut counts = Vec::new();
        for (route, results) in tally.routes {
            for (result, count) in results {
                report.total = report.total.saturating_add(count);
                counts.push(UsageCount { route: route.clone(), result, count });
            }
        }
        let source = |(address, count)| UsageSource { address, count };
        report.days.push(UsageDay {
            day: format!("{year:04}-{month:02}-{day:02}"),
            counts,
            sources: tally.sources.into_iter().map(source).collect(),
        });
    }
    Ok(report)
}
