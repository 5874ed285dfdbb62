//! The end of a family before its time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{EndCause, Families, Family, FamilyView, Refusal, TRIES};
use crate::store::records::StoredFamily;
use crate::store::records::families::{self as records, FamilyList, Standing};
use crate::store::{StoreError, Table, Transaction};

/// Families that end in one transaction: each is some operations, and a transaction has a limit.
const AT_ONCE: usize = 100;

/// A family that has ended: its tokens are refused, and filters refuse the access tokens of its
/// session.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct EndedFamily {
    /// What it was.
    pub family: Family,
    /// Why it ended.
    pub cause: EndCause,
}

/// What was ended, as an operator sees it.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct EndedSessions {
    /// As they were.
    pub sessions: Vec<FamilyView>,
}

impl From<Vec<EndedFamily>> for EndedSessions {
    fn from(ended: Vec<EndedFamily>) -> Self {
        Self { sessions: ended.into_iter().map(|it| it.family.into()).collect() }
    }
}

impl Families {
    /// Ends a family; `None` if there is none of this id. `by` says who does it, for those who read
    /// it later.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn end(
        &self,
        id: &str,
        cause: EndCause,
        by: Option<&str>,
    ) -> Result<Option<EndedFamily>, StoreError> {
        for _ in 0..TRIES {
            let Some(standing) = self.stored(id).await? else { return Ok(None) };
            if let Some(ended) = self.try_end(&standing, id, cause, by).await? {
                return Ok(Some(ended));
            }
        }
        Err(StoreError::Changed)
    }

    /// Ends the family of a token that its client gives back (RFC 7009 §2.1): any token of it, used
    /// or not. `None` if it has ended before.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] when it was not made here or is another client's, or the store fails.
    pub async fn end_by_token(
        &self,
        token: &str,
        client_id: &str,
        cause: EndCause,
    ) -> Result<Result<Option<EndedFamily>, Refusal>, StoreError> {
        let Some(token) = self.key.read(token) else { return Ok(Err(Refusal::NotGenuine)) };
        let Some(standing) = records::get(&*self.store, &token.family).await? else {
            return Ok(Ok(None));
        };
        if standing.value.client_id != client_id {
            return Ok(Err(Refusal::OtherClient));
        }
        let by = format!("client {client_id}");
        self.end(&token.family, cause, Some(&by)).await.map(Ok)
    }

    /// Ends all families of a subject; those that ended. One that begins meanwhile may stay.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails: some may have ended.
    pub async fn end_all(
        &self,
        subject: &str,
        cause: EndCause,
        by: Option<&str>,
    ) -> Result<Vec<EndedFamily>, StoreError> {
        let mut ended = Vec::new();
        for _ in 0..TRIES {
            let Some(list) = records::list(&*self.store, subject).await? else { return Ok(ended) };
            ended.extend(self.try_end_some(subject, &list, cause, by).await?);
        }
        Err(StoreError::Changed)
    }

    /// Ends a family if it still is as it was read; `None` if it is not.
    pub(super) async fn try_end(
        &self,
        standing: &Standing<StoredFamily>,
        id: &str,
        cause: EndCause,
        by: Option<&str>,
    ) -> Result<Option<EndedFamily>, StoreError> {
        let subject = &standing.value.subject;
        let transaction = self.gone(Transaction::new(), id, standing, cause, by).await?;
        let before = records::list(&*self.store, subject).await?;
        let list = before.as_ref().map(|before| before.value.clone()).unwrap_or_default();
        let mut list = list.alive(self.clock.now());
        list.ends.remove(id);
        let transaction = records::replace_list(transaction, subject, before.as_ref(), &list)?;
        match self.store.commit(transaction).await {
            Ok(_) => Ok(Some(self.ended(id, standing, cause))),
            Err(StoreError::Conflict { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn try_end_some(
        &self,
        subject: &str,
        before: &Standing<FamilyList>,
        cause: EndCause,
        by: Option<&str>,
    ) -> Result<Vec<EndedFamily>, StoreError> {
        let mut list = before.value.clone().alive(self.clock.now());
        let some: Vec<String> = list.ends.keys().take(AT_ONCE).cloned().collect();
        let (mut transaction, mut ended) = (Transaction::new(), Vec::new());
        for id in some {
            list.ends.remove(&id);
            let Some(standing) = records::get(&*self.store, &id).await? else { continue };
            transaction = self.gone(transaction, &id, &standing, cause, by).await?;
            ended.push((id, standing));
        }
        let transaction = records::replace_list(transaction, subject, Some(before), &list)?;
        match self.store.commit(transaction).await {
            Ok(_) => {
                Ok(ended.iter().map(|(id, standing)| self.ended(id, standing, cause)).collect())
            }
            Err(StoreError::Conflict { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Adds to a transaction that a family that still is as it was read is no more, and that its
    /// session is revoked. In one step: a family that has ended while its access tokens go on, or the
    /// other way round, would be neither.
    pub(super) async fn gone(
        &self,
        transaction: Transaction,
        id: &str,
        standing: &Standing<StoredFamily>,
        cause: EndCause,
        by: Option<&str>,
    ) -> Result<Transaction, StoreError> {
        let transaction = transaction
            .same(Table::Families, id, standing.bytes.clone())
            .delete(Table::Families, id);
        let reason = format!("refresh tokens: {}", cause.word());
        self.revoke_session(transaction, id, &reason, by).await
    }

    fn ended(&self, id: &str, standing: &Standing<StoredFamily>, cause: EndCause) -> EndedFamily {
        self.metrics.families.end(cause.word());
        tracing::info!(session = id, cause = cause.word(), "a family of refresh tokens has ended");
        let family = Family { id: id.to_owned(), stored: standing.value.clone() };
        EndedFamily { family, cause }
    }
}
