//! What is written to the audit log. Never a token, a secret or an assertion.

use serde_json::{Map, Value};

/// An event of the sidecar itself, without its time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event(Map<String, Value>);

impl Event {
    /// An event of this kind.
    pub fn new(decision: &str) -> Self {
        Self(Map::from_iter([("decision".to_owned(), decision.into())]))
    }

    /// With a member, if there is something to say.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        if !value.is_null() {
            self.0.insert(name.to_owned(), value);
        }
        self
    }

    /// As a line of the log.
    pub fn at(mut self, now_milliseconds: u64) -> Map<String, Value> {
        self.0.insert("time".to_owned(), now_milliseconds.into());
        self.0
    }
}
