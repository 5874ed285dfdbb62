//! What becomes of a refresh token that is presented: a function of the record, of what was shown and
//! of the time, and of nothing else.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::store::records::StoredFamily;
use crate::store::records::families::{Confirmation, UsedToken};

/// A token that was made here, and who shows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Presented<'a> {
    /// The number of the token.
    pub(super) generation: u32,
    /// Its keyed digest.
    pub(super) digest: &'a str,
    /// The client, authenticated as its kind of client is.
    pub(super) client_id: &'a str,
    /// The key that was shown.
    pub(super) shown: Option<&'a Confirmation>,
}

/// The time, and how long an answer may be asked for again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// In milliseconds since the epoch.
    pub(super) now_milliseconds: u64,
    /// In milliseconds.
    pub(super) grace_milliseconds: u64,
}

/// What to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Decision {
    /// The next token, which takes the place of this one.
    Rotate,
    /// The same answer once more.
    Repeat,
    /// Nothing; the family stays as it is.
    Refuse(Refusal),
    /// The family is over.
    End(EndCause),
}

/// Why a refresh token is not accepted. To clients all are `invalid_grant` (RFC 6749 §5.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// It was not made here.
    #[error("no refresh token of this sidecar")]
    NotGenuine,
    /// Its family has ended, or there never was one in this store.
    #[error("the login has ended")]
    Ended,
    /// Another client has it.
    #[error("the token is another client's")]
    OtherClient,
    /// It is bound to a key that was not shown.
    #[error("the token is bound to another key")]
    OtherKey,
    /// The login was refreshed for as long as any may be.
    #[error("the login has lived its whole life")]
    Over,
    /// The login was not refreshed for too long.
    #[error("the login was not used for too long")]
    Idle,
    /// The session, the subject or the client was revoked.
    #[error("the login was revoked")]
    Revoked,
}

impl Refusal {
    /// The word for metrics and the audit log.
    pub fn word(self) -> &'static str {
        match self {
            Self::NotGenuine => "not-genuine",
            Self::Ended => "ended",
            Self::OtherClient => "other-client",
            Self::OtherKey => "other-key",
            Self::Over => "over",
            Self::Idle => "idle",
            Self::Revoked => "revoked",
        }
    }
}

/// Why a family ended before its time.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndCause {
    /// A token was presented that had been used before: somebody else has it too.
    Reuse,
    /// A token was presented that is newer than what the store knows: the store has lost a change
    /// that it had acknowledged, and with it what was used.
    Forgotten,
    /// The client gave it back (RFC 7009).
    Returned,
    /// Its user logged out.
    LoggedOut,
    /// An operator ended it.
    Administrator,
    /// The subject had too many.
    TooMany,
}

impl EndCause {
    /// The word for metrics, the audit log and the reason of the revocation.
    pub fn word(self) -> &'static str {
        match self {
            Self::Reuse => "reuse",
            Self::Forgotten => "forgotten",
            Self::Returned => "returned",
            Self::LoggedOut => "logged-out",
            Self::Administrator => "administrator",
            Self::TooMany => "too-many",
        }
    }
}

/// Where a token stands in its family.
enum Place<'a> {
    Current,
    /// The one before, which was used for the current one.
    Previous(&'a UsedToken),
    Older,
    /// No token that the record knows of, and none that is older.
    Newer,
}

pub(super) fn decide(family: &StoredFamily, presented: Presented<'_>, moment: Moment) -> Decision {
    let now = moment.now_milliseconds / 1000;
    // First of all: a family that is over has nothing that could be stolen, and no alarm is due.
    if now >= family.ends_at {
        return Decision::Refuse(Refusal::Over);
    }
    if now >= family.over_at().0 {
        return Decision::Refuse(Refusal::Idle);
    }
    match place(family, presented) {
        Place::Current => current(family, presented),
        Place::Previous(used) if may_repeat(family, used, presented, moment) => Decision::Repeat,
        // Two have the token, and nobody knows which of them is honest (RFC 9700 §4.14.2). Also with
        // the wrong client or key: what was used stands nowhere but with its client, so it leaked.
        Place::Previous(_) | Place::Older => Decision::End(EndCause::Reuse),
        // The store went back, by a failover or a backup. Its current token was used, and a thief
        // who has kept it would not be noticed: better a login than two branches.
        Place::Newer => Decision::End(EndCause::Forgotten),
    }
}

fn place<'a>(family: &'a StoredFamily, presented: Presented<'_>) -> Place<'a> {
    // Nobody learns from the time of these comparisons: a digest is keyed, so nothing can be
    // presented that comes nearer to another one step by step.
    match presented.generation.cmp(&family.generation) {
        Ordering::Equal if presented.digest == family.digest => Place::Current,
        // One of the same number that is not the current one was forgotten too.
        Ordering::Equal | Ordering::Greater => Place::Newer,
        Ordering::Less => match &family.previous {
            Some(used) if presented.digest == used.digest => Place::Previous(used),
            Some(_) | None => Place::Older,
        },
    }
}

/// The current token. In wrong hands it is refused and the family stays: the check has stopped
/// whoever took it before anything was used, and ending the family would only let them log its user
/// out.
fn current(family: &StoredFamily, presented: Presented<'_>) -> Decision {
    if presented.client_id != family.client_id {
        return Decision::Refuse(Refusal::OtherClient);
    }
    if family.binding.is_some() && presented.shown != family.binding.as_ref() {
        return Decision::Refuse(Refusal::OtherKey);
    }
    if family.generation == u32::MAX {
        return Decision::Refuse(Refusal::Over);
    }
    Decision::Rotate
}

/// Whether a client may have lost the answer: the same client, with the same key, soon after, and
/// before anybody used what was in it. The last is so because the token is the one before the
/// current.
fn may_repeat(
    family: &StoredFamily,
    used: &UsedToken,
    presented: Presented<'_>,
    moment: Moment,
) -> bool {
    let elapsed = moment.now_milliseconds.saturating_sub(used.used_at_milliseconds);
    elapsed < moment.grace_milliseconds
        && family.answer.is_some()
        && presented.client_id == family.client_id
        && presented.shown == used.shown.as_ref()
}

#[cfg(test)]
mod tests;
