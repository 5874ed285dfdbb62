//! A password in clear.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use zeroize::Zeroizing;

/// Longest password, in bytes. Beyond that nobody gains anything, and each attempt would have its
/// length hashed.
pub const MAX_PASSWORD_BYTES: usize = 1024;

/// A password as somebody gave it, bytes as they came: wiped when dropped, shown nowhere.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes a password.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Lends it in clear. Each call site is a place to review: search for this name.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it can be one: neither empty nor beyond [`MAX_PASSWORD_BYTES`].
    pub fn is_possible(&self) -> bool {
        (1..=MAX_PASSWORD_BYTES).contains(&self.0.len())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Password(…)")
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The error of the parser would quote what stands there: a password that is a number.
        let no_text = |_| serde::de::Error::custom("a password is not a string");
        let value = Value::deserialize(deserializer)?;
        serde_json::from_value::<String>(value).map(Self::new).map_err(no_text)
    }
}

impl Serialize for Password {
    /// For the way from the command line to the sidecar, over a socket of their own.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl JsonSchema for Password {
    fn schema_name() -> Cow<'static, str> {
        "Password".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "password"})
    }
}
