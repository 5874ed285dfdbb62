//! Whether one token is given for another (RFC 8693): a pure decision.
//!
//! A new token never says more than the old one: the same subject, of its audiences and scopes some,
//! no later end. What an operator adds, the audiences of `added_audiences`, is in the registration of
//! the client and never in its request.

use serde_json::{Map, Value, json};
use wardgate_core::time::UnixSeconds;
use wardgate_core::token::VerifiedToken;

use super::own_tokens::texts;
use super::scopes::Scopes;
use super::{ExchangePermission, OAuthError};

/// Actors in a row, the newest included. Each hop adds one; a longer chain is a loop of services, and
/// would grow until no header holds the token.
pub(super) const MAX_ACTORS: usize = 8;
/// What belongs to a token and not to its subject: never taken over as it is.
const OWN_CLAIMS: &[&str] = &[
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "client_id",
    "azp",
    "scope",
    "roles",
    "cnf",
    "act",
    "nonce",
    "at_hash",
    "c_hash",
    "ath",
];

/// What an exchange decides by of a token that is signed here and active.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct TokenFacts {
    pub(super) claims: Map<String, Value>,
    pub(super) subject: String,
    pub(super) expires_at: UnixSeconds,
}

/// A wish of an authenticated client that may exchange.
#[derive(Clone, Debug)]
pub(super) struct Wish<'a> {
    /// The client.
    pub(super) client_id: &'a str,
    /// What it may.
    pub(super) permission: &'a ExchangePermission,
    /// The token that is exchanged.
    pub(super) subject: &'a TokenFacts,
    /// The token of who acts, if it is not the client itself.
    pub(super) actor: Option<&'a TokenFacts>,
    /// What the new token is to be for; everything that it may when empty.
    pub(super) audiences: Vec<String>,
    /// The scopes that are to be kept; all that may when missing.
    pub(super) scope: Option<Scopes>,
    /// How long the client's tokens live, in seconds.
    pub(super) lifetime_seconds: u64,
    /// Whether the new token will be bound to a key or certificate.
    pub(super) is_bound: bool,
    /// The issuer of all of them.
    pub(super) issuer: &'a str,
    /// The time now.
    pub(super) now: UnixSeconds,
}

/// What the new token says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Exchanged {
    pub(super) subject: String,
    pub(super) audiences: Vec<String>,
    pub(super) scope: Scopes,
    pub(super) roles: Vec<String>,
    /// All other claims.
    pub(super) claims: Map<String, Value>,
    pub(super) expires_in_seconds: u64,
}

