//! What a store is asked to change in one step.

use std::collections::HashSet;

use wardgate_core::time::UnixSeconds;

use super::Table;

/// Longest key: an issuer and a subject of 1 KiB each fit. A Redis and a page of the embedded store
/// hold far more; a key that long is a mistake.
pub const MAX_KEY_BYTES: usize = 4096;
/// Longest value and log entry: a document such as a policy fits.
pub const MAX_VALUE_BYTES: usize = 4 * 1024 * 1024;
/// Checks, writes and log entries of one transaction. All of them are one command of a Redis, which
/// serves nobody else meanwhile.
pub const MAX_OPERATIONS: usize = 4096;
/// Bytes of one transaction, for the same reason.
pub const MAX_TRANSACTION_BYTES: usize = 16 * 1024 * 1024;
/// Where counters stop: the largest number that the scripts of a Redis, which count in floating
/// point, tell from its neighbours.
pub const MAX_COUNTER: u64 = (1 << 53) - 1;
/// The latest end of an entry, in the year 9999: a Redis refuses what its milliseconds cannot hold.
pub const MAX_EXPIRES_AT: UnixSeconds = UnixSeconds(253_402_300_799);

/// Checks, writes and log entries that take effect together or not at all.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Transaction {
    /// What must be so.
    pub checks: Vec<Check>,
    /// What is written if it is. No key twice.
    pub writes: Vec<Write>,
    /// What is appended to the log.
    pub log: Vec<Vec<u8>>,
}

/// What must be so for a transaction to take effect.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Check {
    /// The table.
    pub table: Table,
    /// The key.
    pub key: String,
    /// The value that must stand there; `None` for no entry.
    pub expected: Option<Vec<u8>>,
}

/// What a transaction writes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Write {
    /// Sets an entry.
    Put {
        /// The table.
        table: Table,
        /// The key.
        key: String,
        /// The value.
        value: Vec<u8>,
        /// When the entry is no more; `None` for never.
        expires_at: Option<UnixSeconds>,
    },
    /// Removes an entry, if there is one.
    Delete {
        /// The table.
        table: Table,
        /// The key.
        key: String,
    },
    /// Adds to a counter, which begins at 0 and stops at [`MAX_COUNTER`]. Its value is decimal text.
    Add {
        /// The table.
        table: Table,
        /// The key.
        key: String,
        /// How much more.
        amount: u64,
        /// When the counter is no more, unless it has a later end already; `None` for never.
        expires_at: Option<UnixSeconds>,
    },
    /// Raises a counter to a value, if it is less. Its value is decimal text.
    Maximum {
        /// The table.
        table: Table,
        /// The key.
        key: String,
        /// The value.
        value: u64,
        /// As of [`Write::Add`].
        expires_at: Option<UnixSeconds>,
    },
}

/// A transaction that no store takes: a mistake of its maker.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidTransaction {
    /// A key that is empty or too long.
    #[error("a key is empty or longer than {MAX_KEY_BYTES} bytes")]
    Key,
    /// A value that is too long.
    #[error("a value is longer than {MAX_VALUE_BYTES} bytes")]
    Value,
    /// Too much at once.
    #[error("more than {MAX_OPERATIONS} operations or {MAX_TRANSACTION_BYTES} bytes at once")]
    Size,
    /// A key that is written twice.
    #[error("a key is written twice")]
    Twice,
    /// An end where there is none, or one that is too late.
    #[error("an entry of {} cannot end then", .0.name())]
    Expiry(Table),
    /// A counter that is not a number.
    #[error("an entry of {} is no counter", .0.name())]
    Counter(Table),
}

impl Transaction {
    /// A transaction that does nothing. Committed as it is, it shows that the store still
    /// acknowledges changes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Requires that there is no such entry.
    pub fn absent(mut self, table: Table, key: impl Into<String>) -> Self {
        self.checks.push(Check { table, key: key.into(), expected: None });
        self
    }

    /// Requires that the entry is this.
    pub fn same(
        mut self,
        table: Table,
        key: impl Into<String>,
        expected: impl Into<Vec<u8>>,
    ) -> Self {
        self.checks.push(Check { table, key: key.into(), expected: Some(expected.into()) });
        self
    }

    /// Sets an entry that has no end.
    pub fn put(self, table: Table, key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.put_until(table, key, value, None)
    }

    /// Sets an entry.
    pub fn put_until(
        mut self,
        table: Table,
        key: impl Into<String>,
        value: impl Into<Vec<u8>>,
        expires_at: Option<UnixSeconds>,
    ) -> Self {
        self.writes.push(Write::Put { table, key: key.into(), value: value.into(), expires_at });
        self
    }

    /// Removes an entry, if there is one.
    pub fn delete(mut self, table: Table, key: impl Into<String>) -> Self {
        self.writes.push(Write::Delete { table, key: key.into() });
        self
    }

    /// Adds to a counter.
    pub fn add(
        mut self,
        table: Table,
        key: impl Into<String>,
        amount: u64,
        expires_at: Option<UnixSeconds>,
    ) -> Self {
        self.writes.push(Write::Add { table, key: key.into(), amount, expires_at });
        self
    }

