//! Taking in API keys that were made elsewhere, by the SHA-256 of each.
//!
//! Such a key has no checksum and no id of ours, so its record is found by a fingerprint of the
//! SHA-256, and filters take for such keys what begins with one of the declared prefixes.

use std::collections::{BTreeMap, HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wardgate_core::api_key::ApiKeyDigest;
use wardgate_core::base64url;
use wardgate_core::feed::Fingerprint;
use wardgate_core::wire::{ApiKeyRecord, ApiKeyState, RateLimitRecord};

use super::{ApiKeyError, MAX_TRIES, check};
use crate::desk::Desk;
use crate::store::records::api_keys::{ApiKeyDetails, ImportedApiKey};
use crate::store::records::{StoredApiKey, api_keys};
use crate::store::{StoreError, Transaction};

/// Keys of one batch. Each is five operations of a transaction, which may have 4,096.
pub const MAX_IMPORT_BATCH: usize = 500;
/// Prefixes in all: a filter tries each on every key that is shown to it.
const MAX_PREFIXES: usize = 16;
/// Longest prefix; the rest of the key is the secret.
const MAX_PREFIX_BYTES: usize = 32;
/// What keys of ours begin with.
const OUR_PREFIX: &str = "wg_";

/// A key that was made elsewhere.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ImportApiKey {
    /// The name that bindings (`api_key:NAME`) and audit events use.
    #[schemars(regex(pattern = "^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$"))]
    pub name: String,
    /// SHA-256 of the whole key, prefix included: 64 hexadecimal digits, or base64url.
    #[schemars(regex(pattern = "^([0-9A-Fa-f]{64}|[A-Za-z0-9_-]{43})$"))]
    pub sha256: String,
    /// What the key begins with.
    #[schemars(length(min = 1, max = 32))]
    pub prefix: String,
    /// The environment, as of keys of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Issuer of the owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Subject of the owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The roles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// The scopes that restrict the key; nothing restricts when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// When it stops working, in seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// The networks that it may be used from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// How often it may be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimitRecord>,
    /// What the owner keeps with it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// What the key is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The last letters of the key, to be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_four: Option<String>,
}

/// A batch of keys.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ImportApiKeys {
    /// At most [`MAX_IMPORT_BATCH`].
    #[schemars(length(max = 500))]
    pub api_keys: Vec<ImportApiKey>,
}

/// What became of a batch.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Imported {
    /// Keys that are there now and were not before.
    pub imported: u64,
    /// Keys that had been imported before.
    pub unchanged: u64,
    /// Keys that were not imported.
    pub problems: Vec<ImportProblem>,
}

/// Why a key was not imported.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ImportProblem {
    /// Its place in the batch, from 0.
    pub index: usize,
    /// What is wrong.
    pub problem: String,
}

impl ImportApiKey {
    /// Checks all that can be said without looking at other keys, and reads the SHA-256.
    ///
    /// # Errors
    ///
    /// [`ApiKeyError::Invalid`] with what is wrong.
    pub fn check(&self) -> Result<[u8; 32], ApiKeyError> {
        check::name(&self.name)?;
        check::notes(self.description.as_deref(), &self.metadata)?;
        prefix(&self.prefix)?;
        let environment = self.environment.as_deref().unwrap_or(DEFAULT_ENVIRONMENT);
        let right = (1..=16).contains(&environment.len())
            && environment.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if !right {
            return Err(ApiKeyError::Invalid("`environment` is not 1 to 16 of a-z and 0-9"));
        }
        if self.last_four.as_ref().is_some_and(|it| it.len() > 4 || !it.is_ascii()) {
            return Err(ApiKeyError::Invalid("`last_four` is at most 4 letters"));
        }
        let sha256 = sha256(&self.sha256).ok_or(ApiKeyError::Invalid(
            "`sha256` is not 64 hexadecimal digits or 43 letters of base64url",
        ))?;
        let digest = ApiKeyDigest::from_bytes([0; 32]);
        check::record(&self.record(&sha256, &digest))?;
        Ok(sha256)
    }

