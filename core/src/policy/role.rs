//! Roles: inheritance resolved into sets of permissions when the policy is read.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::document::RoleSection;
use super::name::{Name, is_name, unknown};
use super::permission::{PermissionSet, Permissions};
use crate::config::{At, Problems};

/// It bounds the recursion through inheritance.
const MAX_ROLES: usize = 1000;

/// The roles of a policy.
#[derive(Clone, Debug, Default)]
pub(super) struct Roles {
    names: Vec<Rc<str>>,
    sets: Vec<PermissionSet>,
    indices: BTreeMap<Rc<str>, usize>,
}

impl Roles {
    pub(super) fn compile(
        sections: &BTreeMap<String, RoleSection>,
        permissions: &Permissions,
        problems: &mut Problems,
    ) -> Self {
        let at = At::ROOT.name("roles");
        if sections.len() > MAX_ROLES {
            at.problem(problems, format!("more than {MAX_ROLES} roles"));
            return Self::default();
        }
        let mut own = BTreeMap::new();
        for (name, section) in sections {
            let at = at.name(name);
            if !is_name(name) {
                at.problem(problems, "a role's name has letters, digits and `_.:-`, not first");
            }
            check_inherited(section, sections, &at, problems);
            let at = at.name("permissions");
            own.insert(name, resolve(&section.permissions, permissions, &at, problems));
        }
        let mut roles = Self::default();
        for name in sections.keys() {
            let mut way = Vec::new();
            let mut set = PermissionSet::default();
            let mut seen = Vec::new();
            if let Some(cycle) = gather(name, sections, &own, &mut way, &mut seen, &mut set) {
                // One report per cycle: by its first role in the order of names.
                if cycle.iter().all(|member| *member >= name.as_str()) && cycle.contains(&&**name) {
                    let at = at.name(name);
                    let message = format!("inherits itself: {}", cycle.join(" -> "));
                    at.name("inherits").problem(problems, message);
                }
            }
            let name: Rc<str> = name.as_str().into();
            roles.indices.insert(Rc::clone(&name), roles.names.len());
            roles.names.push(name);
            roles.sets.push(set);
        }
        roles
    }

    pub(super) fn index(&self, name: &str) -> Option<usize> {
        self.indices.get(name).copied()
    }

    /// In the order of the alphabet.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    pub(super) fn name(&self, index: usize) -> Option<&Rc<str>> {
        self.names.get(index)
    }

    /// What a role permits, inheritance included.
    pub(super) fn permissions_of(&self, index: usize) -> Option<&PermissionSet> {
        self.sets.get(index)
    }

    /// The indices of named roles; each unknown one is a problem.
    pub(super) fn resolve(
        &self,
        names: &[Name],
        at: &At<'_>,
        problems: &mut Problems,
    ) -> Vec<usize> {
        let mut found = Vec::with_capacity(names.len());
        for (position, name) in names.iter().enumerate() {
            if let Some(index) = self.index(name) {
                found.push(index);
            } else {
                at.index(position).problem(problems, unknown("role", name, self.names()));
            }
        }
        found
    }
}

fn check_inherited(
    section: &RoleSection,
    sections: &BTreeMap<String, RoleSection>,
    at: &At<'_>,
    problems: &mut Problems,
) {
    let at = at.name("inherits");
    for (position, parent) in section.inherits.iter().enumerate() {
        if !sections.contains_key(&**parent) {
            let known = sections.keys().map(String::as_str);
            at.index(position).problem(problems, unknown("role", parent, known));
        }
    }
}

/// Adds what `name` permits to `set`; returns the cycle that it runs into, if there is one.
fn gather<'a>(
    name: &'a str,
    sections: &'a BTreeMap<String, RoleSection>,
    own: &BTreeMap<&String, PermissionSet>,
    way: &mut Vec<&'a str>,
    seen: &mut Vec<&'a str>,
    set: &mut PermissionSet,
) -> Option<Vec<&'a str>> {
    if let Some(start) = way.iter().position(|passed| *passed == name) {
        let mut cycle = way.get(start..).unwrap_or_default().to_vec();
        cycle.push(name);
        return Some(cycle);
    }
    if seen.contains(&name) {
        return None;
    }
    seen.push(name);
    let (key, section) = sections.get_key_value(name)?;
    if let Some(own) = own.get(key) {
        set.unite(own);
    }
    way.push(name);
    let mut found = None;
    for parent in &section.inherits {
        found = found.or(gather(parent, sections, own, way, seen, set));
    }
    way.pop();
    found
}

/// The set of named permissions; each unknown one is a problem.
pub(super) fn resolve(
    names: &[Name],
    permissions: &Permissions,
    at: &At<'_>,
    problems: &mut Problems,
) -> PermissionSet {
    let mut set = PermissionSet::default();
    for (position, name) in names.iter().enumerate() {
        if let Some(index) = permissions.index(name) {
            set.insert(index);
        } else {
            let message = unknown("permission", name, permissions.names());
            at.index(position).problem(problems, message);
        }
    }
    set
}
