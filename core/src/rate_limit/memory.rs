//! Memory of one worker alone.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::feed::live::{Collision, SharedMemory};

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

    fn set(&self, key: &str, value: &[u8], version: Option<u32>) -> Result<(), Collision> {
        let mut values = self.values.try_borrow_mut().map_err(|_| Collision)?;
        let held = values.get(key).map(|(_, version)| *version);
        if version.is_some_and(|version| Some(version) != held) {
            return Err(Collision);
        }
        let next = held.unwrap_or(0).wrapping_add(1).max(1);
        values.insert(key.to_owned(), (value.to_vec(), next));
        Ok(())
    }
}
