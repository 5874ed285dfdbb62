//! `make soak`: a million hostile requests at a real Envoy with the filter, then ten minutes of chaos
//! in a system of several.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use clap::Parser;
use wardgate_host_tests::{
    chaos::{self, Fault},
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
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if !arguments.only_chaos {
        hostile(&arguments)?;
    }
    if arguments.chaos_seconds > 0 {
        let report = chaos::run(&faults(&arguments), Duration::from_secs(arguments.chaos_seconds))?;
        eprintln!("{report}");
    }
    Ok(())
}

fn faults(arguments: &Arguments) -> Vec<Fault> {
    if arguments.fault.is_empty() {
        return Fault::ALL.to_vec();
    }
    arguments.fault.iter().filter_map(|number| Fault::ALL.get(*number).copied()).collect()
}

fn hostile(arguments: &Arguments) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
    let amount = Amount {
        requests: arguments.requests,
        at_most: Duration::from_secs(arguments.seconds_at_most),
        connections: 12,
        seed: arguments.seed.unwrap_or(now),
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
