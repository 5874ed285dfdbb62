//! The request path: from headers to what the proxy must do next.
//!
//! The gate never calls anyone, and no request waits for the sidecar. It is given the headers, the
//! time and an [`Edge`], and returns a [`Step`].

mod api_keys;
mod authenticate;
mod binding;
pub mod cache;
pub mod encode;
pub mod failures;
mod health;
pub mod intake;
mod limit;
mod networks;
mod nonces;
mod principal;
mod record;
mod replays;
mod revocation;
mod settings;
mod state;

use std::borrow::Cow;
use std::rc::Rc;

pub use principal::{AuthKind, Principal};
pub use record::Counters;
pub use revocation::revocation_targets;
pub use state::{Around, Environment, Gate, Seed, SharedAudit, SharedMember};

use crate::answer::{self, Answer, Offer};
use crate::audit::Outcome;
use crate::feed::live::{NoMemory, SharedMemory};
use crate::path::{self, JudgedPath};
use crate::policy::{Credential, Decision, Found, Mode, RequestLine, Route};
use crate::reason::Reason;
use crate::token::SignatureCheck;

use intake::{Field, Intake, Scheme};

/// What the gate may ask of where it runs.
pub trait Edge: SignatureCheck {
    /// The address of the client as the proxy trusts it, with or without a port; empty if unknown.
    fn source_address(&self) -> Vec<u8>;

    /// The SHA-256 digest of the client's certificate in hexadecimal, as the proxy has checked that
    /// the client has its key; empty without one.
    fn peer_certificate_digest(&self) -> Vec<u8> {
        Vec::new()
    }

    /// The memory that the workers of the proxy share: the tables of the feed stand there, and what
    /// counts against rate limits.
    fn shared_memory(&self) -> &dyn SharedMemory {
        &NoMemory
    }
}

/// A request to decide.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// All header fields, pseudo-headers included.
    pub fields: &'a [Field<'a>],
    /// The wall clock, in nanoseconds since the epoch.
    pub now_nanoseconds: u64,
}

/// What the proxy must do next.
#[derive(Debug)]
pub enum Step {
    /// Let the request go on with these changes.
    Forward(Forward),
    /// Answer in place of the upstream.
    Answer(Answer, Note),
}

/// The changes to a request that goes on.
#[derive(Debug)]
pub struct Forward {
    /// Names to remove, as they are spelled in the request: credentials and forgeries.
    pub remove: Vec<Cow<'static, [u8]>>,
    /// Who the request is from; its headers are to be set.
    pub principal: Rc<Principal>,
    /// What to leave in the filter state.
    pub note: Note,
    /// Headers to add to the answer of the upstream.
    pub answer_headers: Vec<(&'static str, String)>,
}

/// What the access log and other filters can see of a decision.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Note {
    /// `permit`, `deny` or `shadow-deny`.
    pub decision: &'static str,
    /// Why not, if not.
    pub reason: Option<Reason>,
    /// The route that decided.
    pub route: Option<Rc<str>>,
    /// Names of the gate that the client used, to be removed from a refused request too: the access
    /// log would show their values as the gate's.
    pub forged: Vec<Vec<u8>>,
}

impl Note {
    /// The note as one line: decision, route and reason with spaces between them, `-` for a route
    /// that there is not; a permit has no reason.
    pub fn line(&self) -> String {
        let route = self.route.as_deref().unwrap_or("-");
        let mut words = vec![self.decision, route];
        words.extend(self.reason.map(Reason::code));
        words.join(" ")
    }
}

impl Gate {
    /// Decides `request`.
    pub fn decide(&mut self, request: Request<'_>, edge: &dyn Edge) -> Step {
        self.requests = self.requests.saturating_add(1);
        let intake = match Intake::read(request.fields, |name| self.is_own_name(name)) {
            Ok(intake) => intake,
            Err(reason) => return self.refuse_unread(reason, request, edge),
        };
        if self.is_health_path(intake.path) {
            return self.health(&intake);
        }
        if !self.has_policy {
            // Nothing says what is public.
            let path = without_query(intake.path);
            let case =
                Case { intake: &intake, path, route: None, request, limit: None, nonce: None };
            return self.deny(Reason::NotReady, &case, None, edge);
        }
        let Ok(judged) = path::judge(intake.path) else {
            let path = without_query(intake.path);
            let case =
                Case { intake: &intake, path, route: None, request, limit: None, nonce: None };
            return self.deny(Reason::RequestMalformed, &case, None, edge);
        };
        self.decide_path(request, &intake, &judged, edge)
    }

