//! The section about refresh tokens.

use wardgate_core::config::Bounded;
use wardgate_core::section;

section! {
    /// The life of refresh tokens.
    pub struct RefreshTokensSection = "refresh_tokens" {
        /// How long a login can be refreshed, however often it is, in seconds.
        pub lifetime_seconds: Bounded<60, 31_622_400>, default(Bounded(2_592_000), 2_592_000);
        /// How long a login lives that nobody refreshes, in seconds.
        pub idle_seconds: Bounded<60, 31_622_400>, default(Bounded(604_800), 604_800);
        /// How long a client that has lost an answer may ask for it again, in seconds; whoever
        /// presents the used token later ends the login. 0: no client may.
        pub grace_seconds: Bounded<0, 60>, default(Bounded(10), 10);
        /// Logins that a user may have at a time; one more ends that which was not used for longest.
        pub logins_per_subject: Bounded<1, 1000>, default(Bounded(100), 100);
    }
}

impl Default for RefreshTokensSection {
    fn default() -> Self {
        Self {
            lifetime_seconds: Bounded(2_592_000),
            idle_seconds: Bounded(604_800),
            grace_seconds: Bounded(10),
            logins_per_subject: Bounded(100),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wardgate_core::config::{At, Problems, Read as _};

    use super::RefreshTokensSection;

    #[test]
    fn defaults_are_what_an_empty_section_gives() {
        let read = RefreshTokensSection::read(&json!({}), &At::ROOT, &mut Problems::new());
        assert_eq!(read, Some(RefreshTokensSection::default()));
    }
}
