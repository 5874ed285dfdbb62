//! The sections of what reaches filters while they run.

use wardgate_core::config::{Bounded, NonEmpty};
use wardgate_core::section;

section! {
    /// The feed to the filters.
    pub struct FeedSection = "feed" {
        /// Filters that may wait for changes at a time; more are told to come again, and count as cut
        /// off meanwhile. Each Envoy has one, and needs one of `limits.connections`.
        pub waiting_readers: Bounded<1, 100_000>, default(Bounded(10_000), 10_000);
    }
}

section! {
    /// Revocations.
    pub struct RevocationsSection = "revocations" {
        /// How long a revocation stands when its end is neither given nor known from the token, in
        /// seconds: longer than any token lives that it could match.
        pub keep_seconds: Bounded<60, 315_360_000>, default(Bounded(2_592_000), 2_592_000);
    }
}

section! {
    /// The keys of other issuers: those of the policy with `jwks_uri` or `discover`.
    pub struct IssuersSection = "issuers" {
        /// File with certificates (PEM) of the authorities that issuers are trusted by. Default: those
        /// of the system.
        pub ca_file: Option<NonEmpty>, optional;
        /// Whether keys may be fetched over `http://`, from loopback addresses only. For tests.
        pub allow_http: bool, default(false, false);
        /// How long one fetch may take, in milliseconds.
        pub timeout_milliseconds: Bounded<100, 60_000>, default(Bounded(5000), 5000);
        /// How long keys are kept while their issuer cannot be reached, in seconds.
        pub keep_seconds: Bounded<60, 604_800>, default(Bounded(86_400), 86_400);
    }
}

impl Default for FeedSection {
    fn default() -> Self {
        Self { waiting_readers: Bounded(10_000) }
    }
}

impl Default for RevocationsSection {
    fn default() -> Self {
        Self { keep_seconds: Bounded(2_592_000) }
    }
}

impl Default for IssuersSection {
    fn default() -> Self {
        Self {
            ca_file: None,
            allow_http: false,
            timeout_milliseconds: Bounded(5000),
            keep_seconds: Bounded(86_400),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wardgate_core::config::{At, Problems, Read};

    use super::{FeedSection, IssuersSection, RevocationsSection};

    #[test]
    fn defaults_are_what_an_empty_section_gives() {
        fn of<T: Read>() -> Option<T> {
            T::read(&json!({}), &At::ROOT, &mut Problems::new())
        }
        assert_eq!(of(), Some(FeedSection::default()));
        assert_eq!(of(), Some(RevocationsSection::default()));
        assert_eq!(of(), Some(IssuersSection::default()));
    }
}
