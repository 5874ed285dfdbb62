//! `make soak`: a million hostile requests at a real Envoy with the filter, a million tokens shown to
//! others' libraries, a quarter of an hour of questions at every endpoint of a sidecar, then ten minutes
//! of chaos in a system of several.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use clap::Parser;
use wardgate_host_tests::{
    chaos::{self, Fault},
    oracle,
    schemathesis::{self, Store},
    soak::{Amount, Arena, attack},
};

/// Attacks the filter.
#[derive(Parser)]
struct Arguments {
    /// Requests to send.
    #[arg(long, default_value_t = 1_000_000)]
    requests: u64,
    /// After this many seconds it is enough; fewer requests than asked for are then a failure.
    #[arg(long, default_value_t = 1800)]
    seconds_at_most: u64,
    /// Tokens to show to others' libraries; 0 for none.
    #[arg(long, default_value_t = 1_000_000)]
    tokens: usize,
    /// How long every endpoint of each listener is asked, half of it on each store; 0 for not at all.
    #[arg(long, default_value_t = 300)]
    endpoint_seconds: u64,
    /// Repeats an earlier run.
    #[arg(long)]
    seed: Option<u64>,
    /// How long things are broken; 0 for not at all.
    #[arg(long, default_value_t = 600)]
    chaos_seconds: u64,
    /// Only these faults, by the numbers of their places in the list; may be repeated.
    #[arg(long)]
    fault: Vec<usize>,
    /// Only the chaos.
    #[arg(long)]
    only_chaos: bool,
    /// Only the tokens.
    #[arg(long)]
    only_tokens: bool,
    /// Only the endpoints.
    #[arg(long)]
    only_endpoints: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let Arguments { only_chaos, only_tokens, only_endpoints, .. } = arguments;
    let all = !only_chaos && !only_tokens && !only_endpoints;
    if all {
        hostile(&arguments)?;
    }
    if (all || only_tokens) && arguments.tokens > 0 {
        let seed = arguments.seed.unwrap_or_else(now);
        eprintln!("{} tokens for others' libraries, seed {seed}", arguments.tokens);
        eprintln!("{}", oracle::judge(arguments.tokens, seed)?);
    }
    if (all || only_endpoints) && arguments.endpoint_seconds > 0 {
        endpoints(&arguments)?;
    }
    if (all || only_chaos) && arguments.chaos_seconds > 0 {
        let report = chaos::run(&faults(&arguments), Duration::from_secs(arguments.chaos_seconds))?;
        eprintln!("{report}");
    }
    Ok(())
}

fn endpoints(arguments: &Arguments) -> Result<()> {
    let seed = arguments.seed.unwrap_or_else(now);
    eprintln!("every endpoint, seed {seed}");
    let seconds = Some(arguments.endpoint_seconds.div_ceil(2));
    let effort = schemathesis::Effort { examples: 200, seconds, seed };
    [Store::Embedded, Store::Redis]
        .into_iter()
        .try_for_each(|store| schemathesis::run(store, effort))
}

fn faults(arguments: &Arguments) -> Vec<Fault> {
    if arguments.fault.is_empty() {
        return Fault::ALL.to_vec();
    }
    arguments.fault.iter().filter_map(|number| Fault::ALL.get(*number).copied()).collect()
}

/// Seconds since the epoch: a seed that is another one each time.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

fn hostile(arguments: &Arguments) -> Result<()> {
    let amount = Amount {
        requests: arguments.requests,
        at_most: Duration::from_secs(arguments.seconds_at_most),
        connections: 12,
        seed: arguments.seed.unwrap_or_else(now),
    };
    eprintln!("{} hostile requests, seed {}", amount.requests, amount.seed);
    let arena = Arena::start(2)?;
    let tally = attack(&arena, amount)?;
    let mut lines: Vec<_> = tally.answers.iter().collect();
    lines.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    for (answer, count) in lines {
        eprintln!("{count:>10}  {answer}");
    }
    eprintln!("{:>10}  closed without an answer", tally.unanswered);
    anyhow::ensure!(tally.sent >= amount.requests, "only {} requests in time", tally.sent);
    eprintln!("{} requests, no trap, every answer 2xx, 4xx or 503 with a reason", tally.sent);
    Ok(())
}
