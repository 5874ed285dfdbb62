//! A store whose changes fail, or whose sidecar dies, before or after they are made.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use wardgate_core::time::UnixSeconds;

use crate::store::{
    Answer, CleanedUp, LogPage, LogPosition, Page, Store, StoreError, StoreStat, Table, Transaction,
};

/// What becomes of a change.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::families) enum Fault {
    /// It is made and acknowledged.
    #[default]
    None,
    /// It fails, and was not made.
    FailBefore,
    /// It fails, and was made.
    FailAfter,
    /// The sidecar dies before it is made.
    CutBefore,
    /// The sidecar dies when it is made, and before it hears so.
    CutAfter,
}

impl Fault {
    /// Whether the change is made.
    pub(in crate::families) fn is_made(self) -> bool {
        match self {
            Self::None | Self::FailAfter | Self::CutAfter => true,
            Self::FailBefore | Self::CutBefore => false,
        }
    }

    /// Whether anybody hears that it is made.
    pub(in crate::families) fn is_heard(self) -> bool {
        self == Self::None
    }
}

/// A store of which one change goes wrong.
pub(in crate::families) struct Cutting {
    inner: Arc<dyn Store>,
    next: Mutex<(Fault, Arc<Notify>)>,
}

#[derive(Debug, thiserror::Error)]
#[error("the store is cut")]
struct Cut;

impl Cutting {
    pub(in crate::families) fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, next: Mutex::default() }
    }

    /// The next change goes wrong so. What is returned is notified when the sidecar dies.
    pub(in crate::families) fn next(&self, fault: Fault) -> Arc<Notify> {
        let dead = Arc::new(Notify::new());
        *self.next.lock().unwrap() = (fault, Arc::clone(&dead));
        dead
    }
}

impl Store for Cutting {
    fn commit(&self, transaction: Transaction) -> Answer<'_, LogPosition> {
        let (fault, dead) = std::mem::take(&mut *self.next.lock().unwrap());
        Box::pin(async move {
            if !fault.is_made() {
                if fault == Fault::FailBefore {
                    return Err(StoreError::Failed(Box::new(Cut)));
                }
                dead.notify_one();
                return std::future::pending().await;
            }
            let made = self.inner.commit(transaction).await?;
            match fault {
                Fault::None | Fault::FailBefore | Fault::CutBefore => Ok(made),
                Fault::FailAfter => Err(StoreError::Failed(Box::new(Cut))),
                Fault::CutAfter => {
                    dead.notify_one();
                    std::future::pending().await
                }
            }
        })
    }

    fn get<'a>(&'a self, table: Table, key: &'a str) -> Answer<'a, Option<Vec<u8>>> {
        self.inner.get(table, key)
    }

    fn page(&self, table: Table, cursor: Option<String>) -> Answer<'_, Page> {
        self.inner.page(table, cursor)
    }

    fn log_head(&self) -> Answer<'_, LogPosition> {
        self.inner.log_head()
    }

    fn confirm(&self) -> Answer<'_, LogPosition> {
        self.inner.confirm()
    }

    fn log_after(&self, position: LogPosition, limit: usize) -> Answer<'_, LogPage> {
        self.inner.log_after(position, limit)
    }

    fn log_changed(&self, position: LogPosition, wait: Duration) -> Answer<'_, ()> {
        self.inner.log_changed(position, wait)
    }

    fn begin_log_anew(&self) -> Answer<'_, LogPosition> {
        self.inner.begin_log_anew()
    }

    fn clean_up(&self, now: UnixSeconds, limit: usize) -> Answer<'_, CleanedUp> {
        self.inner.clean_up(now, limit)
    }

    fn stat(&self) -> Answer<'_, StoreStat> {
        self.inner.stat()
    }
}
