//! The configuration of the filter: JSON in the `google.protobuf.StringValue` of Envoy's listener.

use serde_json::{Map, Value};

use super::{At, Bounded, NonEmpty, Problem, Problems, Read};
use crate::json::parse_strict;
use crate::policy::Policy;
use crate::section;

/// A configuration larger than this is a mistake; parsing it would hold every worker.
pub const MAX_CONFIGURATION_BYTES: usize = 16 * 1024 * 1024;

section! {
    /// The configuration of the filter.
    pub struct PluginConfig = "plugin" {
        /// The policy, as described in the policy reference; as JSON. With a `feed` it may be left
        /// out: the filter then decides by the policy of the sidecar, and by each new one.
        pub policy: Option<Map<String, Value>>, optional;
        /// Where the sidecar is; without it the filter decides on its configuration alone.
        pub feed: Option<Feed>, optional;
        /// Sizes that bound the memory and work of one worker.
        pub limits: Limits, default(Limits::default(), {});
        /// How many failed authentications one address may cause.
        pub failure_limit: FailureLimitConfig, default(FailureLimitConfig::default(), {});
        /// Path that the filter itself answers with its state; no credential is needed.
        pub health_path: NonEmpty, default(NonEmpty("/.wardgate/healthz".to_owned()), "/.wardgate/healthz");
        /// The `realm` of challenges (RFC 9110 §11.5).
        pub realm: NonEmpty, default(NonEmpty("wardgate".to_owned()), "wardgate");
    }
}

section! {
    /// How the filter reaches the sidecar. What it says and hears is authenticated in both directions
    /// under the feed secret.
    pub struct Feed = "feed" {
        /// Name of the Envoy cluster of the sidecar's internal listener.
        pub cluster: NonEmpty, default(NonEmpty("wardgate_sidecar".to_owned()), "wardgate_sidecar");
        /// Environment variable, named in the VM configuration too, that holds the feed secret:
        /// at least 32 random bytes as base64url.
        pub secret_env: NonEmpty, default(NonEmpty("WARDGATE_FEED_SECRET".to_owned()), "WARDGATE_FEED_SECRET");
        /// Deadline of one call to the sidecar, in milliseconds; of one that waits for news, so much
        /// longer than the wait.
        pub timeout_milliseconds: Bounded<10, 10_000>, default(Bounded(500), 500);
        /// How long the filter goes on without hearing from the sidecar, in seconds; then requests
        /// that need a credential are answered 503.
        pub max_stale_seconds: Bounded<1, 86_400>, default(Bounded(600), 600);
    }
}

section! {
    /// Sizes that bound the memory and work of one worker.
    pub struct Limits = "limits" {
        /// Longest token that is looked at, in bytes.
        pub token_bytes: Bounded<256, 65_536>, default(Bounded(8192), 8192);
        /// Memory for verified tokens, in bytes.
        pub token_cache_bytes: Bounded<0, 67_108_864>, default(Bounded(2_097_152), 2_097_152);
        /// Memory for tokens whose signature was found wrong, in bytes; a partition of its own, so
        /// that a flood of forgeries evicts no good token.
        pub refused_token_cache_bytes: Bounded<0, 16_777_216>, default(Bounded(262_144), 262_144);
        /// Memory for API key records, in bytes.
        pub api_key_cache_bytes: Bounded<0, 67_108_864>, default(Bounded(1_048_576), 1_048_576);
        /// Memory for audit events that the sidecar has not acknowledged, in bytes.
        pub audit_buffer_bytes: Bounded<4096, 67_108_864>, default(Bounded(1_048_576), 1_048_576);
    }
}

section! {
    /// How many failed authentications one address may cause in one worker. Checked before any
    /// signature is: guessing costs the guesser, not the worker.
    pub struct FailureLimitConfig = "failure_limit" {
        /// Failures that an address may cause at once and in each period; 0 switches the limit off.
        pub failures: Bounded<0, 1_000_000>, default(Bounded(300), 300);
        /// Length of the period, in seconds.
        pub period_seconds: Bounded<1, 86_400>, default(Bounded(60), 60);
    }
}

