//! What was acknowledged and when, and what must therefore never happen: the judge of the chaos test.
//!
//! Time is an argument, so that the judge itself is tested without waiting.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// The bounds that the gate promises.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// From an acknowledged revocation to the last request let through, while nothing is broken.
    pub lag: Duration,
    /// The same whatever is broken: how long a gate goes on unheard.
    pub max_stale: Duration,
    /// How long after a repair everything works as if nothing had been broken.
    pub healing: Duration,
}

/// What is known about a credential.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// When its making was acknowledged; `None` for what nobody had to make known.
    made: Option<Instant>,
    /// When somebody first asked to revoke it; from then on either answer is right.
    asked: Option<Instant>,
    /// When the revocation was acknowledged.
    acknowledged: Option<Instant>,
}

/// What an Envoy said about a credential.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Said {
    /// Let through.
    Admitted,
    /// Refused as revoked.
    Revoked,
    /// Refused as something that nobody made.
    Unknown,
    /// The gate could not decide, or there was no answer at all.
    Unavailable,
    /// Refused for another reason, or something else.
    Other,
}

/// A request and what became of it.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Which credential.
    pub credential: u64,
    /// Which Envoy.
    pub envoy: usize,
    /// When it was sent.
    pub sent: Instant,
    /// What came.
    pub said: Said,
}

/// The judge.
#[derive(Debug)]
pub struct Ledger {
    bounds: Bounds,
    credentials: BTreeMap<u64, Known>,
    /// Since when each Envoy is as if nothing had ever been broken; `None` while something is.
    calm_since: BTreeMap<usize, Option<Instant>>,
    /// What must not have happened.
    pub violations: Vec<String>,
    /// Requests by what was said.
    pub counts: BTreeMap<&'static str, u64>,
    /// Time from acknowledgement to the last request let through, in calm.
    pub lags: BTreeMap<(u64, usize), Duration>,
}

impl Ledger {
    /// A judge of so many Envoys, all of which work.
    pub fn new(bounds: Bounds, envoys: usize, now: Instant) -> Self {
        Self {
            bounds,
            credentials: BTreeMap::new(),
            calm_since: (0..envoys).map(|envoy| (envoy, Some(now))).collect(),
            violations: Vec::new(),
            counts: BTreeMap::new(),
            lags: BTreeMap::new(),
        }
    }

    /// Something that this Envoy needs is broken from now on.
    pub fn broken(&mut self, envoy: usize) {
        self.calm_since.insert(envoy, None);
    }

    /// All is repaired that this Envoy needs.
    pub fn repaired(&mut self, envoy: usize, now: Instant) {
        self.calm_since.insert(envoy, now.checked_add(self.bounds.healing));
    }

    /// A credential that every Envoy must let through: at once, or once it has heard of it.
    pub fn made(&mut self, credential: u64, at: Option<Instant>) {
        self.credentials.insert(credential, Known { made: at, ..Known::default() });
    }

    /// Somebody is about to revoke it.
    pub fn asked(&mut self, credential: u64, now: Instant) {
        self.credentials.entry(credential).or_default().asked.get_or_insert(now);
    }

    /// The revocation is acknowledged.
    pub fn acknowledged(&mut self, credential: u64, now: Instant) {
        self.credentials.entry(credential).or_default().acknowledged.get_or_insert(now);
    }

    /// How many revocations were acknowledged.
    pub fn revoked(&self) -> usize {
        self.credentials.values().filter(|known| known.acknowledged.is_some()).count()
    }

    /// Judges what an Envoy said.
    pub fn saw(&mut self, seen: Seen) {
        let name = match seen.said {
            Said::Admitted => "admitted",
            Said::Revoked => "revoked",
            Said::Unknown => "unknown",
            Said::Unavailable => "unavailable",
            Said::Other => "other",
        };
        let count = self.counts.entry(name).or_default();
        *count = count.saturating_add(1);
        let known = self.credentials.get(&seen.credential).copied().unwrap_or_default();
        if let Some(why) = self.wrong(&known, &seen) {
            self.violations.push(format!("{why}: {seen:?}, {known:?}"));
        }
    }

