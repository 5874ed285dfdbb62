//! The sections about API keys: their life, their use, and who is told.

use wardgate_core::config::{Bounded, NonEmpty};
use wardgate_core::section;

use super::secure_url::SecureUrl;

section! {
    /// The life of API keys.
    pub struct ApiKeysSection = "api_keys" {
        /// How long before its end a key is warned of, in seconds; each of these once.
        pub warn_before_seconds: Vec<Bounded<60, 31_622_400>>, default(default_warnings(), [2_592_000, 604_800, 86_400]);
        /// How long the old secret works after a rotation when nothing else is asked, in seconds.
        pub grace_seconds: Bounded<0, 2_678_400>, default(Bounded(86_400), 86_400);
        /// How long the old secret works after a rotation by schedule while nobody collects the new
        /// one, in seconds.
        pub collect_within_seconds: Bounded<3600, 31_622_400>, default(Bounded(2_592_000), 2_592_000);
        /// How long a key stays in the store after it was revoked or has ended, in days.
        pub keep_revoked_days: Bounded<1, 36_500>, default(Bounded(90), 90);
        /// How often all keys are looked through for what is due, in seconds; by one of the sidecars
        /// of a store.
        pub sweep_interval_seconds: Bounded<1, 86_400>, default(Bounded(300), 300);
    }
}

section! {
    /// The counts of how API keys and tokens are used.
    pub struct UsageSection = "usage" {
        /// How long the counts of a day are kept, in days.
        pub keep_days: Bounded<1, 3660>, default(Bounded(90), 90);
        /// How often what was counted is added to the store, in milliseconds: what a killed sidecar
        /// loses.
        pub flush_interval_milliseconds: Bounded<10, 600_000>, default(Bounded(5000), 5000);
    }
}

section! {
    /// Who is told of API keys that end soon or have a new secret.
    pub struct NotifySection = "notify" {
        /// Where notices are sent (`POST`, JSON): `https://…`, or `http://` to a loopback address.
        pub webhook_url: SecureUrl, required;
        /// File with the secret that signs notices: at least 32 random bytes as base64url, readable
        /// by its owner alone.
        pub secret_file: NonEmpty, required;
        /// File with the certificates (PEM) of the authorities to trust. Default: those of the
        /// operating system.
        pub ca_file: Option<NonEmpty>, optional;
    }
}

fn default_warnings() -> Vec<Bounded<60, 31_622_400>> {
    vec![Bounded(2_592_000), Bounded(604_800), Bounded(86_400)]
}

impl Default for ApiKeysSection {
    fn default() -> Self {
        Self {
            warn_before_seconds: default_warnings(),
            grace_seconds: Bounded(86_400),
            collect_within_seconds: Bounded(2_592_000),
            keep_revoked_days: Bounded(90),
            sweep_interval_seconds: Bounded(300),
        }
    }
}

impl Default for UsageSection {
    fn default() -> Self {
        Self { keep_days: Bounded(90), flush_interval_milliseconds: Bounded(5000) }
    }
}

#[cfg(test)]
mod tests {
    use super::{ApiKeysSection, UsageSection};
    use serde_json::json;
    use wardgate_core::config::{At, Problems, Read as _};

    #[test]
    fn defaults_are_what_an_empty_section_gives() {
        let mut problems = Problems::new();
        let keys = ApiKeysSection::read(&json!({}), &At::ROOT, &mut problems);
        assert_eq!(keys, Some(ApiKeysSection::default()));
        let usage = UsageSection::read(&json!({}), &At::ROOT, &mut problems);
        assert_eq!(usage, Some(UsageSection::default()));
        assert_eq!(problems, []);
    }
}
