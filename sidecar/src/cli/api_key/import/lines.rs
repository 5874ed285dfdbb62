//! The lines of a file of keys: JSON lines, or CSV (RFC 4180, one line a record).

use std::path::Path;

use crate::cli::Failure;
use crate::cli::input::TextLines;
use crate::desk::ImportApiKey;

/// Longest line: a record has at most 16 KiB.
pub(super) const MAX_LINE_BYTES: usize = 64 * 1024;

/// The keys of a file, one after the other.
pub(super) struct Lines {
    texts: TextLines,
    prefix: Option<String>,
    /// The columns, if it is CSV.
    columns: Option<Vec<String>>,
}

/// A key with its line, or what is wrong with the line.
type Line = (u64, Result<ImportApiKey, String>);

impl Lines {
    pub(super) fn open(file: &Path, prefix: Option<&str>) -> Result<Self, Failure> {
        let prefix = prefix.map(str::to_owned);
        let texts = TextLines::open(file, MAX_LINE_BYTES)?;
        let mut lines = Self { texts, prefix, columns: None };
        if file.extension().is_some_and(|name| name.eq_ignore_ascii_case("csv")) {
            let head = lines.texts.next()?;
            let columns = head.unwrap_or_else(|| Ok(String::new().into()));
            let columns = columns.and_then(|head| self::columns(&head));
            lines.columns = Some(columns.map_err(|problem| lines.texts.failure(&problem))?);
        }
        Ok(lines)
    }

    /// The next key; `None` at the end. Empty lines are skipped.
    pub(super) fn next(&mut self) -> Result<Option<Line>, Failure> {
        loop {
            let Some(text) = self.texts.next()? else { return Ok(None) };
            if text.as_ref().is_ok_and(|text| text.trim().is_empty()) {
                continue;
            }
            return Ok(Some((self.texts.line(), text.and_then(|text| self.key(&text)))));
        }
    }

    fn key(&self, text: &str) -> Result<ImportApiKey, String> {
        let mut value = match &self.columns {
            Some(columns) => record(columns, text)?,
            None => serde_json::from_str(text).map_err(|error| error.to_string())?,
        };
        if let (Some(members), Some(prefix)) = (value.as_object_mut(), &self.prefix) {
            members.entry("prefix").or_insert_with(|| prefix.as_str().into());
        }
        serde_json::from_value(value).map_err(|error| error.to_string())
    }
}

/// Columns that hold several words, with spaces between them.
const LISTS: [&str; 3] = ["roles", "scopes", "networks"];
/// Columns that hold a text.
const TEXTS: [&str; 8] =
    ["name", "sha256", "prefix", "environment", "issuer", "subject", "description", "last_four"];
/// The column that holds a time.
const EXPIRES_AT: &str = "expires_at";

fn columns(head: &str) -> Result<Vec<String>, String> {
    let columns = fields(head.trim_start_matches('\u{feff}'))?;
    let known =
        |name: &String| LISTS.iter().chain(&TEXTS).chain(&[EXPIRES_AT]).any(|known| known == name);
    if let Some(unknown) = columns.iter().find(|name| !known(name)) {
        let all = [&LISTS[..], &TEXTS[..], &[EXPIRES_AT]].concat().join(", ");
        return Err(format!("unknown column `{unknown}`; known are {all}"));
    }
    for name in ["name", "sha256"] {
        if !columns.iter().any(|column| column == name) {
            return Err(format!("the column `{name}` is missing"));
        }
    }
    Ok(columns)
}

/// A record of CSV as a JSON object; empty fields are missing members.
fn record(columns: &[String], text: &str) -> Result<serde_json::Value, String> {
    let fields = fields(text)?;
    if fields.len() != columns.len() {
        return Err(format!("{} fields, and {} columns", fields.len(), columns.len()));
    }
    let mut members = serde_json::Map::new();
    for (name, field) in columns.iter().zip(fields).filter(|(_, field)| !field.is_empty()) {
        let value = if LISTS.contains(&name.as_str()) {
            field.split_whitespace().map(str::to_owned).collect::<Vec<_>>().into()
        } else if name == EXPIRES_AT {
            let seconds: Result<u64, _> = field.parse();
            seconds.map_err(|_| "`expires_at` is no number of seconds".to_owned())?.into()
        } else {
            field.into()
        };
        if members.insert(name.clone(), value).is_some() {
            return Err(format!("the column `{name}` stands twice"));
        }
    }
    Ok(members.into())
}

/// The fields of a line (RFC 4180 §2), without line breaks in them.
fn fields(line: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, after) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted_field(quoted)?
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let (field, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
            if field.contains('"') {
                return Err("a quote inside a field without quotes around it".to_owned());
            }
            (field.to_owned(), after)
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(after) => rest = after,
            None if after.is_empty() => return Ok(fields),
            None => return Err("something after the closing quote of a field".to_owned()),
        }
    }
}

/// The field up to its closing quote, and what comes after it.
fn quoted_field(text: &str) -> Result<(String, &str), String> {
    let (mut field, mut rest) = (String::new(), text);
    loop {
        let (part, after) = rest.split_once('"').ok_or("a field has no closing quote")?;
        field.push_str(part);
        match after.strip_prefix('"') {
            Some(after) => {
                field.push('"');
                rest = after;
            }
            None => return Ok((field, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Lines, MAX_LINE_BYTES, columns, fields};

    #[test]
    fn fields_are_read_as_the_standard_says() {
        for (line, expected) in [
            ("", &[""][..]),
            ("a,b", &["a", "b"]),
            ("a,,", &["a", "", ""]),
            ("\"a,b\",\"c \"\"d\"\"\",\"\"", &["a,b", "c \"d\"", ""]),
        ] {
            assert_eq!(fields(line).unwrap(), expected, "{line}");
        }
        for wrong in ["\"a", "\"a\"b", "a\"b", "a,\"b\"\"", "\"a\" ,b"] {
            assert!(fields(wrong).is_err(), "{wrong}");
        }
        assert!(columns("name,sha256,colour").is_err() && columns("name").is_err());
    }

    #[test]
    fn every_line_has_its_number_and_its_problem() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("keys.csv");
        let long = "x".repeat(MAX_LINE_BYTES + 1);
        let text = format!(
            "name,sha256,roles,expires_at\r\nci,aa,\"viewer editor\",7\r\n\n\"ci\nb,bb,,soon\nc,cc\n\
             {long}\nd,dd,,"
        );
        std::fs::write(&file, text).unwrap();
        let mut lines = Lines::open(&file, Some("acme_")).unwrap();
        let mut found = Vec::new();
        while let Some((line, read)) = lines.next().unwrap() {
            found.push((line, read.map(|key| (key.name, key.prefix, key.roles.len()))));
        }
        let key = |name: &str, roles| Ok((name.to_owned(), "acme_".to_owned(), roles));
        let problem = |text: &str| Err(text.to_owned());
        let expected = [
            (2, key("ci", 2)),
            (4, problem("a field has no closing quote")),
            (5, problem("`expires_at` is no number of seconds")),
            (6, problem("2 fields, and 4 columns")),
            (7, problem("longer than 65536 bytes")),
            (8, key("d", 0)),
        ];
        assert_eq!(found, expected);
    }
}
