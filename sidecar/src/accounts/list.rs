//! Looking through the users, a page at a time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AccountError, Accounts, User};
use crate::store::records::users::{self, UserState};

/// Some users.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct UserList {
    /// Those of this page that were asked for; there may be none.
    pub users: Vec<User>,
    /// Where the next page begins; `null` at the end.
    #[serde(default)]
    pub next: Option<String>,
}

/// Which users are wanted.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct UserFilter {
    /// Where the page begins; the first if missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// In this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<UserState>,
    /// With this role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// In this group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

impl UserFilter {
    fn takes(&self, user: &User) -> bool {
        self.state.is_none_or(|state| user.state == state)
            && self.role.as_ref().is_none_or(|role| user.roles.contains(role))
            && self.group.as_ref().is_none_or(|group| user.groups.contains(group))
    }
}

impl Accounts {
    /// A page of the users: those of it that are wanted, which may be none. A user may appear on two
    /// pages.
    ///
    /// # Errors
    ///
    /// [`AccountError`] when the store fails.
    pub async fn list(&self, filter: &UserFilter) -> Result<UserList, AccountError> {
        let (users, next) = users::page(&*self.store, filter.cursor.clone()).await?;
        let users = users.into_iter().map(User::of).filter(|user| filter.takes(user)).collect();
        Ok(UserList { users, next })
    }
}
