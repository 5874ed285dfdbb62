//! What the values in the tables are: typed access, the same over every store.

pub mod api_keys;
pub mod clients;
pub mod families;
mod revocations;
pub(in crate::store) mod sealed;
pub mod secrets;
pub mod signing_keys;
pub mod social_tokens;
pub mod users;

pub use api_keys::StoredApiKey;
pub use clients::{StoredClient, StoredClientSecret};
pub use families::StoredFamily;
pub use revocations::{StandingRevocation, StoredRevocation};
pub use signing_keys::{StandingKey, StoredSigningKey};
pub use users::StoredUser;

use super::{Store, StoreError, Table, Transaction};

/// The value that stands under a key, which is `new` if there was none.
async fn get_or_insert(
    store: &dyn Store,
    table: Table,
    key: &str,
    new: Vec<u8>,
) -> Result<Vec<u8>, StoreError> {
    loop {
        // Written again even if it stands: so the acknowledgement, replicas included, is for it too.
        // Whoever wrote it may still wait for that in vain, and what is made with a secret that is
        // then lost would be lost with it.
        let (value, transaction) = match store.get(table, key).await? {
            Some(stands) => (stands.clone(), Transaction::new().same(table, key, stands)),
            None => (new.clone(), Transaction::new().absent(table, key)),
        };
        match store.commit(transaction.put(table, key, value.clone())).await {
            Ok(_) => return Ok(value),
            // Somebody was faster; a secret is never removed, so this ends.
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
    }
}