impl TokenFacts {
    pub(super) fn of(token: &VerifiedToken) -> Self {
        Self {
            claims: token.claims().clone(),
            subject: token.subject().to_owned(),
            expires_at: token.expires_at(),
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.claims.get(name).and_then(Value::as_str)
    }
}

/// Decides.
///
/// # Errors
///
/// [`OAuthError`] as RFC 8693 §2.2.2 has it: `invalid_target` for what the token may not be for,
/// `invalid_scope`, `invalid_request` for a token that is not taken.
pub(super) fn decide(wish: &Wish<'_>) -> Result<Exchanged, OAuthError> {
    takes_subject(wish)?;
    let actor = actor(wish)?;
    may_act(wish.subject, &actor)?;
    if wish.subject.claims.contains_key("cnf") && !wish.is_bound {
        // Whoever steals a bound token could otherwise exchange it for one that is good without the
        // key.
        return Err(OAuthError::InvalidRequest(
            "the subject token is bound to a key: the new one must be too, by a DPoP proof or a \
             certificate of the client",
        ));
    }
    let end = wish.actor.map_or(wish.subject.expires_at, |actor| {
        // Who acts may not act for longer than they may at all.
        actor.expires_at.min(wish.subject.expires_at)
    });
    let left = end.0.saturating_sub(wish.now.0);
    if left == 0 {
        return Err(OAuthError::InvalidRequest("a token has expired"));
    }
    let mut claims: Map<String, Value> = wish
        .subject
        .claims
        .iter()
        .filter(|(name, _)| !OWN_CLAIMS.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if let Some(chain) = chain(wish, actor)? {
        claims.insert("act".to_owned(), chain);
    }
    Ok(Exchanged {
        subject: wish.subject.subject.clone(),
        audiences: audiences(wish)?,
        scope: scope(wish)?,
        roles: texts(wish.subject.claims.get("roles")),
        claims,
        expires_in_seconds: left.min(wish.lifetime_seconds),
    })
}

/// Whether the client may bring this token: one that was issued to it, or that was sent to a service
/// that it is.
fn takes_subject(wish: &Wish<'_>) -> Result<(), OAuthError> {
    let subject = wish.subject;
    let audiences = texts(subject.claims.get("aud"));
    let for_it = |audience: &String| {
        audience == wish.client_id || wish.permission.subject_audiences.contains(audience)
    };
    if subject.text("client_id") == Some(wish.client_id) || audiences.iter().any(for_it) {
        return Ok(());
    }
    Err(OAuthError::InvalidRequest("the subject token is not one that this client may exchange"))
}

/// Who acts: the client, or whom it names by a token that was issued to it.
fn actor(wish: &Wish<'_>) -> Result<Map<String, Value>, OAuthError> {
    let members = |subject: &str, client_id: &str| {
        let actor = json!({"iss": wish.issuer, "sub": subject, "client_id": client_id});
        actor.as_object().cloned().unwrap_or_default()
    };
    let Some(actor) = wish.actor else { return Ok(members(wish.client_id, wish.client_id)) };
    if !wish.permission.actor {
        return Err(OAuthError::InvalidRequest("the client may not name another actor"));
    }
    // A token of anybody would let the client write down whom it likes.
    if actor.text("client_id") != Some(wish.client_id) {
        return Err(OAuthError::InvalidRequest("the actor token was issued to another client"));
    }
    Ok(members(&actor.subject, wish.client_id))
}

/// Whether the token says that somebody else alone may act for its subject (RFC 8693 §4.4). It names
/// them by claims, all of which must fit; of one that is not known here nobody can say that it does.
fn may_act(subject: &TokenFacts, actor: &Map<String, Value>) -> Result<(), OAuthError> {
    let fits = match subject.claims.get("may_act") {
        None => true,
        Some(Value::Object(named)) => {
            named.contains_key("sub")
                && named.iter().all(|(name, value)| actor.get(name) == Some(value))
        }
        Some(_) => false,
    };
    if fits {
        return Ok(());
    }
    Err(OAuthError::InvalidRequest("the subject token lets somebody else act (`may_act`)"))
}

/// The `act` of the new token: who acts now, and in it who acted before (RFC 8693 §4.1).
fn chain(wish: &Wish<'_>, mut actor: Map<String, Value>) -> Result<Option<Value>, OAuthError> {
    let before = wish.subject.claims.get("act");
    if wish.permission.impersonate && wish.actor.is_none() {
        // Who acted before stays: a chain is never made shorter.
        return Ok(before.cloned());
    }
    let (mut length, mut place) = (1_usize, before);
    while let Some(act) = place {
        length = length.saturating_add(1);
        if length > MAX_ACTORS || !act.is_object() {
            return Err(OAuthError::InvalidRequest("the token has passed through too many actors"));
        }
        place = act.get("act");
    }
    if let Some(before) = before {
        actor.insert("act".to_owned(), before.clone());
    }
    Ok(Some(Value::Object(actor)))
}

fn audiences(wish: &Wish<'_>) -> Result<Vec<String>, OAuthError> {
    let permission = wish.permission;
    let old = texts(wish.subject.claims.get("aud"));
    let kept = |audience: &String| {
        permission.audiences.as_ref().is_none_or(|allowed| allowed.contains(audience))
    };
    let may = |audience: &String| {
        (old.contains(audience) && kept(audience)) || permission.added_audiences.contains(audience)
    };
    if wish.audiences.is_empty() {
        // What is added must be asked for: a token for as little as possible is the usual one.
        let all: Vec<String> = old.iter().filter(|audience| kept(audience)).cloned().collect();
        return if all.is_empty() { Err(TARGET) } else { Ok(all) };
    }
    if wish.audiences.iter().all(may) { Ok(wish.audiences.clone()) } else { Err(TARGET) }
}

const TARGET: OAuthError =
    OAuthError::InvalidTarget("the new token may not be for this audience or resource");

fn scope(wish: &Wish<'_>) -> Result<Scopes, OAuthError> {
    const WIDER: OAuthError =
        OAuthError::InvalidScope("a scope is asked for that the subject token or the client lacks");
    // Of another type than a text it is no scope at all, as it is for gates.
    let has_scope = wish.subject.claims.contains_key("scope");
    let old = wish.subject.text("scope").and_then(Scopes::parse).unwrap_or_default();
    let kept = match &wish.permission.scopes {
        Some(allowed) => old.among(allowed),
        None => old,
    };
    let new = match &wish.scope {
        None => kept,
        Some(asked) if asked.are_within(&kept) => asked.clone(),
        Some(_) => return Err(WIDER),
    };
    // A token without scopes is one that nothing restricts: leaving the last one out would widen it.
    if has_scope && new.is_empty() {
        return Err(OAuthError::InvalidScope("no scope of the subject token would be left"));
    }
    Ok(new)
}

#[cfg(test)]
mod tests;
