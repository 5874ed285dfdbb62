//! Which events of which VM incarnation are in the log: none counts twice, every gap is recorded.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value, json};

/// Longest name of an incarnation; filters use 22 letters.
const MAX_INCARNATION_BYTES: usize = 64;
/// Incarnations remembered: those of 1,000 Envoys with 8 workers, several restarts each. Beyond, the
/// one not heard of for the longest time is forgotten; if it comes back its batch may count twice.
const MAX_INCARNATIONS: usize = 65_536;

/// How long after its last message an incarnation stands in a checkpoint: a filter that delivers
/// nothing for a day has nothing, or has gone.
const CHECKPOINT_MILLISECONDS: u64 = 24 * 60 * 60 * 1000;
/// Incarnations in a line of a checkpoint: some 400 KiB, less than the longest line.
const CHECKPOINT_LINE: usize = 4096;

/// The highest sequence of each incarnation that is in the log.
#[derive(Debug, Default)]
pub(super) struct Watermarks {
    incarnations: HashMap<String, Mark>,
    /// Order of last use, to forget the oldest.
    uses: BTreeMap<u64, String>,
    next_use: u64,
    /// What the marks were before that are not on disk yet, the latest last.
    pending: Vec<(String, Option<u64>)>,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    sequence: u64,
    used: u64,
    /// When the incarnation was last heard of, in milliseconds since the epoch.
    heard_at: u64,
}

/// What is new in a batch.
#[derive(Debug)]
pub(super) struct Accepted {
    /// The events to write.
    pub(super) events: Vec<Map<String, Value>>,
    /// Sequences that never came, first and last.
    pub(super) gaps: Vec<(u64, u64)>,
    /// Events that were in the log already.
    pub(super) duplicates: u64,
    /// The highest sequence, once `events` are written.
    pub(super) acknowledged: u64,
}

/// Why a batch is refused as a whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BatchError {
    /// The incarnation is empty, too long or has strange letters.
    #[error("`incarnation` is not 1 to {MAX_INCARNATION_BYTES} letters of base64url")]
    Incarnation,
    /// An event has no sequence, or the sequences do not rise from at least 1.
    #[error("each event needs a `sequence`, rising, from at least 1")]
    Sequence,
}

impl Watermarks {
    /// Takes the events that are new and moves the mark past them, until [`Self::keep`] or
    /// [`Self::take_back`].
    pub(super) fn accept(
        &mut self,
        incarnation: &str,
        events: Vec<Map<String, Value>>,
        now: u64,
    ) -> Result<Accepted, BatchError> {
        if !is_incarnation(incarnation) {
            return Err(BatchError::Incarnation);
        }
        let mut last = 0;
        for event in &events {
            match event.get("sequence").and_then(Value::as_u64) {
                Some(sequence) if sequence > last => last = sequence,
                _ => return Err(BatchError::Sequence),
            }
        }
        let before = self.incarnations.get(incarnation).map(|mark| mark.sequence);
        let mut mark = before.unwrap_or(0);
        let mut accepted =
            Accepted { events: Vec::new(), gaps: Vec::new(), duplicates: 0, acknowledged: mark };
        for event in events {
            let sequence = event.get("sequence").and_then(Value::as_u64).unwrap_or(0);
            if sequence <= mark {
                accepted.duplicates = accepted.duplicates.saturating_add(1);
                continue;
            }
            let missing = (mark.saturating_add(1), sequence.saturating_sub(1));
            if missing.0 <= missing.1 && !announces(&event, missing) {
                accepted.gaps.push(missing);
            }
            mark = sequence;
            accepted.events.push(event);
        }
        accepted.acknowledged = mark;
        if mark > 0 {
            self.pending.push((incarnation.to_owned(), before));
            self.raise(incarnation, mark, now);
        }
        Ok(accepted)
    }

    /// What was accepted is on disk.
    pub(super) fn keep(&mut self) {
        self.pending.clear();
    }

    /// What was accepted is not on disk: it must count as new when it comes again.
    pub(super) fn take_back(&mut self) {
        while let Some((incarnation, before)) = self.pending.pop() {
            if let Some(before) = before {
                if let Some(mark) = self.incarnations.get_mut(&incarnation) {
                    mark.sequence = before;
                }
            } else if let Some(mark) = self.incarnations.remove(&incarnation) {
                self.uses.remove(&mark.used);
            }
        }
    }

