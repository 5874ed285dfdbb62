//! `token usage`.

use wardgate_core::time::UnixSeconds;

use super::arguments::{Format, UsageBy, UsageOfTokens};
use super::office::{Office, reach};
use super::{Failure, loaded, print, show};
use crate::clock::Clock;
use crate::usage::{TokenUsage, TokenUsageBy, token_report};

pub(super) async fn run(asked: &UsageOfTokens) -> Result<(), Failure> {
    let loaded = loaded(&asked.from.config)?;
    let to = Clock::system().now().0;
    let from = to.saturating_sub(asked.days.saturating_sub(1).saturating_mul(86_400));
    let (word, by) = match asked.by {
        UsageBy::Client => ("client", TokenUsageBy::Client),
        UsageBy::User => ("user", TokenUsageBy::User),
        UsageBy::Type => ("type", TokenUsageBy::Type),
        UsageBy::Day => ("day", TokenUsageBy::Day),
    };
    let usage: TokenUsage = match reach(&loaded).await? {
        Office::Running(admin) => {
            admin.get(&format!("/admin/v1/usage/tokens?from={from}&to={to}&by={word}")).await?
        }
        Office::Direct(desk) => {
            let report = token_report(&**desk.store(), by, UnixSeconds(from), UnixSeconds(to));
            report.await.map_err(Failure::failed)?
        }
    };
    if asked.output.output == Format::Json {
        return show::json(&usage);
    }
    table(word, &usage)
}

fn table(word: &str, usage: &TokenUsage) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for row in &usage.rows {
        let counts = row.counts;
        let name = match &row.issuer {
            Some(issuer) => format!("{} ({issuer})", row.name),
            None => row.name.clone(),
        };
        let mut cells = vec![name, row.token_type.word().to_owned()];
        let numbers = [counts.issued, counts.used, counts.refreshed, counts.denied];
        cells.extend(numbers.map(|number| number.to_string()));
        rows.push(cells);
    }
    show::table(&[word, "token", "issued", "used", "refreshed", "denied"], &rows)?;
    let total = usage.total;
    print("\n")?;
    show::pairs(&[
        ("from", usage.from.clone()),
        ("to", usage.to.clone()),
        ("issued", total.issued.to_string()),
        ("used", total.used.to_string()),
        ("refreshed", total.refreshed.to_string()),
        ("denied", total.denied.to_string()),
    ])
}