    fn record(&self, sha256: &[u8; 32], digest: &ApiKeyDigest) -> ApiKeyRecord {
        ApiKeyRecord {
            // Known from the key alone, so that a second import finds the first. It tells nothing of
            // the key: a fingerprint is a hash of its hash.
            id: Fingerprint::of_imported_api_key(sha256).text(),
            environment: self.environment.clone().unwrap_or(DEFAULT_ENVIRONMENT.to_owned()),
            name: self.name.clone(),
            digest: digest.text(),
            issuer: self.issuer.clone(),
            subject: self.subject.clone(),
            roles: self.roles.clone(),
            scopes: self.scopes.clone(),
            expires_at: self.expires_at,
            state: ApiKeyState::Active,
            previous: None,
            networks: self.networks.clone(),
            rate_limit: self.rate_limit,
        }
    }
}

/// The environment of an imported key that names none.
const DEFAULT_ENVIRONMENT: &str = "live";

/// Visible letters; a comma or a space would be two header values or a mistake of the file.
fn prefix(text: &str) -> Result<(), ApiKeyError> {
    let right = (1..=MAX_PREFIX_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
    if !right {
        return Err(ApiKeyError::Invalid("`prefix` is not 1 to 32 letters, digits and signs"));
    }
    // What could be a key of ours must be taken for one: it has a checksum and an id.
    if text.starts_with(OUR_PREFIX) || OUR_PREFIX.starts_with(text) {
        return Err(ApiKeyError::Invalid("`prefix` must not begin with `wg_`, nor begin it"));
    }
    Ok(())
}

/// The bytes that 64 hexadecimal digits or 43 letters of base64url are.
fn sha256(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 {
        return base64url::decode(text.as_bytes())?.try_into().ok();
    }
    let mut bytes = [0; 32];
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|it| u8::try_from(it).ok());
    let (pairs, _) = text.as_bytes().as_chunks::<2>();
    for (to, [high, low]) in bytes.iter_mut().zip(pairs) {
        *to = (digit(high)? << 4) | digit(low)?;
    }
    Some(bytes)
}

/// The keys of a batch that are still to be written, with their places.
type Rest = Vec<(usize, StoredApiKey)>;

