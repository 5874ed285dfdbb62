//! Others' libraries as judges: the same generated and mutated tokens are shown to our verification
//! and to theirs, and every disagreement must stand in a list with its reason.
//!
//! Tokens are made from a seed: one of six signers, none to two mutations each. The crate
//! jsonwebtoken answers in this process, `PyJWT` and `jwcrypto` in one Python process each, with their
//! clocks set to the second in which the token was made.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "the makers of tokens are a test, in `make soak` too: what fails here is a finding"
)]

mod draft;
mod ledger;
mod library;
mod mutations;
mod python;
mod signers;

use std::sync::{Arc, mpsc};
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use jsonwebtoken::get_current_timestamp;
use serde_json::{Map, Value};
use wardgate_core::reason::Reason;
use wardgate_core::time::UnixSeconds;
use wardgate_core::token::{
    IssuerRules, SoftwareSignatures, UnverifiedToken, check_claims, verify,
};

use self::draft::{Draft, Random};
use self::ledger::Ledger;
use self::mutations::{MUTATIONS, Mutation};
use self::python::Interpreter;
use self::signers::{SIGNERS, Signer, Signers};

pub use self::ledger::Report;

const ISSUER: &str = "https://issuer.example";
const AUDIENCES: [&str; 2] = ["api", "api-two"];
const SKEW: u64 = 10;
const LIMIT_BYTES: usize = 8192;
/// Tokens that a Python process reads before it answers: enough that the pipe costs nothing.
const BATCH: usize = 250;
/// Batches that may wait for a judge who is slower than the others.
const WAITING: usize = 4;

/// Claims of an accepted token; `None` for a refused one.
type Answer = Option<Map<String, Value>>;

/// Who judges beside us.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Judge {
    /// The crate jsonwebtoken.
    Jsonwebtoken,
    /// `PyJWT` with the key as a JWK.
    PyJwtWithJwk,
    /// `PyJWT` with the key as PEM, or the bare bytes of a secret.
    PyJwtWithPem,
    /// jwcrypto.
    Jwcrypto,
}

impl Judge {
    const ALL: [Self; 4] =
        [Self::Jsonwebtoken, Self::PyJwtWithJwk, Self::PyJwtWithPem, Self::Jwcrypto];

    const fn name(self) -> &'static str {
        match self {
            Self::Jsonwebtoken => "jsonwebtoken",
            Self::PyJwtWithJwk => "PyJWT with a JWK",
            Self::PyJwtWithPem => "PyJWT with PEM",
            Self::Jwcrypto => "jwcrypto",
        }
    }
}

/// One token, and what was said of it in this process in the second `now`.
struct Case {
    applied: Vec<&'static Mutation>,
    signer: usize,
    now: u64,
    token: String,
    ours: Result<Map<String, Value>, Reason>,
    jsonwebtoken: Answer,
}

