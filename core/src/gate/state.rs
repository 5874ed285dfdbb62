//! What a gate holds, and how it changes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Value, json};

use crate::audit::AuditBuffer;
use crate::base64url;
use crate::config::plugin::{PluginConfig, under_policy};
use crate::config::{Problem, Problems};
use crate::feed::live::Member;
use crate::jwk::{KeyOrigin, KeySet};
use crate::policy::{Credential, Issuer, Policy};
use crate::reason::Reason;
use crate::secret::Secret;
use crate::time::UnixSeconds;
use crate::wire::feed::UnknownKey;
use crate::wire::mac::MIN_SECRET_BYTES;

use super::api_keys::Held;
use super::authenticate::Known;
use super::cache::{Cache, HashKeys};
use super::failures::FailureLimit;
use super::intake::{Field, canonical, is_credential_name};
use super::limit::Limiter;
use super::nonces::ProcessNonces;
use super::replays::Replays;
use super::settings::Taken;
use super::{Counters, Principal};

/// The audit events of one VM incarnation. It outlives the gates that write to it: a new
/// configuration must not lose what the old one has recorded.
pub type SharedAudit = Rc<RefCell<AuditBuffer>>;

/// The part of a VM in the feed, which its gates share.
pub type SharedMember = Rc<RefCell<Member>>;

/// Keys of the hash tables of a gate: random, fresh for each.
#[derive(Clone, Copy)]
pub struct Seed(pub [u64; 4]);

/// Decides requests. One per configuration and worker; shares with the others of its VM what
/// [`Around`] names.
#[derive(Debug)]
pub struct Gate {
    pub(super) policy: Rc<Policy>,
    pub(super) realm: String,
    pub(super) health_path: String,
    pub(super) token_limit_bytes: usize,
    pub(super) anonymous: Rc<Principal>,
    pub(super) tokens: Cache<Known>,
    pub(super) refused_tokens: Cache<Reason>,
    pub(super) api_keys: Cache<Held>,
    pub(super) failures: FailureLimit,
    pub(super) limiter: Limiter,
    pub(super) replays: Replays,
    pub(super) nonces: ProcessNonces,
    pub(super) counters: Counters,
    pub(super) audit: Option<SharedAudit>,
    /// Keys by index of the issuer in the policy: those of the configuration and of the feed.
    pub(super) key_sets: Vec<KeySet>,
    pub(super) api_key_digest_key: Option<Secret>,
    /// What the monotonic clock showed last, in nanoseconds. Everything that waits, expires or ages
    /// here goes by it: a wall clock that is set back would make what is old young.
    pub(super) monotonic_nanoseconds: u64,
    pub(super) configured_keys: Vec<KeySet>,
    pub(super) api_key_prefixes: Vec<String>,
    pub(super) requests: u64,
    pub(super) feed: Option<SharedMember>,
    /// Whether the configuration has a feed.
    awaits_feed: bool,
    pub(super) taken: Taken,
    pub(super) environment: Environment,
    /// Whether the policy is that of the configuration.
    pub(super) has_own_policy: bool,
    /// Whether there is a policy at all: it may not have come yet.
    pub(super) has_policy: bool,
    unknown_keys: Vec<UnknownKey>,
    /// When the sidecar was told last of a key that the issuer of this index has not.
    unknown_told: BTreeMap<usize, u64>,
}

type Find = dyn Fn(&str) -> Option<String>;

/// Looks up the environment variables that a configuration or a policy names.
#[derive(Clone)]
pub struct Environment(Rc<Find>);

impl Environment {
    /// An environment.
    pub fn new(find: impl Fn(&str) -> Option<String> + 'static) -> Self {
        Self(Rc::new(find))
    }

    pub(super) fn find(&self, name: &str) -> Option<String> {
        (self.0)(name)
    }
}

/// Shows nothing: the environment holds secrets.
impl core::fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("Environment(…)")
    }
}

/// What a gate has in common with others.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// Takes the events, where there is a sidecar to deliver them to.
    pub audit: Option<SharedAudit>,
    /// The part of this VM in the feed, where there is one.
    pub feed: Option<SharedMember>,
}

