//! Passwords that are known to have leaked, in a file that is never loaded.
//!
//! Two forms: SHA-1 in hexadecimal, sorted, one a line, perhaps with `:count` behind it, as Have I
//! Been Pwned gives them (some 40 GB), looked up by halving; or passwords in clear, one a line, in
//! any order, read through.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;

/// Digits of an SHA-1.
const DIGITS: usize = 40;
/// Longest line of digests: forty digits, a colon, a count.
const MAX_LINE_BYTES: u64 = 128;
/// Longest file of passwords in clear: it is read through each time that a password is set.
const MAX_CLEAR_BYTES: u64 = 64 * 1024 * 1024;

/// The file cannot be used. Never shows what is in it.
#[derive(Debug, thiserror::Error)]
#[error("the list of leaked passwords {file}: {problem}")]
pub struct LeakedError {
    file: String,
    problem: String,
}

/// A list of leaked passwords.
#[derive(Clone, Debug)]
pub struct LeakedPasswords(PathBuf);

impl LeakedPasswords {
    /// Looks whether the file can be used. It is opened anew for each look-up, so that it may be
    /// replaced while the sidecar runs.
    ///
    /// # Errors
    ///
    /// [`LeakedError`] when it cannot be read, or has passwords in clear and is too long for that.
    pub fn open(file: &Path) -> Result<Self, LeakedError> {
        let list = Self(file.to_owned());
        let form = File::open(file).and_then(|mut file| Self::form(&mut file));
        form.map(|_| list.clone()).map_err(|error| list.error(&error))
    }

    /// Whether the password is in the list. Reads the disk.
    ///
    /// # Errors
    ///
    /// [`LeakedError`] when the file cannot be read.
    pub fn contain(&self, password: &str) -> Result<bool, LeakedError> {
        self.find(password).map_err(|error| self.error(&error))
    }

    fn find(&self, password: &str) -> io::Result<bool> {
        let mut file = File::open(&self.0)?;
        match Self::form(&mut file)? {
            Form::Digests => find_digest(&mut file, &sha1(password)),
            Form::Clear => find_clear(file, password),
        }
    }

    fn form(file: &mut File) -> io::Result<Form> {
        let mut first = Vec::new();
        BufReader::new(&mut *file).take(MAX_LINE_BYTES).read_until(b'\n', &mut first)?;
        file.seek(SeekFrom::Start(0))?;
        if digits(&first).is_some() {
            return Ok(Form::Digests);
        }
        if file.metadata()?.len() > MAX_CLEAR_BYTES {
            return Err(io::Error::other(
                "more than 64 MiB of passwords in clear; give their SHA-1, in hexadecimal and sorted",
            ));
        }
        Ok(Form::Clear)
    }

    fn error(&self, error: &io::Error) -> LeakedError {
        LeakedError { file: self.0.display().to_string(), problem: error.to_string() }
    }
}

enum Form {
    Digests,
    Clear,
}

fn sha1(password: &str) -> [u8; DIGITS] {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
    let mut digits = [0; DIGITS];
    let (pairs, _) = digits.as_chunks_mut::<2>();
    for ([high, low], byte) in pairs.iter_mut().zip(hash.as_ref()) {
        (*high, *low) = (digit(byte >> 4), digit(byte & 15));
    }
    digits
}

fn digit(value: u8) -> u8 {
    let digit = char::from_digit(u32::from(value), 16).unwrap_or('0').to_ascii_uppercase();
    u8::try_from(digit).unwrap_or(b'0')
}

/// The digits of a line, in capitals, if it is one of digests.
fn digits(line: &[u8]) -> Option<[u8; DIGITS]> {
    let (digits, rest) = line.split_first_chunk::<DIGITS>()?;
    let ends = matches!(rest.first(), None | Some(b':' | b'\r' | b'\n'));
    (ends && digits.iter().all(u8::is_ascii_hexdigit))
        .then(|| digits.map(|it| it.to_ascii_uppercase()))
}

