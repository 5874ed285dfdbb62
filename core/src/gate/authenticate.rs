//! From credentials to a principal.

use std::rc::Rc;

use crate::policy::{Credential, Issuer};
use crate::reason::Reason;
use crate::time::UnixSeconds;
use crate::token::{self, UnverifiedToken, VerifiedToken};

use super::binding::{Confirmation, Shown};
use super::intake::{self, Presented};
use super::revocation::Marks;
use super::state::seconds;
use super::{Authentication, Case, Edge, Gate, Principal, Refused, SharedMember};

/// A token whose signature was found good.
#[derive(Debug)]
pub(super) struct Known {
    issuer: usize,
    token: VerifiedToken,
    principal: Rc<Principal>,
    marks: Marks,
    /// What it is bound to, if it is.
    confirmation: Option<Rc<Confirmation>>,
}

/// A good token, of which it is not judged yet whether whoever shows it may.
struct Holder {
    principal: Rc<Principal>,
    confirmation: Option<Rc<Confirmation>>,
    /// Whether the issuer's tokens must be bound.
    must_be_bound: bool,
}

impl Known {
    /// Judges what can change while the verdict on the signature stands: times, and whether any of
    /// it was revoked.
    fn judge(
        &mut self,
        issuer: &Issuer,
        feed: Option<&SharedMember>,
        now: UnixSeconds,
        edge: &dyn Edge,
    ) -> Result<Holder, Refused> {
        let refused = |reason| Refused::known(reason, Rc::clone(&self.principal));
        token::check_claims(&self.token, &issuer.rules, now).map_err(refused)?;
        match self.marks.is_revoked(feed, edge) {
            Ok(false) => Ok(Holder {
                principal: Rc::clone(&self.principal),
                confirmation: self.confirmation.clone(),
                must_be_bound: issuer.require_token_binding,
            }),
            Ok(true) => Err(Refused::known(Reason::TokenRevoked, Rc::clone(&self.principal))),
            Err(reason) => Err(Refused::known(reason, Rc::clone(&self.principal))),
        }
    }
}

impl Known {
    fn memory_bytes(&self) -> usize {
        let principal = self.principal.memory_bytes();
        let confirmation = self.confirmation.as_ref().map_or(0, |_| Confirmation::BYTES);
        let own = Marks::BYTES.saturating_add(confirmation);
        self.token.memory_bytes().saturating_add(principal).saturating_add(own)
    }
}

impl Gate {
    /// Takes the credentials in the order of the route; the first one present must succeed.
    ///
    /// There is no falling through from a bad credential to the next: a client that shows a revoked
    /// token and a stolen key must not be let in by the key unnoticed.
    pub(super) fn authenticate(
        &mut self,
        credentials: &[Credential],
        case: &Case<'_>,
        edge: &dyn Edge,
    ) -> Authentication {
        for credential in credentials {
            match credential {
                Credential::Jwt => match presented_token(case.intake.authorization) {
                    Ok(Some(shown)) => return self.by_token(shown, case, edge),
                    Ok(None) => {}
                    Err(reason) => return Authentication::failed(reason),
                },
                Credential::ApiKey => match case.intake.api_key {
                    Presented::Once(key) => return self.by_api_key(key, case, edge),
                    Presented::Absent => {}
                    Presented::Repeated => {
                        return Authentication::failed(Reason::CredentialRepeated);
                    }
                },
                // No session exists before there is a login; a cookie of that name proves nothing.
                Credential::Session => {}
                Credential::None => return self.as_nobody(),
            }
        }
        // Without a route there is nothing to authenticate for, and nothing will permit.
        if credentials.is_empty() {
            return self.as_nobody();
        }
        Authentication::failed(Reason::CredentialMissing)
    }

    fn as_nobody(&self) -> Authentication {
        Authentication::Principal(Rc::clone(&self.anonymous), None)
    }

    fn by_token(&mut self, shown: Shown<'_>, case: &Case<'_>, edge: &dyn Edge) -> Authentication {
        let now = seconds(case.request.now_nanoseconds);
        if let Err(reason) = self.feed_state() {
            return Authentication::failed(reason);
        }
        let holder = match self.token_holder(shown.token, now, edge) {
            Ok(holder) => holder,
            Err(refused) => return Authentication::Failed(refused),
        };
        let Holder { principal, confirmation, must_be_bound } = holder;
        let of_route = case.route.is_some_and(|route| route.require_token_binding);
        let must_be_bound = must_be_bound || of_route;
        match self.judge_binding(confirmation.as_deref(), must_be_bound, shown, case, edge) {
            Ok(nonce) => Authentication::Principal(principal, nonce),
            // Whose token it is that somebody else has is what an investigation begins with.
            Err(reason) => Authentication::Failed(Refused::known(reason, principal)),
        }
    }

