//! Permissions as bits: what a request costs is a few machine words, however many there are.

use std::collections::BTreeMap;

/// The permissions that every policy has.
pub const BUILT_IN_PERMISSIONS: [&str; 4] = ["read", "write", "delete", "admin"];

/// A set of permissions of one policy.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct PermissionSet(Vec<u64>);

impl PermissionSet {
    pub(super) fn insert(&mut self, index: usize) {
        let (word, bit) = (index / 64, index % 64);
        if self.0.len() <= word {
            self.0.resize(word.saturating_add(1), 0);
        }
        if let Some(word) = self.0.get_mut(word) {
            *word |= 1 << bit;
        }
    }

    pub(super) fn contains(&self, index: usize) -> bool {
        self.0.get(index / 64).is_some_and(|word| word & (1 << (index % 64)) != 0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Adds the permissions of `other`.
    pub(super) fn unite(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }

    /// The permissions that are in both.
    pub(super) fn common(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(left, right)| left & right).collect())
    }

    pub(super) fn contains_all(&self, other: &Self) -> bool {
        let mut words = other.0.iter().enumerate();
        words.all(|(index, word)| word & !self.0.get(index).copied().unwrap_or(0) == 0)
    }

    pub(super) fn contains_any(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(left, right)| left & right != 0)
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.capacity().saturating_mul(8)
    }
}

/// The permissions of a policy: name to bit.
#[derive(Clone, Debug)]
pub(super) struct Permissions {
    names: Vec<String>,
    indices: BTreeMap<String, usize>,
}

impl Permissions {
    pub(super) fn built_in() -> Self {
        let mut permissions = Self { names: Vec::new(), indices: BTreeMap::new() };
        for name in BUILT_IN_PERMISSIONS {
            permissions.declare(name);
        }
        permissions
    }

    /// Declares a permission; declaring one twice changes nothing.
    pub(super) fn declare(&mut self, name: &str) {
        if !self.indices.contains_key(name) {
            self.indices.insert(name.to_owned(), self.names.len());
            self.names.push(name.to_owned());
        }
    }

    pub(super) fn index(&self, name: &str) -> Option<usize> {
        self.indices.get(name).copied()
    }

    /// In order of declaration, the built-in ones first.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::PermissionSet;

    fn set(indices: &[usize]) -> PermissionSet {
        let mut set = PermissionSet::default();
        for index in indices {
            set.insert(*index);
        }
        set
    }

    #[test]
    fn sets_of_different_length_compare_by_their_members() {
        assert!(set(&[1, 70]).contains_all(&set(&[1])));
        assert!(!set(&[1]).contains_all(&set(&[1, 70])));
        assert!(set(&[1]).contains_all(&set(&[])));
        assert!(set(&[1, 70]).contains_any(&set(&[70])));
        assert!(!set(&[1]).contains_any(&set(&[70])));
        assert!(!set(&[1]).contains_any(&set(&[])));
        assert!(set(&[1, 70]).common(&set(&[2])).is_empty());
        let mut united = set(&[1]);
        united.unite(&set(&[130]));
        assert!(united.contains(130) && united.contains(1) && !united.contains(64));
    }
}
