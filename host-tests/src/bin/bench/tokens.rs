//! The group `tokens`: what the token service costs, on both stores. Every request comes on a
//! connection that stays open, and each connection has one under way.

mod work;

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use wardgate::accounts::HashParameters;
use wardgate::random::Random;
use wardgate_host_tests::{
    envoy::sidecar::{Sidecar, ask_on},
    mesh::Server,
    network::Place,
};

use self::work::{Bearer, Worker};
use super::{process, report::Outcome};

/// Connections that are busy at the same time: more than cores, so that commits come together.
const CONNECTIONS: usize = 16;
/// Requests of each connection that are measured.
const REQUESTS: usize = 400;
/// Requests of each connection before that.
const WARM_UP: usize = 40;
/// Logins of each connection: each costs a hash.
const LOGINS: usize = 6;
/// Hashes that are measured alone.
const HASHES: usize = 12;
/// What a login is hashed with by default.
const HASH: HashParameters = HashParameters::Argon2id { memory_kib: 19_456, passes: 2, lanes: 1 };
/// A password that the rules take.
const PASSWORD: &str = "correct horse battery staple 7";

/// Measures on the embedded store and on a Redis.
pub(crate) fn measure() -> Result<Vec<Outcome>> {
    let mut outcomes = on_store("", None)?;
    let redis = Server::start(Place::LOOPBACK, &[])?;
    outcomes.extend(on_store("_redis", Some(&redis))?);
    outcomes.extend(hash()?);
    Ok(outcomes)
}

fn on_store(suffix: &str, redis: Option<&Server>) -> Result<Vec<Outcome>> {
    let directory = tempfile::tempdir()?;
    let mut sidecar = Sidecar::init(directory.path(), None, None)?;
    if let Some(redis) = redis {
        let url = format!("redis://{}", redis.address());
        sidecar.store_in_redis(&format!("{{urls: [\"{url}\"]}}"))?;
    }
    // One address asks for all.
    sidecar.edit("limits:\n", "limits:\n  requests_per_minute_per_address: 0\n")?;
    sidecar.start()?;
    let measured = groups(&sidecar, suffix);
    let measured = measured.with_context(|| sidecar.log());
    sidecar.kill();
    measured
}

fn groups(sidecar: &Sidecar, suffix: &str) -> Result<Vec<Outcome>> {
    let bench = |name: &str| format!("tokens/{name}{suffix}");
    let idle = memory(sidecar, &bench("memory_idle"))?;
    let client = register(sidecar)?;
    let mut workers = Workers::open(sidecar, &client)?;
    let mut outcomes = workers.run(&bench("client_credentials"), REQUESTS, |worker| {
        worker.client_credentials().map(drop)
    })?;
    outcomes.extend(
        workers.run(&bench("introspect"), REQUESTS, |worker| worker.introspect().map(drop))?,
    );
    workers.prepare(|worker| worker.hoard(REQUESTS.saturating_add(WARM_UP)))?;
    outcomes.extend(workers.run(&bench("revoke"), REQUESTS, Worker::revoke)?);
    outcomes.extend(workers.run(&bench("login"), LOGINS, |worker| worker.login(PASSWORD))?);
    outcomes.extend(workers.run(&bench("refresh"), REQUESTS, Worker::refresh)?);
    outcomes.push(idle);
    // After hashes of 19 MiB each, which the allocator keeps.
    outcomes.push(memory(sidecar, &bench("memory"))?);
    Ok(outcomes)
}

/// The user of a connection: each has its own, as logins have.
fn user(number: usize) -> String {
    format!("bench-{number}")
}

/// A first-party client that may do everything, and its users.
fn register(sidecar: &Sidecar) -> Result<Bearer> {
    let mut admin = sidecar.admin()?;
    let client = json!({
        "client_id": "bench", "scope": "read", "first_party": true, "may_introspect": true,
        "grant_types": ["client_credentials", "refresh_token"],
    });
    let made = ask_on(&mut admin, "POST", "/admin/v1/clients", &client)?;
    let secret = made.get("client_secret").and_then(|secret| secret.as_str());
    for number in 0..CONNECTIONS {
        let user = json!({"name": user(number), "password": PASSWORD});
        ask_on(&mut admin, "POST", "/admin/v1/users", &user)?;
    }
    Ok(Bearer::new("bench", secret.context("no secret")?))
}

/// The hash of a login alone, on one core.
fn hash() -> Result<Vec<Outcome>> {
    let made = HASH.make(PASSWORD.as_bytes(), Random::system())?;
    let mut figures = Vec::with_capacity(HASHES);
    for _ in 0..HASHES {
        let begun = Instant::now();
        ensure!(made.verify(PASSWORD.as_bytes())?, "the hash does not verify");
        figures.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(vec![Outcome::alone("tokens/login_hash", "ms", "ms", &figures)])
}

fn memory(sidecar: &Sidecar, bench: &str) -> Result<Outcome> {
    let bytes = process::resident_bytes(sidecar.process_id().context("it does not run")?)?;
    let megabytes = f64::from(u32::try_from(bytes >> 10)?) / 1024.0;
    Ok(Outcome::alone(bench, "resident_mb", "MB", &[megabytes]))
}

/// Connections that are busy at the same time.
struct Workers {
    process: u32,
    workers: Vec<Worker>,
}

impl Workers {
    fn open(sidecar: &Sidecar, client: &Bearer) -> Result<Self> {
        let process = sidecar.process_id().context("it does not run")?;
        let open = |number| Worker::open(sidecar.address(), client, user(number));
        Ok(Self { process, workers: (0..CONNECTIONS).map(open).collect::<Result<_>>()? })
    }

    /// Lets every connection do something at the same time.
    fn prepare(&mut self, act: impl Fn(&mut Worker) -> Result<()> + Sync) -> Result<()> {
        thread::scope(|scope| {
            let act = &act;
            let tasks: Vec<_> =
                self.workers.iter_mut().map(|worker| scope.spawn(move || act(worker))).collect();
            tasks.into_iter().try_for_each(|task| task.join().ok().context("a panic")?)
        })
    }

    /// Measures `count` requests of each connection.
    fn run(
        &mut self,
        bench: &str,
        count: usize,
        act: impl Fn(&mut Worker) -> Result<()> + Sync,
    ) -> Result<Vec<Outcome>> {
        let warm_up = WARM_UP.min(count);
        self.prepare(|worker| (0..warm_up).try_for_each(|_| act(worker)))?;
        let (cpu, begun) = (process::cpu_time(self.process)?, Instant::now());
        self.prepare(|worker| worker.time(count, &act))?;
        let (took, cpu) = (begun.elapsed(), process::cpu_time(self.process)?.saturating_sub(cpu));
        let mut latencies: Vec<Duration> = Vec::new();
        for worker in &mut self.workers {
            latencies.append(&mut worker.latencies);
        }
        let figures: Vec<f64> = latencies.iter().map(|it| it.as_secs_f64() * 1e3).collect();
        let requests = f64::from(u32::try_from(figures.len())?);
        let micros = cpu.as_secs_f64() * 1e6 / requests;
        let per_second = requests / took.as_secs_f64();
        eprintln!("{bench}: {per_second:.0} a second, {micros:.0} µs of the sidecar each");
        Ok(vec![
            Outcome::alone(bench, "cpu_us_per_request", "µs", &[micros]),
            Outcome::percentile(bench, "p50_ms", "ms", &figures, 0.5),
            Outcome::percentile(bench, "p99_ms", "ms", &figures, 0.99),
        ])
    }
}