    fn token_holder(
        &mut self,
        token: &[u8],
        now: UnixSeconds,
        edge: &dyn Edge,
    ) -> Result<Holder, Refused> {
        if let Some(known) = self.tokens.find_mut(token) {
            self.counters.token_cache_hits = self.counters.token_cache_hits.saturating_add(1);
            let issuer = self.policy.issuers().get(known.issuer).ok_or(Reason::PolicyInvalid)?;
            return known.judge(issuer, self.feed.as_ref(), now, edge);
        }
        if let Some(reason) = self.refused_tokens.find(token) {
            self.counters.token_cache_hits = self.counters.token_cache_hits.saturating_add(1);
            return Err((*reason).into());
        }
        self.counters.token_cache_misses = self.counters.token_cache_misses.saturating_add(1);
        self.limit_failures(edge, |gate| gate.verify(token, now, edge))
    }

    /// Runs an attempt that costs the worker something, unless this address has failed too often.
    ///
    /// Only what a guesser causes counts: a signature that was forged, a key that nobody made. A
    /// token that has expired or whose key is not known yet is an honest client's bad luck, and
    /// those behind the same address must not pay for it.
    pub(super) fn limit_failures<T>(
        &mut self,
        edge: &dyn Edge,
        attempt: impl FnOnce(&mut Self) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let now = self.monotonic_nanoseconds;
        if self.failures.any(now) && !self.failures.admits(&edge.source_address(), now) {
            return Err(Reason::TooManyFailures.into());
        }
        let result = attempt(self);
        if result.as_ref().is_err_and(|refused| is_guess(refused.reason)) {
            self.failures.count(&edge.source_address(), now);
        }
        result
    }

    fn verify(
        &mut self,
        compact: &[u8],
        now: UnixSeconds,
        edge: &dyn Edge,
    ) -> Result<Holder, Refused> {
        // The length first: looking at each letter of a very long one is work for nothing.
        if compact.len() > self.token_limit_bytes {
            return Err(Reason::TokenOversize.into());
        }
        intake::check_letters(compact)?;
        let token = UnverifiedToken::parse(compact, self.token_limit_bytes)?;
        let issuer_index = self.issuer_of(&token)?;
        let policy = Rc::clone(&self.policy);
        let issuer = policy.issuers().get(issuer_index).ok_or(Reason::PolicyInvalid)?;
        let keys = self.key_sets.get(issuer_index).ok_or(Reason::PolicyInvalid)?;
        match token::verify(&token, &issuer.rules, keys, edge) {
            Ok(verified) => {
                let mut known = self.known(issuer_index, issuer, verified, &token);
                let judged = known.judge(issuer, self.feed.as_ref(), now, edge);
                // Kept even if its time is over: the verdict on the signature stands, and the next
                // look at it costs nothing. Its claims are judged each time.
                let bytes = known.memory_bytes();
                self.tokens.insert(compact, known, bytes);
                judged
            }
            Err(reason) => {
                if let (Reason::TokenKeyUnknown, Some(key_id)) = (reason, token.key_id()) {
                    self.note_unknown_key(issuer_index, &issuer.rules.issuer, key_id);
                }
                if stays_refused(reason) {
                    self.refused_tokens.insert(compact, reason, 0);
                }
                Err(reason.into())
            }
        }
    }

    fn known(
        &self,
        index: usize,
        issuer: &Issuer,
        token: VerifiedToken,
        unverified: &UnverifiedToken<'_>,
    ) -> Known {
        let grants = self.policy.subject_facts(index, token.claims(), token.subject());
        let principal = Rc::new(Principal::of_token(&token, issuer, grants));
        let marks = if self.knows_revocations() {
            Marks::of_token(unverified, &token)
        } else {
            Marks::default()
        };
        let confirmation = Confirmation::of_token(&token);
        Known { issuer: index, token, principal, marks, confirmation }
    }

    fn issuer_of(&self, token: &UnverifiedToken<'_>) -> Result<usize, Reason> {
        let mut issuers = self.policy.issuers().iter();
        issuers
            .position(|issuer| issuer.rules.issuer == token.unverified_issuer())
            .ok_or(Reason::TokenIssuerUnknown)
    }
}

/// The token of the request, if it shows one.
fn presented_token(authorization: Presented<'_>) -> Result<Option<Shown<'_>>, Reason> {
    match authorization {
        Presented::Absent => Ok(None),
        Presented::Once(value) => {
            Ok(intake::token(value)?.map(|(scheme, token)| Shown { scheme, token }))
        }
        Presented::Repeated => Err(Reason::CredentialRepeated),
    }
}

/// Whether a token refused for this reason is refused for good, as long as policy and keys stay.
/// Nothing that depends on the time is; an unknown key may come with the next key set.
fn stays_refused(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::TokenSignatureInvalid | Reason::TokenTypeRefused | Reason::TokenAlgorithmRefused
    )
}

/// Whether somebody was guessing.
fn is_guess(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::TokenSignatureInvalid | Reason::ApiKeyUnknown | Reason::DpopProofInvalid
    )
}
