//! Events survive what happens to the sidecar: none acknowledged is lost, none counts twice.

use std::collections::HashMap;
use std::fs;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use wardgate_core::wire::AUDIT_PATH;
use wardgate_core::wire::mac::MAC_HEADER;

use crate::home::Home;
use crate::http::{get, request};
use crate::internal::{Filter, new_nonce};

/// Sequences in the log by incarnation, in order.
fn logged(home: &Home) -> HashMap<String, Vec<u64>> {
    let mut found: HashMap<String, Vec<u64>> = HashMap::new();
    let mut files: Vec<_> = fs::read_dir(home.path("data")).unwrap().map(Result::unwrap).collect();
    files.retain(|file| {
        let name = file.file_name().into_string().unwrap();
        name.starts_with("audit.jsonl") && !name.contains("torn") && !name.ends_with("new")
    });
    // Those put aside by their time, the current one last.
    files.sort_by_key(|file| (file.file_name() == "audit.jsonl", file.file_name()));
    let read = |file: &fs::DirEntry| fs::read_to_string(file.path()).unwrap();
    let text: String = files.iter().map(read).collect();
    for line in text.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        if let (Some(incarnation), Some(sequence)) =
            (event["incarnation"].as_str(), event["sequence"].as_u64())
        {
            found.entry(incarnation.to_owned()).or_default().push(sequence);
        }
    }
    found
}

fn batch(incarnation: &str, sequences: std::ops::RangeInclusive<u64>) -> Value {
    let event = |sequence| json!({"sequence": sequence, "time": 1, "decision": "permit"});
    json!({"incarnation": incarnation, "events": sequences.map(event).collect::<Vec<_>>()})
}

/// Delivers a batch; `None` when the sidecar has gone.
fn deliver(filter: &Filter, body: &Value) -> Option<u64> {
    let body = body.to_string().into_bytes();
    let mac = filter.mac("POST", AUDIT_PATH, &body, new_nonce());
    let mut stream = filter.connect().ok()?;
    stream.write_all(&request("POST", AUDIT_PATH, &[(MAC_HEADER, &mac)], &body)).ok()?;
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut bytes).ok()?;
    let text = String::from_utf8(bytes).unwrap();
    let (_, answer) = text.split_once("\r\n\r\n")?;
    serde_json::from_str::<Value>(answer).ok()?["acknowledged"].as_u64()
}

