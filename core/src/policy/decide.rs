//! The decision.
//!
//! In this order:
//! 1. the path: what is ambiguous and not accepted by the route is refused ([`Policy::find`]);
//! 2. **forbids**: every enforced one that matches must be met, or the request is denied;
//! 3. **permit**: the most specific enforced route that matches decides; none: denied;
//! 4. its credential must be one that the route takes;
//! 5. its requirement must be met by the permissions that the scopes leave;
//! 6. its condition must hold (reserved).
//!
//! # Shadow mode
//! A route in shadow mode changes no decision that enforced routes make:
//! - a shadow **forbid** is recorded where it would have denied, and denies nothing;
//! - a shadow **permit** beside an enforced one takes no request from it. If it is at least as
//!   specific, it would have decided in its place, and is recorded where it would have denied;
//! - a shadow **permit** alone lets its requests pass, also those that it would deny, and records
//!   them: the way to put a gate before a service that has none. Enforced forbids hold all the same.

use super::document::{Credential, Mode};
use super::grants::Grants;
use super::permission::PermissionSet;
use super::route::{Route, RouteId};
use super::{Found, Policy, RequestLine};
use crate::path::{Ambiguities, Segments};
use crate::reason::Reason;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Decision {
    /// It goes on.
    Permit {
        /// The route that permits it.
        route: RouteId,
        /// A route in shadow mode that would have denied it.
        shadow: Option<RouteId>,
    },
    /// It goes on only because the one route that speaks of it is in shadow mode.
    ShadowDeny {
        /// Why it would be denied.
        reason: Reason,
        /// The route that would deny it.
        route: RouteId,
    },
    /// It is refused.
    Deny {
        /// Why.
        reason: Reason,
        /// The route that denies it; none if no route speaks of it.
        route: Option<RouteId>,
    },
}

impl Policy {
    /// The routes that match a request.
    ///
    /// # Errors
    ///
    /// [`Reason::RequestMalformed`] when host or method cannot be ones;
    /// [`Reason::PathAmbiguous`] unless the permit that matches accepts all that is ambiguous.
    pub fn find(&self, request: &RequestLine<'_>) -> Result<Found, Reason> {
        let RequestLine { method, host, path } = *request;
        if !is_token(method) {
            return Err(Reason::RequestMalformed);
        }
        let host = super::host::canonical(host).ok_or(Reason::RequestMalformed)?;
        let ambiguities = path.ambiguities();
        if ambiguities.intersects(Ambiguities::NEVER_ACCEPTED) {
            return Err(Reason::PathAmbiguous);
        }
        let segments = path.segments();
        let shadow = if self.has_shadow_permits {
            self.matcher.shadow(&host, &segments, method)
        } else {
            None
        };
        let permit = self.matcher.enforced(&host, &segments, method).or(shadow);
        if !ambiguities.is_empty() {
            let tolerated = permit.map_or(Ambiguities::NONE, |id| self.route(id).tolerated);
            if !ambiguities.within(tolerated) {
                return Err(Reason::PathAmbiguous);
            }
        }
        let mut forbids = Vec::new();
        self.matcher.forbids(&host, &segments, method, &mut forbids);
        for eager in path.eager_readings() {
            // Else an accepted `%2F` would be a way around the forbids of what lies behind it.
            let segments = Segments::of_decoded(&eager);
            self.matcher.forbids(&host, &segments, method, &mut forbids);
        }
        forbids.sort_unstable();
        forbids.dedup();
        Ok(Found { permit, shadow, forbids })
    }

    /// The route of an id; ids of another policy lead to a route that denies.
    pub fn route(&self, id: RouteId) -> &Route {
        self.routes.get(id.0).unwrap_or(&self.no_route)
    }

    /// The route that decides, if there is one: how to authenticate stands there.
    pub fn permit_route(&self, found: &Found) -> Option<&Route> {
        found.permit.map(|id| self.route(id))
    }

