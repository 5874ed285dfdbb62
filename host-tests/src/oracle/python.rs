//! The judges in Python: one process each, asked in batches over its standard streams.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::signers::Signers;
use super::{AUDIENCES, Answer, Case, ISSUER, Judge, SKEW};
use crate::envoy::repository;

/// A judge that waits for batches; ended when dropped.
pub(super) struct Interpreter {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Interpreter {
    /// Starts the judge and tells it what all tokens are judged by.
    pub(super) fn start(judge: Judge, signers: &Signers) -> Result<Self> {
        let mut command = Command::new(crate::python::interpreter()?);
        command.arg(repository().join("host-tests/python/judge.py")).arg(judge.name());
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = process.stdin.take().context("no standard input")?;
        let output = BufReader::new(process.stdout.take().context("no standard output")?);
        let mut interpreter = Self { process, input, output };
        let keys = signers.all.iter().map(|signer| {
            let algorithms: Vec<_> = signer.allowed.iter().map(|(ours, _)| ours.word()).collect();
            json!({"algorithm": signer.algorithm.word(), "algorithms": algorithms,
                "jwk": signer.jwk, "pem": signer.pem})
        });
        let rules = json!({"issuer": ISSUER, "audiences": AUDIENCES, "leeway_seconds": SKEW,
            "signers": keys.collect::<Vec<_>>()});
        writeln!(interpreter.input, "{rules}")?;
        Ok(interpreter)
    }

    /// What it says of each token, in their order.
    pub(super) fn ask(&mut self, batch: &[Case]) -> Result<Vec<Answer>> {
        let mut text = String::new();
        for case in batch {
            let line = json!({"signer": case.signer, "now": case.now, "token": case.token});
            text.push_str(&format!("{line}\n"));
        }
        // The empty line ends the batch. All of it is read before the first answer is written, so
        // that neither side waits for the other with a full pipe.
        text.push('\n');
        self.input.write_all(text.as_bytes())?;
        self.input.flush()?;
        batch.iter().map(|_| self.answer()).collect()
    }

    fn answer(&mut self) -> Result<Answer> {
        let mut line = String::new();
        ensure!(self.output.read_line(&mut line)? > 0, "the Python process ended");
        // Accepted claims that are no JSON here, such as Python's Infinity, are like none of ours.
        Ok((line.trim() != "null").then(|| serde_json::from_str(&line).unwrap_or_default()))
    }
}

impl Drop for Interpreter {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