    fn wrong(&mut self, known: &Known, seen: &Seen) -> Option<&'static str> {
        let calm = self.calm_since.get(&seen.envoy).copied().flatten();
        let calm = calm.filter(|since| seen.sent >= *since);
        if seen.said == Said::Unknown {
            return self.unknown(known, seen.sent, calm);
        }
        let Some(acknowledged) = known.acknowledged else {
            let asked = known.asked.is_some();
            return match seen.said {
                Said::Other => Some("a good credential was refused for no reason"),
                Said::Revoked if !asked => Some("refused as revoked before anybody asked"),
                Said::Unavailable if calm.is_some() && !asked => Some("unavailable in calm"),
                Said::Admitted | Said::Revoked | Said::Unknown | Said::Unavailable => None,
            };
        };
        let late = seen.sent.saturating_duration_since(acknowledged);
        match seen.said {
            Said::Admitted => {
                if late > self.bounds.max_stale.saturating_add(self.bounds.lag) {
                    return Some("a revoked credential was let through after max_stale");
                }
                // Of what was revoked while something was broken, the gate hears with the repair.
                let from = calm?.max(acknowledged);
                if calm.is_some_and(|since| acknowledged >= since) {
                    let lag = self.lags.entry((seen.credential, seen.envoy)).or_default();
                    *lag = late.max(*lag);
                }
                let past = seen.sent.saturating_duration_since(from);
                (past > self.bounds.lag).then_some("a revoked credential was let through too late")
            }
            Said::Unavailable => calm.map(|_| "unavailable in calm"),
            Said::Other => Some("a revoked credential was refused for another reason"),
            Said::Revoked | Said::Unknown => None,
        }
    }

    /// An acknowledged credential may be unknown for as long as a revoked one may pass.
    fn unknown(&self, known: &Known, sent: Instant, calm: Option<Instant>) -> Option<&'static str> {
        let Some(made) = known.made else { return Some("a good credential is unknown") };
        let from = calm?.max(made);
        let past = sent.saturating_duration_since(from);
        (past > self.bounds.lag).then_some("an acknowledged credential is unknown")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        lag: Duration::from_secs(1),
        max_stale: Duration::from_secs(10),
        healing: Duration::from_secs(3),
    };

    /// Credential 1 was made at 0 and revoked at 100 seconds; then the steps, and a request.
    #[track_caller]
    fn check(steps: &[(&str, u64)], said: Said, at_ms: u64, fine: bool) {
        let start = Instant::now();
        let after = |ms| start.checked_add(Duration::from_millis(ms)).unwrap();
        let at = |seconds: u64| after(seconds.saturating_mul(1000));
        let mut ledger = Ledger::new(BOUNDS, 1, start);
        ledger.made(1, None);
        for (step, seconds) in steps {
            match *step {
                "broken" => ledger.broken(0),
                "repaired" => ledger.repaired(0, at(*seconds)),
                "asked" => ledger.asked(1, at(*seconds)),
                _ => ledger.acknowledged(1, at(*seconds)),
            }
        }
        let sent = after(at_ms);
        ledger.saw(Seen { credential: 1, envoy: 0, sent, said });
        assert_eq!(ledger.violations.is_empty(), fine, "{:?}", ledger.violations);
    }

    #[test]
    fn in_calm_the_lag_counts() {
        let revoked = [("asked", 99), ("acknowledged", 100)];
        check(&revoked, Said::Admitted, 100_900, true);
        check(&revoked, Said::Admitted, 101_100, false);
        check(&revoked, Said::Revoked, 100_001, true);
        check(&revoked, Said::Other, 100_001, false);
        check(&revoked, Said::Unavailable, 100_001, false);
    }

    #[test]
    fn while_something_is_broken_max_stale_counts() {
        let revoked = [("broken", 98), ("asked", 99), ("acknowledged", 100)];
        check(&revoked, Said::Admitted, 110_900, true);
        check(&revoked, Said::Admitted, 111_100, false);
        check(&revoked, Said::Unavailable, 111_100, true);
    }

    #[test]
    fn after_the_repair_it_must_heal() {
        let revoked = [("broken", 98), ("acknowledged", 100), ("repaired", 104)];
        check(&revoked, Said::Admitted, 106_900, true);
        check(&revoked, Said::Admitted, 108_100, false);
        check(&revoked, Said::Unavailable, 106_900, true);
        check(&revoked, Said::Unavailable, 107_100, false);
    }

    #[test]
    fn what_was_made_is_soon_known_and_never_lost() {
        let start = Instant::now();
        let mut ledger = Ledger::new(BOUNDS, 1, start);
        ledger.made(1, Some(start));
        let mut saw = |ms| {
            let sent = start.checked_add(Duration::from_millis(ms)).unwrap();
            ledger.saw(Seen { credential: 1, envoy: 0, sent, said: Said::Unknown });
            ledger.violations.len()
        };
        assert_eq!((saw(900), saw(1100)), (0, 1));
    }

    #[test]
    fn nobody_is_refused_without_a_reason() {
        check(&[], Said::Admitted, 1, true);
        check(&[], Said::Revoked, 1, false);
        check(&[], Said::Other, 1, false);
        check(&[], Said::Unavailable, 1, false);
        check(&[("broken", 0)], Said::Unavailable, 1, true);
        check(&[("asked", 0)], Said::Revoked, 1, true);
    }
}