impl Desk {
    /// Takes in keys that were made elsewhere. Those that are there already, and those with a
    /// problem, do not hinder the others; done again, it changes nothing.
    ///
    /// # Errors
    ///
    /// [`ApiKeyError`] when the batch is too long or the store fails.
    pub async fn import_api_keys(&self, asked: ImportApiKeys) -> Result<Imported, ApiKeyError> {
        if asked.api_keys.len() > MAX_IMPORT_BATCH {
            return Err(ApiKeyError::Invalid("more than 500 keys in one batch"));
        }
        let mut done = Imported::default();
        let mut rest = self.checked(&asked.api_keys, &mut done);
        let prefixes: Vec<String> = rest.iter().filter_map(|(_, key)| prefix_of(key)).collect();
        let refused = self.declare_prefixes(&prefixes).await?;
        rest.retain(|(index, key)| {
            let problem = prefix_of(key).and_then(|prefix| refused.get(&prefix).copied());
            if let Some(problem) = problem {
                done.problem(*index, problem);
            }
            problem.is_none()
        });
        for _ in 0..MAX_TRIES {
            if rest.is_empty() {
                return Ok(done);
            }
            let mut transaction = Transaction::new();
            for (_, key) in &rest {
                transaction = api_keys::add_to(transaction, key, self.clock.now_milliseconds())?;
            }
            match self.store.commit(transaction).await {
                Ok(_) => {
                    done.imported = u64::try_from(rest.len()).unwrap_or(u64::MAX);
                    return Ok(done);
                }
                Err(StoreError::Conflict { .. }) => rest = self.missing(rest, &mut done).await?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Changed.into())
    }

    fn checked(&self, keys: &[ImportApiKey], done: &mut Imported) -> Rest {
        let now = self.clock.now();
        let mut rest = Vec::new();
        let (mut ids, mut names) = (HashSet::new(), HashSet::new());
        for (index, key) in keys.iter().enumerate() {
            let sha256 = match key.check() {
                Ok(sha256) => sha256,
                Err(error) => {
                    done.problem(index, &error.to_string());
                    continue;
                }
            };
            let digest = ApiKeyDigest::of_imported(&sha256, &self.digest_key);
            let record = key.record(&sha256, &digest);
            if !ids.insert(record.id.clone()) || !names.insert(record.name.clone()) {
                done.problem(index, "the name or the key stands twice in the batch");
                continue;
            }
            let details = ApiKeyDetails {
                last_four: key.last_four.clone(),
                description: key.description.clone(),
                metadata: key.metadata.clone(),
                imported: Some(ImportedApiKey {
                    prefix: key.prefix.clone(),
                    fingerprint: Fingerprint::of_imported_api_key(&sha256),
                }),
                ..ApiKeyDetails::default()
            };
            rest.push((index, StoredApiKey { record, created_at: now.0, details }));
        }
        rest
    }

    /// Those of which neither key nor name are there.
    async fn missing(&self, rest: Rest, done: &mut Imported) -> Result<Rest, ApiKeyError> {
        let mut missing = Vec::new();
        for (index, key) in rest {
            let record = &key.record;
            match api_keys::get(&*self.store, &record.id).await? {
                Some(stands) if stands.record.name == record.name => {
                    done.unchanged = done.unchanged.saturating_add(1);
                }
                Some(_) => done.problem(index, "the key is there already, under another name"),
                None if api_keys::id_of_name(&*self.store, &record.name).await?.is_some() => {
                    done.problem(index, &StoreError::NameTaken.to_string());
                }
                None => missing.push((index, key)),
            }
        }
        Ok(missing)
    }

    /// Declares the prefixes; returns those that are refused, each with the reason. Before the keys:
    /// a key whose prefix no filter knows is not taken for a key.
    async fn declare_prefixes(
        &self,
        prefixes: &[String],
    ) -> Result<BTreeMap<String, &'static str>, ApiKeyError> {
        for _ in 0..MAX_TRIES {
            let before = api_keys::prefixes(&*self.store).await?;
            let mut after = before.clone();
            let mut refused = BTreeMap::new();
            for prefix in prefixes {
                match joins(&after, prefix) {
                    Ok(true) => after.push(prefix.clone()),
                    Ok(false) => {}
                    Err(problem) => {
                        refused.insert(prefix.clone(), problem);
                    }
                }
            }
            if after == before {
                return Ok(refused);
            }
            let now = self.clock.now_milliseconds();
            match api_keys::set_prefixes(&*self.store, &before, &after, now).await {
                Ok(()) => return Ok(refused),
                Err(StoreError::Changed) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Changed.into())
    }
}

impl Imported {
    fn problem(&mut self, index: usize, problem: &str) {
        self.problems.push(ImportProblem { index, problem: problem.to_owned() });
    }
}

fn prefix_of(key: &StoredApiKey) -> Option<String> {
    key.details.imported.as_ref().map(|imported| imported.prefix.clone())
}

/// Whether the prefix is new among these.
fn joins(known: &[String], prefix: &str) -> Result<bool, &'static str> {
    if known.iter().any(|known| known == prefix) {
        return Ok(false);
    }
    // One text must not be two kinds of key.
    let begins = |known: &String| known.starts_with(prefix) || prefix.starts_with(known.as_str());
    if known.iter().any(begins) {
        return Err("`prefix` begins another one, or another one begins it");
    }
    if known.len() >= MAX_PREFIXES {
        return Err("there are 16 prefixes already");
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::{joins, prefix, sha256};

    #[test]
    fn a_prefix_is_not_ours_and_begins_no_other() {
        for wrong in ["", "w", "wg", "wg_", "wg_live_", "a b", "a,b", "é", &"a".repeat(33)] {
            assert!(prefix(wrong).is_err(), "{wrong}");
        }
        let known = ["sk_live_".to_owned(), "acme-".to_owned()];
        for (text, expected) in
            [("sk_live_", Ok(false)), ("sk_test_", Ok(true)), ("sk_", Err(())), ("acme-x", Err(()))]
        {
            assert!(prefix(text).is_ok(), "{text}");
            assert_eq!(joins(&known, text).map_err(|_| ()), expected, "{text}");
        }
        let many: Vec<String> = ('a'..='p').map(String::from).collect();
        assert!(joins(&many, "q").is_err() && joins(&many, "a") == Ok(false));
    }

    #[test]
    fn a_sha256_is_written_in_one_of_two_ways() {
        let hex = "00FFab".to_owned() + &"0".repeat(58);
        let bytes = sha256(&hex).unwrap();
        assert_eq!(&bytes[..3], [0, 0xff, 0xab]);
        assert_eq!(sha256(&wardgate_core::base64url::encode(&bytes)), Some(bytes));
        for wrong in ["", "00", &"g".repeat(64), &"é".repeat(32), &"A".repeat(42)] {
            assert_eq!(sha256(wrong), None, "{wrong}");
        }
    }
}
