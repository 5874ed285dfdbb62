//! What a gate holds, and how it changes.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use crate::audit::AuditBuffer;
use crate::base64url;
use crate::config::plugin::{PluginConfig, under_policy};
use crate::config::{Problem, Problems};
use crate::jwk::{KeyOrigin, KeySet};
use crate::policy::{Credential, Issuer, Policy};
use crate::reason::Reason;
use crate::secret::Secret;
use crate::time::UnixSeconds;
use crate::wire::{Snapshot, mac};

use super::api_keys::{Answered, Unknown};
use super::authenticate::Known;
use super::cache::{Cache, HashKeys};
use super::failures::FailureLimit;
use super::intake::{Field, canonical, is_credential_name};
use super::limit::Limiter;
use super::lookup::LookupGovernor;
use super::{Counters, Principal};

/// The audit events of one VM incarnation. It outlives the gates that write to it: a new
/// configuration must not lose what the old one has recorded.
pub type SharedAudit = Rc<RefCell<AuditBuffer>>;

/// Keys of the hash tables of a gate: random, fresh for each.
#[derive(Clone, Copy)]
pub struct Seed(pub [u64; 4]);

/// Decides requests. One per configuration and worker; shares nothing.
#[derive(Debug)]
pub struct Gate {
    pub(super) policy: Rc<Policy>,
    pub(super) realm: String,
    pub(super) health_path: String,
    pub(super) token_limit_bytes: usize,
    pub(super) anonymous: Rc<Principal>,
    pub(super) tokens: Cache<Known>,
    pub(super) refused_tokens: Cache<Reason>,
    pub(super) api_keys: Cache<Answered>,
    pub(super) unknown_api_keys: Cache<Unknown>,
    /// Ids that the sidecar is being asked for.
    pub(super) asking: HashSet<String>,
    pub(super) failures: FailureLimit,
    pub(super) lookups: LookupGovernor,
    pub(super) limiter: Limiter,
    pub(super) counters: Counters,
    pub(super) audit: Option<SharedAudit>,
    /// Keys by index of the issuer in the policy: those of the configuration and of the feed.
    pub(super) key_sets: Vec<KeySet>,
    pub(super) api_key_digest_key: Option<Secret>,
    /// What the monotonic clock showed last, in nanoseconds. Everything that waits, expires or ages
    /// here goes by it: a wall clock that is set back would make what is old young.
    pub(super) monotonic_nanoseconds: u64,
    configured_keys: Vec<KeySet>,
    feed: Option<FeedState>,
}

/// What the gate knows of its feed.
#[derive(Debug)]
struct FeedState {
    max_stale_nanoseconds: u64,
    heard_nanoseconds: Option<u64>,
    generation: Option<String>,
    api_key_revision: Option<u64>,
}

/// Why a snapshot was not taken over; the gate goes on with what it had.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ApplySnapshotError {
    /// The digest key is not base64url of at least 32 bytes.
    #[error("the snapshot's api_key_digest_key is not base64url of at least 32 bytes")]
    DigestKey,
}

