//! What the filter and the sidecar say to each other, and how each knows the other.

pub mod feed;
pub mod mac;
mod message;
pub mod rate;

pub use message::{
    ApiKeyRecord, ApiKeyState, AuditAnswer, AuditBatch, IssuerKeySet, PreviousApiKey,
    RateLimitRecord,
};

/// Path of the delivery of audit events.
pub const AUDIT_PATH: &str = "/internal/v1/audit";
/// Path of the feed: what changed since a cursor.
pub const FEED_PATH: &str = "/internal/v1/feed";
/// Path of pieces of the buckets of a table: `?table=…&bits=…&first=…&image=…&cursor=…`, where
/// `bits` is the layout, `first` the first bucket wanted, `image` the loading to seal for, and
/// `cursor` where the loading began. The answer is 4 bytes, the bucket after the last one of the
/// piece, and for each bucket 4 bytes of length (both with the most significant byte first) and the
/// sealed bucket.
pub const BUCKETS_PATH: &str = "/internal/v1/feed/buckets";
/// Path to tell of a key that an issuer's set has not.
pub const UNKNOWN_KEY_PATH: &str = "/internal/v1/unknown-key";
