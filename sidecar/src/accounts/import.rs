//! Taking in users of another system, with the hashes of their passwords as they are.

use std::collections::{BTreeMap, HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::Problems;
use super::{AccountError, Accounts, CreateUser, MAX_TRIES, Password, PasswordHash};
use crate::store::records::StoredUser;
use crate::store::records::users::{self, FoundUser, Taken};
use crate::store::{StoreError, Transaction};

/// Users of one batch. Each is seven operations of a transaction, which may have 4,096.
pub const MAX_IMPORT_BATCH: usize = 500;
/// Longest `by`, as of revocations: it stands in the audit log.
const MAX_BY_BYTES: usize = 1024;

/// A user of another system.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ImportUser {
    /// The name to log in with.
    pub name: String,
    /// The hash of the password, as the other system has it; without one the user cannot log in
    /// with a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_hash: Option<Password>,
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
    /// Whether the user may not log in.
    #[serde(default)]
    pub disabled: bool,
}

/// A batch of users.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ImportUsers {
    /// At most [`MAX_IMPORT_BATCH`].
    pub users: Vec<ImportUser>,
    /// Whether to look for problems only, and import nothing.
    #[serde(default)]
    pub check: bool,
    /// Who does it, for those who read it later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What became of a batch. With a problem nothing of it was imported.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ImportedUsers {
    /// Users that are there now and were not before; with `check`, that would be.
    pub imported: u64,
    /// Users that had been imported before; they stay as they are.
    pub unchanged: u64,
    /// What is wrong.
    pub problems: Vec<UserImportProblem>,
}

/// Why a user cannot be imported.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct UserImportProblem {
    /// Its place in the batch, from 0.
    pub index: usize,
    /// What is wrong.
    pub problem: String,
}

impl ImportUser {
    /// All that is wrong with it without looking at other users.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Problems::default();
        if let Err(problem) = super::UserName::parse(&self.name) {
            problems.add(problem.to_string());
        }
        if let Some(id) = &self.id {
            problems.id(id);
        }
        problems.roles(&self.roles);
        problems.groups(&self.groups);
        problems.email(self.email.as_deref());
        problems.metadata(&self.metadata);
        if let Some(Err(problem)) = self.hash() {
            problems.add(format!("`password_hash`: {problem}"));
        }
        problems.0
    }

    fn hash(&self) -> Option<Result<PasswordHash, super::ParseHashError>> {
        self.password_hash.as_ref().map(|hash| PasswordHash::parse(hash.expose()))
    }

    fn to_create(&self) -> CreateUser {
        CreateUser {
            name: self.name.clone(),
            password: None,
            id: self.id.clone(),
            roles: self.roles.clone(),
            groups: self.groups.clone(),
            email: self.email.clone(),
            metadata: self.metadata.clone(),
            disabled: self.disabled,
        }
    }
}

impl Accounts {
    /// Takes in users, all or none of a batch. Those that were imported before stay as they are: by
    /// now they may have another password. So an import that was broken off is done again.
    ///
    /// # Errors
    ///
    /// [`AccountError`] when the batch is too long or the store fails.
    pub async fn import(&self, asked: ImportUsers) -> Result<ImportedUsers, AccountError> {
        if asked.users.len() > MAX_IMPORT_BATCH {
            return Err(AccountError::Invalid(vec!["more than 500 users in one batch".to_owned()]));
        }
        if asked.by.as_ref().is_some_and(|by| by.len() > MAX_BY_BYTES) {
            return Err(AccountError::Invalid(vec!["`by` is longer than 1024 bytes".to_owned()]));
        }
        let mut problems = Vec::new();
        let users = self.all_checked(&asked.users, &mut problems)?;
        for _ in 0..MAX_TRIES {
            let (missing, unchanged) = self.missing(&asked.users, &users, &mut problems).await?;
            let imported = u64::try_from(missing.len()).unwrap_or(u64::MAX);
            if !problems.is_empty() {
                problems.sort_by_key(|problem| problem.index);
                return Ok(ImportedUsers { imported: 0, unchanged, problems });
            }
            if asked.check || missing.is_empty() {
                return Ok(ImportedUsers { imported, unchanged, problems });
            }
            let mut transaction = Transaction::new();
            for user in &missing {
                transaction = users::add_to(transaction, user)?;
            }
            match self.store.commit(transaction).await {
                Ok(_) => {
                    tracing::info!(imported, "users imported");
                    self.record_import(imported, unchanged, asked.by).await;
                    return Ok(ImportedUsers { imported, unchanged, problems });
                }
                // Somebody makes the same users; which of them is looked at again.
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Changed.into())
    }

    /// The records of those in which nothing is wrong, with their places.
    fn all_checked(
        &self,
        asked: &[ImportUser],
        problems: &mut Vec<UserImportProblem>,
    ) -> Result<Vec<(usize, StoredUser)>, AccountError> {
        let mut users: Vec<(usize, StoredUser)> = Vec::new();
        let (mut names, mut ids) = (HashSet::new(), HashSet::new());
        for (index, asked) in asked.iter().enumerate() {
            let found = asked.problems();
            if !found.is_empty() {
                problems
                    .extend(found.into_iter().map(|it| UserImportProblem { index, problem: it }));
                continue;
            }
            let mut user = self.checked(&asked.to_create())?;
            if !names.insert(user.folded.clone()) || !ids.insert(user.id.clone()) {
                let problem = "the name or the id stands twice in the batch".to_owned();
                problems.push(UserImportProblem { index, problem });
                continue;
            }
            if let Some(hash) = asked.hash() {
                let sealed = self.seal(&user.id, &hash?)?;
                user.set_password(sealed, user.created_at);
            }
            user.imported = true;
            users.push((index, user));
        }
        // One's name must not be another's id: commands take either.
        for (index, user) in &users {
            if user.id != user.folded && ids.contains(&user.folded) {
                let problem = "the name is the id of another user of the batch".to_owned();
                problems.push(UserImportProblem { index: *index, problem });
            }
        }
        Ok(users)
    }

    /// Those that are not there, and how many are.
    async fn missing<'a>(
        &self,
        asked: &[ImportUser],
        users: &'a [(usize, StoredUser)],
        problems: &mut Vec<UserImportProblem>,
    ) -> Result<(Vec<&'a StoredUser>, u64), AccountError> {
        let (mut missing, mut unchanged) = (Vec::new(), 0_u64);
        for (index, user) in users {
            let mut problem = |problem: AccountError| {
                problems.push(UserImportProblem { index: *index, problem: problem.to_string() });
            };
            let id_given = asked.get(*index).is_some_and(|asked| asked.id.is_some());
            match users::by_name(&*self.store, &user.folded).await? {
                Some(FoundUser { user: stands, .. })
                    if stands.imported && (stands.id == user.id || !id_given) =>
                {
                    unchanged = unchanged.saturating_add(1);
                }
                Some(_) => problem(AccountError::NameTaken),
                None => match users::taken(&*self.store, user).await? {
                    None => missing.push(user),
                    Some(Taken::Name) => problem(AccountError::NameTaken),
                    Some(Taken::Id) => problem(AccountError::IdTaken),
                },
            }
        }
        Ok((missing, unchanged))
    }
}
