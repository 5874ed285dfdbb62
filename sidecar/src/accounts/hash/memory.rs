//! The memory that Argon2 is computed in, kept for the next hash.
//!
//! An allocator gives back to a thread what that thread has freed, so that hashes on ten threads, one
//! after the other, would hold ten times the memory of one. Here there are as many pieces as were in
//! use at once, which the pool bounds; and the next hash need not wait for the pages of the system.

use std::sync::{Mutex, PoisonError};

use argon2::Block;
use zeroize::Zeroize as _;

use super::HashError;

/// The largest piece that is kept: 32 MiB, with room for what a hash takes by default. Larger ones go
/// back to the system by themselves.
const KEPT_BLOCKS: usize = 32 * 1024;

static KEPT: Mutex<Vec<Vec<Block>>> = Mutex::new(Vec::new());

/// Lets `work` have at least `count` blocks, with anything in them: Argon2 writes each before it reads
/// it.
///
/// The attack: who reads them in a core dump can go the passes back to the first block, and then try
/// passwords against it at the price of a plain hash. So they are wiped before they are kept or given
/// back.
pub(super) fn with_blocks<T>(
    count: usize,
    work: impl FnOnce(&mut [Block]) -> T,
) -> Result<T, HashError> {
    let mut blocks = kept().pop().unwrap_or_default();
    if blocks.len() < count {
        // Not grown in place: that would copy what nobody reads.
        blocks = Vec::new();
        blocks.try_reserve_exact(count).map_err(|_| HashError)?;
        blocks.resize(count, Block::new());
    }
    let done = work(&mut blocks);
    if let Some(used) = blocks.get_mut(..count) {
        used.iter_mut().zeroize();
    }
    if blocks.len() <= KEPT_BLOCKS {
        kept().push(blocks);
    }
    Ok(done)
}

fn kept() -> std::sync::MutexGuard<'static, Vec<Vec<Block>>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::with_blocks;

    #[test]
    fn each_has_blocks_of_its_own_and_enough_of_them() {
        let inner = with_blocks(10, |outer| {
            let outer_start = outer.as_ptr();
            let inner = with_blocks(20, |inner| (inner.len(), inner.as_ptr() == outer_start));
            (outer.len() >= 10, inner.unwrap())
        });
        let (outer_is_enough, (inner, is_shared)) = inner.unwrap();
        assert!(outer_is_enough && inner >= 20 && !is_shared);
    }

    #[test]
    fn nothing_of_a_hash_is_left_for_the_next() {
        // Of a size that no other test has.
        let count = 4321;
        let fill = |blocks: &mut [argon2::Block]| {
            for block in blocks.iter_mut() {
                block.as_mut().fill(7);
            }
        };
        with_blocks(count, fill).unwrap();
        let mut kept = super::kept();
        let piece = kept.iter_mut().find(|piece| piece.len() >= count).unwrap();
        assert!(piece.iter().all(|block| block.as_ref().iter().all(|word| *word == 0)));
    }
}
