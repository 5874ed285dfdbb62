//! An API key as a person reads it.

use wardgate_core::wire::ApiKeyState;

use crate::cli::show;
use crate::desk::{ApiKeyAction, ApiKeyView};

pub(super) fn details(key: &ApiKeyView) -> Vec<(&'static str, String)> {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let metadata: Vec<String> =
        key.metadata.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut lines = vec![
        ("id", key.id.clone()),
        ("name", key.name.clone()),
        ("environment", key.environment.clone()),
        ("last four", or_none(&key.last_four)),
        ("state", state(key.state).to_owned()),
        ("roles", words(&key.roles)),
        ("scopes", key.scopes.as_ref().map_or_else(|| "-".to_owned(), |scopes| words(scopes))),
        ("issuer", or_none(&key.issuer)),
        ("subject", or_none(&key.subject)),
        ("networks", words(&key.networks)),
        ("expires", key.expires_at.map_or_else(|| "never".to_owned(), show::time)),
        ("created", show::time(key.created_at)),
    ];
    let rate = |limit: &wardgate_core::wire::RateLimitRecord| {
        format!("{} in {} s", limit.requests, limit.period_seconds)
    };
    let schedule = key.rotation.map(|it| {
        let next = show::time(it.next_at);
        format!("every {} s, grace {} s, next {next}", it.every_seconds, it.grace_seconds)
    });
    let waits = "since the last rotation; `apikey collect` shows it".to_owned();
    let optional = [
        ("rate limit", key.rate_limit.as_ref().map(rate)),
        ("description", key.description.clone()),
        ("metadata", Some(metadata.join(", ")).filter(|text| !text.is_empty())),
        ("imported", key.imported_prefix.clone().map(|prefix| format!("begins with {prefix}"))),
        ("rotation", schedule),
        ("rotated", key.rotated_at.map(show::time)),
        ("old secret until", key.previous_works_until.map(show::time)),
        ("new secret waits", key.waits_for_collection.then_some(waits)),
        ("revoked", key.revoked_at.map(show::time)),
    ];
    lines.extend(optional.into_iter().filter_map(|(name, text)| text.map(|text| (name, text))));
    lines
}

pub(super) fn words(words: &[String]) -> String {
    if words.is_empty() { "-".to_owned() } else { words.join(",") }
}

pub(super) fn state(state: ApiKeyState) -> &'static str {
    match state {
        ApiKeyState::Active => "active",
        ApiKeyState::Disabled => "disabled",
        ApiKeyState::Revoked => "revoked",
    }
}

pub(super) fn word(action: ApiKeyAction) -> &'static str {
    match action {
        ApiKeyAction::Disable => "disable",
        ApiKeyAction::Enable => "enable",
        ApiKeyAction::Revoke => "revoke",
    }
}