    /// Finds the route and decides.
    fn decide_path(
        &mut self,
        request: Request<'_>,
        intake: &Intake<'_>,
        judged: &JudgedPath<'_>,
        edge: &dyn Edge,
    ) -> Step {
        let policy = Rc::clone(&self.policy);
        let host = intake.authority;
        let find = |method| policy.find(&RequestLine { method, host, path: judged });
        let path = without_query(intake.path);
        let unrouted = Case { intake, path, route: None, request, limit: None, nonce: None };
        if let Some(method) = preflight_method(intake) {
            // A preflight carries no credential by design (Fetch standard): refusing it would lock
            // out every browser. It reaches the upstream as nobody, and only where a route says so.
            // A forbid of OPTIONS itself counts too, or a preflight would be a way around it.
            let forbidden = |found: &Found| {
                let decision = policy.authorize_preflight(found);
                matches!(decision, Decision::Deny { reason: Reason::Forbidden, .. })
            };
            if let (Ok(found), Ok(options)) = (find(method), find(intake.method))
                && matches!(policy.authorize_preflight(&found), Decision::Permit { .. })
                && !forbidden(&options)
            {
                let case = Case { route: policy.permit_route(&found), ..unrouted };
                let principal = Rc::clone(&self.anonymous);
                return self.forward(principal, Outcome::Permit, &case, None, edge);
            }
        }
        let found = match find(intake.method) {
            Ok(found) => found,
            Err(reason) => return self.deny(reason, &unrouted, None, edge),
        };
        let case = Case { route: policy.permit_route(&found), ..unrouted };
        self.decide_route(&found, &case, edge)
    }

    /// Authenticates by the credentials that the route takes, and authorizes.
    fn decide_route(&mut self, found: &Found, case: &Case<'_>, edge: &dyn Edge) -> Step {
        let credentials = case.route.map_or(&[][..], |route| &route.credentials);
        let (principal, failed, nonce) = match self.authenticate(credentials, case, edge) {
            Authentication::Principal(principal, nonce) => (principal, None, nonce),
            // Shadow mode never lets a failed authentication pass as anyone: it goes on as nobody.
            Authentication::Failed(refused)
                if is_shadow(case.route) && !is_state(refused.reason) =>
            {
                (Rc::clone(&self.anonymous), Some(refused.reason), None)
            }
            Authentication::Failed(Refused { reason, who }) => {
                return self.deny(reason, case, who.as_deref(), edge);
            }
        };
        let case = &Case { nonce: nonce.as_deref(), ..*case };
        let policy = Rc::clone(&self.policy);
        match policy.authorize(found, &principal.grants) {
            Decision::Permit { shadow, .. } => {
                let outcome = failed.map_or(Outcome::Permit, Outcome::ShadowDeny);
                let shadow = shadow.map(|id| policy.route(id));
                self.forward_limited(principal, outcome, case, shadow, edge)
            }
            Decision::ShadowDeny { reason, .. } => {
                let outcome = Outcome::ShadowDeny(failed.unwrap_or(reason));
                self.forward(principal, outcome, case, None, edge)
            }
            Decision::Deny { reason, route } => {
                let route = route.map(|id| policy.route(id)).or(case.route);
                let reason = reason_for(reason, &principal, credentials);
                self.deny(reason, &Case { route, ..*case }, Some(&principal), edge)
            }
        }
    }

    fn forward(
        &mut self,
        principal: Rc<Principal>,
        outcome: Outcome,
        case: &Case<'_>,
        shadow: Option<&Route>,
        edge: &dyn Edge,
    ) -> Step {
        // The owner of a key wants to know where it is used: one that was stolen works from
        // elsewhere. For a token the address would be one more call to the proxy for each request.
        let address = (principal.auth == AuthKind::ApiKey).then(|| edge.source_address());
        self.record(outcome, case, Some(&principal), shadow, address.as_deref());
        let remove = removed(&principal, case);
        let note = note(outcome, case);
        let answer_headers = case.nonce.map(|nonce| ("dpop-nonce", nonce.to_owned()));
        let answer_headers = answer_headers.into_iter().collect();
        Step::Forward(Forward { remove, principal, note, answer_headers })
    }

    fn deny(
        &mut self,
        reason: Reason,
        case: &Case<'_>,
        principal: Option<&Principal>,
        edge: &dyn Edge,
    ) -> Step {
        let outcome = Outcome::Deny(reason);
        let address = edge.source_address();
        self.record(outcome, case, principal, None, Some(&address));
        let takes =
            |credential| case.route.is_some_and(|route| route.credentials.contains(&credential));
        let route = case.route.filter(|_| reason == Reason::ScopeInsufficient);
        let scope = route.map(|route| self.policy.scopes_for(route));
        let dpop = self.policy.dpop().filter(|_| takes(Credential::Jwt));
        let offer = Offer {
            realm: &self.realm,
            bearer: takes(Credential::Jwt),
            dpop: dpop.map(|rules| rules.algorithm_words.as_str()),
            shown: case.intake.scheme(),
            api_key: takes(Credential::ApiKey),
            scope: scope.as_deref().filter(|scope| !scope.is_empty()),
        };
        let mut answer = answer::deny(reason, offer, case.intake.is_grpc);
        if reason == Reason::DpopNonceRequired {
            let nonce = self.nonce_for_another_try(case.request.now_nanoseconds, edge);
            answer.headers.extend(nonce.map(|nonce| ("dpop-nonce", nonce)));
        }
        let mut note = note(outcome, case);
        note.forged = owned(&case.intake.forged);
        Step::Answer(answer, note)
    }

