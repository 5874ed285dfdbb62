//! What is wrong with the lines of a file.

use crate::cli::Failure;

/// Problems that are printed; the rest is counted.
const MAX_PRINTED: usize = 1000;

/// Problems by line, the first of them in words.
#[derive(Default)]
pub(in crate::cli) struct Problems {
    printed: Vec<String>,
    /// How many there are.
    pub(in crate::cli) count: u64,
}

impl Problems {
    /// Adds one. The words must not quote the line: there may be a secret in it.
    pub(in crate::cli) fn add(&mut self, line: u64, problem: &str) {
        self.count = self.count.saturating_add(1);
        if self.printed.len() < MAX_PRINTED {
            self.printed.push(format!("line {line}: {problem}"));
        }
    }

    /// The end of a command that has met them.
    pub(in crate::cli) fn failure(mut self, what: &str) -> Failure {
        let more = self.count.saturating_sub(u64::try_from(self.printed.len()).unwrap_or(0));
        if more > 0 {
            self.printed.push(format!("and {more} more"));
        }
        let s = if self.count == 1 { "" } else { "s" };
        self.printed.push(format!("{} problem{s}: {what}", self.count));
        Failure::Failed(self.printed.join("\n"))
    }
}
