//! How often an issuer is asked because of tokens that anyone can make up.

use std::time::Duration;

use tokio::time::Instant;

/// One question in this time, in the long run.
const EVERY: Duration = Duration::from_secs(10);
/// Questions that may come at once: a rotation is sometimes seen before its new key is.
const BURST: u32 = 2;

/// A bucket of questions.
#[derive(Debug)]
pub(super) struct Budget {
    left: u32,
    /// When the next one comes in.
    filled_at: Instant,
}

impl Budget {
    pub(super) fn new(now: Instant) -> Self {
        Self { left: BURST, filled_at: now }
    }

    /// Takes a question, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        while self.left < BURST && now.saturating_duration_since(self.filled_at) >= EVERY {
            self.left = self.left.saturating_add(1);
            self.filled_at = self.filled_at.checked_add(EVERY).unwrap_or(now);
        }
        if self.left == BURST {
            self.filled_at = now;
        }
        let taken = self.left > 0;
        self.left = self.left.saturating_sub(1);
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Budget;

    #[test]
    fn two_at_once_and_then_one_in_ten_seconds() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        let mut take = |seconds| budget.take(start + Duration::from_secs(seconds));
        let taken = [0, 1, 2, 9, 10, 11, 20, 21, 100, 101, 102].map(&mut take);
        let expected = [true, true, false, false, true, false, true, false, true, true, false];
        assert_eq!(taken, expected);
    }
}
