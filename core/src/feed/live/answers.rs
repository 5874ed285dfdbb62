//! Answers of the feed, checked.

use serde_json::Value;

use crate::feed::Layout;
use crate::json::parse_strict;
use crate::wire::feed::{Change, FeedAnswer, Layouts, MAX_CHANGES, Settings};

/// The longest cursor or generation: either is a few numbers and a hash.
const MAX_NAME_BYTES: usize = 256;

/// An answer that can be taken in.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) cursor: String,
    pub(super) changes: Vec<Change>,
    pub(super) settings: Option<Settings>,
    pub(super) reload: bool,
    pub(super) layouts: Layouts,
}

/// Reads the body of an answer of the feed.
pub(super) fn check(body: &[u8]) -> Option<Checked> {
    let value: Value = parse_strict(body).ok()?;
    let answer: FeedAnswer = serde_json::from_value(value).ok()?;
    let generation = answer.settings.as_ref().map(|settings| &settings.generation);
    let are_names = is_name(&answer.cursor) && generation.is_none_or(|name| is_name(name));
    let layouts = [answer.layouts.revocations, answer.layouts.api_keys];
    let are_layouts = layouts.iter().all(|layout| Layout::checked(layout.bucket_bits).is_some());
    if !are_names || !are_layouts || answer.changes.len() > MAX_CHANGES {
        return None;
    }
    Some(Checked {
        cursor: answer.cursor,
        changes: if answer.reload { Vec::new() } else { answer.changes },
        settings: answer.settings,
        reload: answer.reload,
        layouts: answer.layouts,
    })
}

/// Whether `name` can stand in a query as it is.
fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte);
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_plain)
}
