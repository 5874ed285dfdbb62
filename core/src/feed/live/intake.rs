//! Answers that the poller takes in.

use super::answers::{Checked, check};
use super::member::Now;
use super::memory::SharedMemory;
use super::meta::Meta;
use super::poller::{Call, LOAD_PATIENCE, Lost, Poller, PollerFigures, SECOND, is_over};
use super::replica::Replica;
use super::vault::Set;
use crate::wire::feed::{Layouts, MAX_CHANGES};

/// How long the tables must be better laid out otherwise before they are loaded anew.
const LAYOUT_PATIENCE: u64 = 10 * SECOND;

impl Poller {
    /// Takes an answer in; one that nobody waits for any more is not looked at.
    pub(super) fn answered(
        &mut self,
        memory: &dyn SharedMemory,
        replica: &mut Replica,
        figures: &mut PollerFigures,
        (id, body): (u64, Option<&[u8]>),
        now: Now,
    ) -> Result<(), Lost> {
        let Some((call, _)) = self.calls.remove(&id) else { return Ok(()) };
        let base = self.begin(memory, replica)?;
        let mut meta = base.meta.clone();
        let is_good = match (call, body) {
            (_, None) => false,
            (Call::Piece(asked), Some(body)) => {
                let load = self.load.as_mut();
                load.is_some_and(|load| load.answered(memory, &self.vault, asked, body))
            }
            (Call::Poll | Call::CatchUp, Some(body)) => match check(body) {
                Some(answer) => {
                    self.take(memory, &mut meta, call, answer, figures, now);
                    true
                }
                None => false,
            },
        };
        if is_good {
            self.failures = 0;
        } else {
            self.failed(call, figures, now);
        }
        if call == Call::Poll {
            self.drain(memory, (&mut meta, replica), figures, now);
        }
        self.commit(memory, meta, &base);
        Ok(())
    }

    fn take(
        &mut self,
        memory: &dyn SharedMemory,
        meta: &mut Meta,
        call: Call,
        answer: Checked,
        figures: &mut PollerFigures,
        now: Now,
    ) {
        if let Some(settings) = &answer.settings {
            self.write_settings(memory, meta, settings);
        }
        let set = meta.image.map_or(Set::A, |image| image.set.other());
        match (call, answer.reload) {
            (Call::CatchUp, true) => {
                self.start_load(set, answer.layouts, answer.cursor, figures, now);
            }
            (Call::CatchUp, false) => self.take_catch_up(answer, now),
            (_, true) => {
                self.stream = None;
                if self.load.is_none() {
                    self.start_load(set, answer.layouts, answer.cursor, figures, now);
                }
            }
            (_, false) => {
                self.watch_layouts(meta, answer.layouts, figures, now);
                let received = answer.changes.last().map(|change| change.sequence);
                if let (Some(load), Some(received)) = (&mut self.load, received) {
                    load.must_reach = load.must_reach.max(received);
                }
                if let Some(stream) = &mut self.stream {
                    stream.push(answer.cursor, answer.changes, now.monotonic);
                }
            }
        }
    }

    fn take_catch_up(&mut self, answer: Checked, now: Now) {
        let Some(load) = &mut self.load else { return };
        let is_all = answer.changes.len() < MAX_CHANGES;
        load.received =
            answer.changes.last().map_or(load.received, |last| load.received.max(last.sequence));
        // Two answers at most: the next is asked for when there is less than one.
        load.queue.extend(answer.changes);
        load.cursor = answer.cursor;
        load.caught_up = is_all.then_some(now.monotonic).or(load.caught_up);
        if !is_all {
            self.catch_up_at = now.monotonic;
        }
    }

    /// Loads the tables anew when they have long been better laid out otherwise.
    fn watch_layouts(
        &mut self,
        meta: &Meta,
        layouts: Layouts,
        figures: &mut PollerFigures,
        now: Now,
    ) {
        let Some(image) = meta.image.filter(|image| image.layouts != layouts) else {
            self.layouts_differ = None;
            return;
        };
        let since = match self.layouts_differ {
            Some((seen, since)) if seen == layouts => since,
            Some(_) | None => {
                self.layouts_differ = Some((layouts, now.monotonic));
                now.monotonic
            }
        };
        let is_due = is_over(Some(since), LAYOUT_PATIENCE, now.monotonic)
            && is_over(self.loaded_at, LOAD_PATIENCE, now.monotonic);
        if let Some(stream) = self.stream.as_ref().filter(|_| is_due && self.load.is_none()) {
            let cursor = stream.cursor.clone();
            self.start_load(image.set.other(), layouts, cursor, figures, now);
        }
    }
}
