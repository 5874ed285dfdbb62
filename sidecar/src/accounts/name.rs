//! Names of users.
//!
//! The attack: two users that look alike. Whoever may choose a name takes `аdmin` with a Cyrillic
//! `а`, `ａｄｍｉｎ`, `Admin` or `admin` with an invisible letter in it, and is taken for the other by
//! everyone who reads a list, gives a role, or looks for what was done. So names are compared
//! folded (NFKC and case folding), have only letters that are meant for names, of one script, and
//! none in another script looks like one in ASCII (Unicode UTS 39).

use unicode_normalization::UnicodeNormalization as _;
use unicode_security::{GeneralSecurityProfile as _, MixedScript as _, skeleton};

/// Longest name, as given and folded: a mail address has 254 bytes at most (RFC 5321).
const MAX_NAME_BYTES: usize = 254;
/// Signs of ASCII that may stand in a name, beside letters and digits.
const SIGNS: &str = "._-+@'";
/// How often folding is repeated until nothing changes; a name that still changes is refused.
const MAX_FOLDS: usize = 4;

/// Why a text is no name. Never shows the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NameProblem {
    /// Empty or too long.
    #[error("`name` is not 1 to 254 bytes")]
    Length,
    /// A letter that is not for names.
    #[error(
        "`name` has something else than letters, digits and `._-+@'`, or does not begin with a \
         letter or digit"
    )]
    Letters,
    /// Letters of several scripts.
    #[error("`name` mixes letters of several scripts, so that it could look like another name")]
    Scripts,
    /// It looks like a name in ASCII.
    #[error("`name` looks like a name in ASCII and is another")]
    LooksLikeAscii,
}

/// A name and how it is compared.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UserName {
    shown: String,
    folded: String,
}

impl UserName {
    /// Reads a name.
    ///
    /// # Errors
    ///
    /// [`NameProblem`] when it could be taken for another, or is none.
    pub fn parse(text: &str) -> Result<Self, NameProblem> {
        if !(1..=MAX_NAME_BYTES).contains(&text.len()) {
            return Err(NameProblem::Length);
        }
        let folded = fold(text).ok_or(NameProblem::Letters)?;
        if !(1..=MAX_NAME_BYTES).contains(&folded.len()) {
            return Err(NameProblem::Length);
        }
        let begins = folded.chars().next().is_some_and(char::is_alphanumeric);
        if !begins || !folded.chars().all(is_allowed) {
            return Err(NameProblem::Letters);
        }
        if !folded.is_ascii() {
            if !folded.as_str().is_single_script() {
                return Err(NameProblem::Scripts);
            }
            if skeleton(&folded).collect::<String>().is_ascii() {
                return Err(NameProblem::LooksLikeAscii);
            }
        }
        Ok(Self { shown: text.nfkc().collect(), folded })
    }

    /// As it is shown: as it was given, in its usual letters (NFKC).
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// As it is compared and kept.
    pub fn folded(&self) -> &str {
        &self.folded
    }
}

/// NFKC and case folding until nothing changes (`toNFKC_Casefold`, Unicode §3.13 D147, without the
/// removal of letters that nobody sees: those are refused).
fn fold(text: &str) -> Option<String> {
    let mut folded: String = text.nfkc().collect();
    for _ in 0..MAX_FOLDS {
        let again: String = caseless::default_case_fold_str(&folded).nfkc().collect();
        if again == folded {
            return Some(folded);
        }
        folded = again;
    }
    None
}

fn is_allowed(letter: char) -> bool {
    if letter.is_ascii() {
        letter.is_ascii_alphanumeric() || SIGNS.contains(letter)
    } else {
        letter.identifier_allowed()
    }
}

#[cfg(test)]
mod tests {
    use super::{NameProblem, UserName};

    #[track_caller]
    fn folded(text: &str) -> Result<String, NameProblem> {
        UserName::parse(text).map(|name| name.folded().to_owned())
    }

    #[test]
    fn spellings_of_one_name_are_one_name() {
        for (text, expected) in [
            ("alice", "alice"),
            ("ALICE", "alice"),
            ("Alice@Example.COM", "alice@example.com"),
            ("ａｄｍｉｎ", "admin"),
            ("Müller", "müller"),
            ("Mu\u{308}ller", "müller"),
            ("Straße", "strasse"),
            ("ΣΊΣΥΦΟΣ", "σίσυφοσ"),
            ("Иван.Петров-2", "иван.петров-2"),
            ("田中", "田中"),
            ("o'brien+x_1", "o'brien+x_1"),
        ] {
            assert_eq!(folded(text).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(UserName::parse("Ａlice").unwrap().shown(), "Alice");
    }

    #[test]
    fn what_could_be_taken_for_another_name_is_refused() {
        for (text, problem) in [
            ("", NameProblem::Length),
            (&"a".repeat(255), NameProblem::Length),
            ("al ice", NameProblem::Letters),
            ("al\u{200b}ice", NameProblem::Letters),
            ("al\u{ad}ice", NameProblem::Letters),
            ("al\u{202e}ice", NameProblem::Letters),
            ("alice\n", NameProblem::Letters),
            ("a/b", NameProblem::Letters),
            ("-rf", NameProblem::Letters),
            ("@alice", NameProblem::Letters),
            ("😀", NameProblem::Letters),
            // The first letter is Cyrillic.
            ("\u{430}dmin", NameProblem::Scripts),
            // All letters are.
            ("\u{441}\u{43e}\u{441}\u{43e}", NameProblem::LooksLikeAscii),
            // Dotless i.
            ("admın", NameProblem::LooksLikeAscii),
        ] {
            assert_eq!(folded(text), Err(problem), "{text}");
        }
    }
}
