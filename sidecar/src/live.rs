//! What the settings of filters are made of.

use std::sync::Arc;

use crate::desk::Desk;
use crate::feed::{SettingsParts, SettingsSource};
use crate::store::Answer;

/// Everything that settings are made of, where it is kept.
pub struct Live {
    /// Keys and records.
    pub desk: Arc<Desk>,
    /// The policy.
    pub policy: serde_json::Map<String, serde_json::Value>,
}

impl SettingsSource for Live {
    fn parts(&self) -> Answer<'_, SettingsParts> {
        Box::pin(async {
            Ok(SettingsParts {
                api_key_digest_key: self.desk.digest_key().clone(),
                api_key_prefixes: Vec::new(),
                key_sets: vec![self.desk.own_key_set()],
                policy: self.policy.clone(),
            })
        })
    }
}