    /// Decides about a request of a principal.
    pub fn authorize(&self, found: &Found, grants: &Grants) -> Decision {
        let denies = |mode| {
            let mut forbids = found.forbids.iter().copied();
            forbids.find(|id| {
                let route = self.route(*id);
                route.mode == mode && forbids_to(route, grants)
            })
        };
        if let Some(route) = denies(Mode::Enforce) {
            return Decision::Deny { reason: Reason::Forbidden, route: Some(route) };
        }
        let Some(permit) = found.permit else {
            return Decision::Deny { reason: Reason::RouteMissing, route: None };
        };
        let route = self.route(permit);
        let shadow_forbid = denies(Mode::Shadow);
        match (permits(route, grants), route.mode) {
            (Err(reason), Mode::Enforce) => Decision::Deny { reason, route: Some(permit) },
            (Err(reason), Mode::Shadow) => Decision::ShadowDeny { reason, route: permit },
            (Ok(()), Mode::Shadow) => match shadow_forbid {
                Some(route) => Decision::ShadowDeny { reason: Reason::Forbidden, route },
                None => Decision::Permit { route: permit, shadow: None },
            },
            (Ok(()), Mode::Enforce) => {
                let stricter = found.shadow.filter(|id| permits(self.route(*id), grants).is_err());
                Decision::Permit { route: permit, shadow: shadow_forbid.or(stricter) }
            }
        }
    }

    /// The scopes that name a permission which `route` takes, in order and separated by spaces: what
    /// a client may ask its issuer for (`scope` of RFC 6750 §3).
    pub fn scopes_for(&self, route: &Route) -> String {
        let required = [&route.requirement.all, &route.requirement.any];
        let names = self.scope_permissions.iter().filter(|(_, permissions)| {
            required.into_iter().any(|required| permissions.contains_any(required))
        });
        names.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// Decides about a CORS preflight, found with the method that it asks for. It has no credential
    /// by design, so only forbids of everyone count.
    pub fn authorize_preflight(&self, found: &Found) -> Decision {
        let mut forbids = found.forbids.iter().copied();
        let forbid = forbids.find(|id| {
            let route = self.route(*id);
            route.mode == Mode::Enforce && route.requirement.is_empty()
        });
        match (forbid, found.permit) {
            (Some(_), _) => Decision::Deny { reason: Reason::Forbidden, route: forbid },
            (None, Some(route)) if self.route(route).cors => {
                Decision::Permit { route, shadow: None }
            }
            (None, route) => Decision::Deny { reason: Reason::CredentialMissing, route },
        }
    }
}

/// Whether an enforced route that forbids stands against the principal.
fn forbids_to(route: &Route, grants: &Grants) -> bool {
    let spared = !route.requirement.is_empty() && route.requirement.is_met_by(&grants.effective);
    !(spared && condition_holds(route))
}

fn permits(route: &Route, grants: &Grants) -> Result<(), Reason> {
    // The gate has looked for credentials in the order of the route. This holds it, whoever asks.
    if !route.credentials.contains(&grants.credential) {
        return Err(Reason::CredentialMissing);
    }
    let met_by = |held: &PermissionSet| route.requirement.is_met_by(held);
    if !met_by(&grants.effective) {
        return Err(if met_by(&grants.by_roles) {
            Reason::ScopeInsufficient
        } else {
            Reason::PermissionMissing
        });
    }
    if !condition_holds(route) {
        return Err(Reason::PermissionMissing);
    }
    Ok(())
}

/// No condition can be evaluated yet, and one that cannot be evaluated does not hold.
fn condition_holds(route: &Route) -> bool {
    route.condition.is_none()
}

/// Whether a text can be a method (`token` of RFC 9110 §5.6.2). Small letters are refused: methods
/// are case-sensitive and none in use has any, but some frameworks read `delete` as `DELETE`, and a
/// forbid of the one would be evaded by the other.
fn is_token(text: &str) -> bool {
    let fits = |byte: u8| {
        byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte)
    };
    !text.is_empty() && text.bytes().all(fits)
}

impl Grants {
    /// How the principal was authenticated.
    pub fn credential(&self) -> Credential {
        self.credential
    }
}
