//! What a principal may do: computed once per credential, compared on each request.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde_json::{Map, Value};

use super::Policy;
use super::document::{BindingSection, Credential};
use super::issuer::Issuer;
use super::name::unknown;
use super::permission::PermissionSet;
use super::role::Roles;
use super::subject::Subject;
use crate::config::{At, Problems};

/// Roles, scopes and permissions of one principal under one policy.
#[derive(Clone, Debug)]
pub struct Grants {
    /// How the principal was authenticated.
    pub(super) credential: Credential,
    roles: Vec<Rc<str>>,
    scopes: Option<Vec<String>>,
    /// What the roles grant.
    pub(super) by_roles: PermissionSet,
    /// What the scopes leave of it.
    pub(super) effective: PermissionSet,
}

impl Grants {
    /// The roles held, claimed or bound, without those inherited; in the order of the alphabet.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.roles.iter().map(|role| &**role)
    }

    /// The scopes of the credential, as it names them.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scopes.iter().flatten().map(String::as_str)
    }

    /// About how many bytes of memory they hold.
    pub fn memory_bytes(&self) -> usize {
        let scopes: usize =
            self.scopes.iter().flatten().map(|scope| scope.capacity().saturating_add(24)).sum();
        size_of::<Self>()
            .saturating_add(self.roles.capacity().saturating_mul(size_of::<Rc<str>>()))
            .saturating_add(scopes)
            .saturating_add(self.by_roles.bytes())
            .saturating_add(self.effective.bytes())
    }
}

/// Roles by subject. Users and groups stand below the index of their issuer.
#[derive(Clone, Debug, Default)]
pub(super) struct Bindings {
    users: BTreeMap<usize, BTreeMap<String, BTreeSet<usize>>>,
    groups: BTreeMap<usize, BTreeMap<String, BTreeSet<usize>>>,
    api_keys: BTreeMap<String, BTreeSet<usize>>,
}

impl Bindings {
    pub(super) fn compile(
        sections: &[BindingSection],
        issuers: &[Issuer],
        roles: &Roles,
        problems: &mut Problems,
    ) -> Self {
        let mut bindings = Self::default();
        let at = At::ROOT.name("bindings");
        for (index, section) in sections.iter().enumerate() {
            let at = at.index(index);
            if section.subjects.is_empty() {
                at.name("subjects").problem(problems, "expected at least one subject");
            }
            if section.roles.is_empty() {
                at.name("roles").problem(problems, "expected at least one role");
            }
            let bound = roles.resolve(&section.roles, &at.name("roles"), problems);
            for (index, subject) in section.subjects.iter().enumerate() {
                match bindings.roles_of(subject, issuers) {
                    Ok(held) => held.extend(&bound),
                    Err(message) => {
                        at.name("subjects").index(index).problem(problems, message);
                    }
                }
            }
        }
        bindings
    }

    fn roles_of(
        &mut self,
        subject: &Subject,
        issuers: &[Issuer],
    ) -> Result<&mut BTreeSet<usize>, String> {
        let index_of = |name: &str| {
            issuers.iter().position(|issuer| issuer.name == name).ok_or_else(|| {
                unknown("issuer", name, issuers.iter().map(|issuer| issuer.name.as_str()))
            })
        };
        Ok(match subject {
            Subject::User { issuer, subject } => {
                let users = self.users.entry(index_of(issuer)?).or_default();
                users.entry(subject.clone()).or_default()
            }
            Subject::Group { issuer, group } => {
                let groups = self.groups.entry(index_of(issuer)?).or_default();
                groups.entry(group.clone()).or_default()
            }
            Subject::ApiKey { name } => self.api_keys.entry(name.clone()).or_default(),
        })
    }
}

impl Policy {
    /// What the holder of a verified token may do. Run once per token: nothing in it depends on time.
    ///
    /// Roles that the token claims count if its issuer may claim them, and those bound to the user
    /// and to the groups that the token names.
    pub fn subject_facts(
        &self,
        issuer_index: usize,
        claims: &Map<String, Value>,
        subject: &str,
    ) -> Grants {
        let Some(issuer) = self.issuers.get(issuer_index) else {
            return self.anonymous_grants();
        };
        let mut roles = BTreeSet::new();
        let claimed = issuer.claims.roles.iter().flat_map(|path| path.strings(claims));
        let claimed = claimed.filter_map(|role| self.roles.index(role));
        roles.extend(claimed.filter(|role| issuer.may_claim.contains(role)));
        let bound = self.bindings.users.get(&issuer_index).and_then(|users| users.get(subject));
        roles.extend(bound.into_iter().flatten());
        if let Some(groups) = self.bindings.groups.get(&issuer_index) {
            let named = issuer.claims.groups.iter().flat_map(|path| path.strings(claims));
            roles.extend(named.filter_map(|group| groups.get(group)).flatten());
        }
        self.grants(Credential::Jwt, &roles, issuer.claims.scopes.scopes(claims))
    }

    /// What the holder of an API key may do: the roles of its record, and those bound to its name.
    /// Roles that the policy does not know grant nothing.
    pub fn api_key_grants(
        &self,
        name: &str,
        roles: &[String],
        scopes: Option<&[String]>,
    ) -> Grants {
        let mut held: BTreeSet<usize> =
            roles.iter().filter_map(|role| self.roles.index(role)).collect();
        held.extend(self.bindings.api_keys.get(name).into_iter().flatten());
        self.grants(Credential::ApiKey, &held, scopes.map(<[String]>::to_vec))
    }

    /// What nobody in particular may do: what a route permits without requiring anything.
    pub fn anonymous_grants(&self) -> Grants {
        self.grants(Credential::None, &BTreeSet::new(), None)
    }

    fn grants(
        &self,
        credential: Credential,
        roles: &BTreeSet<usize>,
        scopes: Option<Vec<String>>,
    ) -> Grants {
        let mut by_roles = PermissionSet::default();
        for set in roles.iter().filter_map(|role| self.roles.permissions_of(*role)) {
            by_roles.unite(set);
        }
        // Scopes of a token mean nothing until a policy says what they name: issuers write them into
        // every token. Scopes of an API key were chosen to restrict it, and restrict in any case.
        let count = credential == Credential::ApiKey || !self.scope_permissions.is_empty();
        let effective = match &scopes {
            Some(scopes) if count => {
                let mut allowed = PermissionSet::default();
                let sets = scopes.iter().filter_map(|scope| self.scope_permissions.get(scope));
                sets.for_each(|set| allowed.unite(set));
                by_roles.common(&allowed)
            }
            Some(_) | None => by_roles.clone(),
        };
        let roles = roles.iter().filter_map(|role| self.roles.name(*role)).cloned().collect();
        Grants { credential, roles, scopes, by_roles, effective }
    }
}