/// Halves the file until the line is found. `low` is the start of a line, and everything before it
/// is less; everything from the line on that begins at or after `high` is more.
fn find_digest(file: &mut File, wanted: &[u8; DIGITS]) -> io::Result<bool> {
    let (mut low, mut high) = (0_u64, file.metadata()?.len());
    while low < high {
        let middle = low.midpoint(high);
        let (start, line) = line_from(file, low, middle)?;
        if line.is_empty() || start >= high {
            // No line begins between the middle and the end: the one before it is all that is left.
            high = middle;
            continue;
        }
        let found = digits(&line).ok_or_else(|| {
            io::Error::other("a line is no SHA-1 in hexadecimal; is it sorted, and of one form?")
        })?;
        match found.cmp(wanted) {
            std::cmp::Ordering::Equal => return Ok(true),
            std::cmp::Ordering::Less => {
                let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
                low = start.saturating_add(length);
            }
            std::cmp::Ordering::Greater => high = middle.min(start),
        }
    }
    Ok(false)
}

/// The first line that begins at or after `middle`, with where it begins; `low` begins one.
fn line_from(file: &mut File, low: u64, middle: u64) -> io::Result<(u64, Vec<u8>)> {
    let mut start = middle;
    let mut line = Vec::new();
    if middle > low {
        // From one byte before: if that ends a line, then a line begins here.
        start = middle.saturating_sub(1);
        file.seek(SeekFrom::Start(start))?;
        let mut reader = BufReader::with_capacity(256, &mut *file);
        let skipped = (&mut reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
        start = start.saturating_add(u64::try_from(skipped).unwrap_or(u64::MAX));
        line.clear();
        reader.take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
    } else {
        file.seek(SeekFrom::Start(start))?;
        BufReader::with_capacity(256, &mut *file)
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)?;
    }
    Ok((start, line))
}

fn find_clear(file: File, password: &str) -> io::Result<bool> {
    let mut reader = BufReader::new(file.take(MAX_CLEAR_BYTES));
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(false);
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        if text.strip_suffix(b"\r").unwrap_or(text) == password.as_bytes() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{LeakedPasswords, sha1};

    fn list(text: &str) -> (tempfile::TempDir, LeakedPasswords) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("list");
        fs::write(&file, text).unwrap();
        let list = LeakedPasswords::open(&file).unwrap();
        (directory, list)
    }

    fn digits(password: &str) -> String {
        String::from_utf8(sha1(password).to_vec()).unwrap()
    }

    #[test]
    fn sorted_digests_are_searched_by_halving() {
        assert_eq!(digits("password"), "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8");
        for end in ["\r\n", "\n"] {
            for count in [1, 2, 3, 1000] {
                let mut lines: Vec<String> =
                    (0..count).map(|n| format!("{}:{}", digits(&format!("p{n}")), n * 7)).collect();
                lines.sort();
                let (_directory, list) = list(&lines.join(end));
                for n in 0..count {
                    assert!(list.contain(&format!("p{n}")).unwrap(), "{n} of {count}");
                    assert!(!list.contain(&format!("q{n}")).unwrap(), "{n} of {count}");
                }
            }
        }
    }

    #[test]
    fn digests_may_be_small_letters_without_counts() {
        let mut lines = [digits("a").to_lowercase(), digits("b").to_lowercase()];
        lines.sort();
        let (_directory, list) = list(&format!("{}\n", lines.join("\n")));
        assert!(list.contain("a").unwrap() && list.contain("b").unwrap());
        assert!(!list.contain("c").unwrap());
    }

    #[test]
    fn passwords_in_clear_are_read_through() {
        let (_directory, list) = list("letmein\r\nhunter2\n\npässwörd");
        for leaked in ["letmein", "hunter2", "pässwörd"] {
            assert!(list.contain(leaked).unwrap(), "{leaked}");
        }
        assert!(!list.contain("Letmein").unwrap() && !list.contain("hunter").unwrap());
    }

    #[test]
    fn a_list_that_is_not_there_or_not_of_one_form_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        assert!(LeakedPasswords::open(&directory.path().join("none")).is_err());
        let (_directory, list) = list(&format!("{}\nletmein\nhunter2\n", digits("a")));
        let error = list.contain("zzzz").unwrap_err().to_string();
        assert!(error.contains("no SHA-1"), "{error}");
        assert!(!error.contains("letmein"), "{error}");
    }
}
