//! When the sidecar may be asked for something that the filter does not hold: a token bucket and a
//! circuit breaker.

use crate::reason::Reason;

/// Calls in a row that must fail before the breaker opens.
const FAILURES_TO_OPEN: u32 = 5;
/// How long an open breaker refuses, before one call may try again.
const OPEN_NANOSECONDS: u64 = 2_000_000_000;

/// Admits calls to the sidecar.
///
/// A flood of well-formed unknown keys must not become a flood of calls (token bucket), and a dead
/// sidecar must not hold every request until its deadline (breaker).
#[derive(Debug)]
pub struct LookupGovernor {
    interval_nanoseconds: u64,
    arrival_nanoseconds: u64,
    breaker: Breaker,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Breaker {
    Closed {
        failures: u32,
    },
    Open {
        until_nanoseconds: u64,
    },
    /// One call is on its way to find out.
    Trying {
        until_nanoseconds: u64,
    },
}

impl LookupGovernor {
    /// Admits `per_second` calls per second, as many at once.
    pub fn new(per_second: u64) -> Self {
        Self {
            interval_nanoseconds: 1_000_000_000_u64.checked_div(per_second).unwrap_or(u64::MAX),
            arrival_nanoseconds: 0,
            breaker: Breaker::Closed { failures: 0 },
        }
    }

    /// Counts a call that may be made now. A call that is `exempt` needs no place in the bucket, but a
    /// dead sidecar is not called for it either.
    ///
    /// # Errors
    ///
    /// [`Reason::SidecarUnreachable`] while the breaker is open, [`Reason::TooManyLookups`] when the
    /// bucket is empty.
    pub fn admit(&mut self, now_nanoseconds: u64, exempt: bool) -> Result<(), Reason> {
        match self.breaker {
            Breaker::Closed { .. } => {}
            Breaker::Open { until_nanoseconds } | Breaker::Trying { until_nanoseconds } => {
                if now_nanoseconds < until_nanoseconds {
                    return Err(Reason::SidecarUnreachable);
                }
                let until_nanoseconds = now_nanoseconds.saturating_add(OPEN_NANOSECONDS);
                self.breaker = Breaker::Trying { until_nanoseconds };
            }
        }
        if exempt {
            return Ok(());
        }
        let arrival = self.arrival_nanoseconds.max(now_nanoseconds);
        let next = arrival.saturating_add(self.interval_nanoseconds);
        if next.saturating_sub(now_nanoseconds) > 1_000_000_000 {
            return Err(Reason::TooManyLookups);
        }
        self.arrival_nanoseconds = next;
        Ok(())
    }

    /// A call was answered by the sidecar.
    pub fn succeeded(&mut self) {
        self.breaker = Breaker::Closed { failures: 0 };
    }

    /// A call failed: no answer in time, or one that cannot be believed.
    pub fn failed(&mut self, now_nanoseconds: u64) {
        let failures = match self.breaker {
            Breaker::Closed { failures } => failures.saturating_add(1),
            Breaker::Open { .. } | Breaker::Trying { .. } => FAILURES_TO_OPEN,
        };
        self.breaker = if failures < FAILURES_TO_OPEN {
            Breaker::Closed { failures }
        } else {
            Breaker::Open { until_nanoseconds: now_nanoseconds.saturating_add(OPEN_NANOSECONDS) }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::LookupGovernor;
    use crate::reason::Reason;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn as_many_calls_as_stated_pass_per_second() {
        let mut governor = LookupGovernor::new(10);
        let admitted = (0..100).filter(|_| governor.admit(5 * SECOND, false).is_ok()).count();
        assert_eq!(admitted, 10);
        let admitted = (0..100).filter(|_| governor.admit(6 * SECOND, false).is_ok()).count();
        assert_eq!(admitted, 10);
        assert!(governor.admit(6 * SECOND + SECOND / 10, false).is_ok());
        assert!(governor.admit(6 * SECOND + SECOND / 10, false).is_err());
    }

    #[test]
    fn an_exempt_call_needs_no_place_but_a_living_sidecar() {
        let mut governor = LookupGovernor::new(1);
        assert!(governor.admit(SECOND, false).is_ok());
        assert!(governor.admit(SECOND, false).is_err());
        assert!(governor.admit(SECOND, true).is_ok());
        assert_eq!(governor.admit(SECOND, false), Err(Reason::TooManyLookups));
        for _ in 0..5 {
            governor.failed(SECOND);
        }
        assert_eq!(governor.admit(SECOND, true), Err(Reason::SidecarUnreachable));
    }

    #[test]
    fn five_failures_open_the_breaker_and_one_success_closes_it() {
        let mut governor = LookupGovernor::new(1000);
        let mut now = SECOND;
        for _ in 0..5 {
            assert!(governor.admit(now, false).is_ok());
            governor.failed(now);
        }
        assert!(governor.admit(now + SECOND, false).is_err());
        now += 2 * SECOND;
        assert!(governor.admit(now, false).is_ok(), "one call may try");
        assert!(governor.admit(now, false).is_err(), "and only one");
        governor.failed(now);
        assert!(governor.admit(now + SECOND, false).is_err());
        now += 2 * SECOND;
        assert!(governor.admit(now, false).is_ok());
        governor.succeeded();
        assert!(governor.admit(now, false).is_ok());
    }

    #[test]
    fn a_success_between_failures_starts_the_count_anew() {
        let mut governor = LookupGovernor::new(1000);
        for _ in 0..20 {
            governor.failed(SECOND);
            governor.succeeded();
        }
        assert!(governor.admit(SECOND, false).is_ok());
    }

    #[test]
    fn a_trial_that_is_never_answered_is_followed_by_another() {
        let mut governor = LookupGovernor::new(1000);
        for _ in 0..5 {
            governor.failed(SECOND);
        }
        assert!(governor.admit(3 * SECOND, false).is_ok());
        assert!(governor.admit(4 * SECOND, false).is_err());
        assert!(governor.admit(5 * SECOND, false).is_ok());
    }
}
