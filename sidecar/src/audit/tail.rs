//! The end of the log, over all its files.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::recovery::is_checkpoint;
use super::rotation::put_aside;

/// The last `count` lines of the log, the oldest first; also those in files that were put aside.
///
/// # Errors
///
/// When a file cannot be read, or there is none.
pub fn tail(path: &Path, count: usize) -> io::Result<Vec<String>> {
    let current = match File::open(path) {
        Ok(file) => Some(file),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let older = put_aside(path)?;
    if current.is_none() && older.is_empty() {
        return Err(ErrorKind::NotFound.into());
    }
    let identity = |file: &File| file.metadata().map(|found| (found.dev(), found.ino()));
    let opened = current.as_ref().map(identity).transpose()?;
    let mut found = match current {
        Some(file) => events(file, count)?,
        None => Vec::new(),
    };
    for path in older.iter().rev() {
        if found.len() >= count {
            break;
        }
        let file = File::open(path)?;
        // Put aside since it was opened as the current one.
        if Some(identity(&file)?) == opened {
            continue;
        }
        let mut before = events(file, count.saturating_sub(found.len()))?;
        before.append(&mut found);
        found = before;
    }
    Ok(found)
}

/// The last lines of one file. A checkpoint is its start, so what it displaces is not there.
fn events(file: File, count: usize) -> io::Result<Vec<String>> {
    let mut lines = last_lines(file, count)?;
    lines.retain(|line| !is_checkpoint(line));
    Ok(lines)
}

fn last_lines(mut file: File, count: usize) -> io::Result<Vec<String>> {
    let mut start = file.metadata()?.len();
    let mut text: Vec<u8> = Vec::new();
    while start > 0 {
        let size = start.min(64 * 1024);
        start = start.saturating_sub(size);
        file.seek(SeekFrom::Start(start))?;
        let mut block = vec![0; usize::try_from(size).unwrap_or(0)];
        file.read_exact(&mut block)?;
        block.append(&mut text);
        text = block;
        let lines = text.split(|byte| *byte == b'\n').count().saturating_sub(1);
        if lines > count {
            break;
        }
    }
    let text = String::from_utf8_lossy(&text);
    // A line without its end is still being written.
    let whole: Vec<&str> = text.split_inclusive('\n').filter(|line| line.ends_with('\n')).collect();
    let skip = whole.len().saturating_sub(count);
    Ok(whole.into_iter().skip(skip).map(|line| line.trim_end().to_owned()).collect())
}
