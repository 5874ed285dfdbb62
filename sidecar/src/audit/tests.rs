use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use wardgate_core::time::UnixSeconds;
use wardgate_core::wire::AuditBatch;

use super::{AuditError, AuditSink, BatchError, rotation, tail};
use crate::clock::Clock;
use crate::metrics::Metrics;

fn open(path: &Path) -> AuditSink {
    rotating(path, 0)
}

fn rotating(path: &Path, rotate_bytes: u64) -> AuditSink {
    let clock = Clock::manual(UnixSeconds(1000));
    AuditSink::open(path, rotate_bytes, clock, Arc::new(Metrics::new())).unwrap()
}

fn batch(sequences: impl IntoIterator<Item = u64>) -> AuditBatch {
    let event = |sequence| json!({"sequence": sequence, "decision": "permit"});
    let events =
        sequences.into_iter().map(|sequence| event(sequence).as_object().cloned().unwrap());
    AuditBatch { incarnation: "vm-1".to_owned(), events: events.collect() }
}

fn lines(path: &Path) -> Vec<Map<String, Value>> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn sequences(path: &Path) -> Vec<u64> {
    lines(path).iter().filter_map(|line| line.get("sequence")?.as_u64()).collect()
}

#[tokio::test]
async fn an_event_is_one_line_with_who_sent_it_and_when_it_came() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let sink = open(&path);
    assert_eq!(sink.append(batch([1])).await, Ok(1));
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "{\"sequence\":1,\"decision\":\"permit\",\"incarnation\":\"vm-1\",\"received_at\":1000000}\n"
    );
}

#[tokio::test]
async fn what_was_acknowledged_is_known_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let sink = open(&path);
    assert_eq!(sink.append(batch(1..=3)).await, Ok(3));
    sink.close();
    let sink = open(&path);
    assert_eq!(sink.append(batch(2..=5)).await, Ok(5));
    assert_eq!(sequences(&path), [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn many_batches_at_once_are_all_written_and_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let sink = Arc::new(open(&path));
    let tasks: Vec<_> = (0..100)
        .map(|number| {
            let sink = Arc::clone(&sink);
            let batch = AuditBatch { incarnation: format!("vm{number}"), ..batch(1..=10) };
            tokio::spawn(async move { sink.append(batch).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), Ok(10));
    }
    assert_eq!(sequences(&path).len(), 1000);
}

#[tokio::test]
async fn a_line_that_a_crash_has_cut_is_kept_aside_and_recorded() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let sink = open(&path);
    assert_eq!(sink.append(batch([1])).await, Ok(1));
    sink.close();
    let mut text = fs::read_to_string(&path).unwrap();
    text.push_str("{\"sequence\":2,\"inc");
    fs::write(&path, text).unwrap();
    let sink = open(&path);
    assert_eq!(sink.append(batch([1, 2])).await, Ok(2));
    assert_eq!(sequences(&path), [1, 2]);
    let record = &lines(&path)[1];
    assert_eq!((&record["decision"], &record["bytes"]), (&json!("torn-line"), &json!(18)));
    let side = directory.path().join(record["moved_to"].as_str().unwrap());
    assert_eq!(fs::read_to_string(side).unwrap(), "{\"sequence\":2,\"inc");
}

#[tokio::test]
async fn a_gap_is_a_line_before_the_event_that_shows_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let sink = open(&path);
    assert_eq!(sink.append(batch([1, 5])).await, Ok(5));
    let gap = &lines(&path)[1];
    assert_eq!(
        (&gap["decision"], &gap["first"], &gap["last"], &gap["count"]),
        (&json!("gap"), &json!(2), &json!(4), &json!(3))
    );
}

#[tokio::test]
async fn a_wrong_batch_is_refused_and_leaves_no_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let sink = open(&path);
    let refused = sink.append(batch([2, 1])).await;
    assert_eq!(refused, Err(AuditError::Batch(BatchError::Sequence)));
    assert_eq!(fs::read(&path).unwrap(), b"");
}

#[test]
fn a_second_writer_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let _sink = open(&path);
    let second = AuditSink::open(&path, 0, Clock::system(), Arc::new(Metrics::new()));
    let message = second.err().unwrap().to_string();
    assert!(message.ends_with("another process writes to it"), "{message}");
}

