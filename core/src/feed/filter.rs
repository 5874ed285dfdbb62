//! A Bloom filter in blocks of 256 bits.
//!
//! A fingerprint sets one bit in each of the eight words of one block, so a question touches one
//! line of the processor's cache. It can only be added to: what left the table goes on being a
//! 'maybe' until the filter is built anew, and costs a look into its bucket.

use super::{Fingerprint, Layout};

/// Words of a block.
const WORDS: usize = 8;
/// Bytes of a block.
const BLOCK_BYTES: usize = WORDS * 4;
/// Odd numbers that make eight hashes of one (those of the Parquet format's filter).
const SALTS: [u32; WORDS] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];

/// Says of almost everything that is not in a table that it is not in there, and of nothing that is.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    blocks: Vec<[u32; WORDS]>,
}

impl Filter {
    /// An empty filter for a table of this layout.
    pub fn new(layout: Layout) -> Self {
        let blocks = usize::try_from(layout.filter_blocks()).unwrap_or(0);
        Self { blocks: vec![[0; WORDS]; blocks] }
    }

    /// Adds a fingerprint.
    pub fn insert(&mut self, fingerprint: &Fingerprint) {
        let (index, bits) = self.place(fingerprint);
        if let Some(block) = self.blocks.get_mut(index) {
            for (word, mask) in block.iter_mut().zip(masks(bits)) {
                *word |= mask;
            }
        }
    }

    /// Whether the fingerprint may be in the table. A filter that was never filled says 'maybe': it
    /// must not deny that something is revoked.
    pub fn may_contain(&self, fingerprint: &Fingerprint) -> bool {
        let (index, bits) = self.place(fingerprint);
        let Some(block) = self.blocks.get(index) else { return true };
        block.iter().zip(masks(bits)).all(|(word, mask)| word & mask != 0)
    }

    /// The bytes from `offset` on, `limit` at most and a whole number of blocks.
    pub fn bytes(&self, offset: usize, limit: usize) -> Vec<u8> {
        let blocks = self.blocks.iter().skip(offset / BLOCK_BYTES).take(limit / BLOCK_BYTES);
        blocks.flatten().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// Adds the bits of `bytes`, which stand at `offset` of another filter of the same layout.
    /// `false` if they do not fit.
    #[must_use]
    pub fn merge_bytes(&mut self, offset: usize, bytes: &[u8]) -> bool {
        let fits = offset.is_multiple_of(BLOCK_BYTES)
            && bytes.len().is_multiple_of(BLOCK_BYTES)
            && offset.checked_add(bytes.len()).is_some_and(|end| end <= self.len_bytes());
        if !fits {
            return false;
        }
        let words = self.blocks.iter_mut().skip(offset / BLOCK_BYTES).flatten();
        for (word, bytes) in words.zip(bytes.chunks_exact(4)) {
            *word |= bytes.iter().rev().fold(0, |word, byte| (word << 8) | u32::from(*byte));
        }
        true
    }

    /// The length in bytes.
    pub fn len_bytes(&self) -> usize {
        self.blocks.len().saturating_mul(BLOCK_BYTES)
    }

    fn place(&self, fingerprint: &Fingerprint) -> (usize, u32) {
        let (block, bits) = fingerprint.filter_bits();
        let blocks = u64::try_from(self.blocks.len()).unwrap_or(0);
        // The high half of a product: as even as a remainder, without the division.
        let index = u64::from(block).saturating_mul(blocks) >> 32;
        (usize::try_from(index).unwrap_or(usize::MAX), bits)
    }
}

fn masks(bits: u32) -> impl Iterator<Item = u32> {
    SALTS.into_iter().map(move |salt| 1_u32 << (bits.wrapping_mul(salt) >> 27))
}
