//! Making a user.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::Problems;
use super::{AccountError, Accounts, Password, User, UserName, about};
use crate::store::records::StoredUser;
use crate::store::records::users::{self, UserState};
use crate::store::{StoreError, Transaction};

/// What is asked for a new user.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CreateUser {
    /// The name to log in with.
    pub name: String,
    /// The password; without one the user cannot log in with a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
    /// The id, which is the `sub` of tokens; random when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The roles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// The groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// What is kept with the user.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Whether the user may not log in yet.
    #[serde(default, skip_serializing_if = "is_false")]
    pub disabled: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_false(truth: &bool) -> bool {
    !*truth
}

impl Accounts {
    /// Makes a user.
    ///
    /// # Errors
    ///
    /// [`AccountError`] when something of what is asked is wrong, name or id are taken, or the store
    /// fails.
    pub async fn create(&self, asked: CreateUser) -> Result<User, AccountError> {
        let mut user = self.checked(&asked)?;
        if let Some(password) = asked.password {
            let about = about(&user.name, user.email.as_deref());
            let hash = self.new_hash(password, about).await?;
            let sealed = self.seal(&user.id, &hash)?;
            user.set_password(sealed, self.clock.now().0);
        }
        let transaction = users::add_to(Transaction::new(), &user)?;
        match self.store.commit(transaction).await {
            Ok(_) => {}
            Err(StoreError::Conflict { check }) if check < users::NAME_CHECKS => {
                return Err(AccountError::NameTaken);
            }
            Err(StoreError::Conflict { .. }) => return Err(AccountError::IdTaken),
            Err(error) => return Err(error.into()),
        }
        tracing::info!(id = %user.id, "user created");
        self.record_change("user-created", &user.id).await;
        Ok(User::of(user))
    }

    /// The record of a user without its password, or all that is wrong with it.
    pub(super) fn checked(&self, asked: &CreateUser) -> Result<StoredUser, AccountError> {
        let mut problems = Problems::default();
        let name =
            UserName::parse(&asked.name).map_err(|problem| problems.add(problem.to_string()));
        if let Some(id) = &asked.id {
            problems.id(id);
        }
        problems.roles(&asked.roles);
        problems.groups(&asked.groups);
        problems.email(asked.email.as_deref());
        problems.metadata(&asked.metadata);
        let Ok(name) = name else { return Err(AccountError::Invalid(problems.0)) };
        if !problems.0.is_empty() {
            return Err(AccountError::Invalid(problems.0));
        }
        let id = match &asked.id {
            Some(id) => id.clone(),
            None => format!("usr_{}", self.random.text::<16>()?),
        };
        let now = self.clock.now().0;
        Ok(StoredUser {
            id,
            name: name.shown().to_owned(),
            folded: name.folded().to_owned(),
            state: if asked.disabled { UserState::Disabled } else { UserState::Active },
            password: None,
            roles: asked.roles.clone(),
            groups: asked.groups.clone(),
            email: asked.email.clone(),
            metadata: asked.metadata.clone(),
            // What was issued to a user of this id who was deleted is not this user's.
            tokens_not_before: now,
            created_at: now,
            changed_at: now,
            imported: false,
        })
    }
}
