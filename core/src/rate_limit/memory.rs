//! Memory that several workers share, or one has for itself.

use std::cell::RefCell;
use std::collections::HashMap;

/// Memory shared by the workers of a proxy.
pub trait SharedMemory {
    /// The value of a key, and its version.
    fn get(&self, key: &str) -> Option<(Vec<u8>, u32)>;

    /// Sets a value; with a version only if the value still has it.
    ///
    /// # Errors
    ///
    /// [`Collision`] when it has not, or the value cannot be kept: nothing was written.
    fn set(&self, key: &str, value: &[u8], cas: Option<u32>) -> Result<(), Collision>;
}

/// Somebody else has written in the meantime, or the memory takes nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Collision;

/// Stands in for shared memory where there is none: each worker then counts alone. It holds what
/// [`super::Slots`] write, whose keys are bounded.
#[derive(Debug, Default)]
pub struct LocalMemory {
    values: RefCell<HashMap<String, (Vec<u8>, u32)>>,
}

impl SharedMemory for LocalMemory {
    fn get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.values.try_borrow().ok()?.get(key).cloned()
    }

    fn set(&self, key: &str, value: &[u8], cas: Option<u32>) -> Result<(), Collision> {
        let mut values = self.values.try_borrow_mut().map_err(|_| Collision)?;
        let held = values.get(key).map(|(_, version)| *version);
        if cas.is_some_and(|cas| Some(cas) != held) {
            return Err(Collision);
        }
        let next = held.unwrap_or(0).wrapping_add(1).max(1);
        values.insert(key.to_owned(), (value.to_vec(), next));
        Ok(())
    }
}
