//! What a client is told of its limits: `RateLimit` and `RateLimit-Policy`
//! (draft-ietf-httpapi-ratelimit-headers, in the form with structured fields) and `Retry-After`
//! (RFC 9110 §10.2.3).

use super::Standing;

const SECOND: u64 = 1_000_000_000;

/// One limit, as a client is told of it. The name has no letter that would have to be escaped:
/// names of routes have none, nor has `api-key`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Told<'a> {
    /// Name of the limit.
    pub name: &'a str,
    /// Requests in a period.
    pub requests: u64,
    /// The period.
    pub period_seconds: u64,
    /// How the client stands.
    pub standing: Standing,
}

/// The value of `RateLimit-Policy`: `"name";q=100;w=60`, the limits with commas between them.
pub fn policy(limits: &[Told<'_>]) -> String {
    let one = |told: &Told<'_>| {
        format!("\"{}\";q={};w={}", told.name, told.requests, told.period_seconds)
    };
    limits.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The value of `RateLimit`: `"name";r=50;t=30`, where after `t` seconds without a request the whole
/// quota is there again.
pub fn state(limits: &[Told<'_>]) -> String {
    let one = |told: &Told<'_>| {
        let reset = whole_seconds(told.standing.reset_nanoseconds);
        format!("\"{}\";r={};t={reset}", told.name, told.standing.remaining)
    };
    limits.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The value of `Retry-After`: whole seconds until a request is admitted, at least one.
pub fn retry_after(standing: Standing) -> u64 {
    whole_seconds(standing.retry_nanoseconds).max(1)
}

/// Rounded up: who comes back then is not refused again.
fn whole_seconds(nanoseconds: u64) -> u64 {
    nanoseconds.div_ceil(SECOND)
}
