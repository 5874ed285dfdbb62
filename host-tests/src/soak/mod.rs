//! Hostile requests at a real Envoy with the filter: whatever is sent, the filter does not trap and
//! every answer is one that the gate or Envoy means to give.

mod arena;
mod attack;

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::envoy::client::{Answer, Connection};

pub use arena::{Arena, LISTENERS};
pub use attack::{Attacker, Material};

/// Requests on one connection before a new one is opened, at most.
const REQUESTS_PER_CONNECTION: u64 = 200;
/// How often a whole burst gives way to one request with spoiled framing.
const SPOILED_ONE_IN: u64 = 20;
/// How often two or three requests are sent at once, before their answers are read. Envoy drops a
/// connection after two that were answered in place of the upstream, and with it what follows.
const PIPELINED_ONE_IN: u64 = 4;
/// Envoy and the gate answer at once; more than the deadline of a call to the sidecar is a hang.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
/// A request whose framing is spoiled may never be answered; this is how long one waits for it.
const SPOILED_DEADLINE: Duration = Duration::from_millis(100);
/// Connections in a row that end without an answer before something is wrong with Envoy.
const SILENT_CONNECTIONS: u32 = 50;

/// How much to send.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    /// This many requests,
    pub requests: u64,
    /// or for this long.
    pub at_most: Duration,
    /// Connections at the same time.
    pub connections: u64,
    /// Names the sequence of attacks: the same seed sends the same.
    pub seed: u64,
}

/// What came back.
#[derive(Debug, Default)]
pub struct Tally {
    /// Requests sent.
    pub sent: u64,
    /// Answers by status and reason.
    pub answers: BTreeMap<String, u64>,
    /// Requests at which Envoy closed the connection without an answer.
    pub unanswered: u64,
}

/// Sends hostile requests to all listeners of the arena and checks every answer.
///
/// # Errors
///
/// The first answer that should not be, or a trap of the filter.
pub fn attack(arena: &Arena, amount: Amount) -> Result<Tally> {
    let (envoy, material) = (arena.envoy(), arena.material());
    let addresses =
        LISTENERS.map(|name| envoy.listener(name)).into_iter().collect::<Result<Vec<_>>>()?;
    let sent = AtomicU64::new(0);
    let tally = Mutex::new(Tally::default());
    let start = Instant::now();
    std::thread::scope(|scope| {
        let attackers: Vec<_> = (0..amount.connections)
            .zip(addresses.iter().cycle())
            .map(|(number, address)| {
                let address = *address;
                let seed = amount.seed.wrapping_mul(1_000_003).wrapping_add(number);
                let front = Front { address, sent: &sent, start, amount, tally: &tally };
                scope.spawn(move || front.attack(Attacker::new(material, seed)))
            })
            .collect();
        for attacker in attackers {
            match attacker.join() {
                Ok(result) => result?,
                Err(_) => bail!("an attacker panicked"),
            }
        }
        Ok(())
    })
    .with_context(|| format!("seed {}; Envoy's log:\n{}", amount.seed, envoy.log()))?;
    ensure!(envoy.traps()? == 0, "the filter trapped: {}", envoy.log());
    let mut tally = tally.into_inner().ok().context("an attacker panicked")?;
    tally.sent = sent.into_inner();
    Ok(tally)
}

/// One connection after another, from one thread.
struct Front<'a> {
    address: SocketAddr,
    sent: &'a AtomicU64,
    start: Instant,
    amount: Amount,
    tally: &'a Mutex<Tally>,
}

