//! Rate limits of a request that the policy permits.

use std::rc::Rc;

use serde_json::{Value, json};

use crate::answer::Answer;
use crate::audit::Outcome;
use crate::base64url;
use crate::feed::live::SharedMemory;
use crate::policy::{Per, Route, RouteLimit, Scope};
use crate::rate_limit::ledger::Grant;
use crate::rate_limit::{LeaseVerdict, Leases, Limit, Slots, Standing, Who, fields};
use crate::reason::Reason;
use crate::secret::Secret;
use crate::wire::rate::{RateAsk, RateGrant, RateLeases, RateLeasesAnswer};

use super::failures::network;
use super::{AuthKind, Case, Edge, Gate, Principal, Step, is_shadow};

/// What a limit of an API key's own record is called.
const API_KEY_LIMIT: &str = "api-key";

/// What a gate holds for limits.
#[derive(Debug)]
pub(super) struct Limiter {
    slots: Slots,
    leases: Leases,
}

/// Headers for the client, of an answer to a permitted request.
type Told = Vec<(&'static str, String)>;

/// Why a request is too many.
struct Limited {
    /// Name of the limit.
    name: Rc<str>,
    retry_after: u64,
    told: Told,
}

/// A limit that applies to the request.
struct Applied {
    name: Rc<str>,
    limit: Limit,
    /// Of a global limit: what this proxy admits on its own.
    fallback: Option<Limit>,
    who: Who,
    requests: u64,
    period_seconds: u64,
    headers: bool,
}

impl Limiter {
    /// Workers with the same secret share what they count.
    pub(super) fn new(secret: &Secret) -> Self {
        Self { slots: Slots::new(secret), leases: Leases::default() }
    }

    /// Counts the request against all of `limits`, or none of them.
    fn take(
        &mut self,
        limits: &[Applied],
        now: u64,
        memory: &dyn SharedMemory,
    ) -> Result<Vec<Standing>, (usize, Vec<Standing>)> {
        let mut standings: Vec<Standing> =
            limits.iter().map(|it| it.limit.standing(now, now)).collect();
        // A request that the second limit refuses must not cost anything with the first: so with
        // several of them none is charged before all were looked at.
        if limits.len() > 1 {
            for (index, (it, standing)) in limits.iter().zip(&mut standings).enumerate() {
                if it.fallback.is_some() {
                    continue;
                }
                *standing = self.slots.look(it.who, it.limit, now, memory);
                if standing.retry_nanoseconds > 0 {
                    return Err((index, standings));
                }
            }
        }
        // Those across proxies first: what a worker holds of them is cheap to give up.
        let order =
            |global: bool| move |(_, it): &(usize, &Applied)| it.fallback.is_some() == global;
        let all = || limits.iter().enumerate();
        for (index, it) in all().filter(order(true)).chain(all().filter(order(false))) {
            let taken = match it.fallback {
                Some(fallback) => {
                    take_global(&mut self.slots, &mut self.leases, it, fallback, now, memory)
                }
                None => self.slots.take(it.who, it.limit, now, memory),
            };
            let standing = taken.unwrap_or_else(|refused| refused);
            if let Some(place) = standings.get_mut(index) {
                *place = standing;
            }
            if taken.is_err() {
                return Err((index, standings));
            }
        }
        Ok(standings)
    }
}

fn take_global(
    slots: &mut Slots,
    leases: &mut Leases,
    applied: &Applied,
    fallback: Limit,
    now: u64,
    memory: &dyn SharedMemory,
) -> Result<Standing, Standing> {
    let account = applied.who.bytes();
    match leases.decide(account, applied.limit, now) {
        LeaseVerdict::Admitted(standing) => Ok(standing),
        LeaseVerdict::Refused(standing) => Err(standing),
        LeaseVerdict::Unknown => {
            let standing = slots.take(applied.who, fallback, now, memory)?;
            leases.admitted_without(account);
            Ok(standing)
        }
    }
}

impl Gate {
    /// Counts a permitted request against the limits of its route and of its API key.
    ///
    /// # Errors
    ///
    /// The limit that refuses it; then it counts against none.
    fn limit(
        &mut self,
        principal: &Principal,
        route: Option<&Route>,
        edge: &dyn Edge,
    ) -> Result<Told, Limited> {
        let of_route = route.map_or(&[][..], |route| &route.limits);
        if of_route.is_empty() && principal.rate_limit.is_none() {
            return Ok(Told::new());
        }
        let mut address = None;
        let mut applied: Vec<Applied> = of_route
            .iter()
            .filter_map(|limit| self.applied(limit, principal, &mut address, edge))
            .collect();
        applied.extend(self.own_limit(principal));
        let now = self.monotonic_nanoseconds;
        match self.limiter.take(&applied, now, edge.shared_memory()) {
            Ok(standings) => Ok(told(&applied, &standings, |it| it.headers)),
            Err((index, standings)) => {
                let refused = applied.get(index).zip(standings.get(index));
                let name = refused.map_or_else(|| Rc::from(""), |(it, _)| Rc::clone(&it.name));
                let retry_after = refused.map_or(1, |(_, standing)| fields::retry_after(*standing));
                Err(Limited { name, retry_after, told: told(&applied, &standings, |_| true) })
            }
        }
    }

    /// Lets a permitted request go on unless it is too many. In shadow mode it goes on all the same.
    pub(super) fn forward_limited(
        &mut self,
        principal: Rc<Principal>,
        outcome: Outcome,
        case: &Case<'_>,
        shadow: Option<&Route>,
        edge: &dyn Edge,
    ) -> Step {
        match self.limit(&principal, case.route, edge) {
            Ok(told) => {
                let mut step = self.forward(principal, outcome, case, shadow, edge);
                if let Step::Forward(forward) = &mut step {
                    forward.answer_headers.extend(told);
                }
                step
            }
            Err(limited) if is_shadow(case.route) => {
                let case = Case { limit: Some(&limited.name), ..*case };
                let outcome = Outcome::ShadowDeny(Reason::RateLimited);
                self.forward(principal, outcome, &case, shadow, edge)
            }
            Err(limited) => self.deny_limited(&limited, case, &principal, edge),
        }
    }

    /// Answers a request that is too many.
    fn deny_limited(
        &mut self,
        limited: &Limited,
        case: &Case<'_>,
        principal: &Principal,
        edge: &dyn Edge,
    ) -> Step {
        let case = Case { limit: Some(&limited.name), ..*case };
        let step = self.deny(Reason::RateLimited, &case, Some(principal), edge);
        let Step::Answer(mut answer, note) = step else { return step };
        limited.tell(&mut answer);
        Step::Answer(answer, note)
    }

    /// What to ask the sidecar about limits across proxies, if anything, as the body of
    /// [`crate::wire::rate::RATE_LEASES_PATH`]; then [`Gate::rate_leases_answered`] must follow.
    pub fn rate_leases(&mut self) -> Option<RateLeases> {
        let asks = self.limiter.leases.ask(self.monotonic_nanoseconds)?;
        let asks = asks.into_iter().map(|(account, limit, ask)| RateAsk {
            account: base64url::encode(&account),
            interval_nanoseconds: limit.interval_nanoseconds(),
            burst: limit.burst(),
            used: ask.used,
            returned: ask.returned,
            wanted: ask.wanted,
        });
        Some(RateLeases { asks: asks.collect() })
    }

    /// Takes the answer of the sidecar about limits, or that there is none.
    pub fn rate_leases_answered(&mut self, answer: Option<&RateLeasesAnswer>) {
        let grants = answer.map(|answer| answer.grants.iter().map(grant).collect::<Vec<_>>());
        self.limiter.leases.answered(grants.as_deref(), self.monotonic_nanoseconds);
    }

    fn applied(
        &self,
        limit: &RouteLimit,
        principal: &Principal,
        address: &mut Option<Vec<u8>>,
        edge: &dyn Edge,
    ) -> Option<Applied> {
        let slots = &self.limiter.slots;
        let who = match (limit.per, principal.auth) {
            (Per::ApiKey, AuthKind::ApiKey) => {
                let id = principal.credential_id.as_deref().unwrap_or_default();
                slots.who(&limit.name, false, &[b"api_key", id.as_bytes()])
            }
            (Per::ApiKey, _) => return None,
            (Per::Route, _) => slots.who(&limit.name, false, &[b"route"]),
            // Nobody is not one principal: a client without a credential must not use up what all
            // the others have.
            (Per::Address, _) | (Per::Principal, AuthKind::None) => {
                let address = address.get_or_insert_with(|| network(&edge.source_address()));
                slots.who(&limit.name, true, &[b"address", address])
            }
            (Per::Principal, _) => {
                let issuer = principal.issuer.as_deref().unwrap_or_default().as_bytes();
                let subject = principal.subject.as_deref().unwrap_or_default().as_bytes();
                slots.who(&limit.name, false, &[b"principal", issuer, subject])
            }
        };
        Some(Applied {
            name: Rc::clone(&limit.name),
            limit: limit.limit,
            fallback: (limit.scope == Scope::Global).then_some(limit.fallback),
            who,
            requests: limit.requests,
            period_seconds: limit.period_seconds,
            headers: limit.headers,
        })
    }

    /// The limit that stands in the record of the API key.
    fn own_limit(&self, principal: &Principal) -> Option<Applied> {
        let record = principal.rate_limit?;
        let id = principal.credential_id.as_deref().unwrap_or_default();
        Some(Applied {
            name: API_KEY_LIMIT.into(),
            limit: Limit::new(record.requests, record.period_seconds, record.requests),
            fallback: None,
            who: self.limiter.slots.who(API_KEY_LIMIT, false, &[b"own", id.as_bytes()]),
            requests: record.requests,
            period_seconds: record.period_seconds,
            headers: false,
        })
    }
}

impl Limited {
    fn tell(&self, answer: &mut Answer) {
        answer.headers.retain(|(name, _)| *name != "retry-after");
        answer.headers.push(("retry-after", self.retry_after.to_string()));
        answer.headers.extend(self.told.iter().cloned());
        // For a gRPC client the body is the message; for others a problem that names the limit.
        if answer.grpc_status < 0
            && let Ok(Value::Object(mut problem)) = serde_json::from_slice(&answer.body)
        {
            problem.insert("limit".to_owned(), json!(&*self.name));
            answer.body = Value::Object(problem).to_string().into_bytes();
        }
    }
}

fn told(limits: &[Applied], standings: &[Standing], which: impl Fn(&Applied) -> bool) -> Told {
    let all = limits.iter().zip(standings).filter(|(it, _)| which(it));
    let all: Vec<fields::Told<'_>> = all
        .map(|(it, standing)| fields::Told {
            name: &it.name,
            requests: it.requests,
            period_seconds: it.period_seconds,
            standing: *standing,
        })
        .collect();
    if all.is_empty() {
        return Told::new();
    }
    vec![("ratelimit-policy", fields::policy(&all)), ("ratelimit", fields::state(&all))]
}

fn grant(grant: &RateGrant) -> Grant {
    Grant {
        granted: grant.granted,
        limited: grant.limited,
        standing: Standing {
            remaining: grant.remaining,
            reset_nanoseconds: grant.reset_nanoseconds,
            retry_nanoseconds: grant.retry_nanoseconds,
        },
    }
}

#[cfg(test)]
mod tests;
