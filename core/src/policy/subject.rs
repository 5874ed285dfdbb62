//! Subjects of bindings: users and groups qualified by their issuer, and API keys.

use serde_json::{Value, json};

use crate::config::{At, Problems, Read};

/// Longer than any subject; SPIFFE ids have up to 2048 bytes.
const MAX_SUBJECT_BYTES: usize = 4096;

/// Whom a binding is about. The issuer stands in the type: `42` of one issuer is not `42` of another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Subject {
    /// `user:<issuer name>/<subject>`.
    User {
        /// Name of the issuer in the policy.
        issuer: String,
        /// The `sub` claim.
        subject: String,
    },
    /// `group:<issuer name>/<group>`.
    Group {
        /// Name of the issuer in the policy.
        issuer: String,
        /// A group as its tokens name it.
        group: String,
    },
    /// `api_key:<name>`.
    ApiKey {
        /// The name that the key was created with.
        name: String,
    },
}

impl Subject {
    fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        if kind == "api_key" {
            return (!rest.is_empty()).then(|| Self::ApiKey { name: rest.to_owned() });
        }
        // The first slash ends the issuer's name, which has none; a subject may have more.
        let (issuer, name) = rest.split_once('/')?;
        if issuer.is_empty() || name.is_empty() {
            return None;
        }
        let (issuer, name) = (issuer.to_owned(), name.to_owned());
        match kind {
            "user" => Some(Self::User { issuer, subject: name }),
            "group" => Some(Self::Group { issuer, group: name }),
            _ => None,
        }
    }
}

impl Read for Subject {
    fn read(value: &Value, at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        let text = String::read(value, at, problems)?;
        let read = if text.len() > MAX_SUBJECT_BYTES { None } else { Self::parse(&text) };
        if read.is_none() {
            at.problem(
                problems,
                "expected `user:<issuer name>/<subject>`, `group:<issuer name>/<group>` or `api_key:<name>`",
            );
        }
        read
    }

    fn kind() -> String {
        "subject".to_owned()
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": "^(user|group):[a-z0-9-]+/.+$|^api_key:.+$", "maxLength": MAX_SUBJECT_BYTES})
    }
}

#[cfg(test)]
mod tests {
    use super::Subject;

    #[test]
    fn a_subject_names_its_issuer() {
        let user = |issuer: &str, subject: &str| {
            Some(Subject::User { issuer: issuer.to_owned(), subject: subject.to_owned() })
        };
        assert_eq!(Subject::parse("user:corp/42"), user("corp", "42"));
        assert_eq!(Subject::parse("user:corp/a/b:c"), user("corp", "a/b:c"));
        for bad in [
            "",
            "42",
            "user:42",
            "user:/42",
            "user:corp/",
            "role:corp/x",
            "api_key:",
            "User:corp/42",
        ] {
            assert_eq!(Subject::parse(bad), None, "{bad}");
        }
    }
}
