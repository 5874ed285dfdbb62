//! Faults on purpose: a named host call answers a chosen status and does nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::abi::Status;

/// When a fault strikes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum When {
    /// At every call.
    Always,
    /// At this call only, counted from 1 after the fault was set.
    Nth(u64),
}

#[derive(Debug)]
struct Fault {
    status: Status,
    when: When,
    seen: u64,
}

/// Which calls are allowed, which fail on purpose, and how often each was made.
#[derive(Debug, Default)]
pub(super) struct Faults {
    rules: BTreeMap<String, Fault>,
    counts: BTreeMap<&'static str, u64>,
    allowed: Option<BTreeSet<String>>,
}

impl Faults {
    /// Only what is in `allowed` may be called, in both directions (`capability_restriction_config`).
    pub(super) fn restrict(&mut self, allowed: BTreeSet<String>) {
        self.allowed = Some(allowed);
    }

    pub(super) fn allows(&self, name: &str) -> bool {
        self.allowed.as_ref().is_none_or(|allowed| allowed.contains(name))
    }

    pub(super) fn set(&mut self, name: &str, status: Status, when: When) {
        self.rules.insert(name.to_owned(), Fault { status, when, seen: 0 });
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
    }

    /// Counts a call; answers the status that it must give instead of doing anything.
    pub(super) fn strike(&mut self, name: &'static str) -> Option<Status> {
        let count = self.counts.entry(name).or_default();
        *count = count.saturating_add(1);
        let fault = self.rules.get_mut(name)?;
        fault.seen = fault.seen.saturating_add(1);
        let strikes = match fault.when {
            When::Always => true,
            When::Nth(number) => fault.seen == number,
        };
        strikes.then_some(fault.status)
    }

    pub(super) fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::{Faults, Status, When};

    #[test]
    fn a_fault_on_the_second_call_strikes_once() {
        let mut faults = Faults::default();
        faults.set("proxy_log", Status(99), When::Nth(2));
        let struck: Vec<_> = (0..3).map(|_| faults.strike("proxy_log")).collect();
        assert_eq!(struck, [None, Some(Status(99)), None]);
        assert_eq!(faults.counts()["proxy_log"], 3);
    }

    #[test]
    fn only_listed_names_are_allowed_once_a_list_is_given() {
        let mut faults = Faults::default();
        assert!(faults.allows("proxy_log"));
        faults.restrict(["proxy_log".to_owned()].into());
        assert!(faults.allows("proxy_log"));
        assert!(!faults.allows("proxy_done"));
    }
}
