//! What the filter and the sidecar say to each other, and how each knows the other.

pub mod mac;
mod message;

pub use message::{
    ApiKeyLookup, ApiKeyLookupAnswer, ApiKeyRecord, ApiKeyState, AuditAnswer, AuditBatch,
    IssuerKeySet, Snapshot,
};

/// Path of the snapshot that a filter starts from.
pub const SNAPSHOT_PATH: &str = "/internal/v1/snapshot";
/// Path of the look-up of one API key by its id.
pub const API_KEY_LOOKUP_PATH: &str = "/internal/v1/api-keys/lookup";
/// Path of the delivery of audit events.
pub const AUDIT_PATH: &str = "/internal/v1/audit";
