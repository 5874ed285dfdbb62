//! Who disagreed about what, held against the list of disagreements that are explained.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Result, bail, ensure};
use serde::Deserialize;

use super::mutations::MUTATIONS;
use super::{Answer, Case, Judge};

/// The list. What stands there must happen, and nothing else may.
const EXPLAINED: &str = include_str!("disagreements.json");
/// What [`Explanation::here`] says of a token that we accept.
const ACCEPTED: &str = "accepted";
/// Findings that are shown in full; the rest is counted.
const SHOWN: usize = 20;

/// A disagreement that is right as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Explanation {
    /// The mutation that brings it about.
    token: String,
    /// Our reason for a refusal, or `accepted`.
    here: String,
    /// Names of the judges that accept what we refuse.
    #[serde(default)]
    accepted_by: BTreeSet<String>,
    /// Names of the judges that refuse what we accept.
    #[serde(default)]
    refused_by: BTreeSet<String>,
    /// Why we differ.
    why: String,
}

impl Explanation {
    fn judges(&self) -> &BTreeSet<String> {
        if self.here == ACCEPTED { &self.refused_by } else { &self.accepted_by }
    }
}

/// What came of it all.
#[derive(Debug, Default)]
pub struct Report {
    /// Tokens that we accept.
    pub accepted: usize,
    /// Tokens that we and jsonwebtoken refuse.
    pub refused_by_both: usize,
    /// Disagreements with an explanation, by judge.
    pub explained: BTreeMap<&'static str, usize>,
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} accepted, {} refused by jsonwebtoken too",
            self.accepted, self.refused_by_both
        )?;
        for (judge, count) in &self.explained {
            write!(formatter, "; {count} explained disagreements with {judge}")?;
        }
        Ok(())
    }
}

pub(super) struct Ledger {
    explanations: Vec<Explanation>,
    /// Explanations that explained something, by place and judge.
    used: BTreeSet<(usize, &'static str)>,
    findings: BTreeMap<String, usize>,
    shown: Vec<String>,
    report: Report,
}

impl Ledger {
    /// Reads the list.
    pub(super) fn open() -> Result<Self> {
        let explanations: Vec<Explanation> = serde_json::from_str(EXPLAINED)?;
        for one in &explanations {
            let (token, judges) = (&one.token, one.judges());
            let known = |name: &String| Judge::ALL.iter().any(|judge| judge.name() == name);
            ensure!(MUTATIONS.iter().any(|it| it.name == token), "no mutation is named {token:?}");
            ensure!(one.accepted_by.is_empty() || one.refused_by.is_empty(), "{token:?}: which?");
            ensure!(!judges.is_empty(), "{token:?}: by whom?");
            ensure!(judges.iter().all(known), "{token:?}: unknown among {judges:?}");
            ensure!(!one.why.is_empty(), "{token:?}: why?");
        }
        let (used, findings) = (BTreeSet::new(), BTreeMap::new());
        Ok(Self { explanations, used, findings, shown: Vec::new(), report: Report::default() })
    }

    /// Counts a token, once for all judges.
    pub(super) fn count(&mut self, case: &Case) {
        match &case.ours {
            Ok(_) => self.report.accepted += 1,
            Err(_) if case.jsonwebtoken.is_none() => self.report.refused_by_both += 1,
            Err(_) => {}
        }
    }

    /// Takes down what `judge` says of a token.
    pub(super) fn enter(&mut self, judge: Judge, case: &Case, theirs: &Answer) {
        let (here, there) = match (&case.ours, theirs.as_ref()) {
            (Ok(ours), Some(theirs)) if ours == theirs => return,
            (Ok(_), Some(_)) => (ACCEPTED, "accepted with other claims"),
            (Ok(_), None) => (ACCEPTED, "refused"),
            (Err(_), None) => {
                let is_plain = case.applied.is_empty();
                if is_plain {
                    self.find(judge, case, "refused", "refused");
                }
                return;
            }
            (Err(reason), Some(_)) => (reason.code(), ACCEPTED),
        };
        let name = judge.name();
        let explains = |one: &Explanation| {
            one.here == here
                && one.judges().contains(name)
                && case.applied.iter().any(|mutation| mutation.name == one.token)
        };
        match self.explanations.iter().position(explains) {
            Some(place) if there != "accepted with other claims" => {
                *self.report.explained.entry(name).or_default() += 1;
                // With two mutations, one could take the credit for what the other did.
                if case.applied.len() == 1 {
                    self.used.insert((place, name));
                }
            }
            Some(_) | None => self.find(judge, case, here, there),
        }
    }

    fn find(&mut self, judge: Judge, case: &Case, here: &str, there: &str) {
        let names: Vec<&str> = case.applied.iter().map(|mutation| mutation.name).collect();
        let class = format!("{names:?}: here {here}, {} {there}", judge.name());
        let count = self.findings.entry(class.clone()).or_default();
        *count += 1;
        if *count == 1 && self.shown.len() < SHOWN {
            self.shown.push(format!("{class}\n    {}", case.describe()));
        }
    }

    /// The report, if every disagreement has an explanation and every explanation a disagreement.
    pub(super) fn close(self, tokens: usize) -> Result<Report> {
        let mut complaints: Vec<String> =
            self.findings.iter().map(|(class, count)| format!("{count:>6}  {class}")).collect();
        complaints.extend(self.shown);
        for (place, one) in self.explanations.iter().enumerate() {
            for judge in one.judges() {
                if !self.used.iter().any(|(used, name)| *used == place && name == judge) {
                    let (token, here) = (&one.token, &one.here);
                    complaints.push(format!("explains nothing: {token:?}, {here}, {judge}"));
                }
            }
        }
        let Report { accepted, refused_by_both, .. } = self.report;
        if accepted < tokens / 10 || refused_by_both < tokens / 5 {
            complaints.push(format!(
                "only {accepted} accepted and {refused_by_both} refused by jsonwebtoken too"
            ));
        }
        if complaints.is_empty() { Ok(self.report) } else { bail!("{}", complaints.join("\n")) }
    }
}
