//! The messages about pieces of global rate limits.

use serde::{Deserialize, Serialize};

/// Path of the pieces of global rate limits.
pub const RATE_LEASES_PATH: &str = "/internal/v1/rate-leases";

/// Body of [`RATE_LEASES_PATH`]: what a worker has used, and what it wants.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RateLeases {
    /// One for each account, [`crate::rate_limit::MAX_ASKS`] at most.
    #[cfg_attr(feature = "schema", schemars(length(max = 256)))]
    pub asks: Vec<RateAsk>,
}

/// What a worker tells and asks of one account.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RateAsk {
    /// The account: 16 bytes as base64url. A keyed hash; the sidecar learns no names from it.
    #[cfg_attr(feature = "schema", schemars(regex(pattern = "^[A-Za-z0-9_-]{21}[AQgw]$")))]
    pub account: String,
    /// Nanoseconds that one request of the limit is paid for by.
    pub interval_nanoseconds: u64,
    /// Requests of the limit that are admitted at once.
    pub burst: u64,
    /// Requests that the worker admitted on its own.
    pub used: u64,
    /// Requests that it was granted and did not use.
    pub returned: u64,
    /// Requests that it wants in advance.
    pub wanted: u64,
}

/// Answer of [`RATE_LEASES_PATH`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RateLeasesAnswer {
    /// One for each ask, in their order.
    pub grants: Vec<RateGrant>,
}

/// What a worker gets of one account.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RateGrant {
    /// Requests that it may admit within a second.
    pub granted: u64,
    /// Whether it wanted more than there is.
    pub limited: bool,
    /// Requests that are left for others.
    pub remaining: u64,
    /// Nanoseconds until the whole burst is there again.
    pub reset_nanoseconds: u64,
    /// Nanoseconds until one more request is there.
    pub retry_nanoseconds: u64,
}
