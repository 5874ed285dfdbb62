//! A token of a provider in clear.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// Longest token of a provider: the longest known have some KiB.
pub(super) const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// A token of a provider in clear: wiped when it is dropped, and never shown.
///
/// It is written down where it is sealed, and where it is handed out.
#[derive(Clone)]
pub struct ClearToken(Zeroizing<String>);

impl ClearToken {
    /// Takes ownership of a token.
    pub fn new(token: String) -> Self {
        Self(Zeroizing::new(token))
    }
}

impl Deref for ClearToken {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ClearToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ClearToken(…)")
    }
}

impl<'de> Deserialize<'de> for ClearToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl Serialize for ClearToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl JsonSchema for ClearToken {
    fn schema_name() -> Cow<'static, str> {
        "ClearToken".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A token of a provider, in clear.",
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_TOKEN_BYTES,
        })
    }
}
