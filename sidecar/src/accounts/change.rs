//! Changing a user: what they may do, whether they may log in, their password, and the end.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use wardgate_core::feed::RevocationTarget;
use wardgate_core::time::UnixSeconds;

use super::check::Problems;
use super::{AccountError, Accounts, MAX_TRIES, Password, User, UserName, about};
use crate::store::records::social_tokens;
use crate::store::records::users::{self, FoundUser, UserState};
use crate::store::records::{StandingRevocation, StoredRevocation, StoredUser};
use crate::store::{MAX_EXPIRES_AT, StoreError, Transaction};

/// What is to be changed of a user (RFC 7396: a member that is missing stays, `null` takes away).
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateUser {
    /// The name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The roles, all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// The groups, all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
    /// The mail address.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub email: Option<Option<String>>,
    /// Members of the metadata; `null` takes one away, others stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BTreeMap<String, Option<String>>>,
}

/// A member that is there, even if it is `null`.
#[expect(clippy::option_option, reason = "missing and null are two things")]
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(deserializer).map(Some)
}

/// What a change is to what the user was issued.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Issued {
    Stays,
    Ends,
}

impl Accounts {
    /// Changes what is named. Tokens that were issued keep the roles and groups that they have, for
    /// the minutes that they live.
    ///
    /// # Errors
    ///
    /// [`AccountError`] when there is no such user, the change is wrong, the name is taken, or the
    /// store fails.
    pub async fn update(&self, name_or_id: &str, asked: UpdateUser) -> Result<User, AccountError> {
        let name = asked.name.as_deref().map(UserName::parse);
        let user = self.edit(name_or_id, "user-changed", |user| {
            let mut problems = Problems::default();
            match &name {
                None => {}
                Some(Ok(name)) => {
                    name.shown().clone_into(&mut user.name);
                    name.folded().clone_into(&mut user.folded);
                }
                Some(Err(problem)) => problems.add(problem.to_string()),
            }
            apply(user, &asked);
            problems.roles(&user.roles);
            problems.groups(&user.groups);
            problems.email(user.email.as_deref());
            problems.metadata(&user.metadata);
            if problems.0.is_empty() {
                Ok(Issued::Stays)
            } else {
                Err(AccountError::Invalid(problems.0))
            }
        });
        user.await
    }

    /// The user may not log in any more, and nothing that they were issued is accepted. Done again
    /// it ends what was issued again.
    ///
    /// # Errors
    ///
    /// [`AccountError`] when there is no such user or the store fails.
    pub async fn disable(&self, name_or_id: &str) -> Result<User, AccountError> {
        let user = self.edit(name_or_id, "user-disabled", |user| {
            user.state = UserState::Disabled;
            Ok(Issued::Ends)
        });
        user.await
    }

    /// The user may log in again.
    ///
    /// # Errors
    ///
    /// As of [`Self::disable`].
    pub async fn enable(&self, name_or_id: &str) -> Result<User, AccountError> {
        let user = self.edit(name_or_id, "user-enabled", |user| {
            user.state = UserState::Active;
            Ok(Issued::Stays)
        });
        user.await
    }

    /// Logs the user out everywhere: nothing that they were issued is accepted any more.
    ///
    /// # Errors
    ///
    /// As of [`Self::disable`].
    pub async fn log_out(&self, name_or_id: &str) -> Result<User, AccountError> {
        self.edit(name_or_id, "user-logged-out", |_| Ok(Issued::Ends)).await
    }

    /// Sets the password, whatever it was, and ends what was issued: whoever knew the old one may
    /// have a token.
    ///
    /// # Errors
    ///
    /// [`AccountError`] when there is no such user, the password will not do, or the store fails.
    pub async fn set_password(
        &self,
        name_or_id: &str,
        password: Password,
    ) -> Result<User, AccountError> {
        let user = self.find(name_or_id).await?.user;
        let hash = self.new_hash(password, about(&user.name, user.email.as_deref())).await?;
        let sealed = self.seal(&user.id, &hash)?;
        let set_at = self.clock.now().0;
        let user = self.edit(&user.id, "user-password-set", |user| {
            user.set_password(sealed.clone(), set_at);
            Ok(Issued::Ends)
        });
        user.await
    }

