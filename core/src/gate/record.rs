//! What is left of a decision: an audit event and counters.

use crate::audit::{Event, Outcome};
use crate::policy::Route;
use crate::reason::Reason;

use super::{Case, Gate, Principal};

/// What the gate counted since it began. A proxy's counters are fed with the differences.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Counters {
    /// Requests that went on.
    pub permitted: u64,
    /// Requests that went on only because of shadow mode.
    pub shadow_denied: u64,
    /// Requests answered by the gate, in the order of [`Reason::ALL`].
    pub denied: Vec<u64>,
    /// Tokens decided from the cache.
    pub token_cache_hits: u64,
    /// Tokens that were not in the cache.
    pub token_cache_misses: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            permitted: 0,
            shadow_denied: 0,
            denied: vec![0; Reason::ALL.len()],
            token_cache_hits: 0,
            token_cache_misses: 0,
        }
    }
}

impl Counters {
    fn count(&mut self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Permit => &mut self.permitted,
            Outcome::ShadowDeny(_) => &mut self.shadow_denied,
            Outcome::Deny(reason) => return self.denied_for(reason),
        };
        *counter = counter.saturating_add(1);
    }

    pub(super) fn denied_for(&mut self, reason: Reason) {
        if let Some(counter) = self.denied.get_mut(reason as usize) {
            *counter = counter.saturating_add(1);
        }
    }
}

impl Gate {
    /// Counts and records one decision.
    pub(super) fn record(
        &mut self,
        outcome: Outcome,
        case: &Case<'_>,
        principal: Option<&Principal>,
        shadow: Option<&Route>,
        source_address: Option<&[u8]>,
    ) {
        self.counters.count(outcome);
        let event = Event {
            outcome,
            route: case.route.map(|route| &*route.name),
            method: case.intake.method,
            host: case.intake.authority,
            path: case.path,
            auth: principal.map_or("none", |principal| principal.auth.word()),
            issuer: principal.and_then(|principal| principal.issuer.as_deref()),
            subject: principal.and_then(|principal| principal.subject.as_deref()),
            client_id: principal.and_then(|principal| principal.client_id.as_deref()),
            credential_id: principal.and_then(|principal| principal.credential_id.as_deref()),
            previous_secret: principal.is_some_and(|principal| principal.previous_secret),
            request_id: case.intake.request_id,
            source_address,
            shadow_route: shadow.map(|route| &*route.name),
            limit: case.limit,
        };
        if let Some(audit) = &self.audit
            && let Ok(mut audit) = audit.try_borrow_mut()
        {
            audit.record(&event, case.request.now_nanoseconds / 1_000_000);
        }
    }
}