impl Gate {
    /// Builds a gate.
    ///
    /// `environment` looks up the variables that the configuration names; `audit` takes the events,
    /// where there is a sidecar to deliver them to.
    ///
    /// # Errors
    ///
    /// Every problem of the configuration, each with its path.
    pub fn new(
        config: &PluginConfig,
        environment: &dyn Fn(&str) -> Option<String>,
        seed: Seed,
        audit: Option<SharedAudit>,
    ) -> Result<Self, Problems> {
        let document = serde_json::Value::Object(config.policy.clone());
        let policy = Rc::new(Policy::read(&document).map_err(under_policy)?);
        let mut problems = Problems::new();
        let configured_keys = configured_keys(&policy, environment, &mut problems);
        check_feed(&policy, config, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let Seed([a, b, c, d]) = seed;
        let keys = HashKeys(a, b);
        let limits = &config.limits;
        let feed = config.feed.as_ref();
        Ok(Self {
            realm: config.realm.0.clone(),
            health_path: config.health_path.0.clone(),
            token_limit_bytes: limits.token_bytes.size(),
            anonymous: Rc::new(Principal::anonymous(policy.anonymous_grants())),
            tokens: Cache::new(limits.token_cache_bytes.size(), keys),
            refused_tokens: Cache::new(limits.refused_token_cache_bytes.size(), keys),
            api_keys: Cache::new(limits.api_key_cache_bytes.size(), keys),
            unknown_api_keys: Cache::new(limits.unknown_api_key_cache_bytes.size(), keys),
            asking: HashSet::new(),
            failures: FailureLimit::new(
                config.failure_limit.failures.0,
                config.failure_limit.period_seconds.0,
                (c, d),
            ),
            lookups: LookupGovernor::new(feed.map_or(0, |feed| feed.api_key_lookups_per_second.0)),
            limiter: Limiter::new(config, environment),
            counters: Counters::default(),
            audit,
            key_sets: configured_keys.clone(),
            configured_keys,
            api_key_digest_key: None,
            monotonic_nanoseconds: 0,
            feed: feed.map(|feed| FeedState {
                max_stale_nanoseconds: feed.max_stale_seconds.0.saturating_mul(1_000_000_000),
                heard_nanoseconds: None,
                generation: None,
                api_key_revision: None,
            }),
            policy,
        })
    }

    /// Tells the gate what the monotonic clock shows. Whoever runs a gate does so often, a few times
    /// per second at least; how exact limits and ages are depends on it.
    pub fn advance(&mut self, monotonic_nanoseconds: u64) {
        self.monotonic_nanoseconds = self.monotonic_nanoseconds.max(monotonic_nanoseconds);
    }

    /// Takes over what the sidecar said just now. Returns the issuers whose keys are no JWK Set:
    /// they go on with the keys that they had, and do not blind the gate for the others.
    ///
    /// # Errors
    ///
    /// [`ApplySnapshotError`] when nothing can be taken over.
    pub fn apply_snapshot(
        &mut self,
        snapshot: &Snapshot,
    ) -> Result<Vec<String>, ApplySnapshotError> {
        let mut skipped = Vec::new();
        let Some(feed) = &self.feed else { return Ok(skipped) };
        if feed.generation.as_ref() != Some(&snapshot.generation) {
            let digest_key = base64url::decode(snapshot.api_key_digest_key.as_bytes())
                .filter(|key| key.len() >= mac::MIN_SECRET_BYTES)
                .ok_or(ApplySnapshotError::DigestKey)?;
            self.key_sets = self.merged_keys(snapshot, &mut skipped);
            self.api_key_digest_key = Some(Secret::new(digest_key));
            // A verdict belongs to the keys that it was found with.
            self.tokens.clear();
            self.refused_tokens.clear();
        }
        let Some(feed) = &mut self.feed else { return Ok(skipped) };
        if feed.api_key_revision > Some(snapshot.api_key_revision) {
            // A store that was restored counts from where it was: what is held may be newer than it,
            // and knows nothing of what was revoked since.
            self.api_keys.clear();
            self.unknown_api_keys.clear();
        }
        // The sidecar lives: what opened the breaker is over.
        self.lookups.succeeded();
        feed.generation = Some(snapshot.generation.clone());
        feed.api_key_revision = Some(snapshot.api_key_revision);
        feed.heard_nanoseconds = Some(self.monotonic_nanoseconds);
        Ok(skipped)
    }

    /// The keys of each issuer: those of the configuration and those of the snapshot.
    fn merged_keys(&self, snapshot: &Snapshot, skipped: &mut Vec<String>) -> Vec<KeySet> {
        let mut merged = Vec::new();
        let sets = self.configured_keys.iter().zip(&self.key_sets);
        for (issuer, (configured, current)) in self.policy.issuers().iter().zip(sets) {
            let mut fetched = snapshot.key_sets.iter();
            let fetched = fetched.find(|set| set.issuer == issuer.rules.issuer);
            let parsed = fetched.map(|set| KeySet::parse(&set.jwks, KeyOrigin::Fetched));
            merged.push(match parsed {
                None => configured.clone(),
                Some(Ok((keys, _))) => configured.clone().merged(keys),
                Some(Err(_)) => {
                    skipped.push(issuer.rules.issuer.clone());
                    current.clone()
                }
            });
        }
        merged
    }

    /// Whether requests with a credential can be decided now.
    ///
    /// # Errors
    ///
    /// [`Reason::NotReady`] before the first snapshot, [`Reason::SidecarUnreachable`] when the last
    /// one is older than the configuration allows: a revocation may have been missed.
    pub fn feed_state(&self) -> Result<(), Reason> {
        let Some(feed) = &self.feed else { return Ok(()) };
        let heard = feed.heard_nanoseconds.ok_or(Reason::NotReady)?;
        if self.monotonic_nanoseconds.saturating_sub(heard) > feed.max_stale_nanoseconds {
            return Err(Reason::SidecarUnreachable);
        }
        Ok(())
    }

    /// Nanoseconds since the sidecar was last heard, if it ever was.
    pub fn feed_age_nanoseconds(&self) -> Option<u64> {
        let heard = self.feed.as_ref()?.heard_nanoseconds?;
        Some(self.monotonic_nanoseconds.saturating_sub(heard))
    }

    /// What was counted so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The audit events that wait to be delivered; none without a sidecar.
    pub fn audit(&self) -> Option<&SharedAudit> {
        self.audit.as_ref()
    }

    /// Counts a request that was refused because the proxy failed before the gate could decide.
    pub fn host_failed(&mut self) {
        self.counters.denied_for(Reason::HostFailure);
    }

    /// The bytes in use by caches and audit events.
    pub fn memory_bytes(&self) -> usize {
        let audit = self.audit.as_ref().and_then(|audit| audit.try_borrow().ok());
        let audit = audit.map_or(0, |audit| audit.bytes());
        let tokens = [self.tokens.bytes(), self.refused_tokens.bytes()];
        let keys = [self.api_keys.bytes(), self.unknown_api_keys.bytes()];
        tokens.into_iter().chain(keys).fold(audit, usize::saturating_add)
    }

    /// Names among `fields` of trailers that must not reach the upstream, which may merge trailers
    /// into the headers: those that only the gate may set, and those of credentials.
    pub fn forged<'a>(&self, fields: &[Field<'a>]) -> Vec<&'a [u8]> {
        let names = fields.iter().map(|(name, _)| *name);
        let is_forged = |name: &&[u8]| {
            let canonical = canonical(name);
            self.is_own_name(&canonical) || is_credential_name(&canonical)
        };
        names.filter(is_forged).collect()
    }

    /// What the revision of API keys was when the sidecar was last heard.
    pub(super) fn api_key_revision(&self) -> Option<u64> {
        self.feed.as_ref()?.api_key_revision
    }

    /// Whether only the gate may set the header of this canonical name.
    pub(super) fn is_own_name(&self, canonical: &[u8]) -> bool {
        canonical.starts_with(b"x-wardgate-")
            || canonical == b"txn-token"
            || self.policy.is_forwarded_name(canonical)
    }
}

