//! What a token is, and what a filter would say of it.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use wardgate_core::api_key::ApiKey;
use wardgate_core::base64url;
use wardgate_core::gate::revocation_targets;
use wardgate_core::json::parse_strict;
use wardgate_core::jwk::{KeyOrigin, KeySet};
use wardgate_core::policy::{Issuer, Policy};
use wardgate_core::reason::Reason;
use wardgate_core::time::UnixSeconds;
use wardgate_core::token::{
    IssuerRules, SoftwareSignatures, UnverifiedToken, VerifiedToken, check_claims, verify,
};
use wardgate_core::wire::IssuerKeySet;
use zeroize::Zeroizing;

use super::{Desk, RevocationView, SigningKeyView};
use crate::families::{Families, FamilyView};
use crate::store::records::StoredRevocation;
use crate::store::{StoreError, Table};

/// What refresh tokens begin with.
const REFRESH_TOKEN_PREFIX: &str = "wgr_";
/// Longest token that is read, as long as the longest that any gate takes.
const MAX_TOKEN_BYTES: usize = 64 * 1024;

/// Body of `POST /admin/v1/tokens/inspect`.
#[derive(Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct InspectToken {
    /// The token. Goes into no log, no error and no answer.
    #[serde(deserialize_with = "wiped", serialize_with = "in_clear")]
    #[schemars(with = "String")]
    pub token: Zeroizing<String>,
}

fn wiped<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

fn in_clear<S: Serializer>(token: &Zeroizing<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(token)
}

/// What a token is.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TokenInspection {
    /// A JSON Web Token (RFC 7519).
    Jwt(Box<JwtInspection>),
    /// An API key.
    ApiKey {
        /// Its id, which is no secret.
        id: String,
    },
    /// A refresh token.
    RefreshToken {
        /// Whether its client could use it now: it is the newest of its session, and the session is
        /// neither over nor ended.
        usable: bool,
        /// The session; of a token that can be used only. Of one that was used nothing is said, as
        /// of one that was made up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<Box<FamilyView>>,
    },
    /// None of these.
    Unknown {
        /// Why it is no JSON Web Token, as a filter says it.
        verdict: Verdict,
    },
}

/// What a JSON Web Token is.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct JwtInspection {
    /// Its header.
    pub header: Map<String, Value>,
    /// Its claims.
    pub claims: Map<String, Value>,
    /// Whether a key of its issuer signed it.
    pub signature: Signature,
    /// The key of this sidecar that it names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<SigningKeyView>,
    /// The revocations that it meets; none is looked for when the signature is not good.
    pub revocations: Vec<RevocationView>,
    /// What a filter with the policy of this sidecar would say, before it looks at the route.
    pub verdict: Verdict,
}

/// Whether a key of its issuer signed a token.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Signature {
    /// Yes.
    Good,
    /// The key is known, and did not sign this.
    Bad,
    /// No key of the issuer is known here that fits.
    KeyUnknown,
}

/// What a filter says.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Verdict {
    /// Whether it takes the token.
    pub accepted: bool,
    /// Why not, one of the codes of `docs/reasons.md`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// In words.
    pub message: String,
}

impl Verdict {
    fn of(result: Result<(), Reason>) -> Self {
        let (reason, message) = match result {
            Ok(()) => (None, "accepted"),
            Err(reason) => (Some(reason.code().to_owned()), reason.title()),
        };
        Self { accepted: result.is_ok(), reason, message: message.to_owned() }
    }
}

impl Signature {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::KeyUnknown => "key unknown",
        }
    }
}

/// What a refresh token is; `None` for what is none by its form. Changes nothing: a token that was
/// used and is looked at ends no session.
///
/// # Errors
///
/// [`StoreError`] when the store fails.
pub async fn inspect_refresh_token(
    families: &Families,
    asked: &InspectToken,
) -> Result<Option<TokenInspection>, StoreError> {
    let text = asked.token.trim();
    if !text.starts_with(REFRESH_TOKEN_PREFIX) {
        return Ok(None);
    }
    let session = families.look(text).await?.map(|looked| Box::new(looked.family.into()));
    Ok(Some(TokenInspection::RefreshToken { usable: session.is_some(), session }))
}

/// What is seen of a token without asking the store.
struct Seen<'a> {
    token: UnverifiedToken<'a>,
    signed: Result<VerifiedToken, Reason>,
    judged: Result<(), Reason>,
}

