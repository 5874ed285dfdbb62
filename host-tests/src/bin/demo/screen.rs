//! What the demo prints: one aligned line per request; colours on a terminal only.

use std::io::{IsTerminal as _, Write as _, stdout};

/// Width of the column that says what is sent.
const SENT: usize = 58;
/// Width of the columns of expected and got.
const ANSWER: usize = 30;

/// Prints, and counts what was not as expected.
pub(crate) struct Screen {
    coloured: bool,
    lines: usize,
    surprises: usize,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let coloured = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { coloured, lines: 0, surprises: 0 }
    }

    /// Begins a part of the walk.
    pub(crate) fn heading(&self, text: &str) {
        self.say(&format!("\n{}", self.paint("1", text)));
        let row = format!("  {:SENT$} {:ANSWER$} {}", "request", "expected", "got");
        self.say(&self.paint("2", &row));
    }

    /// Says what happens beside requests.
    pub(crate) fn note(&self, text: &str) {
        self.say(&self.paint("2", &format!("  {text}")));
    }

    /// Shows one request with what was expected and what came.
    pub(crate) fn compare(&mut self, sent: &str, expected: &str, got: &str) {
        self.lines = self.lines.saturating_add(1);
        let as_expected = expected == got;
        if !as_expected {
            self.surprises = self.surprises.saturating_add(1);
        }
        let (colour, mark) = if as_expected { ("32", "ok") } else { ("31", "NOT AS EXPECTED") };
        let mark = self.paint(colour, mark);
        self.say(&format!("  {sent:SENT$} {expected:ANSWER$} {got:ANSWER$} {mark}"));
    }

    /// Sums up; how many answers were not as expected.
    pub(crate) fn close(&self) -> usize {
        let (colour, text) = if self.surprises == 0 {
            ("32", format!("All {} answers were as expected.", self.lines))
        } else {
            ("31", format!("{} of {} answers were NOT as expected.", self.surprises, self.lines))
        };
        self.say(&format!("\n{}", self.paint(colour, &text)));
        self.surprises
    }

    /// Prints a line. A reader that is gone, such as `head`, is no reason to stop.
    #[expect(clippy::unused_self, reason = "what prints belongs to the screen")]
    pub(crate) fn say(&self, text: &str) {
        let _ = writeln!(stdout(), "{text}");
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.coloured { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