/// Makes the default of a section the same as reading an empty object.
macro_rules! default_is_empty_object {
    ($($section:ident { $($field:ident : $value:expr),+ $(,)? })+) => { $(
        impl Default for $section {
            fn default() -> Self {
                Self { $($field: $value),+ }
            }
        }
    )+ };
}

default_is_empty_object! {
    Limits {
        token_bytes: Bounded(8192),
        token_cache_bytes: Bounded(2_097_152),
        refused_token_cache_bytes: Bounded(262_144),
        api_key_cache_bytes: Bounded(1_048_576),
        audit_buffer_bytes: Bounded(1_048_576),
    }
    FailureLimitConfig { failures: Bounded(300), period_seconds: Bounded(60) }
}

impl PluginConfig {
    /// Reads the configuration text.
    ///
    /// # Errors
    ///
    /// Every problem found, each with its path.
    pub fn parse(text: &[u8]) -> Result<Self, Problems> {
        if text.len() > MAX_CONFIGURATION_BYTES {
            let message =
                format!("the configuration is longer than {MAX_CONFIGURATION_BYTES} bytes");
            return Err(vec![Problem { path: String::new(), message }]);
        }
        let value = parse_strict(text)
            .map_err(|error| vec![Problem { path: String::new(), message: error.to_string() }])?;
        let mut problems = Problems::new();
        match Self::read(&value, &At::ROOT, &mut problems) {
            Some(config) if config.policy.is_none() && config.feed.is_none() => {
                let message = "required, because there is no `feed` to bring a policy".to_owned();
                problems.push(Problem { path: "policy".to_owned(), message });
                Err(problems)
            }
            Some(config) if problems.is_empty() => Ok(config),
            _ => {
                // The policy is read where it is used; its problems belong to the same report.
                if let Some(policy) = value.get("policy").filter(|policy| policy.is_object()) {
                    problems
                        .extend(Policy::read(policy).err().map(under_policy).into_iter().flatten());
                }
                Err(problems)
            }
        }
    }
}

/// Puts the problems of the policy under the key that it stands at.
pub(crate) fn under_policy(problems: Problems) -> Problems {
    let place = |problem: Problem| match problem.path.as_str() {
        "" => Problem { path: "policy".to_owned(), ..problem },
        path => Problem { path: format!("policy.{path}"), ..problem },
    };
    problems.into_iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::{FailureLimitConfig, Limits, PluginConfig};
    use crate::config::{At, Read};

    #[track_caller]
    fn problems(text: &str) -> Vec<String> {
        let problems = PluginConfig::parse(text.as_bytes()).expect_err("accepted");
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn defaults_are_what_an_empty_section_gives() {
        let empty = serde_json::json!({});
        let mut found = Vec::new();
        assert_eq!(Limits::read(&empty, &At::ROOT, &mut found), Some(Limits::default()));
        let read = FailureLimitConfig::read(&empty, &At::ROOT, &mut found);
        assert_eq!(read, Some(FailureLimitConfig::default()));
        assert_eq!(found, []);
    }

    #[test]
    fn all_problems_are_reported_at_once_each_with_its_path() {
        let text = r#"{"feed":{"cluster":"","poll":1,"timeout_milliseconds":5},"limits":[],"x":1}"#;
        assert_eq!(
            problems(text),
            [
                "x: unknown key; known here: policy, feed, limits, failure_limit, health_path, realm",
                "feed.poll: unknown key; known here: cluster, secret_env, timeout_milliseconds, \
                 max_stale_seconds",
                "feed.cluster: expected a string that is not empty",
                "feed.timeout_milliseconds: expected whole number from 10 to 10000, found 5",
                "limits: expected an object with the keys of `limits`",
            ]
        );
    }

    #[test]
    fn a_policy_comes_from_the_configuration_or_by_the_feed() {
        assert_eq!(
            problems("{}"),
            ["policy: required, because there is no `feed` to bring a policy"]
        );
        assert!(PluginConfig::parse(br#"{"feed":{}}"#).is_ok());
    }

    #[test]
    fn text_that_is_not_json_is_one_problem_with_its_place() {
        assert_eq!(problems("{\"policy\":"), ["the JSON text ends too early at line 1, column 10"]);
        assert_eq!(problems(""), ["the JSON text ends too early at line 1, column 0"]);
    }
}
