//! How tokens were used, for an operator.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wardgate_core::time::UnixSeconds;

use super::names::{Names, TokenCounts};
use super::{NOBODY, TokenType};
use crate::clock::date;
use crate::store::{Store, StoreError};
use crate::usage::MAX_DAYS;
use crate::usage::record::{Side, token_day};
use crate::usage::tally::OTHER;

/// Names of one report; what is beyond is counted together.
const MAX_ROWS: usize = 1000;

/// What a report has its rows by.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenUsageBy {
    /// The client that the tokens were issued to.
    Client,
    /// The user whose tokens they are.
    User,
    /// The type of the tokens.
    #[default]
    Type,
    /// The day (UTC).
    Day,
}

/// How tokens were used.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct TokenUsage {
    /// The first day, as `2026-01-31`.
    pub from: String,
    /// The last day.
    pub to: String,
    /// What the rows are by.
    pub by: TokenUsageBy,
    /// Those with the most counts first; days in their order.
    pub rows: Vec<TokenUsageRow>,
    /// Of all rows together.
    pub total: TokenCounts,
}

/// The counts of one name and type.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct TokenUsageRow {
    /// The client, the subject, the type or the day; `(none)` where there is none, `(other)` for all
    /// that there was no room for.
    pub name: String,
    /// The issuer of the subject, in a report by user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The type of the tokens.
    pub token_type: TokenType,
    /// How often.
    #[serde(flatten)]
    pub counts: TokenCounts,
}

/// How tokens were used from one time to another, the newest 366 days of it at most.
///
/// # Errors
///
/// [`StoreError`] when the store fails.
pub async fn token_report(
    store: &dyn Store,
    by: TokenUsageBy,
    from: UnixSeconds,
    to: UnixSeconds,
) -> Result<TokenUsage, StoreError> {
    let last = to.0 / 86_400;
    let first = (from.0 / 86_400).min(last).max(last.saturating_sub(MAX_DAYS.saturating_sub(1)));
    let side = match by {
        TokenUsageBy::User => Side::User,
        // Every count has a client, be it `(none)`: so the sum over clients is the sum of all.
        TokenUsageBy::Client | TokenUsageBy::Type | TokenUsageBy::Day => Side::Client,
    };
    let mut sums = Sums::default();
    for day in first..=last {
        if let Some(names) = token_day(store, side, day).await? {
            sums.take(by, day, names);
        }
    }
    let (from, to) = (date_text(first), date_text(last));
    Ok(TokenUsage { from, to, by, total: sums.total(), rows: sums.into_rows(by) })
}

#[derive(Default)]
struct Sums {
    by_name: Names,
    by_other: BTreeMap<(String, TokenType), TokenCounts>,
}

impl Sums {
    fn take(&mut self, by: TokenUsageBy, day: u64, names: Names) {
        match by {
            TokenUsageBy::Client | TokenUsageBy::User => {
                self.by_name.add(&names);
                self.by_name.keep_greatest(MAX_ROWS);
            }
            TokenUsageBy::Type | TokenUsageBy::Day => {
                for (_, token_type, counts) in names.into_rows() {
                    let name = match by {
                        TokenUsageBy::Day => date_text(day),
                        TokenUsageBy::Type | TokenUsageBy::Client | TokenUsageBy::User => {
                            token_type.word().to_owned()
                        }
                    };
                    self.by_other.entry((name, token_type)).or_default().add(counts);
                }
            }
        }
    }

    fn total(&self) -> TokenCounts {
        let named = self.by_name.clone().into_rows().map(|(_, _, counts)| counts);
        let mut total = TokenCounts::default();
        named.chain(self.by_other.values().copied()).for_each(|counts| total.add(counts));
        total
    }

    fn into_rows(self, by: TokenUsageBy) -> Vec<TokenUsageRow> {
        let named = self.by_name.into_rows();
        let other = self.by_other.into_iter().map(|((name, kind), it)| (name, kind, it));
        let mut rows: Vec<_> =
            named.chain(other).map(|(name, kind, it)| row(by, name, kind, it)).collect();
        match by {
            // The sort is stable: what is equal stays in order of names.
            TokenUsageBy::Client | TokenUsageBy::User | TokenUsageBy::Type => {
                rows.sort_by_key(|row| std::cmp::Reverse(row.counts.sum()));
            }
            TokenUsageBy::Day => {}
        }
        rows
    }
}

fn row(
    by: TokenUsageBy,
    name: String,
    token_type: TokenType,
    counts: TokenCounts,
) -> TokenUsageRow {
    let is_user = by == TokenUsageBy::User && name != NOBODY && name != OTHER;
    let user = is_user.then(|| name.split_once(' ')).flatten();
    let (issuer, name) = match user {
        Some((issuer, subject)) => (Some(issuer.to_owned()), subject.to_owned()),
        None => (None, name),
    };
    TokenUsageRow { name, issuer, token_type, counts }
}

fn date_text(day: u64) -> String {
    let (year, month, day) = date(day);
    format!("{year:04}-{month:02}-{day:02}")
}
