//! The arithmetic of one limit.

/// Requests in a period at most: one in a microsecond when the period is its shortest.
pub const MAX_REQUESTS: u64 = 1_000_000;
/// The longest period is a day: an arrival never lies further ahead than a burst takes, and the
/// clock it is told by ends with the proxy.
pub const MAX_PERIOD_SECONDS: u64 = 86_400;

const SECOND: u64 = 1_000_000_000;
/// What a burst takes at the even rate is some three years at most, so that no sum of it and any
/// clock overflows: an arrival that cannot grow any more would be one without a limit.
const MAX_TOLERANCE_NANOSECONDS: u64 = 100_000_000 * SECOND;

/// So many requests at once, and one more in each interval.
///
/// In any time `t` no more than `burst + t / interval` requests are admitted.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Limit {
    interval_nanoseconds: u64,
    burst: u64,
}

/// How somebody stands with a limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Standing {
    /// Requests that would be admitted now.
    pub remaining: u64,
    /// Nanoseconds until the whole burst would be admitted again.
    pub reset_nanoseconds: u64,
    /// Nanoseconds until one more is admitted; 0 if one is.
    pub retry_nanoseconds: u64,
}

impl Limit {
    /// So many requests in each period, `burst` of them at once. All of them are put between 1 and
    /// what there is a constant for.
    pub fn new(requests: u64, period_seconds: u64, burst: u64) -> Self {
        let requests = requests.clamp(1, MAX_REQUESTS);
        let period = period_seconds.clamp(1, MAX_PERIOD_SECONDS).saturating_mul(SECOND);
        // Rounded up: the rate is never higher than written.
        Self::bounded(period.div_ceil(requests), burst)
    }

    /// A limit that somebody else names by its parts.
    pub fn of_parts(interval_nanoseconds: u64, burst: u64) -> Self {
        let longest = MAX_PERIOD_SECONDS.saturating_mul(SECOND);
        Self::bounded(interval_nanoseconds.clamp(1000, longest), burst)
    }

    fn bounded(interval_nanoseconds: u64, burst: u64) -> Self {
        let most = MAX_TOLERANCE_NANOSECONDS.checked_div(interval_nanoseconds).unwrap_or(1);
        let burst = burst.clamp(1, MAX_REQUESTS).min(most.max(1));
        Self { interval_nanoseconds, burst }
    }

    /// A part of this limit, of at least one request.
    pub fn part(self, percent: u64) -> Self {
        let percent = percent.clamp(1, 100);
        let interval = self.interval_nanoseconds.saturating_mul(100).div_ceil(percent);
        Self::bounded(interval, self.burst.saturating_mul(percent).div_ceil(100))
    }

    /// Nanoseconds that one request is paid for by.
    pub const fn interval_nanoseconds(self) -> u64 {
        self.interval_nanoseconds
    }

    /// Requests that are admitted at once after a long silence.
    pub const fn burst(self) -> u64 {
        self.burst
    }

    /// How far ahead of now an arrival may lie.
    pub fn tolerance_nanoseconds(self) -> u64 {
        self.interval_nanoseconds.saturating_mul(self.burst)
    }

    /// The arrival after `count` more requests, if they are admitted.
    ///
    /// # Errors
    ///
    /// How the one stands who is refused.
    pub fn take(self, arrival: u64, count: u64, now: u64) -> Result<u64, Standing> {
        let next = self.charge(arrival, count, now);
        if next.saturating_sub(now) > self.tolerance_nanoseconds() {
            return Err(self.standing(arrival, now));
        }
        Ok(next)
    }

    /// The arrival after `count` more requests, whether they are admitted or not.
    pub fn charge(self, arrival: u64, count: u64, now: u64) -> u64 {
        let cost = self.interval_nanoseconds.saturating_mul(count);
        arrival.max(now).saturating_add(cost)
    }

    /// How somebody of this arrival stands.
    pub fn standing(self, arrival: u64, now: u64) -> Standing {
        let ahead = arrival.saturating_sub(now);
        let tolerance = self.tolerance_nanoseconds();
        let left = tolerance.saturating_sub(ahead);
        let retry = ahead.saturating_add(self.interval_nanoseconds).saturating_sub(tolerance);
        Standing {
            remaining: left.checked_div(self.interval_nanoseconds).unwrap_or(0),
            reset_nanoseconds: ahead,
            retry_nanoseconds: retry,
        }
    }
}
