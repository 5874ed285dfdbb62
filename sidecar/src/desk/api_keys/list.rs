//! Looking through the API keys, a page at a time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wardgate_core::time::UnixSeconds;
use wardgate_core::wire::ApiKeyState;

use super::ApiKeyError;
use super::view::ApiKeyView;
use crate::desk::Desk;
use crate::store::records::{StoredApiKey, api_keys};
use crate::usage;

/// Some API keys.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct ApiKeyList {
    /// Those of this page that were asked for; there may be none.
    pub api_keys: Vec<ApiKeyView>,
    /// Where the next page begins; `null` at the end.
    #[serde(default)]
    pub next: Option<String>,
}

/// Which API keys are wanted.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiKeyFilter {
    /// Where the page begins; the first if missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// In this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<ApiKeyState>,
    /// Of an owner of this issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Of this subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// That end within so many seconds and are neither revoked nor ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiring_within_seconds: Option<u64>,
    /// That were made, and not used, for so many days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unused_days: Option<u64>,
    /// Whose new secret waits for its owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<bool>,
}

impl ApiKeyFilter {
    fn takes(&self, key: &StoredApiKey, now: UnixSeconds) -> bool {
        let record = &key.record;
        let expiring = |within: u64| {
            record.state != ApiKeyState::Revoked
                && record.expires_at.is_some_and(|at| (now.0..=now.plus(within).0).contains(&at))
        };
        let same =
            |asked: &Option<String>, found: &Option<String>| asked.is_none() || asked == found;
        self.state.is_none_or(|state| record.state == state)
            && same(&self.issuer, &record.issuer)
            && same(&self.subject, &record.subject)
            && self.expiring_within_seconds.is_none_or(expiring)
            && self.waiting.is_none_or(|waiting| key.details.waiting.is_some() == waiting)
    }
}

impl Desk {
    /// A page of the API keys: those of it that are wanted, which may be none.
    ///
    /// # Errors
    ///
    /// [`ApiKeyError`] when the store fails.
    pub async fn api_keys(&self, filter: &ApiKeyFilter) -> Result<ApiKeyList, ApiKeyError> {
        let now = self.clock.now();
        let (keys, next) = api_keys::page(&*self.store, filter.cursor.clone()).await?;
        let mut found = Vec::new();
        for key in keys.into_iter().filter(|key| filter.takes(key, now)) {
            let mut view = ApiKeyView::of(key, now);
            if let Some(days) = filter.unused_days {
                let used = usage::last_use(&*self.store, &view.id).await?;
                view.last_used_at = used.map(|used| used.at);
                let since = view.last_used_at.unwrap_or(view.created_at).max(view.created_at);
                if since > now.0.saturating_sub(days.saturating_mul(86_400)) {
                    continue;
                }
            }
            found.push(view);
        }
        Ok(ApiKeyList { api_keys: found, next })
    }
}
