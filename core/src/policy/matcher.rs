//! From a request to the routes that match it.
//!
//! Of the permits that match, the most specific one counts. What is more specific, in this order:
//! 1. the host: exact, then `*.` with the longer domain, then none;
//! 2. the path, segment by segment from the left: literal, then `{name}`, then `{name...}`;
//! 3. methods: listed, then none listed.
//!
//! Two routes that are equal in all three would be a matter of chance, and are a problem of the policy.
//! All forbids that match count, however specific.

use std::collections::BTreeMap;

use super::host::HostPattern;
use super::name::Method;
use super::route::RouteId;
use super::template::TemplateSegment;
use crate::path::Segments;

/// The routes by host.
#[derive(Clone, Debug, Default)]
pub(super) struct Matcher {
    exact: BTreeMap<String, Tables>,
    /// Longest domain first, so that the most specific comes first.
    below: Vec<(String, Tables)>,
    any: Tables,
}

/// The routes of one host pattern, by what they do.
#[derive(Clone, Debug, Default)]
struct Tables {
    enforced: Node,
    shadow: Node,
    forbids: Node,
}

/// Which of the three tables of a host a route stands in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Table {
    Enforced,
    Shadow,
    Forbids,
}

/// A node of the trie over path segments.
#[derive(Clone, Debug, Default)]
struct Node {
    /// In the order of their bytes.
    literals: Vec<(Box<[u8]>, Node)>,
    parameter: Option<Box<Node>>,
    /// Routes whose template ends with a rest here.
    rest: Vec<Leaf>,
    /// Routes whose template ends here.
    end: Vec<Leaf>,
}

#[derive(Clone, Debug)]
struct Leaf {
    route: RouteId,
    methods: Option<Vec<Method>>,
}

/// How specific a match is; less is more specific.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Specificity {
    host: usize,
    /// A shorter way that has ended is more specific than one with a rest.
    path: Vec<u8>,
    methods: bool,
}

impl Matcher {
    /// Enters a route. Returns those that it cannot be told apart from.
    pub(super) fn insert(
        &mut self,
        table: Table,
        host: Option<&HostPattern>,
        path: &[TemplateSegment],
        methods: Option<&[Method]>,
        route: RouteId,
    ) -> Vec<RouteId> {
        let tables = match host {
            Some(HostPattern::Exact(host)) => self.exact.entry(host.clone()).or_default(),
            Some(HostPattern::Below(domain)) => self.tables_below(domain),
            None => &mut self.any,
        };
        let mut node = match table {
            Table::Enforced => &mut tables.enforced,
            Table::Shadow => &mut tables.shadow,
            Table::Forbids => &mut tables.forbids,
        };
        for segment in path {
            node = match segment {
                TemplateSegment::Literal(text) => node.literal(text.as_bytes()),
                TemplateSegment::Parameter => node.parameter.get_or_insert_default(),
                TemplateSegment::Rest => {
                    return insert_leaf(&mut node.rest, route, methods);
                }
            };
        }
        insert_leaf(&mut node.end, route, methods)
    }

    fn tables_below(&mut self, domain: &str) -> &mut Tables {
        let rank = |other: &str| (core::cmp::Reverse(other.len()), other.to_owned());
        let place = self.below.binary_search_by_key(&rank(domain), |(other, _)| rank(other));
        let index = match place {
            Ok(index) => index,
            Err(index) => {
                self.below.insert(index, (domain.to_owned(), Tables::default()));
                index
            }
        };
        match self.below.get_mut(index) {
            Some((_, tables)) => tables,
            // INVARIANT: `index` was found or inserted above.
            None => &mut self.any,
        }
    }

    /// The tables of all host patterns that match, the most specific first.
    fn tables<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a Tables> {
        let below = self.below.iter().filter(move |(domain, _)| {
            // Something must stand before the dot.
            host.len() > domain.len() && host.ends_with(domain.as_str())
        });
        // Most policies name no host at all.
        let exact = if self.exact.is_empty() { None } else { self.exact.get(host) };
        exact.into_iter().chain(below.map(|(_, tables)| tables)).chain([&self.any])
    }

    /// The most specific enforced permit.
    pub(super) fn enforced(
        &self,
        host: &str,
        path: &Segments<'_>,
        method: &str,
    ) -> Option<RouteId> {
        self.tables(host).find_map(|tables| tables.enforced.first(path, method, &mut None))
    }

    /// The most specific permit in shadow mode, if it is at least as specific as the enforced one.
    pub(super) fn shadow(&self, host: &str, path: &Segments<'_>, method: &str) -> Option<RouteId> {
        let (shadow, route) = self.best(host, path, method, |tables| &tables.shadow)?;
        match self.best(host, path, method, |tables| &tables.enforced) {
            Some((enforced, _)) if enforced < shadow => None,
            _ => Some(route),
        }
    }

