//! Sidecars, Redis and Envoys are killed, held up and cut off while credentials are made, shown and
//! revoked without pause; a judge knows what must not happen meanwhile.

mod crowd;
mod fault;
mod ledger;

use std::{
    fmt::Write as _,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    envoy::issuer::Issuer,
    mesh::{Layout, System},
    network::Network,
};

use crowd::{Crowd, any_admin};
pub use fault::Fault;
pub use ledger::{Bounds, Ledger};

/// How long a gate goes on unheard; short, so that a test sees it close.
const MAX_STALE_SECONDS: u64 = 6;
/// What this test promises of an undisturbed system with every core busy: far more than the lag that
/// the bench measures, far less than any deadline that could hide a lost change.
const LAG: Duration = Duration::from_millis(1500);
/// Until the last effect of a repair is over: a poll that nobody answers ends after five seconds, an
/// election after about four, and a gate asks again within two; and a process takes seconds to start
/// where ten others want the same core.
const HEALING: Duration = Duration::from_secs(15);
/// Credentials that nobody has revoked yet.
const GOOD: usize = 25;
/// Between two revocations.
const PACE: Duration = Duration::from_millis(60);
/// Probers for each Envoy.
const PROBERS: usize = 2;

/// Breaks one thing after the other for this long, and at least each of `faults` once; what happened
/// is in the answer.
///
/// # Errors
///
/// Every promise that was not kept.
pub fn run(faults: &[Fault], at_least: Duration) -> Result<String> {
    let layout = Layout {
        sidecars: 2,
        redis: true,
        envoys: 2,
        workers: 2,
        max_stale_seconds: MAX_STALE_SECONDS,
        links: true,
    };
    let (faults, network) = possible(faults)?;
    let mut system = match network {
        Some(network) => System::start_in(network, layout)?,
        None => System::start(layout)?,
    };
    let max_stale = Duration::from_secs(MAX_STALE_SECONDS);
    let bounds = Bounds { lag: LAG, max_stale, healing: HEALING };
    let crowd = Crowd::new(Ledger::new(bounds, layout.envoys, Instant::now()));
    let ends = AtomicBool::new(false);
    let (issuer, sockets) = (Arc::clone(&system.issuer), system.admin_sockets());
    let addresses = system.addresses();
    let start = Instant::now();
    let struck = thread::scope(|scope| {
        let goes_on = || !ends.load(Ordering::Relaxed);
        let (crowd, issuer, sockets) = (&crowd, &issuer, &sockets);
        scope.spawn(move || revoke(crowd, issuer, sockets, goes_on));
        for (envoy, address) in addresses.into_iter().enumerate() {
            for _ in 0..PROBERS {
                scope.spawn(move || crowd.show(envoy, address, goes_on));
            }
        }
        let struck = strike(&mut system, crowd, &faults, start, at_least);
        ends.store(true, Ordering::Relaxed);
        struck
    });
    let rounds = struck.with_context(|| system.logs())?;
    for envoy in system.envoys() {
        ensure!(envoy.traps()? == 0, "the filter trapped: {}", envoy.log());
    }
    let ledger = crowd.ledger();
    let report = report(&ledger, rounds);
    let first: Vec<_> = ledger.violations.iter().take(20).cloned().collect();
    let count = ledger.violations.len();
    ensure!(
        count == 0,
        "{count} violations, the first:\n{}\n{report}\n{}",
        first.join("\n"),
        system.logs()
    );
    Ok(report)
}

/// What of this can be broken here, and the network that it takes.
fn possible(faults: &[Fault]) -> Result<(Vec<Fault>, Option<Network>)> {
    let (of_network, mut faults): (Vec<_>, Vec<_>) =
        faults.iter().partition(|fault| fault.needs_network());
    if of_network.is_empty() {
        return Ok((faults, None));
    }
    if let Some(refusal) = Network::refusal() {
        eprintln!("!!! no network can be made here: {of_network:?} NOT TESTED ({refusal})");
        return Ok((faults, None));
    }
    faults.extend(of_network);
    Ok((faults, Some(Network::make()?)))
}

/// Keeps a number of good credentials, and revokes one after the other through the sidecars in turn.
fn revoke(crowd: &Crowd, issuer: &Issuer, sockets: &[PathBuf], goes_on: impl Fn() -> bool) {
    let mut turn = 0_usize;
    while goes_on() {
        turn = turn.wrapping_add(1);
        if let Ok(mut admin) = any_admin(sockets, turn) {
            // What fails here is not acknowledged; it is tried again.
            if crowd.good() < GOOD {
                let _ = crowd.make(issuer, &mut admin);
            } else {
                let _ = crowd.revoke_one(&mut admin);
            }
        }
        thread::sleep(PACE);
    }
}

fn strike(
    system: &mut System,
    crowd: &Crowd,
    faults: &[Fault],
    start: Instant,
    at_least: Duration,
) -> Result<usize> {
    let envoys = system.addresses().len();
    thread::sleep(PACE.saturating_mul(u32::try_from(GOOD)?.saturating_add(10)));
    let mut rounds = 0_usize;
    for fault in faults.iter().cycle() {
        if rounds >= faults.len() && start.elapsed() >= at_least {
            break;
        }
        eprintln!("{:>4.0?} {fault:?}", start.elapsed());
        let before = crowd.ledger().revoked();
        let affected = |envoy: &usize| fault.affects(*envoy);
        (0..envoys).filter(affected).for_each(|envoy| crowd.ledger().broken(envoy));
        fault.strike(system)?;
        thread::sleep(fault.duration());
        fault.repair(system)?;
        let repaired = Instant::now();
        (0..envoys).filter(affected).for_each(|envoy| crowd.ledger().repaired(envoy, repaired));
        // Until it must have healed, and then for as long as a change may take.
        thread::sleep(HEALING.saturating_add(LAG));
        let after = crowd.ledger().revoked();
        ensure!(after > before, "nothing can be revoked since {fault:?}");
        rounds = rounds.saturating_add(1);
    }
    Ok(rounds)
}

fn report(ledger: &Ledger, rounds: usize) -> String {
    let mut lags: Vec<_> = ledger.lags.values().copied().collect();
    lags.sort();
    let at = |part: usize| {
        let index = lags.len().saturating_sub(1).saturating_mul(part) / 100;
        lags.get(index).copied().unwrap_or_default()
    };
    let mut text = format!("{rounds} faults, {} revocations acknowledged", ledger.revoked());
    for (said, count) in &ledger.counts {
        let _ = write!(text, ", {count} {said}");
    }
    let _ = write!(text, "; lag in calm p50 {:.0?}, p99 {:.0?}", at(50), at(99));
    text
}
