//! A password from the person or from standard input, never from an argument: every process of the
//! machine can read arguments, and shells keep them.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::accounts::{MAX_PASSWORD_BYTES, Password};
use crate::cli::Failure;

/// Longest line that is read: whatever is longer is no password, and is told so.
const MAX_LINE_BYTES: u64 = 4 * 1024;

/// Puts a terminal back as it was.
struct Quiet(Option<Termios>);

impl Quiet {
    /// A terminal that does not show what is typed.
    fn begin() -> Self {
        let stdin = std::io::stdin();
        let Ok(before) = tcgetattr(&stdin) else { return Self(None) };
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        // One that cannot be quietened shows it, and nothing is lost.
        let _ = tcsetattr(&stdin, OptionalActions::Flush, &quiet);
        Self(Some(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, before);
            // The end of the line was not shown either.
            let _ = writeln!(std::io::stderr());
        }
    }
}

/// A password: the next line of standard input, asked for if that is a terminal.
pub(super) fn password(question: &str) -> Result<Password, Failure> {
    let stdin = std::io::stdin();
    let is_terminal = stdin.is_terminal();
    let _quiet = is_terminal.then(|| {
        let mut stderr = std::io::stderr();
        // Where nobody can be asked, the line is read all the same.
        let _ = stderr.write_all(question.as_bytes()).and_then(|()| stderr.flush());
        Quiet::begin()
    });
    let mut line = zeroize::Zeroizing::new(String::new());
    let read = std::io::Read::take(stdin.lock(), MAX_LINE_BYTES).read_line(&mut line);
    read.map_err(|error| Failure::Failed(format!("the password cannot be read: {error}")))?;
    let text = line.strip_suffix('\n').unwrap_or(&line);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        let message = "no password: give it on standard input, on a line of its own";
        return Err(Failure::Failed(message.to_owned()));
    }
    if text.len() > MAX_PASSWORD_BYTES {
        let message = format!("the password has more than {MAX_PASSWORD_BYTES} bytes");
        return Err(Failure::Failed(message));
    }
    Ok(Password::new(text.to_owned()))
}

/// A new password; from a terminal twice, since nobody sees what they type.
pub(super) fn new_password() -> Result<Password, Failure> {
    let new = password("New password: ")?;
    if std::io::stdin().is_terminal() {
        let again = password("Once more: ")?;
        if new.expose() != again.expose() {
            return Err(Failure::Failed("the two are not the same".to_owned()));
        }
    }
    Ok(new)
}
