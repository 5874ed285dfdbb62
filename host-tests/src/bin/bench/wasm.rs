//! The group `wasm`: how large the filter is, how soon it is ready, how much memory a worker takes.

use std::{fs, time::Instant};

use anyhow::{Context as _, Result};
use serde_json::json;
use wardgate_host_tests::envoy::{
    Envoy,
    bootstrap::{Listener, bootstrap, cluster, wardgate},
    issuer::Issuer,
};

use super::{process::resident_bytes, report::Outcome, server, wasm_file, work};

/// Starts of each kind; the median counts.
const STARTS: usize = 5;
/// Workers of the larger Envoy of a comparison.
const WORKERS: u32 = 9;

/// Measures the whole group.
pub(crate) fn measure() -> Result<Vec<Outcome>> {
    let file = wasm_file()?;
    let megabytes = as_f64(fs::metadata(&file)?.len()) / 1e6;
    let (mut ready, mut memory) = (Vec::new(), Vec::new());
    for start in 1..=STARTS {
        eprint!("\rstart {start} of {STARTS} ");
        let (plain, gate) = (run(false, 1)?, run(true, 1)?);
        ready.push(gate.ready_ms - plain.ready_ms);
        let (plain_large, gate_large) = (run(false, WORKERS)?, run(true, WORKERS)?);
        // What the further workers take, without what they take in any Envoy.
        let further =
            (gate_large.resident - gate.resident) - (plain_large.resident - plain.resident);
        memory.push(further / f64::from(WORKERS.saturating_sub(1)) / 1e6);
    }
    eprintln!();
    Ok(vec![
        Outcome::alone("wasm/size", "megabytes", "MB", &[megabytes]),
        Outcome::alone("wasm/ready", "ready_ms", "ms", &ready),
        Outcome::alone("wasm/memory_per_worker", "megabytes", "MB", &memory),
    ])
}

struct Run {
    ready_ms: f64,
    resident: f64,
}

/// Starts an Envoy with or without the filter.
fn run(with_gate: bool, workers: u32) -> Result<Run> {
    let issuer = Issuer::generate("https://login.example.com")?;
    let configuration = json!({"policy": work::policy(&issuer, &["jwt"])});
    let filters =
        if with_gate { vec![wardgate(&wasm_file()?, &configuration, &[])] } else { vec![] };
    let listener =
        Listener { name: "gate", filters, cluster: "upstream", access_log: None, hardened: true };
    let clusters = [cluster("upstream", server::start()?)];
    let builder = Envoy::builder(&bootstrap(&[listener.to_json()], &clusters));
    let start = Instant::now();
    let envoy = builder.concurrency(workers).start()?;
    let ready_ms = start.elapsed().as_secs_f64() * 1e3;
    let process = envoy.process_id().context("a container hides its memory")?;
    Ok(Run { ready_ms, resident: as_f64(resident_bytes(process)?) })
}

#[expect(clippy::cast_precision_loss, reason = "sizes here are far below 2^52")]
fn as_f64(bytes: u64) -> f64 {
    bytes as f64
}
