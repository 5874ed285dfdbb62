//! Words of a policy that are checked as they are read.

use serde_json::{Value, json};

use crate::config::{At, Problems, Read};

/// Names stand in headers, metrics and events; longer ones are a mistake.
pub(super) const MAX_NAME_BYTES: usize = 128;

/// Declares a string type with a pattern: what it is in words, its check, its pattern for the schema.
macro_rules! checked_word {
    ($(#[doc = $doc:literal])+ $name:ident, $what:literal, $pattern:literal, $check:expr) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(String);

        impl core::ops::Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl Read for $name {
            fn read(value: &Value, at: &At<'_>, problems: &mut Problems) -> Option<Self> {
                let text = String::read(value, at, problems)?;
                let check: fn(&str) -> bool = $check;
                if text.len() > MAX_NAME_BYTES || !check(&text) {
                    at.problem(problems, concat!("expected ", $what));
                    return None;
                }
                Some(Self(text))
            }

            fn kind() -> String {
                $what.to_owned()
            }

            fn schema() -> Value {
                json!({"type": "string", "pattern": $pattern, "maxLength": MAX_NAME_BYTES})
            }
        }
    };
}

checked_word! {
    /// The name of a role, permission or route. Neither comma nor space: names stand in header lists.
    Name, "a name (letters, digits and `_.:-`, not first)", "^[A-Za-z0-9][A-Za-z0-9_.:-]*$", is_name
}

checked_word! {
    /// The short name of an issuer. No slash: it ends where the slash in `user:corp/42` stands.
    IssuerName, "a name (letters a-z, digits and `-`)", "^[a-z0-9-]+$", is_lower_name
}

checked_word! {
    /// An HTTP method (RFC 9110 §9.1). Methods are case-sensitive, and none in use has small letters.
    Method, "a method in upper case", "^[A-Z][A-Z-]*$", is_method
}

pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte))
}

fn is_lower_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(fits)
}

fn is_method(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_uppercase())
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-')
}

/// Why `name` cannot be a header for a claim, if it cannot.
pub(super) fn refused_header(name: &str) -> Option<&'static str> {
    // These steer proxies and the gate itself: a claim must not set what somebody else trusts.
    const RESERVED: [&str; 6] =
        ["x-wardgate-", "x-envoy-", "x-forwarded-", "x-api-key", "x-request-id", "x-b3-"];
    if name.len() > MAX_NAME_BYTES || !is_lower_name(name) {
        return Some("a header name in lower case, letters, digits and `-`, is expected");
    }
    if !name.starts_with("x-") {
        return Some("the header must start with `x-`");
    }
    if RESERVED.iter().any(|reserved| name.starts_with(reserved)) {
        return Some("this header means something to the gate or to proxies");
    }
    None
}

/// Of `known`, the word that `word` was probably meant to be.
pub(super) fn did_you_mean<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let distance = |other: &&str| edit_distance(&word, &other.to_ascii_lowercase());
    let nearest = known.into_iter().min_by_key(distance)?;
    // More than a third of the letters wrong (rounded up: two swapped ones of four) is another word.
    (distance(&nearest) <= word.len().div_ceil(3)).then_some(nearest)
}

/// `unknown role …`, with a suggestion where there is one.
pub(super) fn unknown<'a>(
    what: &str,
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> String {
    match did_you_mean(word, known) {
        Some(meant) => format!("unknown {what} `{word}`; did you mean `{meant}`?"),
        None => format!("unknown {what} `{word}`"),
    }
}

/// How many letters must change (Levenshtein). Names are at most [`MAX_NAME_BYTES`] long.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, letter) in left.chars().enumerate() {
        let mut diagonal = index;
        let mut previous = index.saturating_add(1);
        let mut next = vec![previous];
        for (above, other) in row.iter().skip(1).zip(&right) {
            let changed = diagonal.saturating_add(usize::from(*other != letter));
            previous = changed.min(previous.saturating_add(1)).min(above.saturating_add(1));
            diagonal = *above;
            next.push(previous);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{did_you_mean, edit_distance, refused_header};

    #[test]
    fn distances_are_those_of_levenshtein() {
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("abc", ""), 3);
        assert_eq!(edit_distance("flaw", "lawn"), 2);
    }

    #[test]
    fn a_near_word_is_suggested_and_a_far_one_is_not() {
        let known = ["read", "write", "delete", "admin"];
        assert_eq!(did_you_mean("READ", known), Some("read"));
        assert_eq!(did_you_mean("wrte", known), Some("write"));
        assert_eq!(did_you_mean("approve", known), None);
        assert_eq!(did_you_mean("x", []), None);
    }

    #[test]
    fn headers_that_others_trust_cannot_be_set_from_claims() {
        for name in [
            "x-wardgate-subject",
            "x-envoy-original-path",
            "x-forwarded-for",
            "cookie",
            "X-A",
            "x-\n",
        ] {
            assert!(refused_header(name).is_some(), "{name}");
        }
        assert_eq!(refused_header("x-tenant"), None);
    }
}
