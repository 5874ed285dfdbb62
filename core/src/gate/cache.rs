//! A map bounded in bytes, of what was found out about credentials.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher as _};

use siphasher::sip::SipHasher13;

/// Random keys of the hashes, so that nobody can choose credentials that collide.
#[derive(Clone, Copy, Debug)]
pub struct HashKeys(pub u64, pub u64);

impl BuildHasher for HashKeys {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}

/// What an entry costs beyond its key and value: hash table slot, allocation headers.
const OVERHEAD_BYTES: usize = 96;

/// A cache bounded in bytes: two generations; what is not used for a whole generation goes.
///
/// An entry that is found in the old generation moves to the young one. When the young one has half
/// of the bytes it becomes the old one, and what was old is dropped. So a hit costs one look-up, and
/// nothing is ever sorted. Keys are compared in full: a collision of hashes mixes nobody up.
#[derive(Debug)]
pub struct Cache<V> {
    young: HashMap<Box<[u8]>, (V, usize), HashKeys>,
    old: HashMap<Box<[u8]>, (V, usize), HashKeys>,
    young_bytes: usize,
    old_bytes: usize,
    limit_bytes: usize,
    keys: HashKeys,
}

impl<V> Cache<V> {
    /// A cache of at most `limit_bytes`; 0 keeps nothing.
    pub fn new(limit_bytes: usize, keys: HashKeys) -> Self {
        Self {
            young: HashMap::with_hasher(keys),
            old: HashMap::with_hasher(keys),
            young_bytes: 0,
            old_bytes: 0,
            limit_bytes,
            keys,
        }
    }

    /// The value at `key`.
    pub fn find(&mut self, key: &[u8]) -> Option<&V> {
        self.find_mut(key).map(|value| &*value)
    }

    /// The value at `key`, to change. A value must not grow beyond the bytes that it was put in with.
    pub fn find_mut(&mut self, key: &[u8]) -> Option<&mut V> {
        if !self.old.is_empty()
            && let Some((key, (value, bytes))) = self.old.remove_entry(key)
        {
            self.old_bytes = self.old_bytes.saturating_sub(bytes);
            self.admit(key, value, bytes);
        }
        self.young.get_mut(key).map(|(value, _)| value)
    }

    /// Keeps `value`, which takes `value_bytes` of memory, at `key`.
    pub fn insert(&mut self, key: &[u8], value: V, value_bytes: usize) {
        let bytes = key.len().saturating_add(value_bytes).saturating_add(OVERHEAD_BYTES);
        if bytes > self.limit_bytes / 2 {
            return;
        }
        self.remove(key);
        self.admit(key.into(), value, bytes);
    }

    /// Forgets `key`.
    pub fn remove(&mut self, key: &[u8]) {
        if let Some((_, bytes)) = self.young.remove(key) {
            self.young_bytes = self.young_bytes.saturating_sub(bytes);
        }
        if let Some((_, bytes)) = self.old.remove(key) {
            self.old_bytes = self.old_bytes.saturating_sub(bytes);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::new(self.limit_bytes, self.keys);
    }

    /// The bytes in use, at most the limit.
    pub fn bytes(&self) -> usize {
        self.young_bytes.saturating_add(self.old_bytes)
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.young.len().saturating_add(self.old.len())
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn admit(&mut self, key: Box<[u8]>, value: V, bytes: usize) {
        if self.young_bytes.saturating_add(bytes) > self.limit_bytes / 2 {
            let empty = HashMap::with_hasher(self.keys);
            self.old = core::mem::replace(&mut self.young, empty);
            self.old_bytes = core::mem::take(&mut self.young_bytes);
        }
        self.young_bytes = self.young_bytes.saturating_add(bytes);
        self.young.insert(key, (value, bytes));
    }
}

/// The keyed hash of `bytes`.
pub fn hash(keys: HashKeys, bytes: &[u8]) -> u64 {
    let mut hasher = keys.build_hasher();
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Cache, HashKeys};

    const KEYS: HashKeys = HashKeys(1, 2);

    #[test]
    fn what_is_used_stays_and_what_is_not_goes() {
        let mut cache = Cache::new(4000, KEYS);
        cache.insert(b"used", 1, 100);
        cache.insert(b"unused", 2, 100);
        for round in 0..100_u32 {
            assert_eq!(cache.find(b"used"), Some(&1), "round {round}");
            cache.insert(&round.to_be_bytes(), 3, 100);
        }
        assert_eq!(cache.find(b"unused"), None);
    }

    #[test]
    fn a_value_larger_than_half_of_the_cache_is_not_kept() {
        let mut cache = Cache::new(1000, KEYS);
        cache.insert(b"a", 1, 1000);
        assert!(cache.is_empty());
    }

    #[test]
    fn a_key_is_replaced_forgotten_and_cleared() {
        let mut cache = Cache::new(10_000, KEYS);
        cache.insert(b"a", 1, 10);
        cache.insert(b"a", 2, 10);
        assert_eq!((cache.len(), cache.find(b"a")), (1, Some(&2)));
        cache.remove(b"a");
        assert_eq!((cache.bytes(), cache.find(b"a")), (0, None));
        cache.insert(b"a", 3, 10);
        cache.clear();
        assert_eq!((cache.bytes(), cache.find(b"a")), (0, None));
    }

    proptest! {
        #[test]
        fn the_bytes_never_exceed_the_limit(
            limit in 0_usize..5000,
            steps in prop::collection::vec((any::<u8>(), 0_usize..600, any::<bool>()), 0..200),
        ) {
            let mut cache = Cache::new(limit, KEYS);
            for (key, bytes, find) in steps {
                if find {
                    cache.find(&[key]);
                } else {
                    cache.insert(&[key], key, bytes);
                }
                prop_assert!(cache.bytes() <= limit);
                if cache.is_empty() {
                    prop_assert_eq!(cache.bytes(), 0);
                }
            }
        }
    }
}
