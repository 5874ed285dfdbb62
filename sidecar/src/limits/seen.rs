//! Messages that were heard already.

use std::collections::HashSet;
use std::mem::take;

use wardgate_core::wire::mac::Nonce;

/// Nonces of one generation, some 6 MB: a thousand filters that ask ten times a second for twenty
/// seconds. Who knows the secret may fill it, and gains by it what he could ask for anyway.
const MAX_NONCES: usize = 200_000;

/// The nonces of the messages of a while.
#[derive(Debug, Default)]
pub(super) struct Seen {
    young: HashSet<Nonce>,
    old: HashSet<Nonce>,
    began_seconds: u64,
}

/// Whether a message was heard already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Heard {
    /// It was not.
    First,
    /// It was.
    Again,
    /// Nobody knows any more.
    Unknown,
}

impl Seen {
    /// Hears a message, of which none is believed that is older than `window_seconds` or comes from
    /// as far in the future.
    pub(super) fn hear(&mut self, nonce: Nonce, now_seconds: u64, window_seconds: u64) -> Heard {
        // A message of the young generation's first moment may come again that long.
        let generation = window_seconds.saturating_mul(2).saturating_add(1);
        let age = now_seconds.saturating_sub(self.began_seconds);
        if age >= generation {
            self.old = take(&mut self.young);
            if age >= generation.saturating_mul(2) {
                self.old.clear();
            }
            self.began_seconds = now_seconds;
        }
        if self.young.contains(&nonce) || self.old.contains(&nonce) {
            return Heard::Again;
        }
        if self.young.len() >= MAX_NONCES {
            return Heard::Unknown;
        }
        self.young.insert(nonce);
        Heard::First
    }
}
