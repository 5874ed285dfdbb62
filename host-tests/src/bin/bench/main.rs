//! `make bench`: what a request costs with the gate, against Envoy's own filters doing the same work.

mod feed;
mod load;
mod million;
mod native;
mod plot;
mod process;
mod report;
mod request;
mod revocation;
mod server;
mod tokens;
mod wasm;
mod work;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Parser;

/// Measures the gate against Envoy's own filters.
#[derive(Parser)]
struct Arguments {
    /// Only this group: revocation, feed, tokens, request, million or wasm.
    #[arg(long)]
    only: Option<String>,
    /// Rounds; in each, every bench runs once.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Requests of one bench in one round.
    #[arg(long, default_value_t = 12_000)]
    requests: usize,
    /// Without the gate: Envoy's own filters alone.
    #[arg(long)]
    native_only: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let mut outcomes = Vec::new();
    let wanted = |group: &str| arguments.only.as_deref().is_none_or(|only| only == group);
    // These have every core for everything, as where they run.
    if wanted("revocation") && !arguments.native_only {
        outcomes.extend(revocation::measure()?);
    }
    if wanted("feed") && !arguments.native_only {
        outcomes.extend(feed::measure()?);
    }
    if wanted("tokens") && !arguments.native_only {
        outcomes.extend(tokens::measure()?);
    }
    if !process::leave_first_core()? {
        eprintln!("one core only: Envoy and the load share it, and figures will spread");
    }
    if wanted("request") {
        outcomes.extend(request::measure(&arguments)?);
        plot::write(&root.join("docs/bench.svg"), &outcomes)?;
    }
    if wanted("million") && !arguments.native_only {
        outcomes.extend(million::measure(&arguments)?);
    }
    if wanted("wasm") && !arguments.native_only {
        outcomes.extend(wasm::measure()?);
    }
    anyhow::ensure!(
        !outcomes.is_empty(),
        "no such group; there are: revocation, feed, tokens, request, million, wasm"
    );
    report::write_json(&root.join("target/bench/results.json"), &outcomes)?;
    #[expect(clippy::print_stdout, reason = "the table is what was asked for")]
    {
        println!("\n{}", report::table(&outcomes));
    }
    Ok(())
}

/// The filter as `make wasm` builds it.
fn wasm_file() -> Result<PathBuf> {
    wardgate_host_tests::envoy::wasm_file()
}