/// Shows `tokens` tokens to all judges and holds every disagreement against the list.
///
/// # Errors
///
/// Disagreements without an explanation, explanations that explain nothing, and Python processes
/// that cannot be started or end too early.
pub fn judge(tokens: usize, seed: u64) -> Result<Report> {
    let signers = Arc::new(Signers::generate());
    let mut random = Random(seed);
    let mut ledger = Ledger::open()?;
    let in_python = [Judge::PyJwtWithJwk, Judge::PyJwtWithPem, Judge::Jwcrypto];
    thread::scope(|scope| {
        let (answers, answered) = mpsc::sync_channel(WAITING);
        let mut benches = Vec::new();
        for judge in in_python {
            let (batches, waiting) = mpsc::sync_channel::<Arc<Vec<Case>>>(WAITING);
            let (signers, answers) = (Arc::clone(&signers), answers.clone());
            benches.push(batches);
            scope.spawn(move || {
                let interpreter = Interpreter::start(judge, &signers);
                let said = sit(interpreter, judge, &waiting, &answers);
                // The other side may have stopped listening because of another judge.
                said.unwrap_or_else(|error| drop(answers.send(Err(error))));
            });
        }
        drop(answers);
        scope.spawn(move || {
            let mut left = tokens;
            while left > 0 {
                let count = left.min(BATCH);
                let batch = (0..count).map(|_| Case::make(&signers, &mut random)).collect();
                let batch: Arc<Vec<Case>> = Arc::new(batch);
                if benches.iter().any(|bench| bench.send(Arc::clone(&batch)).is_err()) {
                    return;
                }
                left -= count;
            }
        });
        for said in answered {
            let (judge, batch, answers): (Judge, Arc<Vec<Case>>, Vec<Answer>) = said?;
            ensure!(answers.len() == batch.len(), "{} lost count", judge.name());
            for (case, answer) in batch.iter().zip(answers) {
                ledger.enter(judge, case, &answer);
                // Heard once for each batch, with the first of the others.
                if judge == in_python[0] {
                    ledger.enter(Judge::Jsonwebtoken, case, &case.jsonwebtoken);
                    ledger.count(case);
                }
            }
        }
        Ok::<_, anyhow::Error>(())
    })?;
    ledger.close(tokens)
}

type Said = Result<(Judge, Arc<Vec<Case>>, Vec<Answer>)>;

/// Lets one judge answer batches until there are no more.
fn sit(
    interpreter: Result<Interpreter>,
    judge: Judge,
    waiting: &mpsc::Receiver<Arc<Vec<Case>>>,
    answers: &mpsc::SyncSender<Said>,
) -> Result<()> {
    let mut interpreter = interpreter?;
    for batch in waiting {
        let said = interpreter.ask(&batch).with_context(|| judge.name().to_owned())?;
        answers.send(Ok((judge, batch, said))).map_err(|_| anyhow!("nobody listens"))?;
    }
    Ok(())
}

impl Case {
    fn make(signers: &Signers, random: &mut Random) -> Self {
        let seed = random.next();
        loop {
            let mut random = Random(seed);
            let now = get_current_timestamp();
            let signer = random.below(SIGNERS);
            let mut draft = Draft::new(now, signer, signers);
            let count = random.pick(&[0, 1, 1, 1, 1, 1, 1, 2, 2, 2]);
            let applied: Vec<&'static Mutation> =
                (0..count).map(|_| &MUTATIONS[random.below(MUTATIONS.len())]).collect();
            for mutation in &applied {
                (mutation.apply)(&mut draft, &mut random);
            }
            let token = draft.text(signers, &mut random);
            let ours = decide(&token, &signers.all[signer], now);
            let jsonwebtoken = library::ask(&token, &signers.all[signer]);
            // The crate read the clock again: if a second went by, both must be asked anew.
            if get_current_timestamp() == now {
                return Self { applied, signer, now, token, ours, jsonwebtoken };
            }
        }
    }

    /// What to show when the token is a finding.
    fn describe(&self) -> String {
        let names: Vec<&str> = self.applied.iter().map(|mutation| mutation.name).collect();
        format!("{names:?} at {}: {}", self.now, self.token)
    }
}

fn decide(token: &str, signer: &Signer, now: u64) -> Result<Map<String, Value>, Reason> {
    let audiences = AUDIENCES.map(str::to_owned).to_vec();
    let rules = IssuerRules {
        algorithms: signer.allowed.iter().map(|(ours, _)| *ours).collect(),
        clock_skew_seconds: SKEW,
        ..IssuerRules::new(ISSUER.to_owned(), audiences)
    };
    let token = UnverifiedToken::parse(token.as_bytes(), LIMIT_BYTES)?;
    let token = verify(&token, &rules, &signer.keys, &SoftwareSignatures)?;
    check_claims(&token, &rules, UnixSeconds(now))?;
    Ok(token.claims().clone())
}
