//! Memory that all workers of a proxy process share.

use std::cell::RefCell;
use std::collections::HashMap;

/// Memory shared by the VMs of a proxy process.
///
/// In a mesh every plugin of the proxy reads and writes the same memory: nothing that stands there
/// is believed without a MAC, and nothing that was true once is believed for ever.
pub trait SharedMemory {
    /// The value of `key` and the number of its version, which is never 0.
    fn get(&self, key: &str) -> Option<(Vec<u8>, u32)>;

    /// Sets the value of `key`; with `version` only if that is still the version of the value.
    ///
    /// # Errors
    ///
    /// [`Collision`] when another has set it in between, or the host refuses.
    fn set(&self, key: &str, value: &[u8], version: Option<u32>) -> Result<(), Collision>;

    /// Sets the first value of `key`. Memory that others change at the same time must do both in
    /// one step.
    ///
    /// # Errors
    ///
    /// [`Collision`] when there is one already, or the host refuses.
    fn create(&self, key: &str, value: &[u8]) -> Result<(), Collision> {
        if self.get(key).is_some() { Err(Collision) } else { self.set(key, value, None) }
    }
}

/// A value was set by another in between.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("another has set the value in between")]
pub struct Collision;

/// No shared memory: for a gate that has no feed.
#[derive(Clone, Copy, Debug)]
pub struct NoMemory;

impl SharedMemory for NoMemory {
    fn get(&self, _key: &str) -> Option<(Vec<u8>, u32)> {
        None
    }

    fn set(&self, _key: &str, _value: &[u8], _version: Option<u32>) -> Result<(), Collision> {
        Err(Collision)
    }
}

/// Memory of one thread: for tests, benches, and gates outside of a proxy.
#[derive(Debug, Default)]
pub struct LocalMemory {
    values: RefCell<HashMap<String, (Vec<u8>, u32)>>,
}

impl LocalMemory {
    /// All keys, in order.
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.values.borrow().keys().cloned().collect();
        keys.sort();
        keys
    }

    /// The bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        let values = self.values.borrow();
        values.iter().map(|(key, (value, _))| key.len().saturating_add(value.len())).sum()
    }
}

impl SharedMemory for LocalMemory {
    fn get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.values.borrow().get(key).cloned()
    }

    fn set(&self, key: &str, value: &[u8], version: Option<u32>) -> Result<(), Collision> {
        let mut values = self.values.borrow_mut();
        let found = values.get(key).map(|(_, version)| *version);
        if version.is_some() && version != found {
            return Err(Collision);
        }
        let next = found.unwrap_or(0).wrapping_add(1).max(1);
        values.insert(key.to_owned(), (value.to_vec(), next));
        Ok(())
    }
}
