//! The rival of the benches: a native service that decides the same as the gate, asked by Envoy's
//! `ext_authz` over HTTP or gRPC.
//!
//! It is given every advantage: the same core with the same cache, native cryptography, no lock, and
//! for HTTP a server that does the least a server can do.

mod grpc;
mod http;

use std::{
    fs,
    io::Write as _,
    net::TcpListener,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, anyhow};
use clap::Parser;
use wardgate_core::{
    config::plugin::PluginConfig,
    gate::{Around, Edge, Environment, Gate, Request, Seed, Step},
    jwk::Key,
    token::{Algorithm, SignatureCheck, SignatureVerdict, SoftwareSignatures},
};

/// A native `ext_authz` service for comparison.
#[derive(Parser)]
struct Arguments {
    /// The configuration of the gate, as JSON.
    #[arg(long)]
    config: PathBuf,
}

fn main() -> Result<()> {
    let config = fs::read(Arguments::parse().config)?;
    let http = TcpListener::bind(("127.0.0.1", 0))?;
    let grpc = TcpListener::bind(("127.0.0.1", 0))?;
    // Refused here rather than in every thread.
    gate(&config)?;
    let mut out = std::io::stdout();
    writeln!(out, "{} {}", http.local_addr()?, grpc.local_addr()?)?;
    out.flush()?;
    let for_grpc = config.clone();
    std::thread::spawn(move || grpc::serve(grpc, &for_grpc));
    http::serve(&http, &config);
    Ok(())
}

/// A gate of its own: they share nothing, so threads never wait for each other.
fn gate(config: &[u8]) -> Result<Gate> {
    let problems = |problems: Vec<_>| anyhow!("{problems:?}");
    let config = PluginConfig::parse(config).map_err(problems)?;
    let seed = Seed([1, 2, 3, 4]);
    let environment = Environment::new(|_| None);
    Gate::new(&config, environment, seed, Around::default()).map_err(|found| anyhow!("{found:?}"))
}

/// What the service says to one request.
enum Verdict {
    /// Pass, with these headers.
    Permit(Vec<(String, Vec<u8>)>),
    /// Refuse with this status.
    Deny(u16),
}

fn decide(gate: &mut Gate, fields: &[(&[u8], &[u8])]) -> Verdict {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let now_nanoseconds = u64::try_from(now).unwrap_or(u64::MAX);
    match gate.decide(Request { fields, now_nanoseconds }, &Native) {
        Step::Forward(forward) => Verdict::Permit(forward.principal.headers.clone()),
        Step::Answer(answer, _) => Verdict::Deny(answer.status),
    }
}

struct Native;

impl SignatureCheck for Native {
    fn check(
        &self,
        algorithm: Algorithm,
        key: &Key,
        input: &[u8],
        signature: &[u8],
    ) -> SignatureVerdict {
        SoftwareSignatures.check(algorithm, key, input, signature)
    }
}

impl Edge for Native {
    fn source_address(&self) -> Vec<u8> {
        Vec::new()
    }
}
