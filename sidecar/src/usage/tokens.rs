//! How tokens are issued, used, refreshed and denied: by type, client, user and day.
//!
//! What filters see comes with the audit events that they deliver anyway, so no request is asked for;
//! what the sidecar does itself is counted where it does it.

mod names;
mod report;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(super) use names::Names;
pub use names::TokenCounts;
pub use report::{TokenUsage, TokenUsageBy, TokenUsageRow, token_report};

use super::tally::cut;

/// Longest name of a client or a user that is counted by name; longer ones are cut.
const MAX_NAME_BYTES: usize = 256;
/// What stands for no client or no user: a token that nobody could read has neither.
pub(super) const NOBODY: &str = "(none)";

/// The types of tokens.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "snake_case")]
pub enum TokenType {
    /// Access tokens, of every issuer.
    Access,
    /// Refresh tokens.
    Refresh,
    /// Tokens of providers, kept for users.
    Social,
    /// API keys.
    Api,
}

/// What happens to a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenEvent {
    /// It was made.
    Issued,
    /// It was shown, and what it was shown for was permitted.
    Used,
    /// It was replaced by a newer one.
    Refreshed,
    /// It was shown, and refused.
    Denied,
}

/// One thing that happened to one token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TokenUse<'a> {
    /// Of which type it is.
    pub token_type: TokenType,
    /// What happened.
    pub event: TokenEvent,
    /// The client that it was issued to, if it is known.
    pub client_id: Option<&'a str>,
    /// The issuer of the subject, if it is known.
    pub issuer: Option<&'a str>,
    /// The subject, if it is known.
    pub subject: Option<&'a str>,
    /// When, in milliseconds since the epoch.
    pub at_milliseconds: u64,
}

impl TokenType {
    /// All types.
    pub const ALL: [Self; 4] = [Self::Access, Self::Refresh, Self::Social, Self::Api];

    /// As in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Refresh => "refresh",
            Self::Social => "social",
            Self::Api => "api",
        }
    }
}

impl<'a> TokenUse<'a> {
    /// Reads an audit event, of a filter or of the sidecar itself; nothing if nothing happened to a
    /// token.
    pub(super) fn of(event: &'a Map<String, Value>) -> Option<Self> {
        let text = |name: &str| event.get(name).and_then(Value::as_str);
        let (token_type, happened) = match text("decision")? {
            // In shadow mode the request went on.
            "permit" | "shadow-deny" => (shown_type(text("auth")?)?, TokenEvent::Used),
            "deny" => {
                let by_reason = || text("reason").and_then(refused_type);
                (shown_type(text("auth")?).or_else(by_reason)?, TokenEvent::Denied)
            }
            // A login at a client that gets no refresh tokens has no session.
            "session-begun" if text("session").is_some() => {
                (TokenType::Refresh, TokenEvent::Issued)
            }
            "refresh-token-reuse" | "refresh-token-forgotten" => {
                (TokenType::Refresh, TokenEvent::Denied)
            }
            "social-token-given" => (TokenType::Social, TokenEvent::Used),
            "social-token-refused" => (TokenType::Social, TokenEvent::Denied),
            _ => return None,
        };
        Some(Self {
            token_type,
            event: happened,
            client_id: text("client_id"),
            issuer: text("issuer"),
            subject: text("subject"),
            at_milliseconds: event.get("time").and_then(Value::as_u64).unwrap_or(0),
        })
    }

    /// The name that its client is counted under.
    pub(super) fn client(&self) -> String {
        self.client_id.map_or(NOBODY, |client| cut(client, MAX_NAME_BYTES)).to_owned()
    }

    /// The name that its user is counted under: issuer and subject, with a space that no issuer has
    /// between them. A client that acts for itself (RFC 9068 §2.2) is no user.
    pub(super) fn user(&self) -> String {
        match (self.issuer, self.subject) {
            (Some(_), Some(subject)) if Some(subject) == self.client_id => NOBODY.to_owned(),
            (Some(issuer), Some(subject)) => {
                let issuer = issuer.replace(char::is_whitespace, "");
                let (issuer, subject) =
                    (cut(&issuer, MAX_NAME_BYTES), cut(subject, MAX_NAME_BYTES));
                format!("{issuer} {subject}")
            }
            (Some(_) | None, _) => NOBODY.to_owned(),
        }
    }
}

/// The type of token that somebody was authenticated by.
fn shown_type(auth: &str) -> Option<TokenType> {
    match auth {
        "jwt" => Some(TokenType::Access),
        "api_key" => Some(TokenType::Api),
        _ => None,
    }
}

/// The type of token that a reason is about: nobody was authenticated.
fn refused_type(reason: &str) -> Option<TokenType> {
    let is_of_access_token = reason.starts_with("token-") || reason.starts_with("dpop-");
    if is_of_access_token {
        return Some(TokenType::Access);
    }
    reason.starts_with("api-key-").then_some(TokenType::Api)
}
