//! Whether a token was revoked after it was issued.

use std::rc::Rc;

use ring::digest;

use crate::base64url;
use crate::feed::live::Unreadable;
use crate::feed::{Fingerprint, Revocation, RevocationTarget, Table};
use crate::reason::Reason;
use crate::time::UnixSeconds;
use crate::token::{UnverifiedToken, VerifiedToken};

use super::{Edge, Gate, SharedMember};

/// Everything that a revocation can name of one credential, and what was found last.
#[derive(Debug, Default)]
pub(super) struct Marks {
    fingerprints: Vec<Fingerprint>,
    issued_at: Option<UnixSeconds>,
    /// At which count of changes it was looked up last, and whether it was revoked.
    verdict: Option<(u64, bool)>,
}

impl Marks {
    /// At most so many fingerprints.
    const MOST: usize = 6;
    /// Memory that it takes at most.
    pub(super) const BYTES: usize = Self::MOST * Fingerprint::BYTES + size_of::<Self>();

    /// The marks of a token: computed once, when it is seen first.
    pub(super) fn of_token(unverified: &UnverifiedToken<'_>, token: &VerifiedToken) -> Self {
        let targets = revocation_targets(unverified, token);
        let fingerprints = targets.map(|target| target.fingerprint()).collect();
        Self { fingerprints, issued_at: token.issued_at(), verdict: None }
    }

    /// The marks of what belongs to a subject and does not say when it was made.
    pub(super) fn of_owner(issuer: &str, name: &str) -> Self {
        let fingerprints = vec![subject(issuer, name).fingerprint()];
        Self { fingerprints, issued_at: None, verdict: None }
    }

    /// Whether any of it is revoked. As long as nothing changes, one comparison of numbers.
    pub(super) fn is_revoked(
        &mut self,
        feed: Option<&SharedMember>,
        edge: &dyn Edge,
    ) -> Result<bool, Reason> {
        if self.fingerprints.is_empty() {
            return Ok(false);
        }
        let Some(feed) = feed else { return Ok(false) };
        let feed = feed.try_borrow().map_err(|_| Reason::HostFailure)?;
        let replica = feed.replica();
        let changes = replica.revocation_changes();
        if let Some((at, verdict)) = self.verdict
            && at == changes
        {
            return Ok(verdict);
        }
        let memory = edge.shared_memory();
        let mut is_revoked = false;
        for fingerprint in &self.fingerprints {
            let found = replica.find(memory, Table::Revocations, fingerprint);
            let Some(found) = found.map_err(|Unreadable| Reason::FeedUnreadable)? else { continue };
            let read = Revocation::from_content(*fingerprint, &found.content);
            // A record that cannot be read may be any: it revokes.
            is_revoked |= read.is_none_or(|revocation| revocation.matches(self.issued_at));
        }
        self.verdict = Some((changes, is_revoked));
        Ok(is_revoked)
    }
}

/// Everything that a revocation can name of a token; `token` is what `unverified` was verified to
/// be.
pub fn revocation_targets(
    unverified: &UnverifiedToken<'_>,
    token: &VerifiedToken,
) -> impl Iterator<Item = RevocationTarget> {
    let issuer = || token.issuer().to_owned();
    let claim = |name: &str| token.claims().get(name).and_then(|value| value.as_str());
    let digest = digest::digest(&digest::SHA256, unverified.signing_input());
    let targets: [Option<RevocationTarget>; Marks::MOST] = [
        Some(RevocationTarget::TokenDigest { digest: base64url::encode(digest.as_ref()) }),
        token
            .token_id()
            .map(|id| RevocationTarget::Token { issuer: issuer(), token_id: id.to_owned() }),
        claim("sid").map(|session| RevocationTarget::Session {
            issuer: issuer(),
            session: session.to_owned(),
        }),
        Some(subject(token.issuer(), token.subject())),
        token
            .client_id()
            .map(|id| RevocationTarget::Client { issuer: issuer(), client_id: id.to_owned() }),
        token
            .key_id()
            .map(|id| RevocationTarget::SigningKey { issuer: issuer(), key_id: id.to_owned() }),
    ];
    targets.into_iter().flatten()
}

fn subject(issuer: &str, subject: &str) -> RevocationTarget {
    RevocationTarget::Subject { issuer: issuer.to_owned(), subject: subject.to_owned() }
}

impl Gate {
    /// Whether tokens are compared with what was revoked.
    pub(super) fn knows_revocations(&self) -> bool {
        self.feed.is_some()
    }

    /// The feed, to be asked while parts of the gate are borrowed.
    pub(super) fn feed_handle(&self) -> Option<SharedMember> {
        self.feed.as_ref().map(Rc::clone)
    }
}
