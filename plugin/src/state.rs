//! What a root context shares with its streams.

use std::cell::RefCell;
use std::rc::Rc;

use wardgate_core::gate::{Gate, SharedMember};

use crate::metrics::Metrics;
use crate::sidecar::Sidecar;
use crate::signatures::HostSignatures;

/// The state of one configuration in one VM; nothing before it is configured.
pub(crate) type Shared = Rc<RefCell<Option<State>>>;

/// The state of one configuration in one VM.
pub(crate) struct State {
    /// Decides.
    pub(crate) gate: Gate,
    /// Checks signatures.
    pub(crate) signatures: HostSignatures,
    /// The way to the sidecar, if there is one.
    pub(crate) sidecar: Option<Sidecar>,
    /// The part of this VM in the feed, if there is one.
    pub(crate) member: Option<SharedMember>,
    /// Counters of the proxy.
    pub(crate) metrics: Metrics,
    /// How many requests there were at the last tick.
    pub(crate) requests: u64,
}