    /// Sets the password, if the one that stands still is this: of two who change it with the old
    /// one at once, one does.
    pub(super) async fn replace_password(
        &self,
        before: &StoredUser,
        password: Password,
    ) -> Result<Option<User>, AccountError> {
        let hash = self.new_hash(password, about(&before.name, before.email.as_deref())).await?;
        let sealed = self.seal(&before.id, &hash)?;
        let set_at = self.clock.now().0;
        let changed = self.edit(&before.id, "user-password-changed", |user| {
            if !user.has_same_password(before) || user.state != UserState::Active {
                return Err(AccountError::Unknown);
            }
            user.set_password(sealed.clone(), set_at);
            Ok(Issued::Ends)
        });
        match changed.await {
            Ok(user) => Ok(Some(user)),
            Err(AccountError::Unknown) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Forgets the user, and ends what was issued. The name may be given again.
    ///
    /// # Errors
    ///
    /// As of [`Self::disable`].
    pub async fn delete(&self, name_or_id: &str) -> Result<(), AccountError> {
        let id = self.find(name_or_id).await?.user.id;
        for _ in 0..MAX_TRIES {
            let found = users::get(&*self.store, &id).await?.ok_or(AccountError::Unknown)?;
            let transaction = users::remove_in(Transaction::new(), &found);
            // Left behind, a user who is given the id again would have what the first one had.
            let transaction = social_tokens::forget_all(transaction, &id, &self.social_providers);
            let transaction = self.end_issued(transaction, &id, "user-deleted").await?;
            match self.store.commit(transaction).await {
                Ok(_) => {
                    tracing::info!(id, "user deleted");
                    self.record_change("user-deleted", &id).await;
                    return Ok(());
                }
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Changed.into())
    }

    /// Changes the user of this name or id, again if somebody else changed it meanwhile. A change
    /// that changes nothing writes nothing.
    async fn edit(
        &self,
        name_or_id: &str,
        event: &'static str,
        change: impl Fn(&mut StoredUser) -> Result<Issued, AccountError>,
    ) -> Result<User, AccountError> {
        let id = self.find(name_or_id).await?.user.id;
        for _ in 0..MAX_TRIES {
            let found = users::get(&*self.store, &id).await?.ok_or(AccountError::Unknown)?;
            let mut after = found.user.clone();
            let issued = change(&mut after)?;
            if issued == Issued::Stays && after == found.user {
                return Ok(User::of(after));
            }
            if let Some(user) = self.replace(&found, after, issued, event).await? {
                return Ok(User::of(user));
            }
        }
        Err(StoreError::Changed.into())
    }

    /// One try: nothing if somebody else was faster.
    async fn replace(
        &self,
        found: &FoundUser,
        mut after: StoredUser,
        issued: Issued,
        event: &'static str,
    ) -> Result<Option<StoredUser>, AccountError> {
        let now = self.clock.now();
        if after.password == found.user.password {
            after.changed_at = now.0;
        }
        if issued == Issued::Ends {
            // A token of this second is revoked too, so what is accepted begins with the next.
            after.tokens_not_before = after.tokens_not_before.max(now.plus(1).0);
        }
        let mut transaction = users::replace_in(Transaction::new(), found, &after)?;
        if issued == Issued::Ends {
            transaction = self.end_issued(transaction, &after.id, event).await?;
        }
        let renamed = after.folded != found.user.folded;
        match self.store.commit(transaction).await {
            Ok(_) => {
                tracing::info!(id = %after.id, event, "user changed");
                self.record_change(event, &after.id).await;
                Ok(Some(after))
            }
            Err(StoreError::Conflict { check: 1 | 2 }) if renamed => Err(AccountError::NameTaken),
            Err(StoreError::Conflict { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Adds to a transaction that nothing that the user was issued until now is accepted any more.
    ///
    /// In the same transaction as the change, so there is no order of the two in which a crash
    /// leaves a disabled user with tokens that work, or a user logged out who was not disabled; and
    /// filters hear of it by the log, in which it is by then.
    async fn end_issued(
        &self,
        transaction: Transaction,
        id: &str,
        why: &str,
    ) -> Result<Transaction, AccountError> {
        let now = self.clock.now();
        let target =
            RevocationTarget::Subject { issuer: self.issuer.clone(), subject: id.to_owned() };
        let standing = StandingRevocation::read(&*self.store, &target).await?;
        let until: UnixSeconds = now.plus(self.keep_seconds);
        let new = StoredRevocation {
            target,
            issued_until: Some(now.0),
            until: until.min(MAX_EXPIRES_AT).0,
            reason: Some(why.to_owned()),
            by: None,
            revoked_at: now.0,
        };
        Ok(standing.widen(transaction, new, self.clock.now_milliseconds())?)
    }
}

fn apply(user: &mut StoredUser, asked: &UpdateUser) {
    if let Some(roles) = &asked.roles {
        user.roles.clone_from(roles);
    }
    if let Some(groups) = &asked.groups {
        user.groups.clone_from(groups);
    }
    if let Some(email) = &asked.email {
        user.email.clone_from(email);
    }
    for (name, value) in asked.metadata.iter().flatten() {
        match value {
            Some(value) => user.metadata.insert(name.clone(), value.clone()),
            None => user.metadata.remove(name),
        };
    }
}
