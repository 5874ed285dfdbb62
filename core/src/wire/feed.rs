//! The bodies of the feed, version 1, as JSON; pieces of tables are bytes.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ApiKeyRecord, IssuerKeySet};
use crate::feed::{Fingerprint, Layout, Revocation};

/// The longest time that a question may wait for news, in milliseconds.
pub const MAX_WAIT_MILLISECONDS: u64 = 30_000;
/// Changes in one answer at most: what a filter can take in with a callback of a millisecond or, if
/// more have piled up, in a few.
pub const MAX_CHANGES: usize = 64;
/// How far behind a reader is told each change; one that is further behind loads the tables.
///
/// All pieces of a loading are asked for at the cursor where it began, so a loading that takes longer
/// than so many changes begins anew, and never ends if that goes on. A million records are thousands
/// of pieces: should they take a minute, 300 changes may come in each second of it. A sidecar keeps as
/// many in memory, encoded: 20,000 changes of API keys are some 10 MB.
pub const MAX_BEHIND: u64 = 20_000;
/// Bytes of a piece of a table; longer only if a single bucket is.
pub const PIECE_BYTES: usize = 64 * 1024;

/// Answer of [`super::FEED_PATH`], which is asked with `?cursor=…&settings=…&wait=…`: the cursor and
/// the generation of the settings that the filter has (either may be missing), and how long to wait
/// for news, in milliseconds.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FeedAnswer {
    /// Where to go on after [`Self::changes`].
    pub cursor: String,
    /// What comes after the cursor of the question, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// The settings, if they are others than those that the filter has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Settings>,
    /// The tables are to be loaded: the cursor is missing, too far behind, or of another log. The
    /// loading begins at [`Self::cursor`], and changes are asked for from there once it is done.
    #[serde(default)]
    pub reload: bool,
    /// How the tables are best laid out now.
    pub layouts: Layouts,
}

/// How the tables are laid out.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Layouts {
    /// The table of revocations.
    pub revocations: Layout,
    /// The table of API keys.
    pub api_keys: Layout,
}

/// A change of the log.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Change {
    /// Its place in the log.
    pub sequence: u64,
    /// What the log has there.
    #[serde(flatten)]
    pub entry: LogEntry,
}

/// An entry of the sidecar's change log, as JSON: written in one step with what it speaks of.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LogEntry {
    /// When it was made, by the clock of the sidecar, in milliseconds since the epoch.
    pub at_milliseconds: u64,
    /// What changed.
    #[serde(flatten)]
    pub kind: ChangeKind,
}

/// What changed.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum ChangeKind {
    /// Something is revoked.
    Revoked {
        /// What.
        revocation: Revocation,
    },
    /// An API key was made or changed.
    ApiKey {
        /// What its record is found by: [`Fingerprint::of_api_key`], or for a key that was made
        /// elsewhere [`Fingerprint::of_imported_api_key`].
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        fingerprint: Fingerprint,
        /// As it is now.
        record: Box<ApiKeyRecord>,
    },
    /// An API key is forgotten.
    ApiKeyGone {
        /// What its record was found by.
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        fingerprint: Fingerprint,
    },
    /// The settings are others; they come with the answer.
    Settings,
}

/// Everything that a filter needs beyond its configuration and the tables.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Settings {
    /// Changes whenever the rest does.
    pub generation: String,
    /// Key of the digests of API keys, base64url.
    pub api_key_digest_key: String,
    /// Prefixes of API keys that were made elsewhere.
    #[serde(default)]
    pub api_key_prefixes: Vec<String>,
    /// The keys of each issuer that the sidecar knows.
    pub key_sets: Vec<IssuerKeySet>,
    /// The policy, for filters that have none in their configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Map<String, Value>>,
}

/// Body of [`super::UNKNOWN_KEY_PATH`]: a token names a key that its issuer's set has not. The
/// sidecar asks the issuer, whose address it has from its policy and never from a token.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct UnknownKey {
    /// The `iss` of the token, which is an issuer of the policy.
    pub issuer: String,
    /// The `kid` of the token.
    pub key_id: String,
}
