//! What may stand in a user.

use std::collections::BTreeMap;

/// Longest id: those of Auth0, Firebase and Keycloak are shorter.
const MAX_ID_BYTES: usize = 128;
/// Signs that may stand in an id, beside letters and digits.
const ID_SIGNS: &[u8] = b"._~:@|+=-";
/// Longest role and group.
const MAX_WORD_BYTES: usize = 128;
/// Roles and groups of one user: they stand in each token, and a token in each request.
const MAX_ROLES: usize = 100;
const MAX_GROUPS: usize = 200;
/// Longest mail address (RFC 5321 §4.5.3.1).
const MAX_EMAIL_BYTES: usize = 254;
/// Members of the metadata and their length, as of API keys.
const MAX_METADATA: usize = 32;
const MAX_METADATA_NAME_BYTES: usize = 64;
const MAX_METADATA_VALUE_BYTES: usize = 512;

/// Collects what is wrong, so that it is told at once.
#[derive(Debug, Default)]
pub(super) struct Problems(pub(super) Vec<String>);

impl Problems {
    pub(super) fn add(&mut self, problem: impl Into<String>) {
        self.0.push(problem.into());
    }

    fn unless(&mut self, right: bool, problem: &str) {
        if !right {
            self.add(problem);
        }
    }

    pub(super) fn id(&mut self, id: &str) {
        let right = (1..=MAX_ID_BYTES).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || ID_SIGNS.contains(&byte));
        self.unless(right, "`id` is not 1 to 128 letters, digits and `._~:@|+=-`");
    }

    pub(super) fn roles(&mut self, roles: &[String]) {
        let right = roles.len() <= MAX_ROLES && roles.iter().all(|role| is_word(role));
        self.unless(right, "`roles` is not at most 100 names as they stand in the policy");
    }

    /// A group may be a path or a distinguished name of a directory; it has no control characters,
    /// which would break what shows it.
    pub(super) fn groups(&mut self, groups: &[String]) {
        let is_group = |text: &String| {
            (1..=MAX_WORD_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
        };
        let right = groups.len() <= MAX_GROUPS && groups.iter().all(is_group);
        self.unless(right, "`groups` is not at most 200 texts of 1 to 128 bytes");
    }

    /// Whether mail arrives there only a mail can tell.
    pub(super) fn email(&mut self, email: Option<&str>) {
        let Some(email) = email else { return };
        let parts = email.rsplit_once('@');
        let whole = parts.is_some_and(|(box_, domain)| !box_.is_empty() && !domain.is_empty());
        let right = whole
            && email.len() <= MAX_EMAIL_BYTES
            && !email.chars().any(|letter| letter.is_control() || letter.is_whitespace());
        self.unless(right, "`email` is not a mail address");
    }

    pub(super) fn metadata(&mut self, metadata: &BTreeMap<String, String>) {
        let right = |(name, value): (&String, &String)| {
            (1..=MAX_METADATA_NAME_BYTES).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_graphic())
                && value.len() <= MAX_METADATA_VALUE_BYTES
        };
        let right = metadata.len() <= MAX_METADATA && metadata.iter().all(right);
        self.unless(
            right,
            "`metadata` is not at most 32 names of 1 to 64 letters, digits and signs, with texts of \
             at most 512 bytes",
        );
    }
}

/// As names of the policy: they stand in header lists and in bindings.
fn is_word(text: &str) -> bool {
    text.len() <= MAX_WORD_BYTES
        && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'-'))
}
