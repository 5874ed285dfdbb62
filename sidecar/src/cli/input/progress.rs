//! How far a long command is.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// How often progress is told.
const EVERY: Duration = Duration::from_millis(500);

/// A line on standard error that is written over again and again; nothing where that is no terminal.
pub(in crate::cli) struct Progress {
    told: Option<Instant>,
    shown: bool,
}

impl Progress {
    /// Begins.
    pub(in crate::cli) fn new() -> Self {
        let told = std::io::stderr().is_terminal().then(Instant::now);
        Self { told, shown: false }
    }

    /// Tells how far it is, if it is time to.
    pub(in crate::cli) fn tell(&mut self, text: impl FnOnce() -> String) {
        let Some(told) = &mut self.told else { return };
        if told.elapsed() >= EVERY {
            *told = Instant::now();
            self.shown = true;
            // To the start of the line, and what stood there away (ECMA-48 §8.3.41).
            let _ = write!(std::io::stderr(), "\r\u{1b}[K{}", text());
            let _ = std::io::stderr().flush();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            // What comes next begins a line of its own.
            let _ = write!(std::io::stderr(), "\r\u{1b}[K");
        }
    }
}
