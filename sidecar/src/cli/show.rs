//! How data is shown, and `audit tail`.

use std::io::IsTerminal as _;

use serde::Serialize;
use serde_json::{Map, Value};

use super::arguments::{Audit, Format};
use super::{Failure, loaded, print};
use crate::audit::tail;
use crate::clock::date;

/// Prints JSON, for a program.
pub(super) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let mut text = serde_json::to_string_pretty(value).map_err(Failure::failed)?;
    text.push('\n');
    print(&text)
}

/// Prints rows under their heads, for a person.
pub(super) fn table(heads: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    let coloured = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    print(&aligned(heads, rows, coloured))
}

/// Prints names and values, one pair a line.
pub(super) fn pairs(pairs: &[(&str, String)]) -> Result<(), Failure> {
    let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let lines = pairs.iter().map(|(name, value)| format!("{name:<width$}  {}\n", plain(value)));
    print(&lines.collect::<String>())
}

fn aligned(heads: &[&str], rows: &[Vec<String>], coloured: bool) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let mut widths: Vec<usize> = heads.iter().map(|head| head.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let head = line(heads.to_vec());
    let mut text =
        if coloured { format!("\u{1b}[1m{head}\u{1b}[0m\n") } else { format!("{head}\n") };
    for row in &rows {
        text.push_str(&line(row.iter().map(String::as_str).collect()));
        text.push('\n');
    }
    text
}

/// The text without control characters: what a client chose must not steer a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

/// A time for a person: `2026-01-31 12:00:00Z`.
pub(super) fn time(unix_seconds: u64) -> String {
    let (days, rest) = (unix_seconds / 86_400, unix_seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z")
}

/// `audit tail`.
pub(super) fn audit(audit: &Audit) -> Result<(), Failure> {
    let Audit::Tail(asked) = audit;
    let loaded = loaded(&asked.from.config)?;
    let path = loaded.resolve(&loaded.config.audit.file);
    let lines = match tail(&path, asked.lines) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        other => other.map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))?,
    };
    let events =
        lines.iter().filter_map(|line| serde_json::from_str::<Map<String, Value>>(line).ok());
    if asked.output.output == Format::Json {
        return json(&events.collect::<Vec<_>>());
    }
    let columns = [
        "decision",
        "reason",
        "method",
        "host",
        "path",
        "route",
        "auth",
        "subject",
        "credential_id",
    ];
    let rows: Vec<Vec<String>> = events
        .map(|event| {
            let when = event.get("time").or(event.get("received_at")).and_then(Value::as_u64);
            let mut row = vec![when.map(|when| time(when / 1000)).unwrap_or_default()];
            row.extend(columns.iter().map(|name| cell(event.get(*name))));
            row
        })
        .collect();
    let mut heads = vec!["time"];
    heads.extend(columns);
    table(&heads, &rows)
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{aligned, time};

    #[test]
    fn columns_align_and_control_characters_are_replaced() {
        let rows =
            [vec!["a".to_owned(), "1".to_owned()], vec!["é\u{1b}[31m".to_owned(), "22".to_owned()]];
        assert_eq!(
            aligned(&["name", "n"], &rows, false),
            "name    n\na       1\né\u{fffd}[31m  22\n"
        );
        assert!(aligned(&["name"], &[], true).starts_with("\u{1b}[1mname"));
    }

    #[test]
    fn times_are_shown_in_utc() {
        for (unix, shown) in [
            (0, "1970-01-01 00:00:00Z"),
            (951_782_400, "2000-02-29 00:00:00Z"),
            (1_767_225_599, "2025-12-31 23:59:59Z"),
            (4_107_542_400, "2100-03-01 00:00:00Z"),
        ] {
            assert_eq!(time(unix), shown);
        }
    }
}
