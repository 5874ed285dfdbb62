//! The audit events of this VM, shared by its configurations.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use wardgate_core::audit::AuditBuffer;
use wardgate_core::base64url;
use wardgate_core::config::Problems;
use wardgate_core::config::plugin::{Feed, Limits};
use wardgate_core::gate::SharedAudit;

use crate::root::random;

thread_local! {
    /// One buffer for each sidecar that events go to. A new configuration in the same VM takes over
    /// the buffer of the old one, and with it what was recorded and not yet delivered.
    static BUFFERS: RefCell<HashMap<String, SharedAudit>> = RefCell::default();
}

/// The buffer for the sidecar of `feed`.
pub(crate) fn shared(feed: &Feed, limits: &Limits) -> Result<SharedAudit, Problems> {
    let limit_bytes = limits.audit_buffer_bytes.size();
    let incarnation = base64url::encode(&random::<16>()?);
    Ok(BUFFERS.with(|buffers| {
        let new = || Rc::new(RefCell::new(AuditBuffer::new(incarnation, limit_bytes)));
        let Ok(mut buffers) = buffers.try_borrow_mut() else { return new() };
        let shared = buffers.entry(feed.cluster.0.clone()).or_insert_with(new);
        if let Ok(mut buffer) = shared.try_borrow_mut() {
            buffer.set_limit(limit_bytes);
        }
        Rc::clone(shared)
    }))
}
