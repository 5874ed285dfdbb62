//! Makes and removes roles and bindings at run time.

use serde_json::{Map, Value};
use wardgate_core::wire::feed::{ChangeKind, LogEntry};

use super::additions::{
    Additions, BINDING, BindingList, BindingView, MAX_ADDITIONS, Origin, ROLE, RoleList, RoleView,
};
use super::{PolicyDesk, Served};
use crate::store::{StoreError, Table, Transaction};

/// Counts changes of what is made at run time. Each change checks it, so that two at once do not make
/// together what neither would alone, as roles that inherit from each other.
const REVISION: &str = "policy_additions";
/// Tries of a change while others are made.
const TRIES: usize = 16;
/// Longest name of a role and id of a binding.
const MAX_NAME_BYTES: usize = 128;

/// Why a role or binding was not changed.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The policy would have these problems.
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
    /// It stands in the policy file.
    #[error("it stands in the policy file: change it there")]
    OfFile,
    /// There is none.
    #[error("there is none of this name that was made at run time")]
    Unknown,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PolicyDesk {
    /// All roles.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Store`] when the store fails.
    pub async fn roles(&self) -> Result<RoleList, PolicyError> {
        let additions = Additions::read(&*self.store).await?;
        Ok(RoleList { roles: additions.role_views(&self.state().file.document) })
    }

    /// All bindings.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Store`] when the store fails.
    pub async fn bindings(&self) -> Result<BindingList, PolicyError> {
        let additions = Additions::read(&*self.store).await?;
        Ok(BindingList { bindings: additions.binding_views(&self.state().file.document) })
    }

    /// Makes a role, or another one of it.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] when it is one of the file, or the policy would have problems with it.
    pub async fn put_role(
        &self,
        name: &str,
        role: Map<String, Value>,
    ) -> Result<RoleView, PolicyError> {
        check_name(name)?;
        self.refuse_role_of_file(name)?;
        let put = |additions: &mut Additions| {
            additions.roles.insert(name.to_owned(), role.clone());
            Ok(())
        };
        self.change(&format!("{ROLE}{name}"), Some(&role), put).await?;
        tracing::info!(role = name, "a role was made");
        Ok(RoleView { name: name.to_owned(), origin: Origin::RunTime, role })
    }

    /// Removes a role.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] when there is none, or something of the policy needs it.
    pub async fn delete_role(&self, name: &str) -> Result<(), PolicyError> {
        self.refuse_role_of_file(name)?;
        let remove = |additions: &mut Additions| {
            additions.roles.remove(name).map(|_| ()).ok_or(PolicyError::Unknown)
        };
        self.change(&format!("{ROLE}{name}"), None, remove).await?;
        tracing::info!(role = name, "a role was removed");
        Ok(())
    }

    /// Makes a binding, or another one of it.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] when the policy would have problems with it.
    pub async fn put_binding(
        &self,
        id: &str,
        binding: Map<String, Value>,
    ) -> Result<BindingView, PolicyError> {
        check_name(id)?;
        let put = |additions: &mut Additions| {
            additions.bindings.insert(id.to_owned(), binding.clone());
            Ok(())
        };
        self.change(&format!("{BINDING}{id}"), Some(&binding), put).await?;
        tracing::info!(binding = id, "a binding was made");
        Ok(BindingView { id: Some(id.to_owned()), origin: Origin::RunTime, binding })
    }

    /// Removes a binding.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] when there is none.
    pub async fn delete_binding(&self, id: &str) -> Result<(), PolicyError> {
        let remove = |additions: &mut Additions| {
            additions.bindings.remove(id).map(|_| ()).ok_or(PolicyError::Unknown)
        };
        self.change(&format!("{BINDING}{id}"), None, remove).await?;
        tracing::info!(binding = id, "a binding was removed");
        Ok(())
    }

    fn refuse_role_of_file(&self, name: &str) -> Result<(), PolicyError> {
        let state = self.state();
        let roles = state.file.document.get("roles").and_then(Value::as_object);
        if roles.is_some_and(|roles| roles.contains_key(name)) {
            return Err(PolicyError::OfFile);
        }
        Ok(())
    }

    /// Changes one entry, if the whole policy is right with it. Filters hear of it by the log.
    async fn change(
        &self,
        key: &str,
        value: Option<&Map<String, Value>>,
        change: impl Fn(&mut Additions) -> Result<(), PolicyError>,
    ) -> Result<(), PolicyError> {
        if key.len() > crate::store::MAX_KEY_BYTES {
            return Err(PolicyError::Unknown);
        }
        let file = self.state().file.document.clone();
        for _ in 0..TRIES {
            // The revision first: what changes after it makes the check fail.
            let revision = self.store.get(Table::Documents, REVISION).await?;
            let mut additions = Additions::read(&*self.store).await?;
            change(&mut additions)?;
            check_size(&additions)?;
            let _: Served = additions.merged(&file).map_err(PolicyError::Invalid)?;
            let count =
                revision.as_deref().and_then(|it| std::str::from_utf8(it).ok()?.parse().ok());
            let next = count.unwrap_or(0_u64).saturating_add(1).to_string();
            let mut transaction = match revision {
                Some(revision) => Transaction::new().same(Table::Documents, REVISION, revision),
                None => Transaction::new().absent(Table::Documents, REVISION),
            };
            transaction = transaction.put(Table::Documents, REVISION, next);
            transaction = match value {
                Some(value) => {
                    let value = serde_json::to_vec(value).unwrap_or_default();
                    transaction.put(Table::Roles, key, value)
                }
                None => transaction.delete(Table::Roles, key),
            };
            match self.store.commit(transaction.append(self.settings_entry())).await {
                Ok(_) => return Ok(()),
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Changed.into())
    }

    fn settings_entry(&self) -> Vec<u8> {
        let at_milliseconds = self.clock.now_milliseconds();
        let entry = LogEntry { at_milliseconds, kind: ChangeKind::Settings };
        // Two plain members into memory: this cannot fail.
        serde_json::to_vec(&entry).unwrap_or_default()
    }
}

fn check_name(name: &str) -> Result<(), PolicyError> {
    let right = !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && name.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'?' | b'#'));
    if right {
        return Ok(());
    }
    let message = format!("a name is 1 to {MAX_NAME_BYTES} letters without spaces and slashes");
    Err(PolicyError::Invalid(vec![message]))
}

fn check_size(additions: &Additions) -> Result<(), PolicyError> {
    if additions.roles.len().saturating_add(additions.bindings.len()) > MAX_ADDITIONS {
        let message = format!("more than {MAX_ADDITIONS} roles and bindings made at run time");
        return Err(PolicyError::Invalid(vec![message]));
    }
    Ok(())
}
