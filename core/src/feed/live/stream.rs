//! Changes that came by the log and wait to be taken in.

use std::collections::VecDeque;

use crate::wire::feed::Change;

/// Where the log goes on, and when the sidecar said so.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Mark {
    pub(super) cursor: String,
    pub(super) heard: u64,
}

#[derive(Debug)]
enum Item {
    Change(Change),
    Mark(Mark),
}

/// A batch of changes.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) changes: Vec<Change>,
    /// The last answer of which nothing is left.
    pub(super) mark: Option<Mark>,
}

/// The log from a cursor on.
#[derive(Debug)]
pub(super) struct Stream {
    /// Up to where changes were received.
    pub(super) cursor: String,
    queue: VecDeque<Item>,
}

impl Stream {
    pub(super) fn new(cursor: String) -> Self {
        Self { cursor, queue: VecDeque::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn push(&mut self, cursor: String, changes: Vec<Change>, heard: u64) {
        self.queue.extend(changes.into_iter().map(Item::Change));
        self.queue.push_back(Item::Mark(Mark { cursor: cursor.clone(), heard }));
        self.cursor = cursor;
    }

    /// Takes at most so many changes, and the marks between and right behind them.
    pub(super) fn take(&mut self, at_most: usize) -> Batch {
        let mut batch = Batch { changes: Vec::new(), mark: None };
        while let Some(item) = self.queue.pop_front() {
            match item {
                Item::Mark(mark) => batch.mark = Some(mark),
                Item::Change(change) if batch.changes.len() < at_most => {
                    batch.changes.push(change);
                }
                Item::Change(change) => {
                    self.queue.push_front(Item::Change(change));
                    break;
                }
            }
        }
        batch
    }

    /// Puts a batch back that could not be taken in.
    pub(super) fn give_back(&mut self, batch: Batch) {
        self.queue.extend(batch.mark.map(Item::Mark));
        for change in batch.changes.into_iter().rev() {
            self.queue.push_front(Item::Change(change));
        }
    }
}
