//! Routes: what they match, what they take, what they do.

use std::rc::Rc;

use super::document::{Condition, Credential, Effect, Mode, RouteSection};
use super::permission::{PermissionSet, Permissions};
use super::rate_limit::RouteLimit;
use super::role::resolve;
use crate::config::{At, Problems};
use crate::path::Ambiguities;

/// A route of one policy. In the order of names, so that nothing depends on the order in the file.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RouteId(pub(super) usize);

/// A route.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name.
    pub name: Rc<str>,
    /// Whether it permits or forbids.
    pub effect: Effect,
    /// Whether it counts, or is only recorded.
    pub mode: Mode,
    /// Accepted credentials, in the order in which they are looked for.
    pub credentials: Vec<Credential>,
    /// Whether CORS preflights reach the upstream.
    pub cors: bool,
    /// Whether a JWT is refused unless it is bound.
    pub require_token_binding: bool,
    /// Whether the upstream gets the credential.
    pub forward_credential: bool,
    /// How often it may be used.
    pub limits: Vec<RouteLimit>,
    pub(super) tolerated: Ambiguities,
    pub(super) requirement: Requirement,
    /// Always `None` by now: a policy with conditions is refused.
    pub(super) condition: Option<Condition>,
}

/// What a route takes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Requirement {
    pub(super) all: PermissionSet,
    pub(super) any: PermissionSet,
}

impl Requirement {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty() && self.any.is_empty()
    }

    pub(super) fn is_met_by(&self, held: &PermissionSet) -> bool {
        held.contains_all(&self.all) && (self.any.is_empty() || held.contains_any(&self.any))
    }
}

impl Route {
    /// Whether it hands on whatever credentials there are: it verifies none, and says so.
    pub fn forwards_unverified(&self) -> bool {
        self.forward_credential && self.credentials == [Credential::None]
    }

    pub(super) fn compile(
        section: &RouteSection,
        permissions: &Permissions,
        at: &At<'_>,
        problems: &mut Problems,
    ) -> Self {
        check_lists(section, at, problems);
        match section.effect {
            Effect::Permit => check_permit(section, at, problems),
            Effect::Forbid => check_forbid(section, at, problems),
        }
        let require = at.name("require");
        let mut set = |key, names: &Option<Vec<_>>| {
            let names = names.as_deref().unwrap_or_default();
            resolve(names, permissions, &require.name(key), problems)
        };
        let requirement = Requirement {
            all: set("all", &section.require.all),
            any: set("any", &section.require.any),
        };
        let tolerated = section.allow_ambiguous.iter().copied().map(Ambiguities::from);
        Self {
            name: (*section.name).into(),
            effect: section.effect,
            mode: section.mode,
            credentials: section.credentials.clone(),
            cors: section.cors,
            require_token_binding: section.require_token_binding,
            forward_credential: section.forward_credential,
            limits: RouteLimit::compile(section, at, problems),
            tolerated: tolerated.fold(Ambiguities::NONE, Ambiguities::with),
            requirement,
            condition: section.when.clone(),
        }
    }
}

/// An empty list reads like "nothing may" to one and like "everything may" to another.
fn check_lists(section: &RouteSection, at: &At<'_>, problems: &mut Problems) {
    let at_match = at.name("match");
    let at_require = at.name("require");
    let empty = [
        (&at_match, "hosts", section.match_.hosts.as_ref().is_some_and(Vec::is_empty)),
        (&at_match, "methods", section.match_.methods.as_ref().is_some_and(Vec::is_empty)),
        (&at_require, "all", section.require.all.as_ref().is_some_and(Vec::is_empty)),
        (&at_require, "any", section.require.any.as_ref().is_some_and(Vec::is_empty)),
    ];
    for (parent, key, is_empty) in empty {
        if is_empty {
            parent.name(key).problem(problems, "an empty list says nothing; leave the key out");
        }
    }
}

fn check_permit(section: &RouteSection, at: &At<'_>, problems: &mut Problems) {
    let credentials = &section.credentials;
    let at_credentials = at.name("credentials");
    if credentials.is_empty() {
        at_credentials
            .problem(problems, "expected at least one; a public route has `credentials: [none]`");
    }
    for (index, credential) in credentials.iter().enumerate() {
        let at = at_credentials.index(index);
        if credentials.iter().take(index).any(|earlier| earlier == credential) {
            at.problem(problems, format!("`{}` stands twice", credential.word()));
        }
        if *credential == Credential::None && index.saturating_add(1) < credentials.len() {
            at.problem(problems, "`none` must be the last: what follows is never looked for");
        }
    }
    // No request has a session yet: such a route would lock everybody out, and say nothing.
    let others = credentials.iter().filter(|credential| **credential != Credential::Session);
    if credentials.contains(&Credential::Session) && others.count() == 0 {
        at_credentials
            .problem(problems, "this version has no sessions; give another credential too");
    }
    if section.require_token_binding && !credentials.contains(&Credential::Jwt) {
        at.name("require_token_binding")
            .problem(problems, "has no effect: the route takes no `jwt`");
    }
    let requires = section.require.all.is_some() || section.require.any.is_some();
    if *credentials == [Credential::None] && requires {
        at.name("require").problem(problems, "nobody can meet it: the route takes no credential");
    }
}

fn check_forbid(section: &RouteSection, at: &At<'_>, problems: &mut Problems) {
    let without_effect = [
        ("credentials", !section.credentials.is_empty()),
        ("cors", section.cors),
        ("require_token_binding", section.require_token_binding),
        ("forward_credential", section.forward_credential),
        ("rate_limit", section.rate_limit.is_some()),
        ("allow_ambiguous", !section.allow_ambiguous.is_empty()),
    ];
    for (key, is_set) in without_effect {
        if is_set {
            at.name(key).problem(problems, "has no effect on a route that forbids; leave it out");
        }
    }
}
