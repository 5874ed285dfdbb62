//! The counters in the store.

use wardgate_core::time::UnixSeconds;

use super::decide::{Failures, Standing, decide};
use super::{Counter, LoginGuard, Wait, Who};
use crate::accounts::MAX_TRIES;
use crate::store::{MAX_EXPIRES_AT, Store, StoreError, Table, Transaction};

/// An attempt that was counted as a failure before anything was looked at.
#[derive(Clone, Debug)]
pub(crate) struct Reserved {
    who: Who,
    /// Whether it counted for account and address too.
    as_stranger: bool,
}

/// The counters of an attempt and the bytes of each.
struct Read {
    standing: Standing,
    pair: Option<Vec<u8>>,
    address: Option<Vec<u8>>,
    account: Option<Vec<u8>>,
}

impl LoginGuard {
    /// Whether an attempt may be made; writes nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub(crate) async fn look(
        &self,
        store: &dyn Store,
        who: &Who,
        now: UnixSeconds,
    ) -> Result<Result<(), Wait>, StoreError> {
        let read = read(store, who).await?;
        Ok(decide(&read.standing, who, &self.limits, now))
    }

    /// Counts an attempt as a failure, if it may be made.
    ///
    /// The attack: a hundred guesses at once, all of which are looked at before the first has
    /// failed. So each is counted before its password is looked at, and [`Self::succeeded`] takes it
    /// back.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub(crate) async fn reserve(
        &self,
        store: &dyn Store,
        who: &Who,
        now: UnixSeconds,
    ) -> Result<Result<Reserved, Wait>, StoreError> {
        for _ in 0..MAX_TRIES {
            let read = read(store, who).await?;
            let Standing { pair, address, account } = read.standing;
            if let Err(wait) = decide(&read.standing, who, &self.limits, now) {
                return Ok(Err(wait));
            }
            let failed = |failures: Failures| failures.failed(&self.limits, now);
            let as_stranger = !pair.is_known(now);
            let mut transaction = Transaction::new();
            transaction = self.put(transaction, &who.pair, read.pair, failed(pair))?;
            if as_stranger {
                transaction = self.put(transaction, &who.address, read.address, failed(address))?;
                transaction = self.put(transaction, &who.account, read.account, failed(account))?;
            }
            match store.commit(transaction).await {
                Ok(_) => return Ok(Ok(Reserved { who: who.clone(), as_stranger })),
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Changed)
    }

    /// Takes an attempt back that succeeded: of this network nothing counts any more, and it is
    /// remembered; of address and account this one attempt.
    ///
    /// No more of them: an attacker with an account of their own would log in to it now and then to
    /// be new again.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub(crate) async fn succeeded(
        &self,
        store: &dyn Store,
        reserved: &Reserved,
        now: UnixSeconds,
    ) -> Result<(), StoreError> {
        let known_until = now.plus(self.limits.remember_seconds).0;
        let back =
            |failures: Failures| Failures { count: failures.count.saturating_sub(1), ..failures };
        let who = &reserved.who;
        for _ in 0..MAX_TRIES {
            let read = read(store, who).await?;
            let pair = Failures { known_until, ..Failures::default() };
            let mut transaction = self.put(Transaction::new(), &who.pair, read.pair, pair)?;
            if reserved.as_stranger {
                // One that has ended meanwhile has nothing to take back.
                if read.address.is_some() {
                    let address = back(read.standing.address);
                    transaction = self.put(transaction, &who.address, read.address, address)?;
                }
                if read.account.is_some() {
                    let account = back(read.standing.account);
                    transaction = self.put(transaction, &who.account, read.account, account)?;
                }
            }
            match store.commit(transaction).await {
                Ok(_) => return Ok(()),
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Changed)
    }

    /// Whether it is to be told that somebody waits: once for each failure that counted. The attack:
    /// attempts that are refused cost nothing, and each would be a line of the audit log, on disk.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub(crate) async fn tell(
        &self,
        store: &dyn Store,
        who: &Who,
        wait: Wait,
    ) -> Result<bool, StoreError> {
        let read = read(store, who).await?;
        let (key, bytes, failures) = match wait.counter {
            Counter::Pair => (&who.pair, read.pair, read.standing.pair),
            Counter::Address => (&who.address, read.address, read.standing.address),
            Counter::Account => (&who.account, read.account, read.standing.account),
        };
        if failures.told || bytes.is_none() {
            return Ok(false);
        }
        let told = Failures { told: true, ..failures };
        match store.commit(self.put(Transaction::new(), key, bytes, told)?).await {
            Ok(_) => Ok(true),
            // Somebody else tells, or it has begun anew.
            Err(StoreError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Adds to a transaction that a counter is this, if it still is what was read.
    fn put(
        &self,
        transaction: Transaction,
        key: &str,
        before: Option<Vec<u8>>,
        after: Failures,
    ) -> Result<Transaction, StoreError> {
        let transaction = match before {
            Some(before) => transaction.same(Table::LoginFailures, key, before),
            None => transaction.absent(Table::LoginFailures, key),
        };
        let value = serde_json::to_vec(&after).map_err(|error| StoreError::Failed(error.into()))?;
        let end = after.ends_at(&self.limits).min(MAX_EXPIRES_AT);
        Ok(transaction.put_until(Table::LoginFailures, key, value, Some(end)))
    }
}

async fn read(store: &dyn Store, who: &Who) -> Result<Read, StoreError> {
    let pair = store.get(Table::LoginFailures, &who.pair).await?;
    let address = store.get(Table::LoginFailures, &who.address).await?;
    let account = store.get(Table::LoginFailures, &who.account).await?;
    let standing = Standing {
        pair: failures(pair.as_deref())?,
        address: failures(address.as_deref())?,
        account: failures(account.as_deref())?,
    };
    Ok(Read { standing, pair, address, account })
}

fn failures(bytes: Option<&[u8]>) -> Result<Failures, StoreError> {
    let Some(bytes) = bytes else { return Ok(Failures::default()) };
    serde_json::from_slice(bytes).map_err(|error| StoreError::Failed(error.into()))
}