    /// Whether nothing is known.
    pub(super) fn is_empty(&self) -> bool {
        self.incarnations.is_empty()
    }

    /// The lines that a new file begins with: what the files before it have, of the incarnations
    /// that may still send.
    pub(super) fn checkpoint(&self, now: u64) -> Vec<u8> {
        let since = now.saturating_sub(CHECKPOINT_MILLISECONDS);
        let in_order = self.uses.values().filter_map(|name| self.incarnations.get_key_value(name));
        let recent: Vec<_> = in_order.filter(|(_, mark)| mark.heard_at >= since).collect();
        let mut parts: Vec<_> = recent.chunks(CHECKPOINT_LINE).collect();
        if parts.is_empty() {
            parts.push(&[]);
        }
        let mut lines = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let mark = |(name, mark): &(&String, &Mark)| {
                let value = json!({"sequence": mark.sequence, "heard_at": mark.heard_at});
                ((*name).clone(), value)
            };
            let line = json!({
                "decision": "checkpoint", "part": index.saturating_add(1), "parts": parts.len(),
                "watermarks": part.iter().map(mark).collect::<Map<_, _>>(), "received_at": now,
            });
            super::write_line(&line.as_object().cloned().unwrap_or_default(), &mut lines);
        }
        lines
    }

    /// Notes that everything up to `sequence` is in the log.
    pub(super) fn raise(&mut self, incarnation: &str, sequence: u64, heard_at: u64) {
        let used = self.next_use;
        self.next_use = used.saturating_add(1);
        let before = self.incarnations.get(incarnation).copied();
        if let Some(before) = before {
            self.uses.remove(&before.used);
        }
        let mark = before.map_or(Mark { sequence, used, heard_at }, |before| Mark {
            sequence: before.sequence.max(sequence),
            used,
            heard_at: before.heard_at.max(heard_at),
        });
        self.incarnations.insert(incarnation.to_owned(), mark);
        self.uses.insert(used, incarnation.to_owned());
        if self.incarnations.len() > MAX_INCARNATIONS
            && let Some((_, oldest)) = self.uses.pop_first()
        {
            self.incarnations.remove(&oldest);
        }
    }
}

impl Accepted {
    /// Sequences that never came.
    pub(super) fn missing(&self) -> u64 {
        let lengths = self.gaps.iter().map(|(first, last)| last.saturating_sub(*first));
        lengths.fold(0, |sum: u64, length| sum.saturating_add(length).saturating_add(1))
    }

    /// Appends the lines of the events and gaps, in order.
    pub(super) fn write(&self, incarnation: &str, received_at: u64, lines: &mut Vec<u8>) {
        let mut gaps = self.gaps.iter().peekable();
        for event in &self.events {
            let sequence = event.get("sequence").and_then(Value::as_u64).unwrap_or(0);
            while let Some((first, last)) = gaps.next_if(|(first, _)| *first < sequence) {
                let gap = json!({
                    "decision": "gap", "first": first, "last": last,
                    "count": last.saturating_sub(*first).saturating_add(1),
                });
                write_stamped(
                    gap.as_object().cloned().unwrap_or_default(),
                    incarnation,
                    received_at,
                    lines,
                );
            }
            write_stamped(event.clone(), incarnation, received_at, lines);
        }
    }
}

/// Writes the object with who sent it and when it came; what the filter says of these is replaced.
fn write_stamped(
    mut object: Map<String, Value>,
    incarnation: &str,
    received_at: u64,
    lines: &mut Vec<u8>,
) {
    object.insert("incarnation".to_owned(), incarnation.into());
    object.insert("received_at".to_owned(), received_at.into());
    super::write_line(&object, lines);
}

/// Whether the event itself says that exactly these sequences were lost.
fn announces(event: &Map<String, Value>, missing: (u64, u64)) -> bool {
    let number = |name| event.get(name).and_then(Value::as_u64);
    event.get("decision").and_then(Value::as_str) == Some("gap")
        && (number("first"), number("last")) == (Some(missing.0), Some(missing.1))
}

