//! Policy: who may do what, checked as a whole when it is read, decided in microseconds.
//!
//! [`Policy::read`] turns a document into sets of bits and a trie of routes, or reports all that is
//! wrong with it: there is no half policy. [`Policy::find`] and [`Policy::authorize`] decide.

mod claims;
mod decide;
mod document;
mod dpop;
mod grants;
mod host;
mod issuer;
mod matcher;
mod matrix;
mod name;
mod permission;
mod rate_limit;
mod role;
mod route;
mod subject;
mod template;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

pub use claims::ClaimPath;
pub use decide::Decision;
pub use document::{
    BindingSection, ClaimsSection, Condition, Credential, DefaultEffect, Effect, IssuerSection,
    MatchSection, Mode, PolicyDocument, RequireSection, RoleSection, RouteSection,
};
pub use dpop::{DpopRules, DpopSection, ExternalOrigin, NonceMode};
pub use grants::Grants;
pub use host::HostPattern;
pub use issuer::Issuer;
pub use name::{IssuerName, Method, Name};
pub use permission::BUILT_IN_PERMISSIONS;
pub use rate_limit::{Per, RateLimitSection, RateLimits, RouteLimit, Scope};
pub use route::{Route, RouteId};
pub use subject::Subject;
pub use template::PathTemplate;

use crate::config::{At, Problems, Read as _};
use crate::path::{Ambiguities, JudgedPath};
use grants::Bindings;
use matcher::{Matcher, Table};
use permission::{PermissionSet, Permissions};
use role::Roles;

/// More routes than any mesh gives to one proxy; each costs memory in every worker.
const MAX_ROUTES: usize = 10_000;

/// A policy that was read without any problem.
#[derive(Clone, Debug)]
pub struct Policy {
    issuers: Vec<Issuer>,
    permissions: Permissions,
    roles: Roles,
    bindings: Bindings,
    scope_permissions: BTreeMap<String, PermissionSet>,
    /// By name.
    routes: Vec<Route>,
    matcher: Matcher,
    has_shadow_permits: bool,
    forwarded_names: BTreeSet<String>,
    dpop: Option<DpopRules>,
    no_route: Route,
}

/// What a policy looks at in a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestLine<'a> {
    /// The method.
    pub method: &'a str,
    /// The host, with or without port.
    pub host: &'a str,
    /// The path.
    pub path: &'a JudgedPath<'a>,
}

/// The routes that match a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// The most specific enforced permit; if there is none, the most specific one in shadow mode.
    permit: Option<RouteId>,
    /// The permit in shadow mode that would decide, were it enforced.
    shadow: Option<RouteId>,
    /// All forbids, enforced and shadow, in the order of their names.
    forbids: Vec<RouteId>,
}

impl Policy {
    /// Reads a policy document.
    ///
    /// # Errors
    ///
    /// Every problem found, each with its path. Names are resolved only once the types are right.
    pub fn read(document: &Value) -> Result<Self, Problems> {
        let mut problems = Problems::new();
        let read = PolicyDocument::read(document, &At::ROOT, &mut problems);
        let policy = read.map(|document| Self::compile(&document, &mut problems));
        match policy {
            Some(policy) if problems.is_empty() => Ok(policy),
            _ => Err(problems),
        }
    }

    /// The accepted issuers, in the order of the document.
    pub fn issuers(&self) -> &[Issuer] {
        &self.issuers
    }

    /// What proofs of possession must be like; `None` where no origin is configured, and then none
    /// can be checked.
    pub fn dpop(&self) -> Option<&DpopRules> {
        self.dpop.as_ref()
    }

    /// All routes, in the order of their names.
    pub fn routes(&self) -> impl Iterator<Item = (RouteId, &Route)> {
        self.routes.iter().enumerate().map(|(index, route)| (RouteId(index), route))
    }

    /// Whether any route takes this kind of credential.
    pub fn takes(&self, credential: Credential) -> bool {
        self.routes.iter().any(|route| route.credentials.contains(&credential))
    }

    /// Whether any route is limited.
    pub fn has_limits(&self) -> bool {
        self.routes.iter().any(|route| !route.limits.is_empty())
    }

    /// Whether any route is limited across proxies.
    pub fn has_global_limits(&self) -> bool {
        let mut limits = self.routes.iter().flat_map(|route| &route.limits);
        limits.any(|limit| limit.scope == Scope::Global)
    }

    /// Whether claims are forwarded in the header of this name, in lower case with dashes: a
    /// client's own must be removed.
    pub fn is_forwarded_name(&self, canonical: &[u8]) -> bool {
        core::str::from_utf8(canonical).is_ok_and(|name| self.forwarded_names.contains(name))
    }

