//! What the settings of filters are made of.

use std::sync::Arc;

use crate::desk::Desk;
use crate::feed::{SettingsParts, SettingsSource};
use crate::issuers::Issuers;
use crate::policy::PolicyDesk;
use crate::store::Answer;

/// Everything that settings are made of, where it is kept.
pub struct Live {
    /// Keys and records.
    pub desk: Arc<Desk>,
    /// The policy.
    pub policy: Arc<PolicyDesk>,
    /// The keys of other issuers.
    pub issuers: Arc<Issuers>,
}

impl SettingsSource for Live {
    fn parts(&self) -> Answer<'_, SettingsParts> {
        Box::pin(async {
            let served = self.policy.current().await?;
            // An entry of the log may tell of keys that another sidecar made. Without them the rest
            // of the settings is as good as before; they are read again soon.
            if let Err(error) = self.desk.refresh_signing_keys().await {
                tracing::warn!(%error, "signing keys cannot be read");
            }
            self.issuers.follow_policy(&served.sources);
            // Its own first: where the policy has this issuer with an address too, the first counts.
            let mut key_sets = vec![self.desk.own_key_set()];
            key_sets.extend(self.issuers.key_sets().await?);
            Ok(SettingsParts {
                api_key_digest_key: self.desk.digest_key().clone(),
                api_key_prefixes: self.desk.api_key_prefixes().await?,
                key_sets,
                policy: served.document,
            })
        })
    }
}
