//! Nonces that whoever checks proofs gives to clients (RFC 9449 §8, §9).

use core::fmt;

use ring::hmac;

use crate::base64url;
use crate::secret::Secret;
use crate::time::UnixSeconds;

/// How long one nonce is given out. It is accepted for as long again, so that a client that got it
/// at the end of its time can still use it.
pub const NONCE_PERIOD_SECONDS: u64 = 120;

/// Bytes of the MAC that a nonce is: a guess is right once in 2^128 tries.
const NONCE_BYTES: usize = 16;

/// Makes and knows nonces without keeping any: each is a MAC of a period of time under a key. Whoever
/// has the same key knows the same nonces, and nobody else does: a proof that was made for one
/// checker is worth nothing at another, and one made ahead of time (RFC 9449 §11.2) nothing at all.
#[derive(Clone)]
pub struct Nonces(hmac::Key);

impl Nonces {
    /// Nonces under `key`: at least 32 random bytes, used for nothing else.
    pub fn new(key: &Secret) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.expose()))
    }

    /// The nonce to give out at `now`.
    pub fn current(&self, now: UnixSeconds) -> String {
        self.of_period(period(now))
    }

    /// Whether `nonce` is accepted at `now`: that of this period, of the one before, and of the next,
    /// which another checker with the same key and a faster clock may have given out.
    pub fn accepts(&self, nonce: &str, now: UnixSeconds) -> bool {
        let period = period(now);
        let accepted = [period, period.saturating_sub(1), period.saturating_add(1)];
        accepted.into_iter().any(|period| {
            let expected = self.of_period(period);
            subtle::ConstantTimeEq::ct_eq(expected.as_bytes(), nonce.as_bytes()).into()
        })
    }

    fn of_period(&self, period: u64) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(b"wardgate dpop nonce v1");
        context.update(&period.to_be_bytes());
        let mac = context.sign();
        base64url::encode(mac.as_ref().get(..NONCE_BYTES).unwrap_or_default())
    }
}

/// Shows nothing: the key is a secret.
impl fmt::Debug for Nonces {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Nonces(…)")
    }
}

const fn period(now: UnixSeconds) -> u64 {
    now.0 / NONCE_PERIOD_SECONDS
}

#[cfg(test)]
mod tests {
    use super::{NONCE_PERIOD_SECONDS, Nonces};
    use crate::secret::Secret;
    use crate::time::UnixSeconds;

    const NOW: UnixSeconds = UnixSeconds(1_700_000_000);

    fn nonces(key: u8) -> Nonces {
        Nonces::new(&Secret::new(vec![key; 32]))
    }

    #[test]
    fn a_nonce_is_accepted_for_one_period_after_its_own() {
        let nonces = nonces(1);
        let nonce = nonces.current(NOW);
        assert_eq!(nonce.len(), 22);
        assert!(nonces.accepts(&nonce, NOW));
        assert!(nonces.accepts(&nonce, NOW.plus(NONCE_PERIOD_SECONDS)));
        assert!(nonces.accepts(&nonce, NOW.minus(NONCE_PERIOD_SECONDS)));
        assert!(!nonces.accepts(&nonce, NOW.plus(2 * NONCE_PERIOD_SECONDS)));
        assert!(!nonces.accepts(&nonce, NOW.minus(2 * NONCE_PERIOD_SECONDS)));
    }

    #[test]
    fn a_nonce_of_another_key_is_unknown() {
        assert!(!nonces(1).accepts(&nonces(2).current(NOW), NOW));
        assert!(!nonces(1).accepts("", NOW));
        assert!(!nonces(1).accepts(&nonces(1).current(NOW)[..21], NOW));
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        for now in [UnixSeconds(0), UnixSeconds(u64::MAX)] {
            assert!(nonces(1).accepts(&nonces(1).current(now), now));
        }
    }
}
