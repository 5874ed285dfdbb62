//! The group `revocation`: from an acknowledged revocation to the last request let through, with as
//! many workers as cores, at half of what they can do.

use std::{
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use wardgate_host_tests::{
    envoy::sidecar::ask_on,
    mesh::{Layout, System},
};

use super::{
    load::{Connection, Load, Requests},
    report::Outcome,
    work,
};

/// Revocations of one run.
const REVOCATIONS: usize = 1000;
/// How many are watched at the same time.
const AT_ONCE: usize = 4;
/// Connections that one revoked token is shown on: enough that every worker has one.
const CONNECTIONS: usize = 8;
/// Between two looks at all connections.
const PAUSE: Duration = Duration::from_millis(1);
/// How long nothing may pass before the revocation counts as done.
const QUIET: Duration = Duration::from_millis(60);
/// A token that is let through for longer than this was not revoked at all.
const PATIENCE: Duration = Duration::from_secs(10);
/// Requests that show what the workers can do.
const CAPACITY_REQUESTS: usize = 30_000;
/// Tokens of the load.
const TOKENS: usize = 100;

/// Measures on one sidecar, and on two that share a Redis.
pub(crate) fn measure() -> Result<Vec<Outcome>> {
    let mut outcomes = run("revocation/latency", 1)?;
    outcomes.extend(run("revocation/latency_redis", 2)?);
    Ok(outcomes)
}

fn run(bench: &str, sidecars: usize) -> Result<Vec<Outcome>> {
    let workers = u32::try_from(std::thread::available_parallelism()?.get())?;
    let layout = Layout {
        sidecars,
        redis: sidecars > 1,
        envoys: 1,
        workers,
        max_stale_seconds: 600,
        links: false,
    };
    let system = System::start(layout)?;
    let address = *system.addresses().first().context("no Envoy")?;
    let tokens = (0..TOKENS).map(|number| {
        let token = system.token("load", &json!({"jti": format!("load-{number}")}))?;
        Ok(format!("authorization: Bearer {token}"))
    });
    let mut requests = Requests::new("/things/1", &tokens.collect::<Result<Vec<_>>>()?);
    let mut load = Load::open(address)?;
    load.run(&mut requests, CAPACITY_REQUESTS / 3)?;
    let took = load.run(&mut requests, CAPACITY_REQUESTS)?;
    let capacity = f64::from(u32::try_from(CAPACITY_REQUESTS)?) / took.as_secs_f64();
    eprintln!("{bench}: {workers} workers can do {capacity:.0} requests a second");
    let ends = AtomicBool::new(false);
    let lags = std::thread::scope(|scope| {
        let paced = scope
            .spawn(|| load.pace(&mut requests, capacity / 2.0, || !ends.load(Ordering::Relaxed)));
        let lags = revoke_all(&system, address);
        ends.store(true, Ordering::Relaxed);
        paced.join().ok().context("the load panicked")??;
        lags
    })
    .with_context(|| system.logs())?;
    Ok(vec![
        Outcome::percentile(bench, "p50_ms", "ms", &lags, 0.5),
        Outcome::percentile(bench, "p99_ms", "ms", &lags, 0.99),
        Outcome::percentile(bench, "max_ms", "ms", &lags, 1.0),
    ])
}

fn revoke_all(system: &System, address: SocketAddr) -> Result<Vec<f64>> {
    let (next, lags) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(REVOCATIONS)));
    std::thread::scope(|scope| {
        let watchers: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                scope.spawn(|| {
                    let mut watcher = Watcher::open(system, address)?;
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= REVOCATIONS {
                            return Ok::<_, anyhow::Error>(());
                        }
                        let lag = watcher.revoke(number)?;
                        if let Ok(mut lags) = lags.lock() {
                            lags.push(lag.as_secs_f64() * 1e3);
                        }
                    }
                })
            })
            .collect();
        watchers.into_iter().try_for_each(|watcher| watcher.join().ok().context("a panic")?)
    })?;
    lags.into_inner().ok().context("a watcher panicked")
}

/// Revokes tokens one after the other, and shows each until nobody lets it through.
struct Watcher<'a> {
    system: &'a System,
    connections: Vec<Connection>,
}

impl<'a> Watcher<'a> {
    fn open(system: &'a System, address: SocketAddr) -> Result<Self> {
        let connections = (0..CONNECTIONS).map(|_| Connection::open(address));
        Ok(Self { system, connections: connections.collect::<Result<_>>()? })
    }

    fn revoke(&mut self, number: usize) -> Result<Duration> {
        let id = format!("revoked-{number}");
        let token = self.system.token("bench", &json!({"jti": id}))?;
        let request = work::request("/things/1", &format!("authorization: Bearer {token}"));
        ensure!(self.admitted(&request)? == CONNECTIONS, "a good token was refused");
        // Through each sidecar in turn: the gate hears of it from another one as often as not.
        let sockets = self.system.sidecars();
        let sidecar = number.checked_rem(sockets.len()).and_then(|turn| sockets.get(turn));
        let mut admin = sidecar.context("no sidecar")?.admin()?;
        let issuer = self.system.issuer.name();
        let target = json!({"kind": "token", "issuer": issuer, "token_id": id});
        ask_on(&mut admin, "POST", "/admin/v1/revocations", &json!({"target": target}))?;
        let acknowledged = Instant::now();
        let mut last = acknowledged;
        while last.elapsed() < QUIET {
            if self.admitted(&request)? > 0 {
                last = Instant::now();
            }
            ensure!(acknowledged.elapsed() < PATIENCE, "a revoked token is still let through");
            std::thread::sleep(PAUSE);
        }
        Ok(last.duration_since(acknowledged))
    }

    /// On how many connections the request is let through.
    fn admitted(&mut self, request: &[u8]) -> Result<usize> {
        let mut admitted = 0_usize;
        for connection in &mut self.connections {
            admitted = admitted.saturating_add(usize::from(connection.admits(request)?));
        }
        Ok(admitted)
    }
}
