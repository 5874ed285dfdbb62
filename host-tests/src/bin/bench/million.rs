//! A million revocations and a million API keys in one Envoy: what a request costs then, what loading
//! costs, and what a flood of forged keys does to everybody else.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use wardgate_core::{
    api_key::{ApiKey, GENERATE_RANDOM_BYTES},
    feed::{Fingerprint, Revocation, RevocationTarget, Table, encode_api_key},
    secret::Secret,
    wire::{ApiKeyRecord, ApiKeyState},
};
use wardgate_host_tests::envoy::{
    Envoy,
    bootstrap::{Listener, bootstrap, cluster, wardgate},
    client::Request,
    desk::{Desk, Records},
    issuer::{Issuer, now},
    sidecar::{FEED_SECRET, SIDECAR_CLUSTER},
    wait::wait_until,
};

use super::{
    Arguments,
    load::{Load, Requests},
    process::{cpu_time, resident_bytes},
    report::Outcome,
    wasm_file, work,
};

const RECORDS: u32 = 1_000_000;
const DIGEST_KEY: &[u8; 32] = b"the digest key of a million keys";
/// Keys that are shown; those seen again and again, and those of which each is new to the cache.
const SEEN: usize = 100;
const DISTINCT: usize = 20_000;
/// One request in so many shows a key that the cache does not hold.
const NEW_ONE_IN: usize = 10;
const WARM_UP: usize = 3_000;
const LOAD_DEADLINE: Duration = Duration::from_mins(2);

/// An Envoy with one gate beside a listener without one, one worker, and a desk with its records.
struct Stand {
    envoy: Envoy,
    _desk: Desk,
    ready: Duration,
}

impl Stand {
    fn start(issuer: &Issuer, desk: Desk, directory: &Path) -> Result<Self> {
        let feed = json!({"cluster": SIDECAR_CLUSTER, "secret_env": FEED_SECRET});
        let configuration = json!({
            "policy": work::policy(issuer, &["jwt", "api_key"]), "feed": feed,
            // The flood is to reach the tables, and not to be stopped at the doorstep.
            "failure_limit": {"failures": 0},
        });
        let filters = vec![wardgate(&wasm_file()?, &configuration, &[FEED_SECRET])];
        let log = directory.join("access.log");
        let access_log = Some((log.as_path(), "%RESPONSE_CODE% %REQ(X-WARDGATE-SUBJECT)%\n"));
        let listener = |name, filters| {
            Listener { name, filters, cluster: "", access_log, hardened: true }.to_json()
        };
        let listeners = [listener("gate", filters), listener("bare", vec![])];
        let clusters = [cluster(SIDECAR_CLUSTER, desk.address())];
        let builder = Envoy::builder(&bootstrap(&listeners, &clusters));
        let envoy = builder.environment(FEED_SECRET, &desk.feed_secret()).core(0).start()?;
        let start = Instant::now();
        wait_until("the tables to be loaded", LOAD_DEADLINE, || {
            let health = Request::get("/.wardgate/healthz").send(envoy.listener("gate")?)?;
            Ok(health.status == 200)
        })
        .with_context(|| envoy.log())?;
        Ok(Self { envoy, _desk: desk, ready: start.elapsed() })
    }

    fn process(&self) -> Result<u32> {
        self.envoy.process_id().context("a container hides its time")
    }

    fn load(&self, listener: &str) -> Result<Load> {
        Load::open(self.envoy.listener(listener)?)
    }

    /// Microseconds per request of what `send` sends.
    fn cost(&self, requests: usize, send: impl FnOnce() -> Result<()>) -> Result<f64> {
        let before = cpu_time(self.process()?)?;
        send()?;
        let spent = cpu_time(self.process()?)?.saturating_sub(before);
        Ok(spent.as_secs_f64() * 1e6 / f64::from(u32::try_from(requests)?))
    }
}

