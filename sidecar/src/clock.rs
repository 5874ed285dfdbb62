//! The only place that reads the clock, so that a test can steer time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use wardgate_core::time::UnixSeconds;

/// Where the time comes from.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    /// Seconds since the epoch.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The clock of the machine.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `now` until it is advanced; clones share the time.
    pub fn manual(now: UnixSeconds) -> Self {
        Self(Source::Manual(Arc::new(AtomicU64::new(now.0))))
    }

    /// Moves a manual clock forward; the clock of the machine does not listen.
    pub fn advance(&self, seconds: u64) {
        if let Source::Manual(time) = &self.0 {
            time.fetch_add(seconds, Ordering::SeqCst);
        }
    }

    /// The time now. A clock before 1970 reads as 1970.
    pub fn now(&self) -> UnixSeconds {
        UnixSeconds(self.now_milliseconds() / 1000)
    }

    /// A time that nobody sets, in nanoseconds since some moment.
    pub fn monotonic_nanoseconds(&self) -> u64 {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        match &self.0 {
            Source::System => u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX),
            Source::Manual(time) => time.load(Ordering::SeqCst).saturating_mul(1_000_000_000),
        }
    }

    /// The time now in milliseconds since the epoch.
    pub fn now_milliseconds(&self) -> u64 {
        match &self.0 {
            Source::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)),
            Source::Manual(time) => time.load(Ordering::SeqCst).saturating_mul(1000),
        }
    }
}

/// Year, month and day of a day since 1970-01-01, by counting.
pub(crate) fn date(days: u64) -> (u64, u64, u64) {
    // A cycle of 400 years has 146097 days; what is beyond the year 400000 shows as that.
    let (mut left, mut year) = (days % 146_097, 1970_u64);
    year = year.saturating_add((days / 146_097).saturating_mul(400));
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if left < length {
            break;
        }
        left = left.saturating_sub(length);
        year = year.saturating_add(1);
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1_u64;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < length {
            break;
        }
        left = left.saturating_sub(length);
        month = month.saturating_add(1);
    }
    (year, month, left.saturating_add(1))
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[cfg(test)]
mod tests {
    use super::Clock;
    use wardgate_core::time::UnixSeconds;

    #[test]
    fn a_manual_clock_moves_only_when_told_and_its_clones_with_it() {
        let clock = Clock::manual(UnixSeconds(100));
        let clone = clock.clone();
        clock.advance(5);
        assert_eq!((clock.now(), clone.now_milliseconds()), (UnixSeconds(105), 105_000));
    }
}
