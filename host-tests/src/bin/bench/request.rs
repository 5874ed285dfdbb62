//! The group `request`: processor time per request of every listener, round by round.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use wardgate_host_tests::envoy::{
    Envoy,
    bootstrap::{Listener, bootstrap, cluster, http2_cluster, wardgate},
    issuer::{Algorithm, Issuer},
    sidecar::{FEED_SECRET, SIDECAR_CLUSTER, Sidecar},
    wait::wait_until,
};

use super::{
    Arguments,
    load::{Load, Requests},
    native,
    process::{cpu_time, sibling},
    report::Outcome,
    wasm_file, work,
};

/// Requests before measuring, so that caches are full, connections open and code compiled.
const WARM_UP: usize = 3_000;
/// None: Envoy answers itself, so that what a filter costs is not lost in what proxying costs.
const UPSTREAM: &str = "";
/// Distinct tokens of an uncached bench: about ten times what the caches hold.
const DISTINCT_TOKENS: usize = 20_000;
/// What the gate itself answers: 200 once it has heard the sidecar.
const HEALTH_PATH: &str = "/.wardgate/healthz";
/// It takes one poll.
const READY_DEADLINE: Duration = Duration::from_secs(20);
/// Fields of the access log where the gate decides.
const WARDGATE_ACCESS_LOG: &str = "%START_TIME% %REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE% \
     %DURATION% %REQ(X-WARDGATE-SUBJECT)% \
     %FILTER_STATE(wasm.wardgate.decision:PLAIN)%\n";

/// One thing to measure.
struct Bench {
    name: &'static str,
    baseline: Option<&'static str>,
    load: Load,
    requests: Requests,
    /// Microseconds per request, round by round.
    rounds: Vec<f64>,
}

impl Bench {
    fn round(&mut self, processes: &[u32], requests: usize) -> Result<()> {
        let used = || processes.iter().map(|process| cpu_time(*process)).sum::<Result<Duration>>();
        let before = used()?;
        self.load.run(&mut self.requests, requests)?;
        let spent = used()?.saturating_sub(before);
        self.rounds.push(spent.as_secs_f64() * 1e6 / f64::from(u32::try_from(requests)?));
        Ok(())
    }
}

/// Measures the whole group.
pub(crate) fn measure(arguments: &Arguments) -> Result<Vec<Outcome>> {
    let directory = tempfile::Builder::new().prefix("wardgate-bench-").tempdir()?;
    let issuer = Issuer::generate("https://login.example.com")?;
    let service = Service::start(directory.path(), &standalone(&issuer))?;
    let mut sidecar = Sidecar::init(&directory.path().join("sidecar"), None, None)?;
    sidecar.start()?;
    let listeners = listeners(&issuer, directory.path(), arguments.native_only)?;
    let clusters = [
        cluster("authz_http", service.http),
        http2_cluster("authz_grpc", service.grpc),
        sidecar.cluster(),
    ];
    let envoy = Envoy::builder(&bootstrap(&listeners, &clusters));
    let envoy = envoy.environment(FEED_SECRET, &sidecar.feed_secret()?).core(0).start()?;
    let mut benches = benches(&issuer, &envoy, &sidecar, arguments)?;
    // The time of the rival's service counts; in all other benches it sleeps.
    let processes = [envoy.process_id().context("a container hides its time")?, service.child.id()];
    if !arguments.native_only {
        wait_until("the gate to be ready", READY_DEADLINE, || {
            let request = wardgate_host_tests::envoy::client::Request::get(HEALTH_PATH);
            Ok(request.send(envoy.listener("wardgate")?)?.status == 200)
        })?;
    }
    for bench in &mut benches {
        bench.load.run(&mut bench.requests, WARM_UP).with_context(|| bench.name)?;
    }
    for round in 1..=arguments.rounds {
        eprint!("\rround {round} of {} ", arguments.rounds);
        for bench in &mut benches {
            bench.round(&processes, arguments.requests).with_context(|| bench.name)?;
        }
    }
    eprintln!();
    Ok(outcomes(&benches))
}

/// The gate on its configuration alone: no API keys, no audit log.
fn standalone(issuer: &Issuer) -> Value {
    json!({"policy": work::policy(issuer, &["jwt"])})
}

/// The gate as it is meant to be: with the sidecar, which keeps API keys and the audit log.
fn with_sidecar(issuer: &Issuer) -> Value {
    let feed = json!({"cluster": SIDECAR_CLUSTER, "secret_env": FEED_SECRET});
    json!({"policy": work::policy(issuer, &["jwt", "api_key"]), "feed": feed})
}

