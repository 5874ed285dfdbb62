//! What the listeners share.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use wardgate_core::feed::bucket::BucketKey;
use wardgate_core::secret::Secret;

use crate::accounts::Accounts;
use crate::audit::AuditSink;
use crate::clock::Clock;
use crate::config::LimitsSection;
use crate::desk::Desk;
use crate::families::Families;
use crate::feed::Feed;
use crate::http::BodyBudget;
use crate::issuers::Issuers;
use crate::limits::{AddressLimit, LeaseServer};
use crate::metrics::Metrics;
use crate::notify::Notifier;
use crate::oauth::TokenService;
use crate::policy::PolicyDesk;
use crate::social::SocialVault;
use crate::usage::UsageRecorder;

/// The state behind every request.
pub struct App {
    /// The clock.
    pub clock: Clock,
    /// Keys and records.
    pub desk: Arc<Desk>,
    /// Families of refresh tokens.
    pub families: Arc<Families>,
    /// OAuth clients and their tokens.
    pub oauth: TokenService,
    /// The tokens of users at providers.
    pub social: SocialVault,
    /// Users.
    pub accounts: Arc<Accounts>,
    /// What filters are told.
    pub feed: Arc<Feed>,
    /// The policy.
    pub policy: Arc<PolicyDesk>,
    /// The keys of other issuers.
    pub issuers: Arc<Issuers>,
    /// The audit log.
    pub audit: Arc<AuditSink>,
    /// How API keys are used.
    pub usage: Arc<UsageRecorder>,
    /// Who is told of API keys that end soon.
    pub notifier: Notifier,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The secret that filters share with the sidecar.
    pub feed_secret: Secret,
    /// The key that the tables of filters are sealed with, made of it.
    pub bucket_key: BucketKey,
    /// How far the time of an internal request may differ.
    pub window_seconds: u64,
    /// When the log last told of a refused internal request, in seconds since the epoch.
    pub refused_logged_at: AtomicU64,
    /// How long a revocation stands whose end is not known.
    pub revocation_keep_seconds: u64,
    /// The bodies of internal requests that may be in memory.
    pub bodies: BodyBudget,
    /// Pieces of rate limits across proxies.
    pub leases: LeaseServer,
    /// How often an address may ask the public listener.
    pub public_limit: Arc<AddressLimit>,
    /// What bounds the work.
    pub limits: LimitsSection,
}
