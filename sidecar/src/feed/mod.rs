//! The feed: what filters are told, and when.
//!
//! A [`Mirror`] of the store's tables is filled by reading them, and then follows the log of the
//! store. Filters ask for what came after their place in the log and wait for it; who is too far
//! behind, or of another log, loads the tables in pieces.

mod answer;
mod follow;
mod mirror;
mod pieces;
mod settings;
mod table;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;

pub use answer::{FeedError, Question};
pub use pieces::{BucketsQuestion, PieceError};
pub use settings::{EncodedSettings, SettingsParts, SettingsSource};

use crate::clock::Clock;
use crate::config::FeedSection;
use crate::metrics::Metrics;
use crate::store::{LogPosition, Store};
use answer::LastAnswer;
use mirror::{Mirror, Place};

/// How long the mirror may speak for the store after the store was last confirmed. An answer says 'there
/// is nothing new', and filters count from it how old what they know is: a sidecar that is cut off
/// from its store, or with an old master of it, must not say so.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(2);
/// Readers whose place is only in the log of the store, asked for at a time.
const STORE_QUESTIONS: usize = 16;

/// The feed of this sidecar.
pub struct Feed {
    store: Arc<dyn Store>,
    clock: Clock,
    metrics: Arc<Metrics>,
    state: RwLock<State>,
    /// Counts changes of the state; those who wait listen to it.
    changed: watch::Sender<u64>,
    /// Places for those who wait.
    places: Semaphore,
    /// Turns at the log of the store.
    turns: Semaphore,
    last_answer: Mutex<Option<LastAnswer>>,
    /// Held while settings are read and put in place, so that older ones never come last.
    settings_turn: tokio::sync::Mutex<()>,
    settings_other: Notify,
    /// The mirror was filled: it has to be confirmed.
    filled: Notify,
    stopped: AtomicBool,
}

/// What answers are made from.
struct State {
    /// `None` until the tables were read for the first time.
    mirror: Option<Mirror>,
    settings: Option<Arc<EncodedSettings>>,
    /// The mirror has everything that was acknowledged until then.
    confirmed: Option<Instant>,
    /// Where the store was when it was last confirmed, and when that was asked. The mirror may not be
    /// there yet.
    seen: Option<(LogPosition, Instant)>,
    /// Counts how often the tables were read.
    fill: u64,
}

impl Feed {
    /// A feed that knows nothing yet; [`Self::follow`] fills it.
    pub fn new(
        store: Arc<dyn Store>,
        section: &FeedSection,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Self {
        let readers = usize::try_from(section.waiting_readers.0).unwrap_or(usize::MAX);
        Self {
            store,
            clock,
            metrics,
            state: RwLock::new(State {
                mirror: None,
                settings: None,
                confirmed: None,
                seen: None,
                fill: 0,
            }),
            changed: watch::Sender::new(0),
            places: Semaphore::new(readers.min(Semaphore::MAX_PERMITS)),
            turns: Semaphore::new(STORE_QUESTIONS),
            last_answer: Mutex::new(None),
            settings_turn: tokio::sync::Mutex::new(()),
            settings_other: Notify::new(),
            filled: Notify::new(),
            stopped: AtomicBool::new(false),
        }
    }

    /// Whether the feed can answer now.
    pub fn is_ready(&self) -> bool {
        self.state().is_current()
    }

    /// Has the settings read anew: something changed here that no log tells.
    pub fn settings_changed(&self) {
        self.settings_other.notify_one();
    }

    /// Lets those who wait go, and nobody wait any more.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.wake();
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    fn wake(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    // Nothing panics under this lock; what a panic would leave is as good as what was there.
    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Notes that the mirror is as far as the store was when it was confirmed. What counts is when
    /// that was asked: everything that was acknowledged before is in it. The place must be one of the
    /// mirror's own history: reads and confirmations have connections of their own, and in a failover
    /// one may go to the new master and the other to the old one.
    fn settle(&mut self) {
        let Some((position, asked)) = self.seen else { return };
        let reached = self.mirror.as_ref().map(|mirror| mirror.place(&position));
        if matches!(reached, Some(Place::Here(_))) {
            self.confirmed = Some(asked);
            self.seen = None;
        }
    }

    /// The mirror is not what the store is.
    fn forget(&mut self) {
        (self.mirror, self.confirmed) = (None, None);
    }

    /// Whether what is here can speak for the store.
    fn is_current(&self) -> bool {
        self.mirror.is_some()
            && self.settings.is_some()
            && self.confirmed.is_some_and(|when| when.elapsed() <= CONFIRMED_WITHIN)
    }
}
