//! The last answer of a family, kept for a client that has lost it.
//!
//! It holds the current tokens. So it is locked twice: under the store keys, as all that is secret at
//! rest, and inside of that under a key that is made of the token it answered, which the store does
//! not have. Whoever gets the store and its keys has no tokens by that.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use wardgate_core::secret::Secret;
use wardgate_core::time::UnixSeconds;
use zeroize::Zeroizing;

use super::token::GenuineToken;
use crate::random::Random;
use crate::seal::{Sealed, StoreKeys};

/// Locks what a token was answered with.
pub(super) fn seal(
    keys: &StoreKeys,
    used: &GenuineToken,
    answer: &str,
    now: UnixSeconds,
    random: Random,
) -> Option<Sealed> {
    // Random: two sidecars may lock two answers to one token, of which the store takes one.
    let nonce = random.bytes::<NONCE_LEN>().ok()?;
    let mut locked = nonce.to_vec();
    let mut text = Zeroizing::new(answer.as_bytes().to_vec());
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = key_of(used)?.seal_in_place_separate_tag(nonce, Aad::empty(), &mut text).ok()?;
    locked.extend_from_slice(&text);
    locked.extend_from_slice(tag.as_ref());
    keys.seal(&context(used), &Secret::new(locked), now)
}

/// Unlocks what a token was answered with.
pub(super) fn open(
    keys: &StoreKeys,
    used: &GenuineToken,
    sealed: &Sealed,
) -> Option<Zeroizing<String>> {
    let locked = keys.open(&context(used), sealed).ok()?;
    let (nonce, rest) = locked.expose().split_first_chunk::<NONCE_LEN>()?;
    let mut text = Zeroizing::new(rest.to_vec());
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let opened = key_of(used)?.open_in_place(nonce, Aad::empty(), &mut text).ok()?;
    Some(Zeroizing::new(core::str::from_utf8(opened).ok()?.to_owned()))
}

fn key_of(used: &GenuineToken) -> Option<LessSafeKey> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, used.body());
    let tag = hmac::sign(&key, b"wardgate refresh answer");
    UnboundKey::new(&AES_256_GCM, tag.as_ref()).ok().map(LessSafeKey::new)
}

fn context(used: &GenuineToken) -> String {
    format!("refresh-answer {} {}", used.family, used.generation)
}

#[cfg(test)]
mod tests {
    use super::{open, seal};
    use crate::families::token::{FamilyId, TokenKey};
    use crate::random::Random;
    use crate::seal::StoreKeys;
    use wardgate_core::secret::Secret;
    use wardgate_core::time::UnixSeconds;

    #[test]
    fn an_answer_opens_with_the_token_that_it_answered_and_with_no_other() {
        let random = Random::system();
        let keys = StoreKeys::parse(&StoreKeys::generate(random).unwrap()).unwrap();
        let other_keys = StoreKeys::parse(&StoreKeys::generate(random).unwrap()).unwrap();
        let key = TokenKey::new(&Secret::new(vec![1; 32]));
        let family = FamilyId::new(random).unwrap();
        let used = key.make(&family, 3, random).unwrap();
        let sealed = seal(&keys, &used, "{\"a\":1}", UnixSeconds(1), random).unwrap();
        assert_eq!(open(&keys, &used, &sealed).unwrap().as_str(), "{\"a\":1}");
        // Of the same family and number, but another secret.
        let other = key.make(&family, 3, random).unwrap();
        assert!(open(&keys, &other, &sealed).is_none());
        assert!(open(&other_keys, &used, &sealed).is_none());
    }
}