#[test]
fn what_becomes_of_keys_roles_and_bindings_is_on_the_record() {
    let home = Home::new();
    let _sidecar = home.serve();
    let made = home.json(&["apikey", "create", "--name", "ci", "--role", "viewer"]);
    home.done(&["apikey", "update", "ci", "--meta", "team=red"]);
    for what in ["rotate", "disable", "enable", "revoke"] {
        home.done(&["apikey", what, "ci"]);
    }
    home.done(&["role", "create", "auditor", "--permission", "read"]);
    home.done(&["binding", "create", "a", "--subject", "api_key:ci", "--role", "auditor"]);
    home.done(&["binding", "delete", "a"]);
    home.done(&["role", "delete", "auditor"]);
    let log = fs::read_to_string(home.path("data/audit.jsonl")).unwrap();
    let secret = made["api_key"].as_str().unwrap();
    assert!(!log.contains(secret), "a secret is in the log");
    let events: Vec<Value> = log.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let of = |member: &str, about: &Value| -> Vec<String> {
        let mut decisions = Vec::new();
        for event in events.iter().filter(|event| event[member] == *about) {
            decisions.push(event["decision"].as_str().unwrap().to_owned());
        }
        decisions
    };
    let key = ["created", "changed", "rotated", "disabled", "enabled", "revoked"];
    assert_eq!(of("credential_id", &made["id"]), key.map(|it| format!("api-key-{it}")));
    assert_eq!(of("role", &json!("auditor")), ["role-set", "role-deleted"]);
    assert_eq!(of("binding", &json!("a")), ["binding-set", "binding-deleted"]);
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_9_and_nothing_is_doubled() {
    const FILTERS: u64 = 4;
    let home = Home::new();
    home.edit("audit.jsonl", "audit.jsonl\n  rotate_bytes: 20000");
    let marks = Arc::new(Mutex::new(vec![0_u64; usize::try_from(FILTERS).unwrap()]));
    for round in 1..=4_u64 {
        let sidecar = home.serve();
        let acknowledged = Arc::new(AtomicU64::new(0));
        let threads: Vec<_> = (0..FILTERS)
            .map(|number| {
                let filter = Filter::of(&home);
                let (marks, acknowledged) = (Arc::clone(&marks), Arc::clone(&acknowledged));
                std::thread::spawn(move || {
                    let index = usize::try_from(number).unwrap();
                    loop {
                        let mark = marks.lock().unwrap()[index];
                        // Overlaps with what is acknowledged, as a filter that lost an answer does.
                        let first = mark.saturating_sub(3).max(1);
                        let body = batch(&format!("vm-{number}"), first..=mark + 20);
                        let Some(answer) = deliver(&filter, &body) else { return };
                        marks.lock().unwrap()[index] = answer;
                        acknowledged.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        // In the middle of the work: after some acknowledgements, with others under way.
        while acknowledged.load(Ordering::SeqCst) < round * 25 {
            std::thread::yield_now();
        }
        sidecar.kill();
        for thread in threads {
            thread.join().unwrap();
        }
    }
    let _sidecar = home.serve();
    let logged = logged(&home);
    for (index, mark) in marks.lock().unwrap().iter().enumerate() {
        let found = &logged[&format!("vm-{index}")];
        assert!(found.iter().copied().eq(1..=u64::try_from(found.len()).unwrap()), "{found:?}");
        assert!(found.last() >= Some(mark), "acknowledged {mark}, logged {:?}", found.last());
    }
}

#[test]
fn a_gap_and_its_events_are_shown_by_the_tail() {
    let home = Home::new();
    let _sidecar = home.serve();
    let filter = Filter::of(&home);
    assert_eq!(deliver(&filter, &batch("vm", 1..=2)), Some(2));
    assert_eq!(deliver(&filter, &batch("vm", 5..=5)), Some(5));
    let events = home.json(&["audit", "tail", "--lines", "3"]);
    let shown: Vec<&Value> =
        events.as_array().unwrap().iter().map(|event| &event["decision"]).collect();
    assert_eq!(shown, ["permit", "gap", "permit"]);
    assert_eq!((&events[1]["first"], &events[1]["last"]), (&json!(3), &json!(4)));
    let table = home.done(&["audit", "tail", "--lines", "1"]);
    assert!(table.starts_with("time ") && table.lines().count() == 2, "{table}");
}

#[test]
fn a_full_disk_is_waited_out_and_nothing_is_lost_or_doubled() {
    let home = Home::new();
    let sidecar = home.serve();
    let filter = Filter::of(&home);
    assert_eq!(deliver(&filter, &batch("vm", 1..=3)), Some(3));
    let path = home.path("data/audit.jsonl");
    let before = fs::read(&path).unwrap();
    // Room for half an event.
    let room = u64::try_from(before.len()).unwrap() + 50;
    sidecar.limit_file_size(Some(room));
    for _ in 0..2 {
        assert_eq!(deliver(&filter, &batch("vm", 2..=40)), None);
        assert_eq!(fs::read(&path).unwrap(), before);
    }
    assert_eq!(get(&sidecar, "/readyz").status, 503);
    sidecar.limit_file_size(None);
    assert_eq!(get(&sidecar, "/readyz").status, 200);
    assert_eq!(deliver(&filter, &batch("vm", 2..=40)), Some(40));
    assert!(logged(&home)["vm"].iter().copied().eq(1..=40));
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches("\"decision\":\"unwritable\"").count(), 1, "{text}");
    let metrics = String::from_utf8(get(&sidecar, "/metrics").body).unwrap();
    assert!(metrics.contains("wardgate_audit_events_total 40"), "{metrics}");
}

#[test]
fn a_line_that_a_crash_has_cut_does_not_stop_the_start() {
    let home = Home::new();
    fs::write(home.path("data/audit.jsonl"), "{\"sequence\":1,\"incarnation\":\"vm\"}\n{\"seq")
        .unwrap();
    let mut sidecar = home.serve();
    assert!(sidecar.log_text().contains("was cut by a crash"));
    assert_eq!(deliver(&Filter::of(&home), &batch("vm", 1..=2)), Some(2));
    assert_eq!(logged(&home)["vm"], [1, 2]);
}
