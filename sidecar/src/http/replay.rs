//! A message that was recorded and is played again must not pass: each nonce is accepted once.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use wardgate_core::time::UnixSeconds;
use wardgate_core::wire::mac::Nonce;

/// Nonces remembered, about 20 MB: 1,000 Envoys with 4 workers that ask once a second, for a minute.
const MAX_NONCES: usize = 262_144;

/// The nonces seen within the window. After a restart none is known: what could be played again in
/// that moment is a question whose answer the player has seen, or events that count once anyway.
#[derive(Debug)]
pub struct ReplayWindow {
    window_seconds: u64,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    nonces: HashSet<Nonce>,
    by_age: VecDeque<(UnixSeconds, Nonce)>,
}

/// Why a nonce is not accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ReplayError {
    /// It was accepted before.
    Seen,
    /// No more can be remembered. Forgetting one instead would let it pass again.
    Full,
}

impl ReplayWindow {
    /// A window for messages whose time may differ by `window_seconds`.
    pub fn new(window_seconds: u64) -> Self {
        Self { window_seconds, seen: Mutex::default() }
    }

    /// How far the time of a message may differ.
    pub(super) fn seconds(&self) -> u64 {
        self.window_seconds
    }

    /// Accepts a nonce once.
    pub(super) fn accept(&self, nonce: Nonce, now: UnixSeconds) -> Result<(), ReplayError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = &mut *seen;
        while let Some((_, old)) = seen.by_age.pop_front_if(|(forget_at, _)| *forget_at < now) {
            seen.nonces.remove(&old);
        }
        if seen.nonces.contains(&nonce) {
            return Err(ReplayError::Seen);
        }
        if seen.nonces.len() >= MAX_NONCES {
            return Err(ReplayError::Full);
        }
        // A message from the near future passes until its time is a window behind.
        let forget_at = now.plus(self.window_seconds.saturating_mul(2));
        seen.nonces.insert(nonce);
        seen.by_age.push_back((forget_at, nonce));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_NONCES, ReplayError, ReplayWindow};
    use wardgate_core::time::UnixSeconds;
    use wardgate_core::wire::mac::Nonce;

    fn nonce(number: usize) -> Nonce {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        Nonce(bytes)
    }

    #[test]
    fn a_nonce_is_accepted_once_within_twice_the_window() {
        let window = ReplayWindow::new(30);
        assert_eq!(window.accept(nonce(1), UnixSeconds(100)), Ok(()));
        for now in [100, 130, 160] {
            assert_eq!(window.accept(nonce(1), UnixSeconds(now)), Err(ReplayError::Seen), "{now}");
        }
        assert_eq!(window.accept(nonce(1), UnixSeconds(161)), Ok(()));
    }

    #[test]
    fn memory_is_bounded_and_full_memory_refuses() {
        let window = ReplayWindow::new(30);
        for number in 0..MAX_NONCES {
            assert_eq!(window.accept(nonce(number), UnixSeconds(100)), Ok(()));
        }
        assert_eq!(window.accept(nonce(MAX_NONCES), UnixSeconds(100)), Err(ReplayError::Full));
        assert_eq!(window.accept(nonce(0), UnixSeconds(160)), Err(ReplayError::Seen));
        assert_eq!(window.accept(nonce(MAX_NONCES), UnixSeconds(161)), Ok(()));
    }
}
