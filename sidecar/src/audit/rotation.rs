//! The files that were put aside: `<file>.<UTC time>`, the names in the order of the events.

use std::io;
use std::path::{Path, PathBuf};

use crate::clock::date;

/// A time as a number that reads `YYYYMMDDhhmmssmmm`, so that names and numbers sort alike.
type Stamp = u64;

/// The files put aside, the oldest first.
pub(super) fn put_aside(path: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(stamped(path)?.into_iter().map(|(_, path)| path).collect())
}

/// The name for a file that is put aside now; it comes after all others even when the clock was set
/// back, because the newest is what tells which events are known.
pub(super) fn next_name(path: &Path, unix_milliseconds: u64) -> io::Result<PathBuf> {
    let newest = stamped(path)?.last().map_or(0, |(stamp, _)| *stamp);
    Ok(beside(path, &text(stamp(unix_milliseconds).max(newest.saturating_add(1)))))
}

/// The file with `.ending` after its name.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

/// The directory that the file is in.
pub(super) fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn stamped(path: &Path) -> io::Result<Vec<(Stamp, PathBuf)>> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory(path))? {
        let entry = entry?;
        let other = entry.file_name();
        let ending = other.to_str().and_then(|other| other.strip_prefix(name)?.strip_prefix('.'));
        if let Some(stamp) = ending.and_then(parse) {
            found.push((stamp, path.with_file_name(&other)));
        }
    }
    found.sort();
    Ok(found)
}

fn stamp(unix_milliseconds: u64) -> Stamp {
    let (days, rest) = (unix_milliseconds / 86_400_000, unix_milliseconds % 86_400_000);
    let (year, month, day) = date(days);
    let parts = [
        (100, month),
        (100, day),
        (100, rest / 3_600_000),
        (100, rest / 60_000 % 60),
        (100_000, rest % 60_000),
    ];
    let append = |so_far: u64, (factor, part): (u64, u64)| {
        so_far.saturating_mul(factor).saturating_add(part)
    };
    parts.into_iter().fold(year, append)
}

fn text(stamp: Stamp) -> String {
    let (day, time) = (stamp / 1_000_000_000, stamp % 1_000_000_000);
    format!("{day:08}T{:06}.{:03}Z", time / 1000, time % 1000)
}

fn parse(ending: &str) -> Option<Stamp> {
    let digits: String = ending.chars().filter(char::is_ascii_digit).collect();
    let stamp = digits.parse().ok()?;
    (text(stamp) == ending).then_some(stamp)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{next_name, parse, put_aside, stamp, text};

    #[test]
    fn a_time_is_written_so_that_it_sorts() {
        assert_eq!(text(stamp(1_767_225_599_007)), "20251231T235959.007Z");
        assert_eq!(parse("20251231T235959.007Z"), Some(20_251_231_235_959_007));
        for other in ["", "new", "torn-1000", "20251231T235959Z", "20251231T235959.007Z.gz"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_new_name_comes_after_all_others_when_the_clock_was_set_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        for now in [1_767_225_599_007, 1_767_225_599_007, 5] {
            fs::write(next_name(&path, now).unwrap(), "").unwrap();
        }
        fs::write(directory.path().join("audit.jsonl.torn-7"), "").unwrap();
        let found = put_aside(&path).unwrap();
        let names: Vec<_> = found.iter().map(|path| path.extension().unwrap()).collect();
        assert_eq!((names.len(), names[2].to_str()), (3, Some("009Z")));
    }
}
