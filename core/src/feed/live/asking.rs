//! Questions of the poller.

use std::collections::BTreeMap;

use super::member::{Ask, Now};
use super::poller::{Call, Poller, SECOND};
use crate::wire::FEED_PATH;
use crate::wire::feed::MAX_CHANGES;

/// Pieces of tables on their way at once.
const PIECES_IN_FLIGHT: usize = 4;
/// Time between two questions whether a loading has all changes.
const CATCH_UP_NANOSECONDS: u64 = 20_000_000;
/// How long an answer is waited for, beside what the sidecar may wait itself. Whoever makes the
/// calls has shorter deadlines; this is for calls that were forgotten.
const CALL_NANOSECONDS: u64 = 25 * SECOND;
/// So many failures in a row let a loading ask whether its log still goes on.
const FAILURES_TO_DOUBT: u32 = 3;

impl Poller {
    /// What to ask now.
    pub(super) fn asks(&mut self, next_id: &mut u64, now: Now) -> Vec<Ask> {
        let mut asks = Vec::new();
        if now.monotonic < self.retry_at {
            return asks;
        }
        let mut ask =
            |calls: &mut BTreeMap<u64, (Call, u64)>, call, path, wait_milliseconds: u64| {
                *next_id = next_id.saturating_add(1);
                let wait =
                    wait_milliseconds.saturating_mul(1_000_000).saturating_add(CALL_NANOSECONDS);
                calls.insert(*next_id, (call, now.monotonic.saturating_add(wait)));
                asks.push(Ask { id: *next_id, path, wait_milliseconds });
            };
        if let Some((path, wait)) = self.poll_path() {
            ask(&mut self.calls, Call::Poll, path, wait);
        }
        let settings = self.settings_known();
        let is_asked = self.is_asking(Call::CatchUp);
        let doubts = self.failures >= FAILURES_TO_DOUBT;
        let Some(load) = &mut self.load else { return asks };
        if load.has_buckets() || doubts {
            if !is_asked && now.monotonic >= self.catch_up_at && load.queue.len() <= MAX_CHANGES {
                let path = format!("{FEED_PATH}?cursor={}{settings}&wait=0", load.cursor);
                self.catch_up_at = now.monotonic.saturating_add(CATCH_UP_NANOSECONDS);
                ask(&mut self.calls, Call::CatchUp, path, 0);
            }
            return asks;
        }
        let flying = self.calls.values().filter(|(call, _)| matches!(call, Call::Piece(_))).count();
        for _ in flying..PIECES_IN_FLIGHT {
            let Some(asked) = load.wanted() else { break };
            let path = load.path(asked);
            ask(&mut self.calls, Call::Piece(asked), path, 0);
        }
        asks
    }

    fn is_asking(&self, call: Call) -> bool {
        self.calls.values().any(|(asked, _)| *asked == call)
    }

    fn poll_path(&self) -> Option<(String, u64)> {
        if self.is_asking(Call::Poll) {
            return None;
        }
        let settings = self.settings_known();
        match (&self.stream, &self.load) {
            (Some(stream), _) if stream.len() > MAX_CHANGES => None,
            (Some(stream), _) => {
                let wait = self.wait_milliseconds;
                let cursor = &stream.cursor;
                Some((format!("{FEED_PATH}?cursor={cursor}{settings}&wait={wait}"), wait))
            }
            (None, None) => Some((format!("{FEED_PATH}?wait=0{settings}"), 0)),
            (None, Some(_)) => None,
        }
    }

    /// The part of a question that says which settings are there already.
    fn settings_known(&self) -> String {
        let generation = self.last.as_ref().and_then(|meta| meta.generation.as_ref());
        generation.map(|generation| format!("&settings={generation}")).unwrap_or_default()
    }
}
