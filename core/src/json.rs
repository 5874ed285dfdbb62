//! JSON (RFC 8259) with nothing left to interpretation: duplicate names are errors.
//!
//! RFC 7515 §4 and RFC 7519 §4 let a reader take the last of two equal names. Two readers that
//! differ in this see two different tokens under one signature, so here it is refused.

use core::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Why a text is not acceptable JSON. Shows a position, never the content.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{kind} at line {line}, column {column}")]
pub struct ParseJsonError {
    kind: &'static str,
    line: usize,
    column: usize,
}

/// Parses `text` as one JSON value and refuses duplicate names in any object.
///
/// # Errors
///
/// [`ParseJsonError`] with the position when the text is not JSON, repeats a name, nests more than
/// 127 levels, or goes on after the value.
pub fn parse_strict(text: &[u8]) -> Result<Value, ParseJsonError> {
    serde_json::from_slice::<Strict>(text).map(|strict| strict.0).map_err(|error| ParseJsonError {
        kind: kind_of(&error),
        line: error.line(),
        column: error.column(),
    })
}

const DUPLICATE: &str = "a name stands twice in one object";

fn kind_of(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Data => DUPLICATE,
        serde_json::error::Category::Eof => "the JSON text ends too early",
        serde_json::error::Category::Io | serde_json::error::Category::Syntax => "not valid JSON",
    }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let Strict(value) = entries.next_value()?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom(DUPLICATE));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::parse_strict;

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        match parse_strict(text.as_bytes()) {
            Ok(value) => panic!("accepted as {value}"),
            Err(error) => assert_eq!(error.to_string(), expected),
        }
    }

    #[test]
    fn a_repeated_name_is_refused_at_any_depth() {
        refused(r#"{"a":1,"a":2}"#, "a name stands twice in one object at line 1, column 13");
        refused(
            r#"[{"b":{"a":1,"\u0061":2}}]"#,
            "a name stands twice in one object at line 1, column 24",
        );
    }

    #[test]
    fn text_after_the_value_is_refused() {
        refused("{} {}", "not valid JSON at line 1, column 4");
    }

    #[test]
    fn a_cut_text_is_refused() {
        refused(r#"{"a":"#, "the JSON text ends too early at line 1, column 5");
    }

    #[test]
    fn deep_nesting_is_refused_without_overflow() {
        assert!(parse_strict("[".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn plain_values_pass() {
        let text = r#"{"a":[1,-2,3.5,true,null,"x"],"b":{}}"#;
        let value = parse_strict(text.as_bytes()).map(|value| value.to_string());
        assert_eq!(value.as_deref(), Ok(text));
    }
}
