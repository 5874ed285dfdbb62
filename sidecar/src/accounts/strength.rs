//! Which passwords may be set.

use zxcvbn::Score;
use zxcvbn::feedback::Feedback;

use super::hash::MAX_BCRYPT_BYTES;
use super::leaked::{LeakedError, LeakedPasswords};
use super::password::{MAX_PASSWORD_BYTES, Password};

/// Something that a new password lacks. Never shows the password.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PasswordProblem {
    /// Too few letters.
    #[error("the password has fewer than {0} letters")]
    Short(usize),
    /// Too many bytes.
    #[error("the password has more than {MAX_PASSWORD_BYTES} bytes")]
    Long,
    /// Too many bytes for bcrypt, which would ignore the rest.
    #[error(
        "the password has more than {MAX_BCRYPT_BYTES} bytes, which is all that bcrypt looks at"
    )]
    LongForBcrypt,
    /// Too easily guessed, and why.
    #[error("the password is too easily guessed: {0}")]
    Weak(String),
    /// It is the one that is to be replaced.
    #[error("the password is the old one")]
    Unchanged,
    /// It is in the list of leaked passwords.
    #[error("the password has leaked before and is in the lists of those who guess")]
    Leaked,
}

/// What a new password must be like.
#[derive(Clone, Debug)]
pub struct PasswordRules {
    /// The fewest letters.
    pub min_letters: usize,
    /// The least score of zxcvbn, 0 to 4.
    pub min_score: u8,
    /// Whether bcrypt makes the hash.
    pub for_bcrypt: bool,
    /// Passwords that have leaked.
    pub leaked: Option<LeakedPasswords>,
}

impl PasswordRules {
    /// All that is wrong with a new password. `about` is what is known of the user: whoever guesses
    /// begins with it. Reads the disk and computes for milliseconds.
    ///
    /// # Errors
    ///
    /// [`LeakedError`] when the list of leaked passwords cannot be read: no password is taken
    /// unlooked at.
    pub fn problems(
        &self,
        password: &Password,
        about: &[&str],
    ) -> Result<Vec<PasswordProblem>, LeakedError> {
        let text = password.expose();
        let mut problems = Vec::new();
        if text.len() > MAX_PASSWORD_BYTES {
            // Nothing else is looked at: it is long without end.
            return Ok(vec![PasswordProblem::Long]);
        }
        if text.chars().count() < self.min_letters {
            problems.push(PasswordProblem::Short(self.min_letters));
        }
        if self.for_bcrypt && text.len() > MAX_BCRYPT_BYTES {
            problems.push(PasswordProblem::LongForBcrypt);
        }
        problems.extend(self.weakness(text, about));
        if let Some(list) = &self.leaked
            && list.contain(text)?
        {
            problems.push(PasswordProblem::Leaked);
        }
        Ok(problems)
    }

    fn weakness(&self, text: &str, about: &[&str]) -> Option<PasswordProblem> {
        let estimate = zxcvbn::zxcvbn(text, about);
        if number(estimate.score()) >= self.min_score {
            return None;
        }
        let feedback = estimate.feedback();
        let warning = feedback.and_then(Feedback::warning).map(|it| it.to_string());
        let suggestions = feedback.map_or(&[][..], |it| it.suggestions());
        let words = warning.into_iter().chain(suggestions.iter().map(ToString::to_string));
        let words = words.collect::<Vec<_>>().join(" ");
        let default = "Use more words, and none that has to do with you.".to_owned();
        Some(PasswordProblem::Weak(if words.is_empty() { default } else { words }))
    }
}

fn number(score: Score) -> u8 {
    match score {
        Score::Zero => 0,
        Score::One => 1,
        Score::Two => 2,
        Score::Three => 3,
        // The enum may grow; nothing is stronger than its strongest today.
        Score::Four | _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{LeakedPasswords, PasswordProblem, PasswordRules};
    use crate::accounts::password::Password;

    fn rules(for_bcrypt: bool) -> PasswordRules {
        PasswordRules { min_letters: 8, min_score: 3, for_bcrypt, leaked: None }
    }

    fn problems(rules: &PasswordRules, text: &str) -> Vec<PasswordProblem> {
        rules
            .problems(&Password::new(text.to_owned()), &["wintermute", "case@example.com"])
            .unwrap()
    }

    #[test]
    fn a_password_that_is_easily_guessed_is_refused_with_advice() {
        let rules = rules(false);
        assert_eq!(problems(&rules, "correct horse battery staple"), []);
        for weak in ["password1", "qwertyuiop", "wintermute", "wintermute1", "aaaaaaaaaaaa"] {
            let found = problems(&rules, weak);
            assert!(matches!(&found[..], [PasswordProblem::Weak(_)]), "{weak}: {found:?}");
            assert!(!format!("{found:?}").contains(weak));
        }
        let found = problems(&rules, "abc");
        assert!(matches!(&found[..], [PasswordProblem::Short(8), PasswordProblem::Weak(_)]));
    }

    #[test]
    fn length_counts_letters_and_is_bounded_in_bytes() {
        let rules_ = PasswordRules { min_score: 0, ..rules(false) };
        assert_eq!(problems(&rules_, "密码密码密码密码"), []);
        assert_eq!(problems(&rules_, &"x".repeat(1024)), []);
        assert_eq!(problems(&rules_, &"x".repeat(1025)), [PasswordProblem::Long]);
        let bcrypt = PasswordRules { min_score: 0, ..rules(true) };
        assert_eq!(problems(&bcrypt, &"x".repeat(72)), []);
        assert_eq!(problems(&bcrypt, &"é".repeat(37)), [PasswordProblem::LongForBcrypt]);
    }

    #[test]
    fn a_leaked_password_is_refused_and_without_its_list_none_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("list");
        fs::write(&file, "correct horse battery staple\n").unwrap();
        let leaked = Some(LeakedPasswords::open(&file).unwrap());
        let rules = PasswordRules { leaked, ..rules(false) };
        assert_eq!(problems(&rules, "correct horse battery staple"), [PasswordProblem::Leaked]);
        fs::remove_file(&file).unwrap();
        assert!(rules.problems(&Password::new("another one".to_owned()), &[]).is_err());
    }
}