/// Measures the whole group.
pub(crate) fn measure(arguments: &Arguments) -> Result<Vec<Outcome>> {
    let directory = tempfile::Builder::new().prefix("wardgate-bench-").tempdir()?;
    let issuer = Issuer::generate("https://login.example.com")?;
    let tokens = work::cached_tokens(&issuer)?;
    let plain = Stand::start(&issuer, desk(&[], 0)?, directory.path())?;
    let keys = (0..DISTINCT).map(|_| api_key()).collect::<Result<Vec<_>>>()?;
    eprintln!("making {RECORDS} records of each kind");
    let full = Stand::start(&issuer, desk(&keys, RECORDS)?, directory.path())?;
    check(&full)?;
    let lines: Vec<_> = keys.iter().map(|key| format!("x-api-key: {}", key.expose())).collect();
    let forged = (0..DISTINCT).map(|_| Ok(format!("x-api-key: {}", api_key()?.expose())));
    let forged = forged.collect::<Result<Vec<_>>>()?;
    let mut sides = Sides {
        bare: (plain.load("bare")?, Requests::new(work::PATH, &tokens)),
        plain: (plain.load("gate")?, Requests::new(work::PATH, &tokens)),
        mixed: (full.load("gate")?, Requests::new(work::PATH, &mixed(&lines))),
        tokens: (full.load("gate")?, Requests::new(work::PATH, &tokens)),
        forged: (full.load("gate")?.expect("401"), Requests::new(work::PATH, &forged)),
    };
    let mut rounds = Rounds::default();
    for round in 0..=arguments.rounds {
        eprint!("\rround {round} of {} ", arguments.rounds);
        let requests = if round == 0 { WARM_UP } else { arguments.requests };
        let figures = sides.round(&plain, &full, requests)?;
        if round > 0 {
            rounds.push(figures);
        }
    }
    eprintln!();
    ensure!(full.envoy.traps()? == 0, "the filter trapped: {}", full.envoy.log());
    let mut outcomes = rounds.outcomes();
    outcomes.extend(sizes(&plain, &full)?);
    Ok(outcomes)
}

/// Loads and requests of everything that is compared.
struct Sides {
    bare: (Load, Requests),
    plain: (Load, Requests),
    mixed: (Load, Requests),
    tokens: (Load, Requests),
    forged: (Load, Requests),
}

impl Sides {
    fn round(&mut self, plain: &Stand, full: &Stand, requests: usize) -> Result<[f64; 6]> {
        let run = |side: &mut (Load, Requests)| side.0.run(&mut side.1, requests).map(drop);
        let bare = plain.cost(requests, || run(&mut self.bare))?;
        let cached = plain.cost(requests, || run(&mut self.plain))?;
        let million = full.cost(requests, || run(&mut self.mixed))?;
        let token = full.cost(requests, || run(&mut self.tokens))?;
        let forged = full.cost(requests, || run(&mut self.forged))?;
        // Honest requests and the flood in turn, in small parts: what both cost, less the flood.
        let both = full.cost(requests, || {
            let part = requests / 50;
            for _ in 0..50 {
                self.tokens.0.run(&mut self.tokens.1, part)?;
                self.forged.0.run(&mut self.forged.1, part)?;
            }
            Ok(())
        })?;
        Ok([bare, cached, million, token, forged, both - forged])
    }
}

#[derive(Default)]
struct Rounds {
    figures: [Vec<f64>; 6],
}

impl Rounds {
    fn push(&mut self, figures: [f64; 6]) {
        self.figures.iter_mut().zip(figures).for_each(|(rounds, figure)| rounds.push(figure));
    }

    fn outcomes(&self) -> Vec<Outcome> {
        let [bare, cached, million, token, forged, honest] = &self.figures;
        let metric = "cpu_us_per_request";
        let compared = |bench: &str, rounds: &[f64], baseline, other: &[f64]| {
            let mut outcome = Outcome::alone(bench, metric, "µs", rounds);
            outcome.compare(baseline, rounds, other, bare);
            outcome
        };
        // What `request/wardgate_cached` measures, in this run: pairs are of one run.
        let without = "million/without_tables";
        vec![
            Outcome::alone("million/bare", metric, "µs", bare),
            Outcome::alone(without, metric, "µs", cached),
            compared("request/wardgate_million", million, "request/wardgate_cached", cached),
            compared("million/cached_token", token, without, cached),
            compared("million/forged_key", forged, without, cached),
            compared("million/honest_in_flood", honest, "million/cached_token", token),
        ]
    }
}