/// The time in whole seconds.
pub(super) fn seconds(nanoseconds: u64) -> UnixSeconds {
    UnixSeconds(nanoseconds / 1_000_000_000)
}

/// The keys that stand in the configuration, by issuer.
fn configured_keys(
    policy: &Policy,
    environment: &dyn Fn(&str) -> Option<String>,
    problems: &mut Problems,
) -> Vec<KeySet> {
    let mut sets = Vec::new();
    for (index, issuer) in policy.issuers().iter().enumerate() {
        let mut problem = |key: &str, message: String| {
            problems.push(Problem { path: format!("policy.issuers[{index}].{key}"), message });
        };
        let mut set = KeySet::default();
        if let Some(jwks) = &issuer.jwks {
            match KeySet::parse(jwks, KeyOrigin::Configured) {
                Ok((keys, skipped)) => {
                    for key in skipped {
                        problem("jwks", key.to_string());
                    }
                    set = set.merged(keys);
                }
                Err(error) => problem("jwks", error.to_string()),
            }
        }
        if let Some(name) = &issuer.hmac_secret_env {
            match environment(name).and_then(|text| base64url::decode(text.trim().as_bytes())) {
                Some(secret) if secret.len() >= secret_bytes(issuer) => {
                    set = set.merged(KeySet::from_hmac_secret(Secret::new(secret)));
                }
                _ => problem(
                    "hmac_secret_env",
                    format!(
                        "the environment variable {name} must hold at least {} bytes as \
                         base64url, and be named in vm_config.environment_variables",
                        secret_bytes(issuer)
                    ),
                ),
            }
        }
        sets.push(set);
    }
    sets
}

/// The bytes that a secret of this issuer must have: those of the longest hash that it is used with
/// (RFC 7518 §3.2).
fn secret_bytes(issuer: &Issuer) -> usize {
    let algorithms = issuer.rules.algorithms.iter();
    algorithms.filter_map(|algorithm| algorithm.hmac_secret_bytes()).max().unwrap_or(32)
}

/// What the policy needs of the sidecar must be reachable, and the sidecar must have it.
fn check_feed(policy: &Policy, config: &PluginConfig, problems: &mut Problems) {
    for (index, issuer) in policy.issuers().iter().enumerate() {
        if issuer.jwks_uri.is_some() && issuer.jwks.is_none() {
            problems.push(Problem {
                path: format!("policy.issuers[{index}].jwks_uri"),
                message: "this version fetches no keys; give them in `jwks`".to_owned(),
            });
        }
    }
    if config.feed.is_some() {
        return;
    }
    for (index, issuer) in policy.issuers().iter().enumerate() {
        if issuer.jwks.is_none() && issuer.hmac_secret_env.is_none() {
            problems.push(Problem {
                path: format!("policy.issuers[{index}]"),
                message:
                    "has neither `jwks` nor `hmac_secret_env`, and there is no `feed` to bring keys"
                        .to_owned(),
            });
        }
    }
    if policy.has_global_limits() {
        problems.push(Problem {
            path: "feed".to_owned(),
            message: "required, because a route has a rate limit of `scope: global`, which the \
                      sidecar keeps"
                .to_owned(),
        });
    }
    if policy.takes(Credential::ApiKey) {
        problems.push(Problem {
            path: "feed".to_owned(),
            message: "required, because a route takes `api_key` and API keys are at the sidecar"
                .to_owned(),
        });
    }
}
