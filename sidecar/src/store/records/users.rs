//! Users, by id and by folded name.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::seal::Sealed;
use crate::store::{MAX_KEY_BYTES, Store, StoreError, Table, Transaction, from_json, to_json};

/// A user at rest.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StoredUser {
    /// The id, which is the `sub` of tokens. It never changes.
    pub id: String,
    /// The name as it is shown.
    pub name: String,
    /// The name as it is compared.
    pub folded: String,
    /// Whether the user may log in.
    pub state: UserState,
    /// The password; without one nobody logs in with a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<StoredPassword>,
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
    /// Whatever was issued before that is not accepted any more, in seconds since the epoch.
    pub tokens_not_before: u64,
    /// When the user was made, in seconds since the epoch.
    pub created_at: u64,
    /// When anything but the password last changed, in seconds since the epoch.
    pub changed_at: u64,
    /// Whether it came from elsewhere, so that a second import knows the first.
    #[serde(default, skip_serializing_if = "is_false")]
    pub imported: bool,
}

/// Whether a user may log in.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UserState {
    /// May log in.
    Active,
    /// May not, for the time being.
    Disabled,
}

/// A password at rest.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StoredPassword {
    /// The hash, sealed: whoever steals the store without its keys has nothing to try guesses on.
    pub sealed: Sealed,
    /// When it was set, in seconds since the epoch. Another hash of the same password changes
    /// neither this nor the number.
    pub set_at: u64,
    /// How many passwords the user had before this one.
    pub number: u64,
}

impl StoredUser {
    /// Sets another password.
    pub fn set_password(&mut self, sealed: Sealed, set_at: u64) {
        let number = self.password.as_ref().map_or(0, |before| before.number.saturating_add(1));
        self.password = Some(StoredPassword { sealed, set_at, number });
    }

    /// Whether it is the same user with the same password, however that is hashed.
    pub fn has_same_password(&self, other: &Self) -> bool {
        let of = |user: &Self| user.password.as_ref().map(|it| (it.number, it.set_at));
        self.created_at == other.created_at && of(self) == of(other)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_false(truth: &bool) -> bool {
    !*truth
}

/// A user, and the bytes of it: a transaction compares bytes.
#[derive(Clone, Debug)]
pub struct FoundUser {
    /// The user.
    pub user: StoredUser,
    /// What stands in the store.
    pub bytes: Vec<u8>,
}

/// The user with this id.
///
/// # Errors
///
/// [`StoreError`] when the store fails.
pub async fn get(store: &dyn Store, id: &str) -> Result<Option<FoundUser>, StoreError> {
    let found = lookup(store, Table::Users, id).await?;
    found.map(|bytes| Ok(FoundUser { user: from_json(&bytes)?, bytes })).transpose()
}

/// The user with this folded name.
///
/// # Errors
///
/// [`StoreError`] when the store fails.
pub async fn by_name(store: &dyn Store, folded: &str) -> Result<Option<FoundUser>, StoreError> {
    let Some(id) = lookup(store, Table::UserNames, folded).await? else { return Ok(None) };
    let found = get(store, &String::from_utf8_lossy(&id)).await?;
    // Renamed between the two reads: the name is not its name any more.
    Ok(found.filter(|found| found.user.folded == folded))
}

/// What nobody could have stored is not there: a key of a client may be empty or longer than a key
/// may be.
async fn lookup(store: &dyn Store, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Ok(None);
    }
    store.get(table, key).await
}

/// Some users, and the cursor for more; `None` begins. A user may appear twice.
///
/// # Errors
///
/// [`StoreError`] when the store fails.
pub async fn page(
    store: &dyn Store,
    cursor: Option<String>,
) -> Result<(Vec<StoredUser>, Option<String>), StoreError> {
    let page = store.page(Table::Users, cursor).await?;
    let users = page.entries.iter().map(|entry| from_json(&entry.value));
    Ok((users.collect::<Result<_, _>>()?, page.next))
}

/// Checks that [`add_to`] makes: those of the name first.
pub const NAME_CHECKS: usize = 2;

/// Adds to a transaction that there is this user: five checks, of which [`NAME_CHECKS`] are about
/// the name, and two writes.
///
/// Commands and paths take a name or an id, so no name is the id of another user. And a user has not
/// the id of a client: both are subjects of tokens, and one would be taken for the other (RFC 9068
/// §5).
///
/// # Errors
///
/// [`StoreError`] when the user cannot be written down.
pub fn add_to(transaction: Transaction, user: &StoredUser) -> Result<Transaction, StoreError> {
    let (id, folded) = (user.id.as_str(), user.folded.as_str());
    let mut transaction = transaction.absent(Table::UserNames, folded);
    // Of the same text one check is enough, and two are none the worse.
    transaction = transaction.absent(Table::Users, folded);
    transaction = transaction.absent(Table::Users, id).absent(Table::Clients, id);
    transaction = transaction.absent(Table::UserNames, id.to_lowercase());
    Ok(transaction.put(Table::UserNames, folded, id).put(Table::Users, id, to_json(user)?))
}

/// What of a new user somebody else has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Taken {
    /// The name.
    Name,
    /// The id.
    Id,
}

/// What of a new user is taken, as [`add_to`] checks it.
///
/// # Errors
///
/// [`StoreError`] when the store fails.
pub async fn taken(store: &dyn Store, user: &StoredUser) -> Result<Option<Taken>, StoreError> {
    let (id, folded, lower) = (&user.id, &user.folded, user.id.to_lowercase());
    for (table, key, taken) in [
        (Table::UserNames, folded, Taken::Name),
        (Table::Users, folded, Taken::Name),
        (Table::Users, id, Taken::Id),
        (Table::Clients, id, Taken::Id),
        (Table::UserNames, &lower, Taken::Id),
    ] {
        if store.get(table, key).await?.is_some() {
            return Ok(Some(taken));
        }
    }
    Ok(None)
}

/// Adds to a transaction that `after` stands in the place of `before`; the id stays. With another
/// name, that nobody else has it: the checks after the first.
///
/// # Errors
///
/// [`StoreError`] when the user cannot be written down.
pub fn replace_in(
    transaction: Transaction,
    before: &FoundUser,
    after: &StoredUser,
) -> Result<Transaction, StoreError> {
    let (id, old, new) = (&before.user.id, &before.user.folded, &after.folded);
    let mut transaction = transaction.same(Table::Users, id, before.bytes.clone());
    if old != new {
        transaction = transaction.absent(Table::UserNames, new);
        if new != id {
            transaction = transaction.absent(Table::Users, new);
        }
        transaction =
            transaction.delete(Table::UserNames, old).put(Table::UserNames, new, id.as_str());
    }
    Ok(transaction.put(Table::Users, id, to_json(after)?))
}

/// Adds to a transaction that the user is gone; its name may be given again.
pub fn remove_in(transaction: Transaction, before: &FoundUser) -> Transaction {
    let (id, folded) = (&before.user.id, &before.user.folded);
    transaction
        .same(Table::Users, id, before.bytes.clone())
        .same(Table::UserNames, folded, id.as_str())
        .delete(Table::Users, id)
        .delete(Table::UserNames, folded)
}