/// Time to load, and memory by it.
fn sizes(plain: &Stand, full: &Stand) -> Result<Vec<Outcome>> {
    let resident = |stand: &Stand| {
        let bytes = resident_bytes(stand.process()?)?;
        Ok::<_, anyhow::Error>(f64::from(u32::try_from(bytes / 1000)?) / 1e3)
    };
    let more = resident(full)? - resident(plain)?;
    let ready = full.ready.as_secs_f64() * 1e3;
    Ok(vec![
        Outcome::alone("million/load", "ready_ms", "ms", &[ready]),
        Outcome::alone("million/memory", "megabytes", "MB", &[more]),
    ])
}

/// Decisions are right with so many records: a revoked token, a good one, a key and no key.
fn check(full: &Stand) -> Result<()> {
    let gate = full.envoy.listener("gate")?;
    let unknown = Request::get(work::PATH).header("x-api-key", api_key()?.expose());
    let answer = unknown.send(gate)?;
    ensure!(answer.reason().as_deref() == Some("api-key-unknown"), "{answer:?}");
    Ok(())
}

/// Nine of ten requests show a key that was seen before.
fn mixed(lines: &[String]) -> Vec<String> {
    let seen = lines.iter().take(SEEN).cycle();
    let new = lines.iter().skip(SEEN);
    let groups = new.zip((0..).step_by(NEW_ONE_IN.saturating_sub(1)));
    let of_group = |(new, first): (&String, usize)| {
        let seen = seen.clone().skip(first % SEEN).take(NEW_ONE_IN.saturating_sub(1)).cloned();
        seen.chain([new.clone()]).collect::<Vec<_>>()
    };
    groups.flat_map(of_group).collect()
}

fn api_key() -> Result<ApiKey> {
    let mut random = [0; GENERATE_RANDOM_BYTES];
    aws_lc_rs::rand::fill(&mut random).ok().context("no randomness")?;
    ApiKey::generate("live", &random).context("no API key can be made")
}

/// A desk with these keys, and so many records of each kind beside them.
fn desk(keys: &[ApiKey], records: u32) -> Result<Desk> {
    let desk = Desk::start(Records { digest_key: DIGEST_KEY.to_vec(), api_keys: [].into() })?;
    let secret = Secret::new(DIGEST_KEY.to_vec());
    let with = |key: &ApiKey| record(key, &secret);
    let real = keys.iter().map(|key| {
        let content = encode_api_key(&with(key)).unwrap_or_default();
        (Fingerprint::of_api_key(key.id()), content)
    });
    let fill = encode_api_key(&with(&api_key()?))?;
    let filled = |number: u32| Fingerprint::of("filled", &[&number.to_be_bytes()]);
    let fills = (0..records).map(|number| (filled(number), fill.clone()));
    let until = now().saturating_add(86_400);
    let revocations = (0..records).map(|number| {
        let target = RevocationTarget::Token {
            issuer: "https://login.example.com".to_owned(),
            token_id: format!("revoked-{number}"),
        };
        let fingerprint = target.fingerprint();
        let revocation = Revocation { fingerprint, issued_until: None, until };
        (fingerprint, revocation.content().to_vec())
    });
    let mut feed = desk.feed();
    feed.fill(Table::ApiKeys, fills.chain(real));
    feed.fill(Table::Revocations, revocations);
    drop(feed);
    Ok(desk)
}

fn record(key: &ApiKey, digest_key: &Secret) -> ApiKeyRecord {
    ApiKeyRecord {
        id: key.id().to_owned(),
        environment: key.environment().to_owned(),
        name: "a name of usual length".to_owned(),
        digest: key.digest(digest_key).text(),
        issuer: None,
        subject: None,
        roles: vec!["editor".to_owned()],
        scopes: Some(vec!["read".to_owned()]),
        expires_at: None,
        state: ApiKeyState::Active,
        previous: None,
        networks: Vec::new(),
        rate_limit: None,
    }
}