    fn compile(document: &PolicyDocument, problems: &mut Problems) -> Self {
        let permissions = declared_permissions(document, problems);
        let roles = Roles::compile(&document.roles, &permissions, problems);
        let issuers = issuers(document, &roles, problems);
        let bindings = Bindings::compile(&document.bindings, &issuers, &roles, problems);
        let scope_permissions = scope_permissions(document, &permissions, problems);
        let names = issuers.iter().flat_map(Issuer::forwarded_names).map(str::to_owned).collect();
        let mut policy = Self {
            issuers,
            permissions,
            roles,
            bindings,
            scope_permissions,
            routes: Vec::new(),
            matcher: Matcher::default(),
            has_shadow_permits: false,
            forwarded_names: names,
            dpop: DpopRules::compile(&document.dpop, &At::ROOT.name("dpop"), problems),
            no_route: no_route(),
        };
        policy.add_routes(document, problems);
        policy
    }

    fn add_routes(&mut self, document: &PolicyDocument, problems: &mut Problems) {
        let at = At::ROOT.name("routes");
        if document.routes.len() > MAX_ROUTES {
            at.problem(problems, format!("more than {MAX_ROUTES} routes"));
            return;
        }
        let mut sections: Vec<(usize, &RouteSection)> =
            document.routes.iter().enumerate().collect();
        sections.sort_by_key(|(_, section)| &section.name);
        for (index, section) in sections {
            let at = at.index(index);
            let route = Route::compile(section, &self.permissions, &at, problems);
            if self.routes.last().is_some_and(|previous| previous.name == route.name) {
                at.name("name").problem(problems, format!("`{}` stands twice", route.name));
            }
            self.insert(section, &route, &at, problems);
            self.routes.push(route);
        }
    }

    /// Enters a route into the matcher under each of its hosts.
    fn insert(
        &mut self,
        section: &RouteSection,
        route: &Route,
        at: &At<'_>,
        problems: &mut Problems,
    ) {
        let table = match (route.effect, route.mode) {
            (Effect::Forbid, _) => Table::Forbids,
            (Effect::Permit, Mode::Enforce) => Table::Enforced,
            (Effect::Permit, Mode::Shadow) => Table::Shadow,
        };
        self.has_shadow_permits |= table == Table::Shadow;
        let hosts: Vec<Option<&HostPattern>> = match &section.match_.hosts {
            Some(hosts) => hosts.iter().map(Some).collect(),
            None => vec![None],
        };
        let methods = section.match_.methods.as_deref();
        let mut equal = BTreeSet::new();
        let id = RouteId(self.routes.len());
        for host in hosts {
            let path = section.match_.path.segments();
            equal.extend(self.matcher.insert(table, host, path, methods, id));
        }
        // All forbids count, so it does not matter which of two is looked at first.
        if table == Table::Forbids {
            return;
        }
        for other in equal {
            let message = if other == id {
                "a host stands twice".to_owned()
            } else {
                let other = &self.route(other).name;
                format!("routes `{other}` and `{}` match the same requests", route.name)
            };
            at.name("match").problem(problems, message);
        }
    }
}

fn declared_permissions(document: &PolicyDocument, problems: &mut Problems) -> Permissions {
    let at = At::ROOT.name("permissions");
    let mut permissions = Permissions::built_in();
    for (index, name) in document.permissions.iter().enumerate() {
        if document.permissions.iter().take(index).any(|earlier| earlier == name) {
            at.index(index).problem(problems, format!("`{}` stands twice", &**name));
        }
        permissions.declare(name);
    }
    permissions
}

fn issuers(document: &PolicyDocument, roles: &Roles, problems: &mut Problems) -> Vec<Issuer> {
    let at = At::ROOT.name("issuers");
    let mut issuers: Vec<Issuer> = Vec::new();
    for (index, section) in document.issuers.iter().enumerate() {
        let at = at.index(index);
        let issuer = Issuer::compile(section, roles, &at, problems);
        if issuers.iter().any(|earlier| earlier.name == issuer.name) {
            at.name("name").problem(problems, format!("`{}` stands twice", issuer.name));
        }
        // One token must have one set of keys and one meaning.
        if issuers.iter().any(|earlier| earlier.rules.issuer == issuer.rules.issuer) {
            at.name("issuer").problem(problems, "another issuer has the same `iss`");
        }
        issuers.push(issuer);
    }
    issuers
}

fn scope_permissions(
    document: &PolicyDocument,
    permissions: &Permissions,
    problems: &mut Problems,
) -> BTreeMap<String, PermissionSet> {
    let at = At::ROOT.name("scope_permissions");
    let mut sets = BTreeMap::new();
    for (scope, names) in &document.scope_permissions {
        let at = at.name(scope);
        if scope.is_empty() || scope.contains(' ') {
            at.problem(problems, "a scope is not empty and has no space (RFC 6749 §3.3)");
        }
        sets.insert(scope.clone(), role::resolve(names, permissions, &at, problems));
    }
    sets
}

/// What an id without a route stands for: nothing that permits.
fn no_route() -> Route {
    Route {
        name: "".into(),
        effect: Effect::Forbid,
        mode: Mode::Enforce,
        credentials: Vec::new(),
        cors: false,
        require_token_binding: false,
        forward_credential: false,
        tolerated: Ambiguities::NONE,
        requirement: route::Requirement::default(),
        limits: Vec::new(),
        condition: None,
    }
}
