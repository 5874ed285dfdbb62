use super::AuditBuffer;
use crate::audit::{Event, Outcome};
use crate::wire::AuditBatch;

fn event() -> Event<'static> {
    Event {
        outcome: Outcome::Permit,
        route: None,
        method: "GET",
        host: "",
        path: b"/",
        auth: "none",
        issuer: None,
        subject: None,
        client_id: None,
        credential_id: None,
        request_id: b"",
        source_address: None,
        shadow_route: None,
        limit: None,
        previous_secret: false,
    }
}

fn delivered(buffer: &mut AuditBuffer) -> AuditBatch {
    let body = buffer.next_delivery(5).expect("nothing to deliver");
    serde_json::from_slice(&body).expect("not a batch")
}

fn sequences(batch: &AuditBatch) -> Vec<u64> {
    batch.events.iter().map(|event| event["sequence"].as_u64().unwrap()).collect()
}

#[test]
fn events_are_numbered_from_one_and_kept_until_acknowledged() {
    let mut buffer = AuditBuffer::new("vm".to_owned(), 1_000_000);
    for _ in 0..3 {
        buffer.record(&event(), 1);
    }
    assert_eq!(sequences(&delivered(&mut buffer)), [1, 2, 3]);
    buffer.acknowledge(2);
    assert_eq!(sequences(&delivered(&mut buffer)), [1, 2, 3], "only whole batches go");
    buffer.acknowledge(3);
    assert!(buffer.next_delivery(5).is_none());
    assert_eq!(buffer.bytes(), 0);
    buffer.record(&event(), 1);
    assert_eq!(sequences(&delivered(&mut buffer)), [4]);
}

#[test]
fn a_full_buffer_loses_the_newest_and_records_the_gap() {
    let mut buffer = AuditBuffer::new("vm".to_owned(), 1000);
    for _ in 0..100 {
        buffer.record(&event(), 1);
    }
    assert!(buffer.bytes() < 1300);
    let lost = buffer.counts().lost;
    let kept = sequences(&delivered(&mut buffer));
    assert_eq!(u64::try_from(kept.len()).unwrap() + lost, 100);
    buffer.acknowledge(*kept.last().unwrap());
    buffer.record(&event(), 1);
    let batch = delivered(&mut buffer);
    assert_eq!(sequences(&batch), [101, 102]);
    assert_eq!(batch.events[0]["decision"], "gap");
    assert_eq!(batch.events[0]["first"], kept.last().unwrap() + 1);
    assert_eq!(batch.events[0]["last"], 100);
    assert_eq!(batch.events[0]["count"], lost);
}

#[test]
fn a_gap_is_delivered_even_if_no_event_follows() {
    let mut buffer = AuditBuffer::new("vm".to_owned(), 300);
    for _ in 0..50 {
        buffer.record(&event(), 1);
    }
    let kept = sequences(&delivered(&mut buffer));
    buffer.acknowledge(*kept.last().unwrap());
    let batch = delivered(&mut buffer);
    assert_eq!(batch.events[0]["decision"], "gap");
}

#[test]
fn batches_are_of_a_size_that_one_call_can_carry() {
    let mut buffer = AuditBuffer::new("vm".to_owned(), 10_000_000);
    for _ in 0..5000 {
        buffer.record(&event(), 1);
    }
    let mut next = 1;
    while let Some(body) = buffer.next_delivery(5) {
        assert!(body.len() < 70_000);
        let batch: AuditBatch = serde_json::from_slice(&body).unwrap();
        for sequence in sequences(&batch) {
            assert_eq!(sequence, next);
            next += 1;
        }
        buffer.acknowledge(next - 1);
    }
    assert_eq!(next, 5001);
    assert_eq!(buffer.counts().acknowledged, 5000);
}

#[test]
fn an_acknowledgement_from_the_future_forgets_nothing_that_is_not_sent() {
    let mut buffer = AuditBuffer::new("vm".to_owned(), 10_000);
    buffer.record(&event(), 1);
    buffer.acknowledge(0);
    assert_eq!(sequences(&delivered(&mut buffer)), [1]);
}
