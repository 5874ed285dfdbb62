//! What the listeners share.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use wardgate_core::secret::Secret;

use crate::audit::AuditSink;
use crate::clock::Clock;
use crate::config::LimitsSection;
use crate::desk::Desk;
use crate::http::BodyBudget;
use crate::metrics::Metrics;
use crate::notify::Notifier;
use crate::usage::UsageRecorder;

/// The state behind every request.
pub struct App {
    /// The clock.
    pub clock: Clock,
    /// Keys and records.
    pub desk: Desk,
    /// The audit log.
    pub audit: AuditSink,
    /// How API keys are used.
    pub usage: Arc<UsageRecorder>,
    /// Who is told of API keys that end soon.
    pub notifier: Notifier,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The secret that filters share with the sidecar.
    pub feed_secret: Secret,
    /// How far the time of an internal request may differ.
    pub window_seconds: u64,
    /// When the log last told of a refused internal request, in seconds since the epoch.
    pub refused_logged_at: AtomicU64,
    /// The bodies of internal requests that may be in memory.
    pub bodies: BodyBudget,
    /// What bounds the work.
    pub limits: LimitsSection,
}
