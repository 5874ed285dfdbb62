//! Every token that the crate jsonwebtoken refuses is refused here too; what is refused only here
//! has its reason beside the mutation that brings it about.
//!
//! Tokens are made from a fixed seed: one of six signers, none to two mutations each. The oracle
//! reads the clock, so times are relative to it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test: what fails here is a finding"
)]

mod mutations;
mod signers;

use std::collections::{BTreeMap, BTreeSet};

use jsonwebtoken::{Validation, decode, get_current_timestamp};
use mutations::{MUTATIONS, Mutation};
use serde_json::{Map, Value, json};
use signers::{SIGNERS, Signer, Signers};
use wardgate_core::base64url;
use wardgate_core::reason::Reason;
use wardgate_core::time::UnixSeconds;
use wardgate_core::token::{
    Algorithm, IssuerRules, SoftwareSignatures, UnverifiedToken, check_claims, verify,
};

const TOKENS: usize = 12_000;
const ISSUER: &str = "https://issuer.example";
const AUDIENCES: [&str; 2] = ["api", "api-two"];
const SKEW: u64 = 10;
const LIMIT_BYTES: usize = 8192;

/// `SplitMix64`: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }
}

/// A way to make a signature over an input.
type Forger = fn(&Signers, &Signer, &[u8]) -> Vec<u8>;

/// A token on the way to its text.
struct Draft {
    now: u64,
    signer: usize,
    unlisted: Option<Algorithm>,
    header: Map<String, Value>,
    claims: Map<String, Value>,
    /// Members put in front of the others as they are, for what no JSON value can hold.
    raw_header: String,
    raw_claims: String,
    /// Who signs, when it is not the signer.
    forger: Option<Forger>,
    /// Changes to the finished text.
    cuts: Vec<fn(String, &mut Random) -> String>,
}

impl Draft {
    fn new(now: u64, signer: usize, signers: &Signers) -> Self {
        let Signer { algorithm, unlisted, .. } = &signers.all[signer];
        let header = json!({"alg": algorithm.word(), "typ": "JWT", "kid": signers::KEY_ID});
        let claims = json!({"iss": ISSUER, "sub": "alice", "aud": "api", "exp": now + 600,
            "iat": now - 5, "roles": ["viewer"]});
        Self {
            now,
            signer,
            unlisted: *unlisted,
            header: header.as_object().unwrap().clone(),
            claims: claims.as_object().unwrap().clone(),
            raw_header: String::new(),
            raw_claims: String::new(),
            forger: None,
            cuts: Vec::new(),
        }
    }

    fn text(self, signers: &Signers, random: &mut Random) -> String {
        let part = |members: Map<String, Value>, raw: &str| {
            let text = Value::Object(members).to_string().replacen('{', &format!("{{{raw}"), 1);
            base64url::encode(text.as_bytes())
        };
        let header = part(self.header, &self.raw_header);
        let input = format!("{header}.{}", part(self.claims, &self.raw_claims));
        let signer = &signers.all[self.signer];
        let signature = match self.forger {
            None => signer.sign(input.as_bytes()),
            Some(forge) => forge(signers, signer, input.as_bytes()),
        };
        let text = format!("{input}.{}", base64url::encode(&signature));
        self.cuts.into_iter().fold(text, |text, cut| cut(text, random))
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

/// The oracle, set up to be as strict as it can be.
fn ask_oracle(token: &str, signer: &Signer) -> Option<Map<String, Value>> {
    let mut validation = Validation {
        algorithms: signer.allowed.iter().map(|(_, oracle)| *oracle).collect(),
        leeway: SKEW,
        validate_nbf: true,
        ..Validation::default()
    };
    validation.set_audience(&AUDIENCES);
    validation.set_issuer(&[ISSUER]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    decode::<Map<String, Value>>(token, &signer.oracle, &validation).ok().map(|data| data.claims)
}

/// What both said of the same token in the same second.
struct Answers {
    applied: Vec<&'static Mutation>,
    token: String,
    ours: Result<Map<String, Value>, Reason>,
    oracle: Option<Map<String, Value>>,
}

fn ask_both(signers: &Signers, random: &mut Random) -> Answers {
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
        let signer = &signers.all[signer];
        let token = draft.text(signers, &mut random);
        let ours = decide(&token, signer, now);
        let oracle = ask_oracle(&token, signer);
        // The oracle read the clock again: if a second went by, both must be asked anew.
        if get_current_timestamp() == now {
            return Answers { applied, token, ours, oracle };
        }
    }
}

/// The reason why it is right to refuse what the oracle accepts.
fn explanation(answers: &Answers, reason: Reason) -> Option<(&'static str, Reason)> {
    let explains = |mutation: &&&Mutation| mutation.stricter.iter().any(|(one, _)| *one == reason);
    answers.applied.iter().find(explains).map(|mutation| (mutation.name, reason))
}

#[test]
fn nothing_is_accepted_that_the_oracle_refuses_and_every_other_difference_is_explained() {
    let signers = Signers::generate();
    let mut random = Random(20_260_101);
    let mut agreed: BTreeMap<Option<Reason>, usize> = BTreeMap::new();
    let mut stricter: BTreeSet<(&str, Reason)> = BTreeSet::new();
    for _ in 0..TOKENS {
        let answers = ask_both(&signers, &mut random);
        let names: Vec<&str> = answers.applied.iter().map(|mutation| mutation.name).collect();
        let context = || format!("{names:?}\n{}", answers.token);
        match (&answers.ours, &answers.oracle) {
            (Ok(ours), Some(oracle)) => {
                assert_eq!(ours, oracle, "{}", context());
                *agreed.entry(None).or_default() += 1;
            }
            (Err(reason), None) => *agreed.entry(Some(*reason)).or_default() += 1,
            (Ok(_), None) => panic!("laxer than the oracle: {}", context()),
            (Err(reason), Some(_)) => {
                let Some(known) = explanation(&answers, *reason) else {
                    panic!("stricter for no stated reason ({reason:?}): {}", context());
                };
                // With two mutations, one could take the credit for what the other did.
                if names.len() == 1 {
                    stricter.insert(known);
                }
            }
        }
        assert!(!names.is_empty() || answers.ours.is_ok(), "a plain token is accepted");
    }
    assert!(agreed[&None] > TOKENS / 10, "enough tokens are accepted: {agreed:?}");
    let refused: usize = agreed.iter().filter_map(|(reason, count)| reason.map(|_| *count)).sum();
    assert!(refused > TOKENS / 5, "enough tokens are refused by both: {agreed:?}");
    let stated: BTreeSet<(&str, Reason)> = MUTATIONS
        .iter()
        .flat_map(|mutation| mutation.stricter.iter().map(|(reason, _)| (mutation.name, *reason)))
        .collect();
    assert_eq!(stricter, stated, "an explanation that explains nothing is taken out");
}