    /// Raises a counter to a value, if it is less.
    pub fn maximum(
        mut self,
        table: Table,
        key: impl Into<String>,
        value: u64,
        expires_at: Option<UnixSeconds>,
    ) -> Self {
        self.writes.push(Write::Maximum { table, key: key.into(), value, expires_at });
        self
    }

    /// Appends an entry to the log.
    pub fn append(mut self, entry: impl Into<Vec<u8>>) -> Self {
        self.log.push(entry.into());
        self
    }

    /// Whether it neither writes nor appends.
    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.log.is_empty()
    }

    /// Whether it has the same effect when it takes effect twice.
    pub(super) fn is_repeatable(&self) -> bool {
        let once = |write: &Write| matches!(write, Write::Add { .. });
        self.checks.is_empty() && !self.writes.iter().any(once)
    }

    /// Every store checks this first, so that all refuse the same.
    pub(super) fn check(&self) -> Result<(), InvalidTransaction> {
        let operations = [self.checks.len(), self.writes.len(), self.log.len()];
        if operations.into_iter().fold(0, usize::saturating_add) > MAX_OPERATIONS {
            return Err(InvalidTransaction::Size);
        }
        let mut bytes = 0_usize;
        for check in &self.checks {
            bytes = count(bytes, &check.key, check.expected.as_deref().unwrap_or_default())?;
        }
        let mut written = HashSet::new();
        for write in &self.writes {
            let value = if let Write::Put { value, .. } = write { value.as_slice() } else { &[] };
            bytes = count(bytes, write.key(), value)?;
            if !written.insert((write.table(), write.key())) {
                return Err(InvalidTransaction::Twice);
            }
            write.check_expiry()?;
        }
        for entry in &self.log {
            bytes = count(bytes, "-", entry)?;
        }
        if bytes > MAX_TRANSACTION_BYTES { Err(InvalidTransaction::Size) } else { Ok(()) }
    }
}

fn count(bytes: usize, key: &str, value: &[u8]) -> Result<usize, InvalidTransaction> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(InvalidTransaction::Key);
    }
    if value.len() > MAX_VALUE_BYTES {
        return Err(InvalidTransaction::Value);
    }
    Ok(bytes.saturating_add(key.len()).saturating_add(value.len()))
}

impl Write {
    /// The table.
    pub fn table(&self) -> Table {
        match self {
            Self::Put { table, .. }
            | Self::Delete { table, .. }
            | Self::Add { table, .. }
            | Self::Maximum { table, .. } => *table,
        }
    }

    /// The key.
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. }
            | Self::Delete { key, .. }
            | Self::Add { key, .. }
            | Self::Maximum { key, .. } => key,
        }
    }

    fn check_expiry(&self) -> Result<(), InvalidTransaction> {
        let (table, expires_at) = match self {
            Self::Put { table, expires_at, .. }
            | Self::Add { table, expires_at, .. }
            | Self::Maximum { table, expires_at, .. } => (*table, *expires_at),
            Self::Delete { .. } => return Ok(()),
        };
        match expires_at {
            Some(_) if !table.may_expire() => Err(InvalidTransaction::Expiry(table)),
            Some(end) if end > MAX_EXPIRES_AT => Err(InvalidTransaction::Expiry(table)),
            Some(_) | None => Ok(()),
        }
    }
}

/// The value of a counter, if it is one.
pub(super) fn counter(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.len() <= 16 && value.iter().all(u8::is_ascii_digit);
    let number: u64 = core::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()?;
    (number <= MAX_COUNTER).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::{InvalidTransaction, MAX_EXPIRES_AT, MAX_KEY_BYTES, MAX_VALUE_BYTES, Transaction};
    use crate::store::Table;

    #[track_caller]
    fn check(transaction: &Transaction, expected: Result<(), InvalidTransaction>) {
        assert_eq!(transaction.check(), expected);
    }

    #[test]
    fn what_no_store_takes_is_refused_before_anything_happens() {
        let none = Transaction::new;
        let table = Table::Usage;
        check(&none(), Ok(()));
        check(&none().put(table, "a", "v").add(table, "b", 1, Some(MAX_EXPIRES_AT)), Ok(()));
        check(&none().put(table, "", "v"), Err(InvalidTransaction::Key));
        check(&none().absent(table, "k".repeat(MAX_KEY_BYTES + 1)), Err(InvalidTransaction::Key));
        let long = vec![0; MAX_VALUE_BYTES + 1];
        check(&none().append(long), Err(InvalidTransaction::Value));
        check(&none().put(table, "a", "v").delete(table, "a"), Err(InvalidTransaction::Twice));
        let end = Some(MAX_EXPIRES_AT.plus(1));
        check(&none().add(table, "a", 1, end), Err(InvalidTransaction::Expiry(table)));
        let roles = Table::Roles;
        let ends = none().put_until(roles, "a", "v", Some(MAX_EXPIRES_AT));
        check(&ends, Err(InvalidTransaction::Expiry(roles)));
        let much = (0..5).fold(none(), |much, _| much.append(vec![0; MAX_VALUE_BYTES]));
        check(&much, Err(InvalidTransaction::Size));
        let many = (0..5000).fold(none(), |many, _| many.append("e"));
        check(&many, Err(InvalidTransaction::Size));
    }
}