impl Desk {
    /// Reads a token, and judges it as a filter would with this policy, which was checked before,
    /// and these keys of other issuers.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn inspect_token(
        &self,
        asked: &InspectToken,
        policy: &Value,
        others: &[IssuerKeySet],
    ) -> Result<TokenInspection, StoreError> {
        let text = asked.token.trim();
        if let Ok(key) = ApiKey::parse(text.as_bytes()) {
            return Ok(TokenInspection::ApiKey { id: key.id().to_owned() });
        }
        let Seen { token, signed, judged } = match self.see(text, policy, others) {
            Ok(seen) => seen,
            Err(reason) => {
                let verdict = Verdict::of(Err(reason));
                return Ok(TokenInspection::Unknown { verdict });
            }
        };
        let revocations = match &signed {
            Ok(verified) => self.revocations_of(&token, verified).await?,
            Err(_) => Vec::new(),
        };
        let is_revoked = !revocations.is_empty();
        let verdict = judged.and(if is_revoked { Err(Reason::TokenRevoked) } else { Ok(()) });
        let (held, now) = (self.signing_keys(), self.clock.now());
        let own = token.key_id().filter(|_| token.unverified_issuer() == self.issuer.issuer.0);
        let own = own.and_then(|kid| held.key(kid));
        let mut parts = text.split('.').map(|part| object(part).unwrap_or_default());
        Ok(TokenInspection::Jwt(Box::new(JwtInspection {
            header: parts.next().unwrap_or_default(),
            claims: parts.next().unwrap_or_default(),
            signature: signature(&signed),
            key: own.map(|held| SigningKeyView::of(held, now)),
            revocations,
            verdict: Verdict::of(verdict),
        })))
    }

    fn see<'a>(
        &self,
        text: &'a str,
        policy: &Value,
        others: &[IssuerKeySet],
    ) -> Result<Seen<'a>, Reason> {
        let token = UnverifiedToken::parse(text.as_bytes(), MAX_TOKEN_BYTES)?;
        let policy = Policy::read(policy).map_err(|_| Reason::PolicyInvalid)?;
        let mut issuers = policy.issuers().iter();
        let issuer = issuers.find(|issuer| issuer.rules.issuer == token.unverified_issuer());
        let keys = self.keys_of(token.unverified_issuer(), issuer, others);
        let header = text.split('.').next().and_then(object);
        let rules = any_rules(&token, header.as_ref());
        let signed = verify(&token, &rules, &keys, &SoftwareSignatures);
        let judged = judge(&token, issuer, &keys, self.clock.now());
        Ok(Seen { token, signed, judged })
    }

    /// The revocations that stand and that a token meets, whoever asks.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails, or has a revocation that cannot be read: it may be any.
    pub async fn revocations_of(
        &self,
        unverified: &UnverifiedToken<'_>,
        token: &VerifiedToken,
    ) -> Result<Vec<RevocationView>, StoreError> {
        let mut met = Vec::new();
        let ids: Vec<String> =
            revocation_targets(unverified, token).map(|it| it.fingerprint().text()).collect();
        let standing = self.store.get_all(Table::Revocations, &ids).await?;
        for (id, stands) in ids.into_iter().zip(standing) {
            let Some(stands) = stands else { continue };
            let stored: StoredRevocation = serde_json::from_slice(&stands)
                .map_err(|error| StoreError::Failed(Box::new(error)))?;
            if stored.revocation().matches(token.issued_at()) {
                met.push(RevocationView { id, stored });
            }
        }
        Ok(met)
    }

    /// The keys that filters have of an issuer: of the policy, of the issuer itself, or our own.
    fn keys_of(&self, name: &str, issuer: Option<&Issuer>, others: &[IssuerKeySet]) -> KeySet {
        let read = |set: &Map<String, Value>, origin| {
            KeySet::parse(set, origin).map(|(keys, _)| keys).unwrap_or_default()
        };
        let configured = issuer.and_then(|issuer| issuer.jwks.as_ref());
        let mut keys = configured.map_or_else(KeySet::default, |jwks| {
            // The policy was checked when it was read.
            read(jwks, KeyOrigin::Configured)
        });
        if let Some(set) = others.iter().find(|set| set.issuer == name) {
            keys = keys.merged(read(&set.jwks, KeyOrigin::Fetched));
        }
        if name == self.issuer.issuer.0 {
            keys = keys.merged(self.signing_keys().verifying().clone());
        }
        keys
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    match parse_strict(&base64url::decode(part.as_bytes())?) {
        Ok(Value::Object(members)) => Some(members),
        Ok(_) | Err(_) => None,
    }
}

/// Rules that any type and algorithm passes, to ask about the signature alone.
fn any_rules(token: &UnverifiedToken<'_>, header: Option<&Map<String, Value>>) -> IssuerRules {
    let kind = header.and_then(|header| header.get("typ")).and_then(Value::as_str);
    let mut rules = IssuerRules::new(token.unverified_issuer().to_owned(), Vec::new());
    rules.algorithms = vec![token.algorithm()];
    rules.token_types = kind.map(str::to_owned).into_iter().collect();
    rules.allow_rsa_above_4096_bits = true;
    rules
}

fn signature(signed: &Result<VerifiedToken, Reason>) -> Signature {
    match signed {
        Ok(_) => Signature::Good,
        Err(reason) if *reason == Reason::TokenSignatureInvalid => Signature::Bad,
        Err(_) => Signature::KeyUnknown,
    }
}

/// What a filter says before it looks for revocations.
fn judge(
    token: &UnverifiedToken<'_>,
    issuer: Option<&Issuer>,
    keys: &KeySet,
    now: UnixSeconds,
) -> Result<(), Reason> {
    let issuer = issuer.ok_or(Reason::TokenIssuerUnknown)?;
    let verified = verify(token, &issuer.rules, keys, &SoftwareSignatures)?;
    check_claims(&verified, &issuer.rules, now)
}

#[cfg(test)]
mod tests;