fn listeners(issuer: &Issuer, directory: &Path, native_only: bool) -> Result<Vec<Value>> {
    let native_log = directory.join("native.log");
    let native = |name, filters| {
        let access_log = Some((native_log.as_path(), native::ACCESS_LOG));
        Listener { name, filters, cluster: UPSTREAM, access_log, hardened: true }.to_json()
    };
    let mut listeners = vec![
        native("bare", vec![]),
        native("native_cached", native::filters(issuer, true)),
        native("native_uncached", native::filters(issuer, false)),
        native("ext_authz_http", native::ext_authz_http("authz_http")),
        native("ext_authz_grpc", native::ext_authz_grpc("authz_grpc")),
    ];
    if !native_only {
        let log = directory.join("wardgate.log");
        let access_log = Some((log.as_path(), WARDGATE_ACCESS_LOG));
        let wasm = wasm_file()?;
        for (name, configuration) in
            [("wardgate", with_sidecar(issuer)), ("wardgate_standalone", standalone(issuer))]
        {
            let filters = vec![wardgate(&wasm, &configuration, &[FEED_SECRET])];
            listeners.push(
                Listener { name, filters, cluster: UPSTREAM, access_log, hardened: true }.to_json(),
            );
        }
    }
    Ok(listeners)
}

fn benches(
    issuer: &Issuer,
    envoy: &Envoy,
    sidecar: &Sidecar,
    arguments: &Arguments,
) -> Result<Vec<Bench>> {
    let bench = |name, listener: &str, baseline, lines: &[String]| {
        let load = Load::open(envoy.listener(listener)?)?;
        let requests = Requests::new(work::PATH, lines);
        Ok::<_, anyhow::Error>(Bench { name, baseline, load, requests, rounds: Vec::new() })
    };
    let cached = work::cached_tokens(issuer)?;
    let with_gate = !arguments.native_only;
    let mut benches = vec![
        bench("request/bare", "bare", None, &cached)?,
        bench("request/native_cached", "native_cached", None, &cached)?,
        bench("request/ext_authz_http", "ext_authz_http", Some("request/native_cached"), &cached)?,
        bench("request/ext_authz_grpc", "ext_authz_grpc", Some("request/native_cached"), &cached)?,
    ];
    if with_gate {
        let baseline = Some("request/native_cached");
        benches.push(bench("request/wardgate_cached", "wardgate", baseline, &cached)?);
        let name = "request/wardgate_standalone_cached";
        benches.push(bench(name, "wardgate_standalone", baseline, &cached)?);
        let baseline = Some("request/wardgate_cached");
        let keys = work::api_keys(sidecar)?;
        benches.push(bench("request/wardgate_api_key", "wardgate", baseline, &keys)?);
    }
    for (algorithm, native, gate) in [
        (Algorithm::Rs256, "request/native_rs256", "request/wardgate_rs256"),
        (Algorithm::Es256, "request/native_es256", "request/wardgate_es256"),
        (Algorithm::EdDsa, "request/native_eddsa", "request/wardgate_eddsa"),
    ] {
        eprintln!("signing {DISTINCT_TOKENS} tokens with {}", algorithm.name());
        let tokens = work::distinct_tokens(issuer, algorithm, DISTINCT_TOKENS)?;
        benches.push(bench(native, "native_uncached", None, &tokens)?);
        if with_gate {
            benches.push(bench(gate, "wardgate", Some(native), &tokens)?);
        }
    }
    Ok(benches)
}

/// Medians and ratios; of the two kinds of `ext_authz` the faster one stands for both.
fn outcomes(benches: &[Bench]) -> Vec<Outcome> {
    let rounds = |name: &str| {
        let found = benches.iter().find(|bench| bench.name == name);
        found.map(|bench| bench.rounds.as_slice()).unwrap_or_default()
    };
    let bare = rounds("request/bare");
    let outcome = |bench: &Bench| {
        let mut outcome = Outcome::alone(bench.name, "cpu_us_per_request", "µs", &bench.rounds);
        if let Some(baseline) = bench.baseline {
            outcome.compare(baseline, &bench.rounds, rounds(baseline), bare);
        }
        outcome
    };
    let mut outcomes: Vec<_> = benches.iter().map(outcome).collect();
    let is_rival = |outcome: &&Outcome| outcome.bench.starts_with("request/ext_authz_");
    let rival = outcomes.iter().filter(is_rival).min_by(|a, b| a.value.total_cmp(&b.value));
    if let Some(rival) = rival.cloned() {
        outcomes.push(Outcome { bench: "request/ext_authz".to_owned(), ..rival });
    }
    outcomes
}

/// The rival's service; killed when dropped.
struct Service {
    child: Child,
    http: SocketAddr,
    grpc: SocketAddr,
}

impl Service {
    fn start(directory: &Path, configuration: &Value) -> Result<Self> {
        let file = directory.join("ext_authz.json");
        fs::write(&file, configuration.to_string())?;
        let mut command = Command::new(sibling("ext_authz")?);
        let mut child = command.arg("--config").arg(&file).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let output = child.stdout.take().context("no output")?;
        BufReader::new(output).read_line(&mut line)?;
        let (http, grpc) = line.trim().split_once(' ').context("ext_authz did not start")?;
        Ok(Self { child, http: http.parse()?, grpc: grpc.parse()? })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