impl Gate {
    /// Builds a gate.
    ///
    /// `environment` looks up the variables that the configuration names. A configuration with a
    /// `feed` needs the part of this VM in it, too; without one it is never ready.
    ///
    /// # Errors
    ///
    /// Every problem of the configuration, each with its path.
    pub fn new(
        config: &PluginConfig,
        environment: Environment,
        seed: Seed,
        around: Around,
    ) -> Result<Self, Problems> {
        let policy = Rc::new(match config.policy.clone() {
            Some(document) => Policy::read(&Value::Object(document)).map_err(under_policy)?,
            None => no_policy().map_err(under_policy)?,
        });
        let mut problems = Problems::new();
        let configured_keys = configured_keys(&policy, &environment, &mut problems);
        let mut problems: Problems = under_policy(problems);
        check_feed(&policy, config, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let Seed([a, b, c, d]) = seed;
        let secret = shared_secret(config, &environment);
        let keys = HashKeys(a, b);
        let (limits, failures) = (&config.limits, &config.failure_limit);
        let has_policy = config.policy.is_some();
        Ok(Self {
            realm: config.realm.0.clone(),
            health_path: config.health_path.0.clone(),
            token_limit_bytes: limits.token_bytes.size(),
            anonymous: Rc::new(Principal::anonymous(policy.anonymous_grants())),
            tokens: Cache::new(limits.token_cache_bytes.size(), keys),
            refused_tokens: Cache::new(limits.refused_token_cache_bytes.size(), keys),
            api_keys: Cache::new(limits.api_key_cache_bytes.size(), keys),
            failures: FailureLimit::new(failures.failures.0, failures.period_seconds.0, (c, d)),
            limiter: Limiter::new(&secret),
            replays: Replays::new(&secret),
            nonces: ProcessNonces::new(&secret, seed),
            counters: Counters::default(),
            requests: 0,
            audit: around.audit,
            key_sets: configured_keys.clone(),
            configured_keys,
            api_key_digest_key: None,
            api_key_prefixes: Vec::new(),
            unknown_keys: Vec::new(),
            unknown_told: BTreeMap::new(),
            monotonic_nanoseconds: 0,
            feed: config.feed.as_ref().and(around.feed),
            awaits_feed: config.feed.is_some(),
            taken: Taken::default(),
            environment,
            has_own_policy: has_policy,
            has_policy,
            policy,
        })
    }

    /// Tells the gate what the monotonic clock shows. Whoever runs a gate does so often, a few times
    /// per second at least; how exact limits and ages are depends on it.
    pub fn advance(&mut self, monotonic_nanoseconds: u64) {
        self.monotonic_nanoseconds = self.monotonic_nanoseconds.max(monotonic_nanoseconds);
    }

    /// Whether requests with a credential can be decided now.
    ///
    /// # Errors
    ///
    /// [`Reason::NotReady`] before everything is loaded, [`Reason::SidecarUnreachable`] when the
    /// sidecar was last heard longer ago than the configuration allows, [`Reason::FeedUnreadable`]
    /// when what has changed cannot be read: a revocation may have been missed.
    pub fn feed_state(&self) -> Result<(), Reason> {
        if !self.has_policy {
            return Err(Reason::NotReady);
        }
        let Some(feed) = &self.feed else {
            return if self.awaits_feed { Err(Reason::NotReady) } else { Ok(()) };
        };
        let feed = feed.try_borrow().map_err(|_| Reason::HostFailure)?;
        // Without the settings of the feed there is no key to verify with.
        self.taken.changes.ok_or(Reason::NotReady)?;
        feed.replica().state(self.monotonic_nanoseconds)
    }

    /// Nanoseconds since the sidecar was last heard, if it ever was.
    pub fn feed_age_nanoseconds(&self) -> Option<u64> {
        let feed = self.feed.as_ref()?.try_borrow().ok()?;
        feed.replica().age_nanoseconds(self.monotonic_nanoseconds)
    }

    /// How many requests were decided.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Keys that tokens of known issuers name and that nobody has, for the sidecar to look for.
    pub fn take_unknown_keys(&mut self) -> Vec<UnknownKey> {
        core::mem::take(&mut self.unknown_keys)
    }

    /// Notes that a token of a known issuer names a key that nobody has, now and then: whoever
    /// makes tokens up must not make the sidecar ask its issuers all day.
    pub(super) fn note_unknown_key(&mut self, issuer: usize, name: &str, key_id: &str) {
        const PATIENCE_NANOSECONDS: u64 = 5_000_000_000;
        let now = self.monotonic_nanoseconds;
        let told = self.unknown_told.get(&issuer);
        let is_due = told.is_none_or(|told| now.saturating_sub(*told) >= PATIENCE_NANOSECONDS);
        if is_due && self.feed.is_some() {
            self.unknown_told.insert(issuer, now);
            let (issuer, key_id) = (name.to_owned(), key_id.to_owned());
            self.unknown_keys.push(UnknownKey { issuer, key_id });
        }
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

    /// The bytes in use by caches, audit events and what is held of the feed's tables.
    pub fn memory_bytes(&self) -> usize {
        let audit = self.audit.as_ref().and_then(|audit| audit.try_borrow().ok());
        let audit = audit.map_or(0, |audit| audit.bytes());
        let feed = self.feed.as_ref().and_then(|feed| feed.try_borrow().ok());
        let feed = feed.map_or(0, |feed| feed.replica().figures().bytes);
        let caches = [self.tokens.bytes(), self.refused_tokens.bytes(), self.api_keys.bytes()];
        caches.into_iter().fold(audit.saturating_add(feed), usize::saturating_add)
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

    /// Whether only the gate may set the header of this canonical name.
    pub(super) fn is_own_name(&self, canonical: &[u8]) -> bool {
        canonical.starts_with(b"x-wardgate-")
            || canonical == b"txn-token"
            || self.policy.is_forwarded_name(canonical)
    }
}

/// What serves until a policy comes by the feed.
fn no_policy() -> Result<Policy, Problems> {
    Policy::read(&json!({"version": 1, "routes": []}))
}

/// What protects values in the memory that workers share: the feed secret. Without a feed there is
/// none: then whoever else may write to that memory can forge what stands there.
fn shared_secret(config: &PluginConfig, environment: &Environment) -> Secret {
    let secret = config.feed.as_ref().and_then(|feed| environment.find(&feed.secret_env));
    let secret = secret.and_then(|text| base64url::decode(text.trim().as_bytes()));
    let secret = secret.filter(|secret| secret.len() >= MIN_SECRET_BYTES);
    Secret::new(secret.unwrap_or_else(|| b"wardgate without a feed".to_vec()))
}

/// The time in whole seconds.
pub(super) fn seconds(nanoseconds: u64) -> UnixSeconds {
    UnixSeconds(nanoseconds / 1_000_000_000)
}

/// The keys that stand in the configuration, by issuer.
pub(super) fn configured_keys(
    policy: &Policy,
    environment: &Environment,
    problems: &mut Problems,
) -> Vec<KeySet> {
    let mut sets = Vec::new();
    for (index, issuer) in policy.issuers().iter().enumerate() {
        let mut problem = |key: &str, message: String| {
            problems.push(Problem { path: format!("issuers[{index}].{key}"), message });
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
            match environment.find(name).and_then(|text| base64url::decode(text.trim().as_bytes()))
            {
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
