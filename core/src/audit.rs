//! Audit events: what was decided, and the buffer that keeps them until the sidecar has them on disk.

mod buffer;
mod event;

pub use buffer::{AuditBuffer, Counts};
pub use event::{Event, Outcome};
