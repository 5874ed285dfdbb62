//! The beginning of a family.

use serde_json::{Map, Value};

use super::revoked::Around;
use super::token::FamilyId;
use super::{Families, Family, RefreshToken, TRIES};
use crate::random::RandomError;
use crate::store::records::StoredFamily;
use crate::store::records::families::{self as records, Confirmation, FamilyList, Standing};
use crate::store::{Check, StoreError, Transaction};

/// How far the clock of another sidecar may be ahead, in seconds: what was revoked later than that is
/// revoked for the future, on purpose.
const MAX_AHEAD_SECONDS: u64 = 60;
/// Longest life that a client may be given, in seconds: a year and a day.
const MAX_SECONDS: u64 = 31_622_400;

/// What a family is begun with.
#[derive(Clone, Debug, Default)]
pub struct NewFamily {
    /// Who logged in (`sub`).
    pub subject: String,
    /// The client that gets the tokens (`client_id`).
    pub client_id: String,
    /// What its access tokens are for (`aud`); that of the configuration when empty.
    pub audiences: Vec<String>,
    /// What is granted (`scope`), words with spaces between them.
    pub scope: Option<String>,
    /// The key that must be shown with every refresh: for clients that have no other secret
    /// (RFC 9449 §5, RFC 8705 §4).
    pub binding: Option<Confirmation>,
    /// More claims of its access tokens, such as `auth_time` and `amr`.
    pub claims: Map<String, Value>,
    /// Where it is begun, for lists.
    pub device: Option<String>,
    /// The whole life in seconds, if it is another than that of the configuration.
    pub lifetime_seconds: Option<u64>,
    /// The life of an unused one in seconds, if it is another than that of the configuration.
    pub idle_seconds: Option<u64>,
    /// What must not have changed since the login was judged, such as the record of the user:
    /// somebody who is disabled in between gets no tokens.
    pub unless_changed: Vec<Check>,
}

/// A family that was begun.
#[derive(Debug)]
pub struct Begun {
    /// The family.
    pub family: Family,
    /// Its first refresh token, in clear: goes to the client and nowhere else.
    pub refresh_token: RefreshToken,
}

/// Why no family was begun.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// The subject or the client is revoked for longer than now.
    #[error("the subject or the client is revoked")]
    Revoked,
    /// Something of `unless_changed` has changed: judge the login anew.
    #[error("what the login was judged by has changed")]
    Changed,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The operating system gives no randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl Families {
    /// Begins a family. If the subject has too many, the one that was not used for longest ends.
    ///
    /// # Errors
    ///
    /// [`BeginError`] when it must not be begun or the store fails.
    pub async fn begin(&self, new: NewFamily) -> Result<Begun, BeginError> {
        let id = FamilyId::new(self.random)?;
        let token = self.key.make(&id, 0, self.random)?;
        for _ in 0..TRIES {
            let around = self.around(None, &new.subject, &new.client_id).await?;
            let stored = self.first(&new, &token.digest, &around)?;
            let transaction =
                Transaction { checks: new.unless_changed.clone(), ..Transaction::new() };
            let transaction = around.unchanged(transaction);
            let transaction = self.listed(transaction, &id.text(), &stored).await?;
            let transaction = records::put(transaction, &id.text(), &stored)?;
            match self.store.commit(transaction).await {
                Ok(_) => {
                    self.metrics.families.begun.inc();
                    let family = Family { id: id.text(), stored };
                    return Ok(Begun { family, refresh_token: token.text() });
                }
                Err(StoreError::Conflict { check }) if check < new.unless_changed.len() => {
                    return Err(BeginError::Changed);
                }
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Changed.into())
    }

    fn first(
        &self,
        new: &NewFamily,
        digest: &str,
        around: &Around,
    ) -> Result<StoredFamily, BeginError> {
        let now = self.clock.now();
        // 'Log out everywhere' is about what was issued until its second, inclusive. Whoever logs in
        // after it, in the same second, is begun one later: else their login would be dead.
        let begun_at = match around.issued_until() {
            Some(until) if until > now.plus(MAX_AHEAD_SECONDS).0 => {
                return Err(BeginError::Revoked);
            }
            Some(until) => now.0.max(until.saturating_add(1)),
            None => now.0,
        };
        let seconds = |own: Option<u64>, default| own.unwrap_or(default).clamp(1, MAX_SECONDS);
        let lifetime = seconds(new.lifetime_seconds, self.settings.lifetime_seconds.0);
        Ok(StoredFamily {
            subject: new.subject.clone(),
            client_id: new.client_id.clone(),
            audiences: new.audiences.clone(),
            scope: new.scope.clone(),
            binding: new.binding.clone(),
            claims: new.claims.clone(),
            device: new.device.clone(),
            begun_at,
            used_at: now.0,
            ends_at: now.plus(lifetime).0,
            idle_seconds: seconds(new.idle_seconds, self.settings.idle_seconds.0),
            generation: 0,
            digest: digest.to_owned(),
            previous: None,
            answer: None,
        })
    }

    /// Adds to a transaction that the subject has this family too.
    async fn listed(
        &self,
        transaction: Transaction,
        id: &str,
        family: &StoredFamily,
    ) -> Result<Transaction, StoreError> {
        let before = records::list(&*self.store, &family.subject).await?;
        let list = before.as_ref().map(|before| before.value.clone()).unwrap_or_default();
        let mut list = list.alive(self.clock.now());
        let most = usize::try_from(self.settings.logins_per_subject.0).unwrap_or(usize::MAX);
        let mut transaction = transaction;
        if list.ends.len() >= most {
            transaction = self.made_room(transaction, &mut list, most).await?;
        }
        list.ends.insert(id.to_owned(), family.ends_at);
        records::replace_list(transaction, &family.subject, before.as_ref(), &list)
    }

    /// Adds to a transaction that the families end that were not used for longest, until there is
    /// room for one more. A list without a bound would be memory that whoever has a password can
    /// fill.
    async fn made_room(
        &self,
        mut transaction: Transaction,
        list: &mut FamilyList,
        most: usize,
    ) -> Result<Transaction, StoreError> {
        let mut standing: Vec<(String, Standing<StoredFamily>)> = Vec::new();
        for id in list.ends.keys() {
            if let Some(family) = records::get(&*self.store, id).await? {
                standing.push((id.clone(), family));
            }
        }
        // Those that are gone for want of use take no room.
        list.ends.retain(|id, _| standing.iter().any(|(there, _)| there == id));
        standing.sort_by_key(|(_, family)| family.value.used_at);
        let too_many = standing.len().saturating_add(1).saturating_sub(most);
        for (id, family) in standing.into_iter().take(too_many) {
            transaction =
                self.gone(transaction, &id, &family, super::EndCause::TooMany, None).await?;
            list.ends.remove(&id);
        }
        Ok(transaction)
    }
}
