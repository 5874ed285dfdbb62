//! The keys of one system, and the command that carries a transaction to them.

use redis::Cmd;

use super::scripts;
use crate::store::{Table, Transaction, Write};

/// All begin with the hash tag.
pub(super) struct Keys {
    tag: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { tag: format!("{{{prefix}}}:") }
    }

    /// The hash of what there is one of: the format and the head of the log.
    pub(super) fn numbers(&self) -> String {
        format!("{}numbers", self.tag)
    }

    /// The numbers and the log, sequence to link and entry.
    pub(super) fn log(&self) -> [String; 2] {
        [self.numbers(), format!("{}log", self.tag)]
    }

    /// The hash of a table, or its index.
    pub(super) fn table(&self, table: Table) -> String {
        format!("{}{}", self.tag, table.name())
    }

    /// An entry that is a key of its own.
    pub(super) fn entry(&self, table: Table, key: &str) -> String {
        format!("{}{}:{key}", self.tag, table.name())
    }

    /// Where an entry is: as [`scripts::COMMIT`] wants it.
    fn place(&self, table: Table, key: &str) -> [String; 2] {
        let of_table = self.table(table);
        if table.may_expire() {
            [self.entry(table, key), of_table]
        } else {
            [of_table.clone(), of_table]
        }
    }

    pub(super) fn commit(
        &self,
        transaction: &Transaction,
        format: u64,
        kept: u64,
        nonce: &str,
    ) -> Cmd {
        let operations: Vec<Operation<'_>> = transaction
            .checks
            .iter()
            .map(|check| {
                let what = if check.expected.is_some() { "same" } else { "absent" };
                let value = check.expected.clone().unwrap_or_default();
                Operation { what, table: check.table, key: &check.key, value, end: String::new() }
            })
            .chain(transaction.writes.iter().map(operation))
            .collect();
        let mut keys = self.log().to_vec();
        for operation in &operations {
            keys.extend(self.place(operation.table, operation.key));
        }
        let mut command = redis::cmd("EVAL");
        command.arg(scripts::COMMIT).arg(keys.len()).arg(keys);
        command.arg(format).arg(kept).arg(nonce).arg(operations.len());
        for Operation { what, key, value, end, .. } in operations {
            command.arg(what).arg(key).arg(value).arg(end);
        }
        for entry in &transaction.log {
            command.arg(entry.as_slice());
        }
        command
    }
}

struct Operation<'a> {
    what: &'static str,
    table: Table,
    key: &'a str,
    value: Vec<u8>,
    end: String,
}

fn operation(write: &Write) -> Operation<'_> {
    let number = |number: &u64| number.to_string().into_bytes();
    let (what, value, end) = match write {
        Write::Put { value, expires_at, .. } => ("put", value.clone(), *expires_at),
        Write::Delete { .. } => ("delete", Vec::new(), None),
        Write::Add { amount, expires_at, .. } => ("add", number(amount), *expires_at),
        Write::Maximum { value, expires_at, .. } => ("maximum", number(value), *expires_at),
    };
    // The server refuses an end at the epoch itself; a second later is over just as well.
    let end = end.map_or_else(String::new, |end| end.0.max(1).to_string());
    Operation { what, table: write.table(), key: write.key(), value, end }
}
