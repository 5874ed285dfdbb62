//! The section about the life of the sidecar's own signing keys.

use wardgate_core::config::Bounded;
use wardgate_core::section;

use crate::keys::Schedule;

const DAY_SECONDS: u64 = 86_400;

section! {
    /// The life of the keys that the sidecar signs with.
    pub struct SigningKeysSection = "signing_keys" {
        /// How long a key signs, in days; then a new one does. 0: until `wardgate keys rotate`.
        pub rotate_after_days: Bounded<0, 3650>, default(Bounded(90), 90);
        /// How long a new key stands in the key set before it signs, in seconds: longer than anyone
        /// keeps the key set, which is served with a `max-age` of 300.
        pub publish_ahead_seconds: Bounded<300, 86_400>, default(Bounded(3600), 3600);
    }
}

impl SigningKeysSection {
    /// The same as the code that rotates wants it.
    pub fn schedule(&self) -> Schedule {
        let days = self.rotate_after_days.0;
        Schedule {
            rotate_after_seconds: (days > 0).then(|| days.saturating_mul(DAY_SECONDS)),
            publish_ahead_seconds: self.publish_ahead_seconds.0,
        }
    }
}

impl Default for SigningKeysSection {
    fn default() -> Self {
        Self { rotate_after_days: Bounded(90), publish_ahead_seconds: Bounded(3600) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wardgate_core::config::{At, Problems, Read};

    use super::SigningKeysSection;
    use crate::keys::JWKS_MAX_AGE_SECONDS;

    fn read(value: &serde_json::Value) -> (Option<SigningKeysSection>, usize) {
        let mut problems = Problems::new();
        let read = SigningKeysSection::read(value, &At::ROOT, &mut problems);
        (read, problems.len())
    }

    #[test]
    fn defaults_are_what_an_empty_section_gives() {
        assert_eq!(read(&json!({})), (Some(SigningKeysSection::default()), 0));
    }

    #[test]
    fn a_key_is_published_for_longer_than_a_key_set_is_kept() {
        let short = JWKS_MAX_AGE_SECONDS - 1;
        assert_eq!(read(&json!({"publish_ahead_seconds": short})).1, 1);
        assert_eq!(read(&json!({"publish_ahead_seconds": JWKS_MAX_AGE_SECONDS})).1, 0);
    }

    #[test]
    fn without_days_nothing_rotates_by_itself() {
        let never = read(&json!({"rotate_after_days": 0})).0.unwrap();
        assert_eq!(never.schedule().rotate_after_seconds, None);
        let weekly = read(&json!({"rotate_after_days": 7})).0.unwrap();
        assert_eq!(weekly.schedule().rotate_after_seconds, Some(604_800));
    }
}
