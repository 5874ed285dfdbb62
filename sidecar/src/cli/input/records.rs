//! The records of a file: JSON lines, or CSV (RFC 4180, one line a record).

use std::path::Path;

use serde_json::Value;

use super::TextLines;
use crate::cli::Failure;

/// Longest line: a record has at most 16 KiB.
pub(in crate::cli) const MAX_LINE_BYTES: usize = 64 * 1024;

/// The columns that CSV may have.
pub(in crate::cli) struct Columns {
    /// Those that hold several words, with spaces between them.
    pub(in crate::cli) lists: &'static [&'static str],
    /// Those that hold a text.
    pub(in crate::cli) texts: &'static [&'static str],
    /// Those that hold a whole number.
    pub(in crate::cli) numbers: &'static [&'static str],
    /// Those that hold `true` or `false`.
    pub(in crate::cli) truths: &'static [&'static str],
    /// Those that must be there.
    pub(in crate::cli) required: &'static [&'static str],
}

/// The records of a file, one after the other.
pub(in crate::cli) struct Records {
    texts: TextLines,
    known: &'static Columns,
    /// The columns, if it is CSV.
    columns: Option<Vec<String>>,
}

/// A record with its line, or what is wrong with the line.
type Record = (u64, Result<Value, String>);

impl Records {
    /// Those of a file; it is CSV if its name ends in `.csv`.
    pub(in crate::cli) fn open(file: &Path, known: &'static Columns) -> Result<Self, Failure> {
        let texts = TextLines::open(file, MAX_LINE_BYTES)?;
        let mut records = Self { texts, known, columns: None };
        if file.extension().is_some_and(|name| name.eq_ignore_ascii_case("csv")) {
            let head = records.texts.next()?;
            let columns = head.unwrap_or_else(|| Ok(String::new().into()));
            let columns = columns.and_then(|head| known.read(&head));
            records.columns = Some(columns.map_err(|problem| records.texts.failure(&problem))?);
        }
        Ok(records)
    }

    /// The next record; `None` at the end. Empty lines are skipped.
    pub(in crate::cli) fn next(&mut self) -> Result<Option<Record>, Failure> {
        loop {
            let Some(text) = self.texts.next()? else { return Ok(None) };
            if text.as_ref().is_ok_and(|text| text.trim().is_empty()) {
                continue;
            }
            return Ok(Some((self.texts.line(), text.and_then(|text| self.record(&text)))));
        }
    }

    fn record(&self, text: &str) -> Result<Value, String> {
        match &self.columns {
            Some(columns) => self.known.record(columns, text),
            None => serde_json::from_str(text).map_err(|error| error.to_string()),
        }
    }
}

impl Columns {
    /// The columns that the first line names.
    fn read(&self, head: &str) -> Result<Vec<String>, String> {
        let columns = fields(head.trim_start_matches('\u{feff}'))?;
        let all = [self.texts, self.lists, self.numbers, self.truths].concat();
        if let Some(unknown) = columns.iter().find(|name| !all.contains(&name.as_str())) {
            return Err(format!("unknown column `{unknown}`; known are {}", all.join(", ")));
        }
        for name in self.required {
            if !columns.iter().any(|column| column == name) {
                return Err(format!("the column `{name}` is missing"));
            }
        }
        Ok(columns)
    }

    /// A record as a JSON object; empty fields are missing members.
    fn record(&self, columns: &[String], text: &str) -> Result<Value, String> {
        let fields = fields(text)?;
        if fields.len() != columns.len() {
            return Err(format!("{} fields, and {} columns", fields.len(), columns.len()));
        }
        let mut members = serde_json::Map::new();
        for (name, field) in columns.iter().zip(fields).filter(|(_, field)| !field.is_empty()) {
            if members.insert(name.clone(), self.value(name, field)?).is_some() {
                return Err(format!("the column `{name}` stands twice"));
            }
        }
        Ok(members.into())
    }

    fn value(&self, name: &str, field: String) -> Result<Value, String> {
        if self.lists.contains(&name) {
            return Ok(field.split_whitespace().map(str::to_owned).collect::<Vec<_>>().into());
        }
        if self.numbers.contains(&name) {
            let number: Result<u64, _> = field.parse();
            return number.map(Value::from).map_err(|_| format!("`{name}` is no whole number"));
        }
        if self.truths.contains(&name) {
            return match field.to_ascii_lowercase().as_str() {
                "true" | "1" => Ok(true.into()),
                "false" | "0" => Ok(false.into()),
                _ => Err(format!("`{name}` is neither true nor false")),
            };
        }
        Ok(field.into())
    }
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
    use serde_json::json;

    use super::{Columns, MAX_LINE_BYTES, Records, fields};

    const KNOWN: Columns = Columns {
        lists: &["roles"],
        texts: &["name", "sha256"],
        numbers: &["expires_at"],
        truths: &["disabled"],
        required: &["name", "sha256"],
    };

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
        assert!(KNOWN.read("name,sha256,colour").is_err() && KNOWN.read("name").is_err());
    }

    #[test]
    fn every_line_has_its_number_and_its_problem() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("keys.csv");
        let long = "x".repeat(MAX_LINE_BYTES + 1);
        let text = format!(
            "name,sha256,roles,expires_at,disabled\r\nci,aa,\"viewer editor\",7,True\r\n\n\"ci\n\
             b,bb,,soon,\nc,cc\n{long}\nd,dd,,,\ne,ee,,,perhaps\n"
        );
        std::fs::write(&file, text).unwrap();
        let mut lines = Records::open(&file, &KNOWN).unwrap();
        let mut found = Vec::new();
        while let Some((line, read)) = lines.next().unwrap() {
            found.push((line, read));
        }
        let key = |value: serde_json::Value| Ok(value);
        let problem = |text: &str| Err(text.to_owned());
        let expected = [
            (
                2,
                key(
                    json!({"name": "ci", "sha256": "aa", "roles": ["viewer", "editor"], "expires_at": 7, "disabled": true}),
                ),
            ),
            (4, problem("a field has no closing quote")),
            (5, problem("`expires_at` is no whole number")),
            (6, problem("2 fields, and 5 columns")),
            (7, problem("longer than 65536 bytes")),
            (8, key(json!({"name": "d", "sha256": "dd"}))),
            (9, problem("`disabled` is neither true nor false")),
        ];
        assert_eq!(found, expected);
    }
}
