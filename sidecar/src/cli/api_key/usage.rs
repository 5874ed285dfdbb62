//! `apikey usage`.

use serde::Serialize;
use wardgate_core::time::UnixSeconds;

use super::{PATH, list};
use crate::cli::arguments::{Format, UsageOfApiKeys};
use crate::cli::office::{Office, reach, segment};
use crate::cli::{Failure, loaded, print, show};
use crate::clock::Clock;
use crate::desk::ApiKeyFilter;
use crate::usage::{UsageReport, report};

/// The days that a report is of.
#[derive(Clone, Copy)]
struct Days {
    from: u64,
    to: u64,
}

pub(super) async fn run(asked: &UsageOfApiKeys) -> Result<(), Failure> {
    let loaded = loaded(&asked.from.config)?;
    let office = reach(&loaded).await?;
    let to = Clock::system().now().0;
    let from = to.saturating_sub(asked.days.saturating_sub(1).saturating_mul(86_400));
    let days = Days { from, to };
    match &asked.key {
        Some(key) => one(&office, key, days, asked.output.output).await,
        None => all(&office, days, asked.output.output).await,
    }
}

async fn read(office: &Office, key: &str, days: Days) -> Result<UsageReport, Failure> {
    match office {
        Office::Running(admin) => {
            let Days { from, to } = days;
            admin.get(&format!("{PATH}/{}/usage?from={from}&to={to}", segment(key))).await
        }
        Office::Direct(desk) => {
            let id = desk.api_key(key).await.map_err(Failure::failed)?.id;
            let days = (UnixSeconds(days.from), UnixSeconds(days.to));
            report(&**desk.store(), &id, days.0, days.1).await.map_err(Failure::failed)
        }
    }
}

async fn one(office: &Office, key: &str, days: Days, format: Format) -> Result<(), Failure> {
    let report = read(office, key, days).await?;
    if format == Format::Json {
        return show::json(&report);
    }
    let mut rows = Vec::new();
    for day in &report.days {
        for count in &day.counts {
            let row = [&day.day, &count.route, &count.result, &count.count.to_string()];
            rows.push(row.map(Clone::clone).to_vec());
        }
    }
    show::table(&["day", "route", "result", "requests"], &rows)?;
    let sources = report.days.iter().flat_map(|day| &day.sources);
    let sources: std::collections::BTreeSet<&str> =
        sources.map(|source| source.address.as_str()).collect();
    let last = report.last_use.as_ref();
    let from = last.and_then(|last| last.source.clone()).unwrap_or_else(|| "-".to_owned());
    print("\n")?;
    show::pairs(&[
        ("requests", report.total.to_string()),
        ("last used", last.map_or_else(|| "never".to_owned(), |last| show::time(last.at))),
        ("last from", from),
        ("from", sources.into_iter().collect::<Vec<_>>().join(", ")),
    ])
}

/// The sum of a key.
#[derive(Serialize)]
struct Sum<'a> {
    id: &'a str,
    name: &'a str,
    requests: u64,
    refused: u64,
    last_used_at: Option<u64>,
}

/// One line of JSON a key, or a table a page: there may be a million keys.
async fn all(office: &Office, days: Days, format: Format) -> Result<(), Failure> {
    let mut filter = ApiKeyFilter::default();
    loop {
        let page = list::page(office, &filter).await?;
        let mut rows = Vec::new();
        for key in &page.api_keys {
            let report = read(office, &key.id, days).await?;
            let counts = report.days.iter().flat_map(|day| &day.counts);
            let refused = counts
                .filter(|count| count.result != "permit" && !count.result.starts_with("shadow:"))
                .fold(0_u64, |sum, count| sum.saturating_add(count.count));
            let (id, name, requests) = (key.id.as_str(), key.name.as_str(), report.total);
            let last_used_at = report.last_use.map(|last| last.at);
            if format == Format::Json {
                let sum = Sum { id, name, requests, refused, last_used_at };
                let line = serde_json::to_string(&sum).map_err(Failure::failed)?;
                print(&format!("{line}\n"))?;
            }
            let last = last_used_at.map_or_else(|| "never".to_owned(), show::time);
            let numbers = [requests.to_string(), refused.to_string()];
            let [requests, refused] = numbers;
            rows.push(vec![id.to_owned(), name.to_owned(), requests, refused, last]);
        }
        if format == Format::Table && (!rows.is_empty() || filter.cursor.is_none()) {
            show::table(&["id", "name", "requests", "refused", "last used"], &rows)?;
        }
        filter.cursor = page.next;
        if filter.cursor.is_none() {
            return Ok(());
        }
    }
}