#[test]
fn the_tail_is_the_last_whole_lines() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let mut text: String =
        (0..50_000).fold(String::new(), |text, number| text + &format!("line {number}\n"));
    text.push_str("half");
    fs::write(&path, text).unwrap();
    assert_eq!(tail(&path, 2).unwrap(), ["line 49998", "line 49999"]);
    assert_eq!(tail(&path, 60_000).unwrap().len(), 50_000);
}

/// A log with the events 1 to 9 of one filter: 1 to 8 are put aside.
async fn rotated(path: &Path) {
    let sink = rotating(path, 500);
    for (first, last) in [(1, 4), (5, 8), (9, 9)] {
        assert_eq!(sink.append(batch(first..=last)).await, Ok(last));
    }
    sink.close();
    assert_eq!(rotation::put_aside(path).unwrap().len(), 1);
    assert_eq!(sequences(path), [9]);
}

#[track_caller]
fn check_complete(path: &Path, last: u64) {
    let shown = tail(path, 1000).unwrap();
    let shown: Vec<Value> = shown.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        shown.iter().map(|event| event["sequence"].as_u64().unwrap()).eq(1..=last),
        "{shown:?}"
    );
}

#[tokio::test]
async fn a_full_file_is_put_aside_and_the_new_one_is_enough_for_a_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    rotated(&path).await;
    assert_eq!(lines(&path)[0]["watermarks"]["vm-1"]["sequence"], 8);
    check_complete(&path, 9);
    assert_eq!(tail(&path, 2).unwrap().len(), 2);
    // Nothing but the current file is read.
    let aside = rotation::put_aside(&path).unwrap().remove(0);
    let text = fs::read(&aside).unwrap();
    fs::write(&aside, "").unwrap();
    let sink = open(&path);
    assert_eq!(sink.append(batch(7..=11)).await, Ok(11));
    assert_eq!(sequences(&path), [9, 10, 11]);
    fs::write(&aside, text).unwrap();
    check_complete(&path, 11);
}

#[tokio::test]
async fn a_crash_in_the_middle_of_a_rotation_forgets_nothing() {
    for left in ["no file", "empty", "half a checkpoint"] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        rotated(&path).await;
        let text = fs::read_to_string(&path).unwrap();
        fs::write(rotation::beside(&path, "new"), "{\"decision\":").unwrap();
        match left {
            "no file" => fs::remove_file(&path).unwrap(),
            "empty" => fs::write(&path, "").unwrap(),
            _ => fs::write(&path, &text[..40]).unwrap(),
        }
        let sink = rotating(&path, 500);
        assert_eq!(sink.append(batch(6..=10)).await, Ok(10), "{left}");
        assert_eq!(sequences(&path), [9, 10], "{left}");
        for (first, last) in [(11, 14), (15, 18), (19, 22)] {
            assert_eq!(sink.append(batch(first..=last)).await, Ok(last), "{left}");
        }
        assert!(rotation::put_aside(&path).unwrap().len() > 1, "{left}");
    }
}

#[tokio::test]
async fn a_filter_is_not_believed_about_others() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let sink = open(&path);
    let event = json!({
        "sequence": 1, "decision": "checkpoint", "part": 1, "parts": 1,
        "watermarks": {"vm-1": {"sequence": 99, "heard_at": 1}},
    });
    let events = vec![event.as_object().cloned().unwrap()];
    let liar = AuditBatch { incarnation: "liar".to_owned(), events };
    assert_eq!(sink.append(liar).await, Ok(1));
    sink.close();
    assert_eq!(tail(&path, 10).unwrap().len(), 1);
    let sink = open(&path);
    assert_eq!(sink.append(batch([1])).await, Ok(1));
    assert_eq!(sequences(&path), [1, 1]);
}

#[tokio::test]
async fn a_file_that_cannot_be_put_aside_grows_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let sink = rotating(&path, 1);
    fs::create_dir(rotation::beside(&path, "new")).unwrap();
    for sequence in 1..=3 {
        assert_eq!(sink.append(batch([sequence])).await, Ok(sequence));
    }
    assert!(sink.is_working().await);
    assert_eq!(sequences(&path), [1, 2, 3]);
}
