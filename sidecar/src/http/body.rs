//! The bodies of the internal listener, as long as nobody knows who sent them.
//!
//! The MAC covers the body, so all of it is in memory before the sender is believed. Anyone who may
//! connect could fill the memory with bodies, on thousands of connections with many streams each. So
//! all bodies together have a budget. What does not fit is refused at once and not queued: a filter
//! keeps its events and asks again.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wardgate_core::wire::rate::RATE_LEASES_PATH;
use wardgate_core::wire::{AUDIT_PATH, UNKNOWN_KEY_PATH};

use super::problem::Problem;
use crate::config::LimitsSection;

/// Longest body that names an unknown key: an issuer and a key, 2 KiB each before they are JSON.
const MAX_UNKNOWN_KEY_BYTES: usize = 16 * 1024;
/// Longest question for pieces of rate limits: 256 accounts with all numbers at their longest.
const MAX_RATE_LEASES_BYTES: usize = 96 * 1024;
/// Bytes of such questions in flight: those of some hundred workers at their longest.
const RATE_LEASES_IN_FLIGHT_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of those that name unknown keys in flight. Apart from the events, whose long bodies would
/// leave them no room.
const UNKNOWN_KEYS_IN_FLIGHT_BYTES: usize = 4 * 1024 * 1024;

/// The bytes of bodies that may be in memory.
#[derive(Debug)]
pub struct BodyBudget {
    events: Arc<Semaphore>,
    event_limit: usize,
    unknown_keys: Arc<Semaphore>,
    leases: Arc<Semaphore>,
}

/// A body, and its part of the budget until the answer is there.
#[derive(Debug)]
pub(super) struct HeldBody {
    pub(super) bytes: Bytes,
    _held: Option<OwnedSemaphorePermit>,
}

/// Why a body is not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum BodyError {
    /// Longer than any body of this path.
    TooLong,
    /// The budget is used up.
    Busy,
    /// It broke off.
    Broken,
}

impl BodyBudget {
    /// A budget with room for one body of the greatest length at least.
    pub fn new(limits: &LimitsSection) -> Self {
        let event_limit = limits.body_bytes.size();
        let events = limits.bodies_in_flight_bytes.size().max(event_limit);
        Self {
            events: Arc::new(Semaphore::new(events.min(Semaphore::MAX_PERMITS))),
            event_limit,
            unknown_keys: Arc::new(Semaphore::new(UNKNOWN_KEYS_IN_FLIGHT_BYTES)),
            leases: Arc::new(Semaphore::new(RATE_LEASES_IN_FLIGHT_BYTES)),
        }
    }

    /// Reads the body of a request for `path`.
    pub(super) async fn read(&self, path: &str, body: Body) -> Result<HeldBody, BodyError> {
        match path {
            AUDIT_PATH => take(body, self.event_limit, &self.events).await,
            UNKNOWN_KEY_PATH => take(body, MAX_UNKNOWN_KEY_BYTES, &self.unknown_keys).await,
            RATE_LEASES_PATH => take(body, MAX_RATE_LEASES_BYTES, &self.leases).await,
            // All else is asked without a body, and so takes nothing of any budget.
            _ => take(body, 0, &self.unknown_keys).await,
        }
    }
}

/// Each piece is paid for when it comes: a length that is only announced holds nothing.
async fn take(
    mut body: Body,
    limit: usize,
    budget: &Arc<Semaphore>,
) -> Result<HeldBody, BodyError> {
    if body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(BodyError::TooLong);
    }
    let mut bytes = Vec::new();
    let mut held: Option<OwnedSemaphorePermit> = None;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
        if data.len() > limit.saturating_sub(bytes.len()) {
            return Err(BodyError::TooLong);
        }
        let size = u32::try_from(data.len()).map_err(|_| BodyError::TooLong)?;
        let more = Arc::clone(budget).try_acquire_many_owned(size).map_err(|_| BodyError::Busy)?;
        match &mut held {
            Some(held) => held.merge(more),
            None => held = Some(more),
        }
        bytes.extend_from_slice(&data);
    }
    Ok(HeldBody { bytes: Bytes::from(bytes), _held: held })
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLong => {
                let status = StatusCode::PAYLOAD_TOO_LARGE;
                Self::new(status, "body-too-large", "the body is too long")
            }
            BodyError::Busy => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Self::new(status, "busy", "too many bodies are under way")
            }
            BodyError::Broken => Self::malformed("the body broke off"),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use wardgate_core::config::Bounded;
    use wardgate_core::wire::rate::RATE_LEASES_PATH;
    use wardgate_core::wire::{AUDIT_PATH, FEED_PATH, UNKNOWN_KEY_PATH};

    use super::{BodyBudget, BodyError};
    use crate::config::LimitsSection;

    fn budget() -> BodyBudget {
        let limits = LimitsSection {
            body_bytes: Bounded(262_144),
            bodies_in_flight_bytes: Bounded(262_144),
            ..LimitsSection::default()
        };
        BodyBudget::new(&limits)
    }

    #[track_caller]
    fn check(path: &str, length: usize, expected: Result<usize, BodyError>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let read = runtime.block_on(budget().read(path, Body::from(vec![b'x'; length])));
        assert_eq!(read.map(|body| body.bytes.len()), expected, "{path} {length}");
    }

    #[test]
    fn each_path_has_its_own_limit() {
        check(FEED_PATH, 0, Ok(0));
        check(FEED_PATH, 1, Err(BodyError::TooLong));
        check(RATE_LEASES_PATH, 98_304, Ok(98_304));
        check(RATE_LEASES_PATH, 98_305, Err(BodyError::TooLong));
        check(UNKNOWN_KEY_PATH, 16_384, Ok(16_384));
        check(UNKNOWN_KEY_PATH, 16_385, Err(BodyError::TooLong));
        check(AUDIT_PATH, 262_144, Ok(262_144));
        check(AUDIT_PATH, 262_145, Err(BodyError::TooLong));
    }

    #[tokio::test]
    async fn bodies_share_a_budget_until_they_are_answered() {
        let budget = budget();
        let body = |length| Body::from(vec![b'x'; length]);
        let first = budget.read(AUDIT_PATH, body(200_000)).await.unwrap();
        let second = budget.read(AUDIT_PATH, body(100_000)).await;
        assert_eq!(second.err(), Some(BodyError::Busy));
        assert!(budget.read(UNKNOWN_KEY_PATH, body(30)).await.is_ok());
        assert!(budget.read(FEED_PATH, Body::empty()).await.is_ok());
        drop(first);
        assert!(budget.read(AUDIT_PATH, body(100_000)).await.is_ok());
    }
}