impl Front<'_> {
    fn attack(&self, mut attacker: Attacker<'_>) -> Result<()> {
        let mut silent = 0_u32;
        while self.goes_on() {
            let answered = self.converse(&mut attacker)?;
            silent = if answered > 0 { 0 } else { silent.saturating_add(1) };
            ensure!(silent < SILENT_CONNECTIONS, "Envoy no longer answers");
        }
        Ok(())
    }

    /// Talks on one connection until Envoy has had enough of it; how many answers there were.
    fn converse(&self, attacker: &mut Attacker<'_>) -> Result<u64> {
        let mut connection = Connection::open(self.address)?;
        connection.set_deadline(ANSWER_DEADLINE)?;
        let mut answers = 0_u64;
        while answers < REQUESTS_PER_CONNECTION && self.goes_on() {
            attacker.forget();
            if attacker.below(SPOILED_ONE_IN) == 0 {
                return Ok(answers.saturating_add(self.spoil(&mut connection, attacker)?));
            }
            let pipelined = attacker.below(PIPELINED_ONE_IN) == 0;
            let burst = if pipelined { attacker.below(2).saturating_add(2) } else { 1 };
            let (mut bytes, mut headless) = (Vec::new(), Vec::new());
            for _ in 0..burst {
                let attack = attacker.next_request();
                bytes.extend_from_slice(&attack.bytes);
                headless.push(attack.headless);
            }
            let count = self.sent.fetch_add(burst, Ordering::Relaxed).saturating_add(burst);
            self.show(count, burst);
            if connection.send(&bytes).is_err() {
                break;
            }
            let (read, open) = self.read(&mut connection, &headless, attacker)?;
            answers = answers.saturating_add(read);
            if !open {
                // What was sent behind a request that Envoy refused as no HTTP is not read.
                let rest = burst.saturating_sub(read);
                self.count(|tally| tally.unanswered = tally.unanswered.saturating_add(rest));
                break;
            }
        }
        Ok(answers)
    }

    /// Reads the answers of a burst, until one says that it is the last; how many there were, and
    /// whether the connection goes on.
    fn read(
        &self,
        connection: &mut Connection,
        headless: &[bool],
        attacker: &Attacker<'_>,
    ) -> Result<(u64, bool)> {
        let mut answers = 0_u64;
        for headless in headless {
            let answer = match connection.read_answer(*headless) {
                Ok(answer) => answer,
                Err(error) if is_timeout(&error) => {
                    bail!("no answer within {ANSWER_DEADLINE:?} after {}", attacker.last())
                }
                Err(_) => return Ok((answers, false)),
            };
            answers = answers.saturating_add(1);
            self.judge(&answer, *headless, attacker)?;
            if closes(&answer) {
                return Ok((answers, false));
            }
        }
        Ok((answers, true))
    }

    /// Sends one request with a byte changed anywhere, and waits a short while for an answer.
    fn spoil(&self, connection: &mut Connection, attacker: &mut Attacker<'_>) -> Result<u64> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        connection.set_deadline(SPOILED_DEADLINE)?;
        let attack = attacker.spoiled_request();
        let answer =
            connection.send(&attack.bytes).and_then(|()| connection.read_answer(attack.headless));
        if let Ok(answer) = answer {
            self.judge(&answer, attack.headless, attacker)?;
            return Ok(1);
        }
        self.count(|tally| tally.unanswered = tally.unanswered.saturating_add(1));
        Ok(0)
    }

    /// Every answer is 2xx, 4xx, or 503 with a reason in the body.
    fn judge(&self, answer: &Answer, headless: bool, attacker: &Attacker<'_>) -> Result<()> {
        let reason = answer.reason();
        let fine = match answer.status {
            200..=299 | 400..=499 => true,
            503 => reason.is_some() || headless,
            _ => false,
        };
        if !fine {
            let body = String::from_utf8_lossy(&answer.body);
            bail!(
                "an answer that should not be: {} {body}\nafter {}",
                answer.status,
                attacker.last()
            );
        }
        let key = match reason {
            Some(reason) => format!("{} {reason}", answer.status),
            None if answer.header("grpc-status").is_some() => format!("{} gRPC", answer.status),
            None => format!("{} without reason", answer.status),
        };
        self.count(|tally| {
            let counter = tally.answers.entry(key).or_default();
            *counter = counter.saturating_add(1);
        });
        Ok(())
    }

    fn count(&self, change: impl FnOnce(&mut Tally)) {
        if let Ok(mut tally) = self.tally.lock() {
            change(&mut tally);
        }
    }

    fn goes_on(&self) -> bool {
        self.sent.load(Ordering::Relaxed) < self.amount.requests
            && self.start.elapsed() < self.amount.at_most
    }

    fn show(&self, count: u64, burst: u64) {
        const STEP: u64 = 50_000;
        if count / STEP != count.saturating_sub(burst) / STEP {
            eprintln!("{count} requests after {:.0?}", self.start.elapsed());
        }
    }
}

/// Whether the connection is open and nothing came; a request that hangs is an outage too.
fn is_timeout(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    matches!(kind, Some(ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

fn closes(answer: &Answer) -> bool {
    answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
}
