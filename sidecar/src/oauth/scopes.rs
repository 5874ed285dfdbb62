//! Scopes (RFC 6749 §3.3).

use std::fmt;

/// Longest text of scopes; it stands in every token.
const MAX_SCOPE_BYTES: usize = 4096;
/// Scopes of one text.
const MAX_SCOPES: usize = 100;

/// Some scopes, each once, in the order in which they were named.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Scopes(Vec<String>);

impl Scopes {
    /// Reads scopes with spaces between them; `None` when one has a letter that none may have, or
    /// there are too many.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_SCOPE_BYTES {
            return None;
        }
        let mut scopes: Vec<String> = Vec::new();
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            if !is_scope(word) {
                return None;
            }
            if !scopes.iter().any(|scope| scope == word) {
                scopes.push(word.to_owned());
            }
        }
        (scopes.len() <= MAX_SCOPES).then_some(Self(scopes))
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether each of these stands in `others`.
    pub(super) fn are_within(&self, others: &Self) -> bool {
        self.0.iter().all(|scope| others.0.contains(scope))
    }

    /// Those of these that stand in `others` too.
    #[must_use]
    pub(super) fn within(&self, others: &Self) -> Self {
        self.among(&others.0)
    }

    /// Those of these that are among `allowed`.
    #[must_use]
    pub(super) fn among(&self, allowed: &[String]) -> Self {
        Self(self.0.iter().filter(|scope| allowed.contains(scope)).cloned().collect())
    }

    /// As it stands in a token; nothing when there is none.
    pub(super) fn text(&self) -> Option<String> {
        (!self.is_empty()).then(|| self.to_string())
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join(" "))
    }
}

/// `scope-token` of RFC 6749 §3.3.
pub(super) fn is_scope(word: &str) -> bool {
    !word.is_empty()
        && word.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
}

#[cfg(test)]
mod tests {
    use super::Scopes;

    #[test]
    fn scopes_stand_once_in_the_order_in_which_they_were_named() {
        let scopes = Scopes::parse("write  read write").unwrap();
        assert_eq!(scopes.to_string(), "write read");
        assert_eq!(scopes.among(&["read".to_owned()]).text().as_deref(), Some("read"));
        assert_eq!(scopes.among(&[]).text(), None);
        assert!(Scopes::parse("read").unwrap().are_within(&scopes));
        assert!(!scopes.are_within(&Scopes::parse("read").unwrap()));
    }

    #[test]
    fn a_letter_that_no_scope_has_is_refused() {
        for wrong in ["a\"b", "a\\b", "ü", "a\tb", &"x".repeat(5000)] {
            assert_eq!(Scopes::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Scopes::parse(""), Some(Scopes::default()));
    }
}
