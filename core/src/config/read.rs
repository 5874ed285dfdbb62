//! Reads a JSON value into checked types and collects every problem on the way.

use core::fmt;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::section::SectionDoc;

/// One thing wrong with a configuration: where, and what was expected.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The place, as `routes[3].match.path`; empty for the whole document.
    pub path: String,
    /// What is wrong and what to write instead; never a secret.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            return formatter.write_str(&self.message);
        }
        write!(formatter, "{}: {}", self.path, self.message)
    }
}

/// All problems found so far, in document order.
pub type Problems = Vec<Problem>;

/// A place in a document, linked to its parents on the stack; rendered only for a problem.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    parent: Option<&'a At<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Root,
    Name(&'a str),
    Index(usize),
}

impl<'a> At<'a> {
    /// The whole document.
    pub const ROOT: At<'static> = At { parent: None, step: Step::Root };

    /// The member `name` of the object here.
    pub fn name(&'a self, name: &'a str) -> At<'a> {
        At { parent: Some(self), step: Step::Name(name) }
    }

    /// The item `index` of the list here.
    pub fn index(&'a self, index: usize) -> At<'a> {
        At { parent: Some(self), step: Step::Index(index) }
    }

    /// Records that something is wrong here.
    pub fn problem(&self, problems: &mut Problems, message: impl Into<String>) {
        problems.push(Problem { path: self.to_string(), message: message.into() });
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parent_is_root = self.parent.is_none_or(|parent| matches!(parent.step, Step::Root));
        if let Some(parent) = self.parent {
            parent.fmt(formatter)?;
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Name(name) if parent_is_root => formatter.write_str(name),
            Step::Name(name) => write!(formatter, ".{name}"),
            Step::Index(index) => write!(formatter, "[{index}]"),
        }
    }
}

/// A type that a configuration value can be read into.
pub trait Read: Sized {
    /// Reads `value`; on failure records at least one problem and returns `None`.
    fn read(value: &Value, at: &At<'_>, problems: &mut Problems) -> Option<Self>;

    /// What to call this type in the reference: `string`, `list of string`, …
    fn kind() -> String;

    /// The JSON Schema (draft 2020-12) of the type.
    fn schema() -> Value;

    /// The sections that this type consists of, for the reference.
    fn sections(_found: &mut Vec<SectionDoc>) {}
}

/// What `value` is, for the message of a type error.
fn shape(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Records that `expected` should stand here instead of `value`.
pub(super) fn mismatch(expected: &str, value: &Value, at: &At<'_>, problems: &mut Problems) {
    at.problem(problems, format!("expected {expected}, found {}", shape(value)));
}

impl Read for bool {
    fn read(value: &Value, at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        let read = value.as_bool();
        if read.is_none() {
            mismatch("true or false", value, at, problems);
        }
        read
    }

    fn kind() -> String {
        "boolean".to_owned()
    }

    fn schema() -> Value {
        json!({"type": "boolean"})
    }
}

impl Read for String {
    fn read(value: &Value, at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        let read = value.as_str().map(str::to_owned);
        if read.is_none() {
            mismatch("a string", value, at, problems);
        }
        read
    }

    fn kind() -> String {
        "string".to_owned()
    }

    fn schema() -> Value {
        json!({"type": "string"})
    }
}

/// A string of at least one character.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NonEmpty(pub String);

impl core::ops::Deref for NonEmpty {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Read for NonEmpty {
    fn read(value: &Value, at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        let text = String::read(value, at, problems)?;
        if text.is_empty() {
            at.problem(problems, "expected a string that is not empty");
            return None;
        }
        Some(Self(text))
    }

    fn kind() -> String {
        "string".to_owned()
    }

    fn schema() -> Value {
        json!({"type": "string", "minLength": 1})
    }
}

/// A whole number from `MINIMUM` to `MAXIMUM`, both included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bounded<const MINIMUM: u64, const MAXIMUM: u64>(pub u64);

impl<const MINIMUM: u64, const MAXIMUM: u64> Bounded<MINIMUM, MAXIMUM> {
    /// The number as a size in memory.
    pub fn size(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl<const MINIMUM: u64, const MAXIMUM: u64> Read for Bounded<MINIMUM, MAXIMUM> {
    fn read(value: &Value, at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        match value.as_u64() {
            Some(number) if (MINIMUM..=MAXIMUM).contains(&number) => Some(Self(number)),
            Some(number) => {
                at.problem(problems, format!("expected {}, found {number}", Self::kind()));
                None
            }
            None => {
                mismatch(&Self::kind(), value, at, problems);
                None
            }
        }
    }

    fn kind() -> String {
        format!("whole number from {MINIMUM} to {MAXIMUM}")
    }

    fn schema() -> Value {
        json!({"type": "integer", "minimum": MINIMUM, "maximum": MAXIMUM})
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(value: &Value, at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        let Some(items) = value.as_array() else {
            mismatch(&Self::kind(), value, at, problems);
            return None;
        };
        // Every item is read even after a bad one, so that all problems are reported at once.
        let read: Vec<Option<T>> = items
            .iter()
            .enumerate()
            .map(|(index, item)| T::read(item, &at.index(index), problems))
            .collect();
        read.into_iter().collect()
    }

    fn kind() -> String {
        format!("list of {}", T::kind())
    }

    fn schema() -> Value {
        json!({"type": "array", "items": T::schema()})
    }

    fn sections(found: &mut Vec<SectionDoc>) {
        T::sections(found);
    }
}

impl<T: Read> Read for BTreeMap<String, T> {
    fn read(value: &Value, at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        let Some(members) = value.as_object() else {
            mismatch(&Self::kind(), value, at, problems);
            return None;
        };
        let read: Vec<Option<(String, T)>> = members
            .iter()
            .map(|(name, member)| Some((name.clone(), T::read(member, &at.name(name), problems)?)))
            .collect();
        read.into_iter().collect()
    }

    fn kind() -> String {
        format!("map of name to {}", T::kind())
    }

    fn schema() -> Value {
        json!({"type": "object", "additionalProperties": T::schema()})
    }

    fn sections(found: &mut Vec<SectionDoc>) {
        T::sections(found);
    }
}

/// Any JSON object, kept as it is (a JWK Set).
impl Read for serde_json::Map<String, Value> {
    fn read(value: &Value, at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        let read = value.as_object().cloned();
        if read.is_none() {
            mismatch("an object", value, at, problems);
        }
        read
    }

    fn kind() -> String {
        "object".to_owned()
    }

    fn schema() -> Value {
        json!({"type": "object"})
    }
}
