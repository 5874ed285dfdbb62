//! Counts by name, of which there may be any number, in a bounded room.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{TokenEvent, TokenType};
use crate::usage::tally::OTHER;

/// How often each thing happened.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default)]
pub struct TokenCounts {
    /// Tokens made.
    pub issued: u64,
    /// Requests permitted, or things handed out, for one.
    pub used: u64,
    /// Tokens replaced by newer ones.
    pub refreshed: u64,
    /// Tokens refused.
    pub denied: u64,
}

/// Name to type to counts.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(in crate::usage) struct Names(BTreeMap<String, BTreeMap<TokenType, TokenCounts>>);

impl TokenCounts {
    pub(super) fn count(&mut self, event: TokenEvent, amount: u64) {
        let place = match event {
            TokenEvent::Issued => &mut self.issued,
            TokenEvent::Used => &mut self.used,
            TokenEvent::Refreshed => &mut self.refreshed,
            TokenEvent::Denied => &mut self.denied,
        };
        *place = place.saturating_add(amount);
    }

    pub(super) fn add(&mut self, other: Self) {
        let Self { issued, used, refreshed, denied } = other;
        self.count(TokenEvent::Issued, issued);
        self.count(TokenEvent::Used, used);
        self.count(TokenEvent::Refreshed, refreshed);
        self.count(TokenEvent::Denied, denied);
    }

    /// All of them together.
    pub(super) fn sum(self) -> u64 {
        let Self { issued, used, refreshed, denied } = self;
        [issued, used, refreshed, denied].into_iter().fold(0, u64::saturating_add)
    }
}

impl Names {
    /// Counts under a name, or under [`OTHER`] when there are `most` names already.
    pub(in crate::usage) fn count(
        &mut self,
        name: String,
        token_type: TokenType,
        event: TokenEvent,
        most: usize,
    ) {
        let room = self.0.len() < most || self.0.contains_key(&name);
        let name = if room { name } else { OTHER.to_owned() };
        self.0.entry(name).or_default().entry(token_type).or_default().count(event, 1);
    }

    pub(in crate::usage) fn add(&mut self, other: &Self) {
        for (name, types) in &other.0 {
            let place = self.0.entry(name.clone()).or_default();
            for (token_type, counts) in types {
                place.entry(*token_type).or_default().add(*counts);
            }
        }
    }

    /// Keeps the `most` names with the most counts; the counts of the rest go to [`OTHER`], so the
    /// sum stays what it was. Who attacks with many names pushes out no name that is in use.
    pub(in crate::usage) fn keep_greatest(&mut self, most: usize) {
        if self.0.len() <= most {
            return;
        }
        let sum = |types: &BTreeMap<TokenType, TokenCounts>| {
            types.values().fold(0, |sum: u64, counts| sum.saturating_add(counts.sum()))
        };
        let mut by_sum: Vec<(u64, String)> =
            self.0.iter().map(|(name, types)| (sum(types), name.clone())).collect();
        by_sum.retain(|(_, name)| name != OTHER);
        by_sum.sort_unstable_by(|one, other| other.cmp(one));
        let mut rest = Self::default();
        for (_, name) in by_sum.into_iter().skip(most) {
            if let Some(types) = self.0.remove(&name) {
                rest.add(&Self(BTreeMap::from([(OTHER.to_owned(), types)])));
            }
        }
        self.add(&rest);
    }

    /// Each name and type with its counts.
    pub(super) fn into_rows(self) -> impl Iterator<Item = (String, TokenType, TokenCounts)> {
        self.0.into_iter().flat_map(|(name, types)| {
            types.into_iter().map(move |(token_type, counts)| (name.clone(), token_type, counts))
        })
    }
}
