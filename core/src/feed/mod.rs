//! The tables of live state that every filter has: what is revoked, and which API keys there are.
//!
//! A record is found by its [`Fingerprint`]. Records stand in buckets by the first bits of it, and
//! buckets stand in memory that all workers of a proxy share, each under a MAC. A [`Filter`] in the
//! memory of each worker says of almost all that is not in a table that it is not, so that most
//! requests read no bucket.

pub mod bucket;
mod filter;
mod fingerprint;
pub mod live;
mod record;

pub use filter::Filter;
pub use fingerprint::Fingerprint;
pub use record::{DecodeRecordError, Revocation, RevocationTarget, decode_api_key, encode_api_key};

/// Records that a bucket holds on average at most when a layout is chosen.
const RECORDS_PER_BUCKET: u64 = 16;
/// A table of few records has some buckets anyway.
const MIN_BUCKET_BITS: u8 = 6;
/// 2^22 buckets are 67 million records, more than the memory of a proxy should hold.
const MAX_BUCKET_BITS: u8 = 22;

/// One of the tables.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Table {
    /// What is revoked: [`Revocation`] by the fingerprint of its [`RevocationTarget`].
    Revocations,
    /// API keys, by the fingerprint of their id.
    ApiKeys,
}

impl Table {
    /// All tables.
    pub const ALL: [Self; 2] = [Self::Revocations, Self::ApiKeys];

    /// The name of the table.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Revocations => "revocations",
            Self::ApiKeys => "api_keys",
        }
    }

    /// The table of this name.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.word() == word)
    }
}

/// How a table is laid out.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Layout {
    /// There are 2 to the power of this many buckets.
    pub bucket_bits: u8,
}

impl Layout {
    /// The layout for a table of so many records.
    pub fn for_records(records: u64) -> Self {
        let buckets = records.div_ceil(RECORDS_PER_BUCKET).max(1).next_power_of_two();
        let bits = u8::try_from(buckets.trailing_zeros()).unwrap_or(MAX_BUCKET_BITS);
        Self { bucket_bits: bits.clamp(MIN_BUCKET_BITS, MAX_BUCKET_BITS) }
    }

    /// A layout that somebody else names, if there can be such a one.
    pub fn checked(bucket_bits: u8) -> Option<Self> {
        (MIN_BUCKET_BITS..=MAX_BUCKET_BITS).contains(&bucket_bits).then_some(Self { bucket_bits })
    }

    /// How many buckets there are.
    pub fn buckets(self) -> u32 {
        1_u32.checked_shl(u32::from(self.bucket_bits.min(MAX_BUCKET_BITS))).unwrap_or(1)
    }

    /// The bucket of a record.
    pub fn bucket_of(self, fingerprint: &Fingerprint) -> u32 {
        let bits = u32::from(self.bucket_bits.clamp(1, MAX_BUCKET_BITS));
        fingerprint.first_bits().checked_shr(32_u32.saturating_sub(bits)).unwrap_or(0)
    }

    /// Blocks of the filter: 10 bits for each of 16 records of a bucket, so one false 'maybe' in a
    /// hundred at the fullest.
    pub fn filter_blocks(self) -> u32 {
        self.buckets().saturating_mul(5) / 8
    }
}

#[cfg(test)]
mod tests;
