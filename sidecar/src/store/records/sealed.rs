//! Where sealed secrets are in values.

use serde_json::Value;

use crate::seal::Sealed;
use crate::store::{StoreError, Table, failed, from_json, to_json};

/// The places of sealed secrets in the values of a table, as JSON pointers (RFC 6901). What is not
/// named here is not sealed anew when the store keys change, and is lost with the older key.
fn places(table: Table) -> &'static [&'static str] {
    match table {
        Table::Secrets => &[""],
        Table::SigningKeys => &["/private"],
        // The secret of a key that was rotated, until its owner collects it.
        Table::ApiKeys => &["/details/waiting/sealed"],
        // The last answer, which a client that lost it may ask for again.
        Table::Families => &["/answer"],
        Table::SocialTokens => &["/sealed"],
        // The hash of the password.
        Table::Users => &["/password/sealed"],
        Table::ApiKeyNames
        | Table::Revocations
        | Table::Usage
        | Table::Roles
        | Table::Documents
        | Table::RateLimits
        | Table::UserNames
        | Table::Clients
        | Table::Used
        | Table::LoginFailures => &[],
    }
}

/// The tables in whose values there may be sealed secrets.
pub(in crate::store) fn tables() -> impl Iterator<Item = Table> {
    Table::ALL.into_iter().filter(|table| !places(*table).is_empty())
}

/// Shows every sealed secret of a value; the value with what it is to be instead, if that is
/// something else.
pub(in crate::store) fn replaced(
    table: Table,
    value: &[u8],
    mut instead: impl FnMut(&Sealed) -> Option<Sealed>,
) -> Result<Option<Vec<u8>>, StoreError> {
    let mut json: Value = from_json(value)?;
    let mut changed = false;
    for place in places(table) {
        let Some(place) = json.pointer_mut(place).filter(|place| !place.is_null()) else {
            continue;
        };
        let sealed: Sealed = serde_json::from_value(place.clone()).map_err(failed)?;
        if let Some(instead) = instead(&sealed) {
            *place = serde_json::to_value(instead).map_err(failed)?;
            changed = true;
        }
    }
    changed.then(|| to_json(&json)).transpose()
}
