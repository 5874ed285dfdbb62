//! What may be used once, also between several sidecars.

use wardgate_core::feed::Fingerprint;
use wardgate_core::time::UnixSeconds;

use crate::store::{Store, StoreError, Table, Transaction};

/// Marks something as used until it would not be taken any more; whether it was not used before.
///
/// # Errors
///
/// [`StoreError`] when the store fails. Then nobody knows, and it must not be taken.
pub(super) async fn use_once(
    store: &dyn Store,
    kind: &str,
    parts: &[&str],
    until: UnixSeconds,
) -> Result<bool, StoreError> {
    let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
    // Of fixed length, whatever the client chose.
    let key = format!("{kind}/{}", Fingerprint::of(kind, &parts).text());
    let transaction = Transaction::new().absent(Table::Used, &key);
    match store.commit(transaction.put_until(Table::Used, &key, "1", Some(until))).await {
        Ok(_) => Ok(true),
        Err(StoreError::Conflict { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
