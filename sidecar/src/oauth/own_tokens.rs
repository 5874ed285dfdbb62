//! The access tokens that this issuer has signed, when they come back.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};
use wardgate_core::gate::revocation_targets;
use wardgate_core::jwk::{KeyOrigin, KeySet};
use wardgate_core::time::UnixSeconds;
use wardgate_core::token::{
    IssuerRules, SoftwareSignatures, UnverifiedToken, VerifiedToken, check_claims, verify,
};

use crate::desk::Desk;
use crate::store::records::StoredRevocation;
use crate::store::{Store, StoreError, Table};

/// Longest token that is read, as long as the longest that any gate takes.
const MAX_TOKEN_BYTES: usize = 64 * 1024;
/// By how much the clocks of sidecars on one store may differ.
const CLOCK_SKEW_SECONDS: u64 = 60;

/// What a token is.
#[derive(Debug)]
pub(super) enum OwnToken {
    /// Signed here, not over, not revoked.
    Active(VerifiedToken),
    /// Signed here, and over or revoked.
    Ended(VerifiedToken),
    /// None of ours.
    Foreign,
}

/// Keys, and the text that they were read from.
type ReadKeys = (Map<String, Value>, Arc<KeySet>);

/// Reads own access tokens.
#[derive(Debug, Default)]
pub(super) struct OwnTokens {
    /// The keys as they were read last: reading them anew costs more than a signature.
    keys: Mutex<Option<ReadKeys>>,
}

impl OwnTokens {
    /// Reads a token.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails: then nobody knows whether it is revoked.
    pub(super) async fn read(
        &self,
        desk: &Desk,
        token: &str,
        now: UnixSeconds,
    ) -> Result<OwnToken, StoreError> {
        let Ok(unverified) = UnverifiedToken::parse(token.as_bytes(), MAX_TOKEN_BYTES) else {
            return Ok(OwnToken::Foreign);
        };
        let own = desk.own_key_set();
        let Some(keys) = self.keys(own.jwks) else { return Ok(OwnToken::Foreign) };
        let mut rules = IssuerRules {
            token_types: vec!["at+jwt".to_owned()],
            allow_absent_token_type: false,
            clock_skew_seconds: CLOCK_SKEW_SECONDS,
            ..IssuerRules::new(own.issuer, Vec::new())
        };
        let Ok(verified) = verify(&unverified, &rules, &keys, &SoftwareSignatures) else {
            return Ok(OwnToken::Foreign);
        };
        // Whom it is for is for those to judge who are asked with it.
        rules.audiences = texts(verified.claims().get("aud"));
        // A gate gives a token a moment more; what is asked here is what the token says.
        let is_over = now >= verified.expires_at() || check_claims(&verified, &rules, now).is_err();
        if is_over || is_revoked(&**desk.store(), &unverified, &verified).await? {
            return Ok(OwnToken::Ended(verified));
        }
        Ok(OwnToken::Active(verified))
    }

    fn keys(&self, jwks: Map<String, Value>) -> Option<Arc<KeySet>> {
        let mut held = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((read, keys)) = &*held
            && *read == jwks
        {
            return Some(Arc::clone(keys));
        }
        let (keys, _) = KeySet::parse(&jwks, KeyOrigin::Fetched).ok()?;
        let keys = Arc::new(keys);
        *held = Some((jwks, Arc::clone(&keys)));
        Some(keys)
    }
}

/// A claim that is a text or a list of texts.
pub(super) fn texts(claim: Option<&Value>) -> Vec<String> {
    match claim {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(items)) => {
            items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
        }
        _ => Vec::new(),
    }
}

/// Whether a revocation in the store matches a token: by the same marks that a gate compares.
async fn is_revoked(
    store: &dyn Store,
    unverified: &UnverifiedToken<'_>,
    token: &VerifiedToken,
) -> Result<bool, StoreError> {
    let ids: Vec<String> =
        revocation_targets(unverified, token).map(|it| it.fingerprint().text()).collect();
    let found = store.get_all(Table::Revocations, &ids).await?;
    Ok(found.iter().flatten().any(|found| {
        // One that cannot be read may be any: it revokes.
        serde_json::from_slice::<StoredRevocation>(found)
            .map_or(true, |stored| stored.revocation().matches(token.issued_at()))
    }))
}
