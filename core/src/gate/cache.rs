//! A map bounded in bytes, of what was found out about credentials.

use std::hash::Hasher as _;

use hashbrown::HashTable;
use siphasher::sip::SipHasher13;

/// Random keys of the hashes, so that nobody can choose credentials that collide.
#[derive(Clone, Copy, Debug)]
pub struct HashKeys(pub u64, pub u64);

impl HashKeys {
    fn hash(self, bytes: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.0, self.1);
        hasher.write(bytes);
        hasher.finish()
    }
}

/// What an entry costs beyond its key and value: slot of the table, headers of allocations.
const OVERHEAD_BYTES: usize = 96;

/// A cache bounded in bytes: two generations; what is not used for a whole generation goes.
///
/// An entry that is found in the old generation moves to the young one. When the young one has half
/// of the bytes it becomes the old one, and what was old is dropped. So a hit costs one look-up, and
/// nothing is ever sorted. Keys are compared in full: a collision of hashes mixes nobody up.
#[derive(Debug)]
pub struct Cache<V> {
    young: Generation<V>,
    old: Generation<V>,
    limit_bytes: usize,
    keys: HashKeys,
}

#[derive(Debug)]
struct Generation<V> {
    entries: HashTable<Entry<V>>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry<V> {
    hash: u64,
    key: Box<[u8]>,
    value: V,
    bytes: usize,
}

impl<V> Generation<V> {
    const fn empty() -> Self {
        Self { entries: HashTable::new(), bytes: 0 }
    }

    fn take(&mut self, hash: u64, key: &[u8]) -> Option<Entry<V>> {
        let found = self.entries.find_entry(hash, |entry| same(&entry.key, key)).ok()?;
        let (entry, _) = found.remove();
        self.bytes = self.bytes.saturating_sub(entry.bytes);
        Some(entry)
    }
}

impl<V> Cache<V> {
    /// A cache of at most `limit_bytes`; 0 keeps nothing.
    pub fn new(limit_bytes: usize, keys: HashKeys) -> Self {
        Self { young: Generation::empty(), old: Generation::empty(), limit_bytes, keys }
    }

    /// The value at `key`.
    pub fn find(&mut self, key: &[u8]) -> Option<&V> {
        self.find_mut(key).map(|value| &*value)
    }

    /// The value at `key`, to change. A value must not grow beyond the bytes that it was put in with.
    pub fn find_mut(&mut self, key: &[u8]) -> Option<&mut V> {
        let hash = self.keys.hash(key);
        if let Some(entry) = self.old.take(hash, key) {
            self.admit(entry);
        }
        let found = self.young.entries.find_mut(hash, |entry| same(&entry.key, key));
        found.map(|entry| &mut entry.value)
    }

    /// Keeps `value`, which takes `value_bytes` of memory, at `key`.
    pub fn insert(&mut self, key: &[u8], value: V, value_bytes: usize) {
        let bytes = key.len().saturating_add(value_bytes).saturating_add(OVERHEAD_BYTES);
        if bytes > self.limit_bytes / 2 {
            return;
        }
        let hash = self.keys.hash(key);
        self.take(hash, key);
        self.admit(Entry { hash, key: key.into(), value, bytes });
    }

    /// Forgets `key`.
    pub fn remove(&mut self, key: &[u8]) {
        self.take(self.keys.hash(key), key);
    }

    fn take(&mut self, hash: u64, key: &[u8]) {
        self.young.take(hash, key);
        self.old.take(hash, key);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::new(self.limit_bytes, self.keys);
    }

    /// The bytes in use, at most the limit.
    pub fn bytes(&self) -> usize {
        self.young.bytes.saturating_add(self.old.bytes)
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.young.entries.len().saturating_add(self.old.entries.len())
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn admit(&mut self, entry: Entry<V>) {
        if self.young.bytes.saturating_add(entry.bytes) > self.limit_bytes / 2 {
            self.old = core::mem::replace(&mut self.young, Generation::empty());
        }
        self.young.bytes = self.young.bytes.saturating_add(entry.bytes);
        self.young.entries.insert_unique(entry.hash, entry, |entry| entry.hash);
    }
}

/// Whether two keys are the same, eight bytes at a time: a token has hundreds, and the comparison of
/// slices goes byte by byte in wasm. It may stop early: it only comes to a comparison when the keyed
/// hashes are equal, so nobody can feel their way to a token that another has shown.
fn same(left: &[u8], right: &[u8]) -> bool {
    let (left_words, left_rest) = left.as_chunks::<8>();
    let (right_words, right_rest) = right.as_chunks::<8>();
    let mut words = left_words.iter().zip(right_words);
    left.len() == right.len()
        && words.all(|(left, right)| u64::from_ne_bytes(*left) == u64::from_ne_bytes(*right))
        && left_rest == right_rest
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
