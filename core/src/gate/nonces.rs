//! The nonces of one proxy process (RFC 9449 §9).
//!
//! A proof with a nonce of one proxy is worth nothing at another: neither can it be sent on there,
//! nor can it have been made ahead of time. All workers of a process must know the same nonces, so
//! the first that needs one leaves random bytes in the memory that they share; the key of the nonces
//! is made of these and of the feed secret, which does not stand there.

use std::rc::Rc;

use ring::hmac;

use crate::dpop::Nonces;
use crate::feed::live::SharedMemory;
use crate::secret::Secret;

use super::Seed;

const SALT_BYTES: usize = 32;

/// The nonces of this process, once somebody needs one.
pub(super) struct ProcessNonces {
    name: String,
    key: hmac::Key,
    /// What this worker leaves if nobody was before it.
    candidate: hmac::Tag,
    /// Kept, so that another value that is put there later changes nothing for this worker.
    nonces: Option<Rc<Nonces>>,
}

impl ProcessNonces {
    /// `seed` is random, and another in each worker.
    pub(super) fn new(secret: &Secret, seed: Seed) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
        let key = hmac::sign(&key, b"wardgate dpop nonces: key v1");
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_ref());
        let seed: Vec<u8> = seed.0.iter().flat_map(|part| part.to_be_bytes()).collect();
        let seed = hmac::Key::new(hmac::HMAC_SHA256, &seed);
        let name = hmac::sign(&key, b"name");
        let name =
            name.as_ref().iter().take(4).fold(0_u32, |name, byte| (name << 8) | u32::from(*byte));
        Self {
            name: format!("wardgate1.nonces.{name:08x}"),
            key,
            candidate: hmac::sign(&seed, b"wardgate dpop nonces: salt v1"),
            nonces: None,
        }
    }

    /// The nonces; `None` when the memory cannot be written, or somebody has changed what stands
    /// there.
    pub(super) fn of_process(&mut self, memory: &dyn SharedMemory) -> Option<Rc<Nonces>> {
        if self.nonces.is_none() {
            let held = memory.get(&self.name).or_else(|| {
                // If another worker was faster, its value is there now.
                let _ = memory.create(&self.name, &self.sealed(self.candidate.as_ref()));
                memory.get(&self.name)
            });
            self.nonces = self.open(&held?.0).map(Rc::new);
        }
        self.nonces.clone()
    }

    fn open(&self, value: &[u8]) -> Option<Nonces> {
        let (salt, _) = value.split_first_chunk::<SALT_BYTES>()?;
        let is_ours = subtle::ConstantTimeEq::ct_eq(&self.sealed(salt)[..], value);
        if !bool::from(is_ours) {
            return None;
        }
        let key = hmac::sign(&self.key, &[b"nonces".as_slice(), salt].concat());
        Some(Nonces::new(&Secret::new(key.as_ref().to_vec())))
    }

    fn sealed(&self, salt: &[u8]) -> Vec<u8> {
        let mac = hmac::sign(&self.key, &[b"salt".as_slice(), salt].concat());
        [salt, mac.as_ref()].concat()
    }
}

/// Shows nothing: the keys are secrets.
impl core::fmt::Debug for ProcessNonces {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("ProcessNonces(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::{ProcessNonces, Seed};
    use crate::feed::live::{LocalMemory, NoMemory, SharedMemory as _};
    use crate::secret::Secret;
    use crate::time::UnixSeconds;

    const NOW: UnixSeconds = UnixSeconds(1_700_000_000);

    fn worker(secret: u8, seed: u64) -> ProcessNonces {
        ProcessNonces::new(&Secret::new(vec![secret; 32]), Seed([seed; 4]))
    }

    fn nonce(worker: &mut ProcessNonces, memory: &LocalMemory) -> Option<String> {
        worker.of_process(memory).map(|nonces| nonces.current(NOW))
    }

    #[test]
    fn all_workers_of_a_process_know_its_nonces_and_no_other_process_does() {
        let (one, other) = (LocalMemory::default(), LocalMemory::default());
        let first = nonce(&mut worker(1, 1), &one).unwrap();
        assert_eq!(nonce(&mut worker(1, 2), &one).unwrap(), first);
        let elsewhere = worker(1, 3).of_process(&other).unwrap();
        assert_ne!(elsewhere.current(NOW), first);
        assert!(!elsewhere.accepts(&first, NOW));
    }

    #[test]
    fn what_stands_in_the_memory_does_not_give_the_nonces_away() {
        let memory = LocalMemory::default();
        nonce(&mut worker(1, 1), &memory).unwrap();
        let key = memory.keys().pop().unwrap();
        let (salt, _) = memory.get(&key).unwrap();
        // Somebody without the secret who has the value knows other nonces, and under another name.
        let stranger = worker(2, 1);
        assert_ne!(stranger.name, key);
        assert!(stranger.open(&salt).is_none());
    }

    #[test]
    fn a_value_that_somebody_changed_is_not_believed() {
        let memory = LocalMemory::default();
        let first = nonce(&mut worker(1, 1), &memory).unwrap();
        let mut known = worker(1, 2);
        nonce(&mut known, &memory).unwrap();
        let key = memory.keys().pop().unwrap();
        for value in [&b""[..], b"junk", &[0; 64]] {
            memory.set(&key, value, None).unwrap();
            assert_eq!(nonce(&mut worker(1, 3), &memory), None);
            assert_eq!(nonce(&mut known, &memory).as_ref(), Some(&first));
        }
    }

    #[test]
    fn without_shared_memory_there_are_no_nonces() {
        assert!(worker(1, 1).of_process(&NoMemory).is_none());
    }
}
