//! What is taken over of a key set that was fetched.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use wardgate_core::json::parse_strict;
use wardgate_core::jwk::{KeyOrigin, KeySet, ParseKeySetError};

/// Members of a key that filters need. Certificates, which can be as long as all the rest, are not.
const MEMBERS: [&str; 10] = ["kty", "kid", "use", "alg", "key_ops", "crv", "x", "y", "n", "e"];

/// A key set at rest.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct StoredKeySet {
    pub(super) issuer: String,
    /// The usable keys, each with the members that filters need, in an order that is always the same.
    pub(super) jwks: Map<String, Value>,
    /// When the issuer was heard last, in seconds since the epoch.
    pub(super) fetched_at: u64,
    /// When it is to be asked again.
    pub(super) ask_again_at: u64,
}

/// Why a document is no key set.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum KeySetError {
    #[error("it is no JSON object without repeated names")]
    Json,
    #[error(transparent)]
    Form(#[from] ParseKeySetError),
    #[error("none of its {0} keys can be used")]
    NoKey(usize),
    #[error("its `issuer` is another one")]
    OtherIssuer,
    #[error("its `jwks_uri` is missing or not an https:// URL")]
    NoUri,
}

/// Reads a key set. Keys that no filter would use are left out and told of; a set without any usable
/// key is refused: it is more often a mistake of the issuer than the wish that nobody log in.
pub(super) fn read(issuer: &str, body: &[u8]) -> Result<Map<String, Value>, KeySetError> {
    let Ok(Value::Object(set)) = parse_strict(body) else { return Err(KeySetError::Json) };
    let (_, skipped) = KeySet::parse(&set, KeyOrigin::Fetched)?;
    let keys = set.get("keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut usable = Vec::new();
    for (index, key) in keys.iter().enumerate() {
        match skipped.iter().find(|skipped| skipped.index == index) {
            Some(skipped) => tracing::debug!(issuer, %skipped, "a key of an issuer is not used"),
            None => usable.extend(key.as_object().map(needed)),
        }
    }
    if usable.is_empty() {
        return Err(KeySetError::NoKey(keys.len()));
    }
    // Some issuers shuffle their keys. Filters would take that for new keys, each time.
    usable.sort_by_key(|key| Value::Object(key.clone()).to_string());
    let mut kept = Map::new();
    kept.insert("keys".to_owned(), json!(usable));
    Ok(kept)
}

fn needed(key: &Map<String, Value>) -> Map<String, Value> {
    let member = |name: &str| Some((name.to_owned(), key.get(name)?.clone()));
    MEMBERS.iter().filter_map(|name| member(name)).collect()
}

/// The `jwks_uri` of the metadata of this issuer (OIDC Discovery 1.0 §4.3).
pub(super) fn jwks_uri(issuer: &str, body: &[u8]) -> Result<String, KeySetError> {
    let Ok(Value::Object(metadata)) = parse_strict(body) else { return Err(KeySetError::Json) };
    // Equal to the last letter: whoever can put a document at one path of a host must not speak for
    // an issuer at another.
    if metadata.get("issuer").and_then(Value::as_str) != Some(issuer) {
        return Err(KeySetError::OtherIssuer);
    }
    let uri = metadata.get("jwks_uri").and_then(Value::as_str);
    uri.map(str::to_owned).ok_or(KeySetError::NoUri)
}
