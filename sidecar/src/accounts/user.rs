//! A user as others see it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::store::records::StoredUser;
use crate::store::records::users::UserState;

/// A user, without the password.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct User {
    /// The id, which is the `sub` of tokens.
    pub id: String,
    /// The name.
    pub name: String,
    /// Whether the user may log in.
    pub state: UserState,
    /// The roles.
    pub roles: Vec<String>,
    /// The groups.
    pub groups: Vec<String>,
    /// The mail address.
    pub email: Option<String>,
    /// What is kept with the user.
    pub metadata: BTreeMap<String, String>,
    /// The password, if there is one.
    pub password: Option<PasswordView>,
    /// Whatever was issued before that is not accepted any more, in seconds since the epoch.
    pub tokens_not_before: Option<u64>,
    /// When the user was made, in seconds since the epoch.
    pub created_at: u64,
    /// When anything but the password last changed, in seconds since the epoch.
    pub changed_at: u64,
    /// Whether it came from elsewhere.
    pub imported: bool,
}

/// What may be known of a password.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct PasswordView {
    /// When it was set, in seconds since the epoch.
    pub set_at: u64,
}

impl User {
    pub(crate) fn of(user: StoredUser) -> Self {
        Self {
            id: user.id,
            name: user.name,
            state: user.state,
            roles: user.roles,
            groups: user.groups,
            email: user.email,
            metadata: user.metadata,
            password: user.password.map(|password| PasswordView { set_at: password.set_at }),
            tokens_not_before: Some(user.tokens_not_before),
            created_at: user.created_at,
            changed_at: user.changed_at,
            imported: user.imported,
        }
    }
}
