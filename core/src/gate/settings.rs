//! What the sidecar's settings change in a gate.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde_json::Value;

use crate::base64url;
use crate::config::Problems;
use crate::feed::Fingerprint;
use crate::jwk::{KeyOrigin, KeySet};
use crate::policy::Policy;
use crate::secret::Secret;
use crate::wire::feed::Settings;
use crate::wire::mac;

use super::state::configured_keys;
use super::{Gate, Principal};

/// Prefixes of imported keys that are looked at: each is compared with every key that is not ours.
const MAX_PREFIXES: usize = 64;

/// What was taken over from the feed.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// At which count of changes.
    pub(super) changes: Option<u64>,
    /// The policy that was looked at last, good or bad.
    policy: Option<Fingerprint>,
    /// The keys of each issuer, as they were last good.
    keys: BTreeMap<String, KeySet>,
}

impl Gate {
    /// Takes over new settings of the feed, if there are any. Returns what is wrong with them, for
    /// the log: the gate then goes on with what it had.
    pub fn take_settings(&mut self) -> Vec<String> {
        let mut problems = Vec::new();
        let Some(feed) = self.feed_handle() else { return problems };
        let Ok(feed) = feed.try_borrow() else { return problems };
        let Some((changes, settings)) = feed.replica().settings() else { return problems };
        if self.taken.changes == Some(changes) {
            return problems;
        }
        let settings = Rc::clone(settings);
        self.taken.changes = Some(changes);
        drop(feed);
        self.take_policy(&settings, &mut problems);
        self.take_keys(&settings, &mut problems);
        let prefixes = settings.api_key_prefixes.iter().take(MAX_PREFIXES);
        self.api_key_prefixes = prefixes.cloned().collect();
        problems
    }

    /// Takes over the policy, where the configuration has none. A bad one is refused as a whole,
    /// and the one that is there serves.
    fn take_policy(&mut self, settings: &Settings, problems: &mut Vec<String>) {
        let Some(document) = settings.policy.as_ref().filter(|_| !self.has_own_policy) else {
            return;
        };
        let document = Value::Object(document.clone());
        let digest = Fingerprint::of("policy", &[document.to_string().as_bytes()]);
        if self.taken.policy == Some(digest) {
            return;
        }
        self.taken.policy = Some(digest);
        let mut found = Problems::new();
        let policy = match Policy::read(&document) {
            Ok(policy) => policy,
            Err(mut wrong) => {
                found.append(&mut wrong);
                return report(&found, problems);
            }
        };
        let keys = configured_keys(&policy, &self.environment, &mut found);
        if !found.is_empty() {
            return report(&found, problems);
        }
        self.policy = Rc::new(policy);
        self.has_policy = true;
        self.configured_keys = keys;
        self.anonymous = Rc::new(Principal::anonymous(self.policy.anonymous_grants()));
        // What they may do is of the policy that was.
        self.api_keys.clear();
    }

    fn take_keys(&mut self, settings: &Settings, problems: &mut Vec<String>) {
        let digest_key = base64url::decode(settings.api_key_digest_key.as_bytes())
            .filter(|key| key.len() >= mac::MIN_SECRET_BYTES)
            .map(Secret::new);
        match digest_key {
            Some(key) if self.api_key_digest_key.as_ref() == Some(&key) => {}
            Some(key) => {
                self.api_key_digest_key = Some(key);
                self.api_keys.clear();
            }
            None => problems.push(
                "the settings' api_key_digest_key is not base64url of at least 32 bytes".to_owned(),
            ),
        }
        let (mut keys, mut seen) = (BTreeMap::new(), BTreeSet::new());
        for set in &settings.key_sets {
            // The sidecar's own come first: keys that a fetched document has for its issuer must not
            // stand in their place, or whoever answers there could sign its tokens.
            if !seen.insert(&set.issuer) {
                continue;
            }
            if let Ok((parsed, _)) = KeySet::parse(&set.jwks, KeyOrigin::Fetched) {
                keys.insert(set.issuer.clone(), parsed);
            } else {
                problems.push(format!("the sidecar's keys of {} are no JWK Set", set.issuer));
                keys.extend(self.taken.keys.remove_entry(&set.issuer));
            }
        }
        // Issuers that left are gone with what is replaced here.
        self.taken.keys = keys;
        self.key_sets = self.merged_keys();
        // A verdict belongs to the keys that it was found with.
        self.tokens.clear();
        self.refused_tokens.clear();
    }

    /// The keys of each issuer of the policy: those of the configuration and those of the feed.
    fn merged_keys(&self) -> Vec<KeySet> {
        let issuers = self.policy.issuers().iter().zip(&self.configured_keys);
        let merged =
            issuers.map(|(issuer, configured)| match self.taken.keys.get(&issuer.rules.issuer) {
                Some(fetched) => configured.clone().merged(fetched.clone()),
                None => configured.clone(),
            });
        merged.collect()
    }
}

fn report(found: &Problems, problems: &mut Vec<String>) {
    problems.push("the sidecar's policy is refused, and the one before serves".to_owned());
    problems.extend(found.iter().map(|problem| format!("the sidecar's policy: {problem}")));
}