    /// Refuses a request whose headers cannot be read.
    fn refuse_unread(&mut self, reason: Reason, request: Request<'_>, edge: &dyn Edge) -> Step {
        // As far as it can be read, for the access log.
        let names = request.fields.iter().take(intake::MAX_FIELDS);
        let forged = names.map(|(name, _)| *name);
        let forged = forged.filter(|name| self.is_own_name(&intake::canonical(name))).collect();
        let intake = Intake { forged, ..Intake::default() };
        let case =
            Case { intake: &intake, path: b"", route: None, request, limit: None, nonce: None };
        self.deny(reason, &case, None, edge)
    }
}

/// What authentication came to.
enum Authentication {
    /// Who it is, and the nonce that the client should use from now on, if it is another one.
    Principal(Rc<Principal>, Option<String>),
    Failed(Refused),
}

impl Authentication {
    fn failed(reason: Reason) -> Self {
        Self::Failed(reason.into())
    }
}

impl From<Result<Rc<Principal>, Refused>> for Authentication {
    fn from(result: Result<Rc<Principal>, Refused>) -> Self {
        match result {
            Ok(principal) => Self::Principal(principal, None),
            Err(refused) => Self::Failed(refused),
        }
    }
}

/// A credential that is refused. If it proved who it is from before it turned out to be expired or
/// revoked, the record says so: "who used the revoked key?" is what an investigation begins with.
struct Refused {
    reason: Reason,
    who: Option<Rc<Principal>>,
}

impl Refused {
    fn known(reason: Reason, who: Rc<Principal>) -> Self {
        Self { reason, who: Some(who) }
    }
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Self { reason, who: None }
    }
}

/// A request on its way.
#[derive(Clone, Copy)]
struct Case<'a> {
    intake: &'a Intake<'a>,
    /// The path without the query.
    path: &'a [u8],
    /// The permit route that matches best.
    route: Option<&'a Route>,
    request: Request<'a>,
    /// Name of the rate limit that the request is too many for.
    limit: Option<&'a str>,
    /// The nonce that the client is to use from now on.
    nonce: Option<&'a str>,
}

/// Names to remove from a request that goes on: forgeries, and credentials but for the one that was
/// verified where the route keeps it. An upstream that is handed another one would take it for
/// verified.
fn removed(principal: &Principal, case: &Case<'_>) -> Vec<Cow<'static, [u8]>> {
    let intake = case.intake;
    let mut remove: Vec<Cow<'static, [u8]>> =
        intake.forged.iter().map(|name| Cow::Owned((*name).to_vec())).collect();
    let keeps_all = case.route.is_some_and(Route::forwards_unverified);
    let keeps_verified = case.route.is_some_and(|route| route.forward_credential);
    let keeps = |auth| keeps_all || (keeps_verified && principal.auth == auth);
    if intake.authorization.is_present() && !keeps(AuthKind::Jwt) {
        remove.push(Cow::Borrowed(b"authorization"));
    }
    if intake.api_key.is_present() && !keeps(AuthKind::ApiKey) {
        remove.push(Cow::Borrowed(b"x-api-key"));
    }
    // Beside a bearer token nobody has looked at it.
    let is_verified = || keeps(AuthKind::Jwt) && intake.scheme() == Some(Scheme::Dpop);
    if intake.dpop.is_present() && !keeps_all && !is_verified() {
        remove.push(Cow::Borrowed(b"dpop"));
    }
    remove
}

/// Nobody who lacks a permission is asked to log in (401) rather than sent away (403), where the
/// route takes a credential.
fn reason_for(reason: Reason, principal: &Principal, credentials: &[Credential]) -> Reason {
    let takes_one = credentials.iter().any(|credential| *credential != Credential::None);
    let lacks = matches!(reason, Reason::PermissionMissing | Reason::ScopeInsufficient);
    if lacks && takes_one && principal.auth == AuthKind::None {
        Reason::CredentialMissing
    } else {
        reason
    }
}

fn owned(names: &[&[u8]]) -> Vec<Vec<u8>> {
    names.iter().map(|name| (*name).to_vec()).collect()
}

/// The query may hold secrets, and stays out of every record.
fn without_query(path: &[u8]) -> &[u8] {
    path.split(|byte| *byte == b'?').next().unwrap_or_default()
}

fn preflight_method<'a>(intake: &Intake<'a>) -> Option<&'a str> {
    intake.preflight_method.filter(|_| intake.method == "OPTIONS")
}

fn is_shadow(route: Option<&Route>) -> bool {
    route.is_some_and(|route| route.mode == Mode::Shadow)
}

/// Whether the gate lacks what it decides from; shadow mode does not open a gate that is blind.
fn is_state(reason: Reason) -> bool {
    reason.status() == 503
}

fn note(outcome: Outcome, case: &Case<'_>) -> Note {
    let (decision, reason) = match outcome {
        Outcome::Permit => ("permit", None),
        Outcome::Deny(reason) => ("deny", Some(reason)),
        Outcome::ShadowDeny(reason) => ("shadow-deny", Some(reason)),
    };
    let route = case.route.map(|route| Rc::clone(&route.name));
    Note { decision, reason, route, forged: Vec::new() }
}

#[cfg(test)]
mod tests;