    fn best(
        &self,
        host: &str,
        path: &Segments<'_>,
        method: &str,
        table: fn(&Tables) -> &Node,
    ) -> Option<(Specificity, RouteId)> {
        self.tables(host).enumerate().find_map(|(index, tables)| {
            let mut way = Some(Specificity { host: index, path: Vec::new(), methods: false });
            let route = table(tables).first(path, method, &mut way)?;
            Some((way?, route))
        })
    }

    /// All forbids, in no order.
    pub(super) fn forbids(
        &self,
        host: &str,
        path: &Segments<'_>,
        method: &str,
        found: &mut Vec<RouteId>,
    ) {
        for tables in self.tables(host) {
            tables.forbids.all(path, method, found);
        }
    }
}

impl Node {
    fn literal(&mut self, text: &[u8]) -> &mut Self {
        let index = match self.literals.binary_search_by(|(other, _)| (**other).cmp(text)) {
            Ok(index) => index,
            Err(index) => {
                self.literals.insert(index, (text.into(), Self::default()));
                index
            }
        };
        match self.literals.get_mut(index) {
            Some((_, node)) => node,
            // INVARIANT: `index` was found or inserted above.
            None => self.parameter.get_or_insert_default(),
        }
    }

    fn child(&self, segment: crate::path::Segment<'_>) -> Option<&Self> {
        let compare = |(text, _): &(Box<[u8]>, Self)| segment.compare(text).reverse();
        let index = self.literals.binary_search_by(compare).ok()?;
        self.literals.get(index).map(|(_, node)| node)
    }

    /// The first route in the order of specificity. Each node is visited at most once, so the work
    /// is bounded by the size of the policy, whatever the path; `way` notes how it was found.
    fn first(
        &self,
        path: &Segments<'_>,
        method: &str,
        way: &mut Option<Specificity>,
    ) -> Option<RouteId> {
        let mut rest = path.clone();
        if let Some(segment) = rest.next() {
            let mut descend = |node: Option<&Self>, kind| {
                push(way, kind);
                let found = node.and_then(|node| node.first(&rest, method, way));
                if found.is_none() {
                    pop(way);
                }
                found
            };
            if let Some(route) = descend(self.child(segment), 0) {
                return Some(route);
            }
            let parameter = self.parameter.as_deref().filter(|_| !segment.is_empty());
            if let Some(route) = descend(parameter, 1) {
                return Some(route);
            }
        } else if let Some(route) = pick(&self.end, method, way) {
            return Some(route);
        }
        push(way, 2);
        let found = pick(&self.rest, method, way);
        if found.is_none() {
            pop(way);
        }
        found
    }

    fn all(&self, path: &Segments<'_>, method: &str, found: &mut Vec<RouteId>) {
        found.extend(takers(&self.rest, method).map(|leaf| leaf.route));
        let mut rest = path.clone();
        let Some(segment) = rest.next() else {
            found.extend(takers(&self.end, method).map(|leaf| leaf.route));
            // Many upstreams serve `/admin/` as `/admin`; a forbid of the one holds for both.
            let slash = Segments::of_decoded(b"/").next().and_then(|empty| self.child(empty));
            let slash = slash.into_iter().flat_map(|node| takers(&node.end, method));
            found.extend(slash.map(|leaf| leaf.route));
            return;
        };
        if segment.is_empty() && rest.clone().next().is_none() {
            found.extend(takers(&self.end, method).map(|leaf| leaf.route));
        }
        if let Some(node) = self.child(segment) {
            node.all(&rest, method, found);
        }
        if let Some(node) = self.parameter.as_deref().filter(|_| !segment.is_empty()) {
            node.all(&rest, method, found);
        }
    }
}

fn push(way: &mut Option<Specificity>, kind: u8) {
    if let Some(way) = way {
        way.path.push(kind);
    }
}

fn pop(way: &mut Option<Specificity>) {
    if let Some(way) = way {
        way.path.pop();
    }
}

fn takers<'a>(leaves: &'a [Leaf], method: &'a str) -> impl Iterator<Item = &'a Leaf> {
    leaves.iter().filter(move |leaf| match &leaf.methods {
        Some(methods) => methods.iter().any(|listed| **listed == *method),
        None => true,
    })
}

fn pick(leaves: &[Leaf], method: &str, way: &mut Option<Specificity>) -> Option<RouteId> {
    let leaf = takers(leaves, method).min_by_key(|leaf| leaf.methods.is_none())?;
    if let Some(way) = way {
        way.methods = leaf.methods.is_none();
    }
    Some(leaf.route)
}

/// Adds a leaf; returns the routes there that take a request of the same kind.
fn insert_leaf(leaves: &mut Vec<Leaf>, route: RouteId, methods: Option<&[Method]>) -> Vec<RouteId> {
    let same = |leaf: &&Leaf| match (&leaf.methods, methods) {
        (None, None) => true,
        (Some(left), Some(right)) => left.iter().any(|method| right.contains(method)),
        (Some(_), None) | (None, Some(_)) => false,
    };
    let equal = leaves.iter().filter(same).map(|leaf| leaf.route).collect();
    leaves.push(Leaf { route, methods: methods.map(<[Method]>::to_vec) });
    equal
}
