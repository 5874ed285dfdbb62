//! The lines of a file or of standard input.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;

use zeroize::Zeroizing;

use crate::cli::Failure;

/// Lines of one file: beyond, nobody wants to do it all again when it breaks off at the end.
const MAX_LINES: u64 = 10_000_000;

/// The lines of a file, one after the other.
pub(in crate::cli) struct TextLines {
    reader: Box<dyn BufRead>,
    shown: String,
    max_bytes: usize,
    line: u64,
    read_bytes: u64,
    total_bytes: Option<u64>,
}

/// The text of a line, which may be a secret, or what is wrong with it.
pub(in crate::cli) type Line = Result<Zeroizing<String>, String>;

impl TextLines {
    /// The lines of a file, each of at most `max_bytes`.
    pub(in crate::cli) fn open(file: &Path, max_bytes: usize) -> Result<Self, Failure> {
        let shown = file.display().to_string();
        let opened = File::open(file).and_then(|file| Ok((file.metadata()?, file)));
        let (metadata, file) =
            opened.map_err(|error| Failure::Failed(format!("{shown}: {error}")))?;
        let total_bytes = metadata.is_file().then_some(metadata.len());
        let reader = Box::new(BufReader::new(file));
        Ok(Self { reader, shown, max_bytes, line: 0, read_bytes: 0, total_bytes })
    }

    /// The lines of standard input.
    pub(in crate::cli) fn stdin(max_bytes: usize) -> Self {
        let reader = Box::new(BufReader::new(std::io::stdin()));
        let shown = "standard input".to_owned();
        Self { reader, shown, max_bytes, line: 0, read_bytes: 0, total_bytes: None }
    }

    /// The number of the line that was read last, from 1.
    pub(in crate::cli) fn line(&self) -> u64 {
        self.line
    }

    /// How much was read, of a hundred; unknown where the end is not known.
    pub(in crate::cli) fn percent(&self) -> Option<u64> {
        let total = self.total_bytes?;
        self.read_bytes.min(total).saturating_mul(100).checked_div(total)
    }

    /// A problem of the line that was read last, with which it cannot go on.
    pub(in crate::cli) fn failure(&self, problem: &str) -> Failure {
        Failure::Failed(format!("{}: line {}: {problem}", self.shown, self.line))
    }

    /// The next line without its end; `None` after the last one. One that is too long is read past,
    /// in bounded memory.
    pub(in crate::cli) fn next(&mut self) -> Result<Option<Line>, Failure> {
        let mut bytes = Zeroizing::new(Vec::new());
        let limit = u64::try_from(self.max_bytes).unwrap_or(u64::MAX).saturating_add(1);
        let mut long = false;
        loop {
            let mut part = Zeroizing::new(Vec::new());
            let read = (&mut self.reader).take(limit).read_until(b'\n', &mut part);
            let read = read.map_err(|error| Failure::Failed(format!("{}: {error}", self.shown)))?;
            self.read_bytes =
                self.read_bytes.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
            if read == 0 && bytes.is_empty() && !long {
                return Ok(None);
            }
            let ended = part.ends_with(b"\n") || read == 0;
            long |= !ended && part.len() > self.max_bytes;
            if !long {
                bytes.extend_from_slice(&part);
            }
            if ended || !long {
                break;
            }
        }
        self.line = self.line.saturating_add(1);
        if self.line > MAX_LINES {
            return Err(self.failure("more than 10,000,000 lines; split the file"));
        }
        if long {
            return Ok(Some(Err(format!("longer than {} bytes", self.max_bytes))));
        }
        let text = core::str::from_utf8(&bytes).map_err(|_| "is not UTF-8".to_owned());
        let text = text.map(|text| text.trim_end_matches(['\n', '\r']).to_owned());
        Ok(Some(text.map(Zeroizing::new)))
    }
}
