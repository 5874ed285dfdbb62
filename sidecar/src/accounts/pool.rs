//! How much hashing there is at once.
//!
//! The attack: a flood of logins. Each costs tens of milliseconds of a core and tens of megabytes,
//! which is what makes guessing dear; without a bound it would take all cores and all memory from
//! the answers to filters. So hashes are computed off the threads that serve, as many at once as are
//! configured, in as much memory as so many of the configured ones take; some wait, and what does
//! not fit is told to come again.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::hash::HashError;

/// Too much is being hashed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("too many passwords are being checked; try again in a moment")]
pub struct Busy;

/// Bounds the hashes at once, those that wait, and their memory.
#[derive(Debug)]
pub(super) struct HashPool {
    /// Those that are computed and those that wait.
    room: Arc<Semaphore>,
    /// The memory, in KiB.
    memory: Arc<Semaphore>,
    all_kib: u32,
    least_kib: u32,
}

/// The right to compute hashes, one after the other.
#[derive(Debug)]
pub(super) struct HashPermit {
    _room: OwnedSemaphorePermit,
    _memory: OwnedSemaphorePermit,
}

impl HashPool {
    /// For so many at once, of `least_kib` KiB of memory each, and so many that wait.
    pub(super) fn new(at_once: u32, waiting: u32, least_kib: u32) -> Self {
        let (at_once, least_kib) = (at_once.max(1), least_kib.max(1));
        let all_kib = at_once.saturating_mul(least_kib);
        let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let room = size(at_once.saturating_add(waiting)).min(Semaphore::MAX_PERMITS);
        Self {
            room: Arc::new(Semaphore::new(room)),
            memory: Arc::new(Semaphore::new(size(all_kib).min(Semaphore::MAX_PERMITS))),
            all_kib,
            least_kib,
        }
    }

    /// Waits for a turn. A hash that takes more memory than the configured ones takes the turns of
    /// several; one that takes more than all of them is computed alone.
    ///
    /// # Errors
    ///
    /// [`Busy`] when too many wait already.
    pub(super) async fn enter(&self, memory_kib: u32) -> Result<Arc<HashPermit>, Busy> {
        let room = Arc::clone(&self.room).try_acquire_owned().map_err(|_| Busy)?;
        let kib = memory_kib.clamp(self.least_kib, self.all_kib);
        let memory = Arc::clone(&self.memory).acquire_many_owned(kib).await.map_err(|_| Busy)?;
        Ok(Arc::new(HashPermit { _room: room, _memory: memory }))
    }
}

impl HashPermit {
    /// Does the work on a thread of its own. The permit lasts as long as the work, also when nobody
    /// waits for it any more: a client that hangs up must not free a place that is still taken.
    ///
    /// # Errors
    ///
    /// [`HashError`] when the work panicked.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HashError> {
        let permit = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        });
        task.await.map_err(|_| HashError)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::{Busy, HashPool};

    #[tokio::test]
    async fn so_many_hash_at_once_so_many_wait_and_the_rest_is_refused() {
        let pool = HashPool::new(2, 1, 100);
        let first = pool.enter(4).await.unwrap();
        let second = pool.enter(100).await.unwrap();
        let waits = pool.enter(100);
        tokio::pin!(waits);
        // Polled once, so that it stands in the queue.
        assert!(tokio::time::timeout(Duration::ZERO, &mut waits).await.is_err());
        assert_eq!(pool.enter(1).await.err(), Some(Busy));
        drop(first);
        let third = waits.await.unwrap();
        drop((second, third));
        assert!(pool.enter(1).await.is_ok());
    }

    #[tokio::test]
    async fn a_hash_of_much_memory_is_computed_alone() {
        let pool = HashPool::new(3, 5, 100);
        let large = pool.enter(1_000_000).await.unwrap();
        let waits = pool.enter(1);
        tokio::pin!(waits);
        assert!(tokio::time::timeout(Duration::ZERO, &mut waits).await.is_err());
        drop(large);
        assert!(waits.await.is_ok());
    }

    #[tokio::test]
    async fn who_hangs_up_frees_no_place_while_the_work_goes_on() {
        let pool = HashPool::new(1, 0, 100);
        let (go_on, held) = mpsc::channel::<()>();
        let permit = pool.enter(1).await.unwrap();
        let (begun, begins) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            permit
                .run(move || {
                    let _ = begun.send(());
                    let _ = held.recv();
                })
                .await
        });
        begins.await.unwrap();
        task.abort();
        assert!(task.await.is_err());
        assert_eq!(pool.enter(1).await.err(), Some(Busy));
        drop(go_on);
        while pool.enter(1).await.is_err() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn work_that_panics_is_an_error_and_frees_its_place() {
        let pool = HashPool::new(1, 0, 100);
        let permit = pool.enter(1).await.unwrap();
        assert!(permit.run(|| -> u8 { panic!("a mistake") }).await.is_err());
        drop(permit);
        assert!(pool.enter(1).await.is_ok());
    }
}
