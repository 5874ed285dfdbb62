//! What is asked to be revoked.

use std::borrow::Cow;

use aws_lc_rs::digest;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};
use wardgate_core::base64url;
use wardgate_core::feed::RevocationTarget;
use wardgate_core::time::UnixSeconds;
use wardgate_core::token::UnverifiedToken;
use zeroize::Zeroizing;

use super::{MAX_TOKEN_BYTES, RevokeError};

/// Body of `POST /admin/v1/revocations`.
#[derive(Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeRequest {
    /// What is revoked.
    pub target: RevokeTarget,
    /// Why, for those who read it later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who does it, for those who read it later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When nothing that it could match is alive any more, in seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// Only tokens issued until then are revoked, in seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_until: Option<u64>,
}

/// What is revoked, as it is asked.
pub enum RevokeTarget {
    /// An API key: `{"kind": "api_key", "name_or_id": "ci"}`.
    ApiKey {
        /// Its name or id.
        name_or_id: String,
    },
    /// The token itself: `{"kind": "token", "token": "eyJ…"}`.
    TokenText {
        /// In clear: goes into no log and no error.
        token: Zeroizing<String>,
    },
    /// All else, by its names.
    Named(RevocationTarget),
}

impl<'de> Deserialize<'de> for RevokeTarget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let members = value.as_object().map_or(0, serde_json::Map::len);
        match (text("kind"), text("name_or_id"), text("token")) {
            (Some("api_key"), Some(key), _) if members == 2 => {
                Ok(Self::ApiKey { name_or_id: key.to_owned() })
            }
            (Some("token"), _, Some(token)) if members == 2 => {
                Ok(Self::TokenText { token: Zeroizing::new(token.to_owned()) })
            }
            // The error of the parser would quote what stands there, and that may be a token.
            _ => serde_json::from_value(value).map(Self::Named).map_err(|_| {
                serde::de::Error::custom(
                    "`target` is none of: token (token, or issuer and token_id), token_digest \
                     (digest), session (issuer, session), subject (issuer, subject), client \
                     (issuer, client_id), signing_key (issuer, key_id), api_key (name_or_id)",
                )
            }),
        }
    }
}

impl JsonSchema for RevokeTarget {
    fn schema_name() -> Cow<'static, str> {
        "RevokeTarget".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let with_member = |kind: &str, name: &str| {
            json!({
                "type": "object",
                "properties": {"kind": {"const": kind}, name: {"type": "string"}},
                "required": ["kind", name],
                "additionalProperties": false,
            })
        };
        json_schema!({"anyOf": [
            with_member("api_key", "name_or_id"),
            with_member("token", "token"),
            generator.subschema_for::<RevocationTarget>(),
        ]})
    }
}

impl Serialize for RevokeTarget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::ApiKey { name_or_id } => {
                json!({"kind": "api_key", "name_or_id": name_or_id}).serialize(serializer)
            }
            Self::TokenText { token } => {
                json!({"kind": "token", "token": token.as_str()}).serialize(serializer)
            }
            Self::Named(target) => target.serialize(serializer),
        }
    }
}

/// The target that a token is, and its `exp`.
///
/// The token is not verified: whoever may revoke may revoke what they name, signed or not. A token
/// that somebody made up revokes what it names, or nothing; the answer says which it was.
pub(super) fn read_token(
    token: &str,
) -> Result<(RevocationTarget, Option<UnixSeconds>), RevokeError> {
    let token = token.trim();
    let read = UnverifiedToken::parse(token.as_bytes(), MAX_TOKEN_BYTES)
        .map_err(|_| RevokeError::Invalid("`token` is no token of the form that filters accept"))?;
    let target = if let Some(id) = read.unverified_token_id() {
        let (issuer, token_id) = (read.unverified_issuer().to_owned(), id.to_owned());
        RevocationTarget::Token { issuer, token_id }
    } else {
        let hash = digest::digest(&digest::SHA256, read.signing_input());
        RevocationTarget::TokenDigest { digest: base64url::encode(hash.as_ref()) }
    };
    Ok((target, Some(read.unverified_expires_at())))
}

pub(super) fn check_digest(digest: &str) -> Result<(), RevokeError> {
    let bytes = base64url::decode(digest.as_bytes()).map(|bytes| bytes.len());
    if bytes != Some(32) {
        return Err(RevokeError::Invalid("`digest` is not a SHA-256, as base64url"));
    }
    Ok(())
}
