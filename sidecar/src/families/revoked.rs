//! What was revoked around a family.

use wardgate_core::feed::RevocationTarget;

use super::Families;
use crate::store::records::{StandingRevocation, StoredFamily, StoredRevocation};
use crate::store::{StoreError, Transaction};

/// What is said of a family's session, subject and client.
pub(super) struct Around(Vec<StandingRevocation>);

impl Around {
    /// The latest moment until which what was issued is revoked, in seconds since the epoch.
    pub(super) fn issued_until(&self) -> Option<u64> {
        self.0.iter().filter_map(StandingRevocation::issued_until).max()
    }

    /// Whether a family that was begun then is revoked.
    pub(super) fn covers(&self, begun_at: u64) -> bool {
        self.issued_until().is_some_and(|until| begun_at <= until)
    }

    /// Adds to a transaction that nothing more was revoked. What is issued after 'log out everywhere'
    /// because it looked before would outlive it.
    pub(super) fn unchanged(self, transaction: Transaction) -> Transaction {
        self.0.into_iter().fold(transaction, |transaction, it| it.unchanged(transaction))
    }
}

impl Families {
    /// What is said around a family; without `id` of subject and client alone.
    pub(super) async fn around(
        &self,
        id: Option<&str>,
        subject: &str,
        client_id: &str,
    ) -> Result<Around, StoreError> {
        let issuer = || self.issuer.clone();
        let mut targets = vec![
            RevocationTarget::Subject { issuer: issuer(), subject: subject.to_owned() },
            RevocationTarget::Client { issuer: issuer(), client_id: client_id.to_owned() },
        ];
        targets.extend(id.map(|id| self.session(id)));
        let mut around = Vec::with_capacity(targets.len());
        for target in targets {
            around.push(StandingRevocation::read(&*self.store, &target).await?);
        }
        Ok(Around(around))
    }

    /// What is said around a family that is there.
    pub(super) async fn around_family(
        &self,
        id: &str,
        family: &StoredFamily,
    ) -> Result<Around, StoreError> {
        self.around(Some(id), &family.subject, &family.client_id).await
    }

    /// Adds to a transaction that a session is revoked: its access tokens, which filters refuse from
    /// then on.
    pub(super) async fn revoke_session(
        &self,
        transaction: Transaction,
        id: &str,
        reason: &str,
        by: Option<&str>,
    ) -> Result<Transaction, StoreError> {
        let target = self.session(id);
        let standing = StandingRevocation::read(&*self.store, &target).await?;
        let now = self.clock.now();
        let revocation = StoredRevocation {
            target,
            issued_until: None,
            until: now.plus(super::REVOKED_SECONDS).0,
            reason: Some(reason.to_owned()),
            by: by.map(str::to_owned),
            revoked_at: now.0,
        };
        standing.widen(transaction, revocation, self.clock.now_milliseconds())
    }

    fn session(&self, id: &str) -> RevocationTarget {
        RevocationTarget::Session { issuer: self.issuer.clone(), session: id.to_owned() }
    }
}