/// Base64url letters only: the name stands in lines and labels.
fn is_incarnation(text: &str) -> bool {
    (1..=MAX_INCARNATION_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::{BatchError, MAX_INCARNATIONS, Watermarks};
    use serde_json::{Map, Value, json};

    fn events(sequences: &[u64]) -> Vec<Map<String, Value>> {
        let event = |sequence| json!({"sequence": sequence}).as_object().cloned().unwrap();
        sequences.iter().map(|sequence| event(*sequence)).collect()
    }

    #[track_caller]
    fn check(marks: &mut Watermarks, sequences: &[u64], new: usize, gaps: &[(u64, u64)], ack: u64) {
        let accepted = marks.accept("vm", events(sequences), 0).unwrap();
        let found = (accepted.events.len(), accepted.gaps.as_slice(), accepted.acknowledged);
        assert_eq!(found, (new, gaps, ack));
    }

    #[test]
    fn no_event_counts_twice() {
        let mut marks = Watermarks::default();
        check(&mut marks, &[1, 2, 3], 3, &[], 3);
        check(&mut marks, &[1, 2, 3], 0, &[], 3);
        check(&mut marks, &[2, 3, 4], 1, &[], 4);
        check(&mut marks, &[], 0, &[], 4);
    }

    #[test]
    fn what_is_taken_back_counts_as_new_again() {
        let mut marks = Watermarks::default();
        check(&mut marks, &[1, 2], 2, &[], 2);
        marks.keep();
        check(&mut marks, &[3], 1, &[], 3);
        check(&mut marks, &[4, 5], 2, &[], 5);
        marks.accept("other", events(&[1]), 0).unwrap();
        marks.take_back();
        assert!(!marks.incarnations.contains_key("other") && marks.uses.len() == 1);
        check(&mut marks, &[2, 3, 4, 5], 3, &[], 5);
    }

    #[test]
    fn a_gap_is_recorded_once() {
        let mut marks = Watermarks::default();
        check(&mut marks, &[3], 1, &[(1, 2)], 3);
        check(&mut marks, &[3, 4, 8, 9], 3, &[(5, 7)], 9);
        check(&mut marks, &[8, 9], 0, &[], 9);
    }

    #[test]
    fn a_gap_that_the_filter_announces_is_not_recorded_again() {
        let gap = json!({"sequence": 4, "decision": "gap", "first": 1, "last": 3});
        let mut marks = Watermarks::default();
        let accepted = marks.accept("vm", vec![gap.as_object().cloned().unwrap()], 0).unwrap();
        assert_eq!((accepted.gaps.len(), accepted.acknowledged), (0, 4));
    }

    #[test]
    fn a_batch_out_of_order_or_without_name_is_refused() {
        let mut marks = Watermarks::default();
        for sequences in [&[2, 1][..], &[1, 1], &[0]] {
            let refused = marks.accept("vm", events(sequences), 0);
            assert_eq!(refused.err(), Some(BatchError::Sequence), "{sequences:?}");
        }
        for name in ["", "a b", "a\n", &"a".repeat(65)] {
            let refused = marks.accept(name, events(&[1]), 0);
            assert_eq!(refused.err(), Some(BatchError::Incarnation), "{name:?}");
        }
        check(&mut marks, &[1], 1, &[], 1);
    }

    #[test]
    fn a_checkpoint_has_who_was_heard_of_within_a_day_in_lines_that_are_read_again() {
        let mut marks = Watermarks::default();
        let day = super::CHECKPOINT_MILLISECONDS;
        marks.raise("old", 5, 999);
        for number in 0..super::CHECKPOINT_LINE {
            marks.raise(&"x".repeat(59).replace("xxxxx", &format!("{number:05}")), 5, 1000);
        }
        marks.raise("last", 7, 2000);
        let text = String::from_utf8(marks.checkpoint(day + 1000)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| line.len() < 1024 * 1024) && !text.contains("\"old\""));
        let last = format!(
            "{{\"decision\":\"checkpoint\",\"part\":2,\"parts\":2,\"watermarks\":\
             {{\"last\":{{\"sequence\":7,\"heard_at\":2000}}}},\"received_at\":{}}}",
            day + 1000
        );
        assert_eq!(lines[1], last);
    }

    #[test]
    fn the_oldest_incarnation_is_forgotten_first() {
        let mut marks = Watermarks::default();
        for number in 0..=MAX_INCARNATIONS {
            marks.raise(&format!("vm{number}"), 5, 0);
            marks.raise("vm0", 6, 0);
        }
        assert_eq!(marks.incarnations.len(), MAX_INCARNATIONS);
        assert!(marks.incarnations.contains_key("vm0") && !marks.incarnations.contains_key("vm1"));
    }
}
