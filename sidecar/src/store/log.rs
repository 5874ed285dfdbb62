//! The log of a store: what readers who keep a copy must hear of, in order.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Entries that a log keeps. A reader that is further behind reads the tables anew, which is no
/// more work; 100,000 entries of 300 bytes are 30 MB.
pub const LOG_ENTRIES: u64 = 100_000;
/// Entries that are given at once at most.
pub const MAX_LOG_PAGE: usize = 1000;

/// A place in a log.
///
/// The link is a chain of hashes over all entries up to here, from a random start, each together
/// with random bytes of its writer. So a store that was restored, has failed over with a loss, or is
/// another one altogether has no such place, even if it has this number and the same entry there.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct LogPosition {
    /// Grows by one with each entry.
    pub sequence: u64,
    /// The chain up to here.
    pub link: [u8; 16],
}

/// An entry and its place.
pub type LogEntry = (LogPosition, Vec<u8>);

/// What came after a place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LogPage {
    /// The entries in order, each with its place; none if the place is the head.
    Entries {
        /// The entries.
        entries: Vec<LogEntry>,
    },
    /// The place is not in the log, or no longer: read the tables anew.
    Unknown,
}

/// A text is no place in a log.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected `<sequence>-<32 hexadecimal digits>`")]
pub struct ParseLogPositionError;

impl fmt::Display for LogPosition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.sequence, link_digits(&self.link))
    }
}

impl FromStr for LogPosition {
    type Err = ParseLogPositionError;

    fn from_str(text: &str) -> Result<Self, ParseLogPositionError> {
        let (sequence, link) = text.split_once('-').ok_or(ParseLogPositionError)?;
        let parsed: u64 = sequence.parse().map_err(|_| ParseLogPositionError)?;
        // One text for one place: no sign, no zeros before it.
        if parsed.to_string() != sequence {
            return Err(ParseLogPositionError);
        }
        let link = parse_link(link.as_bytes()).ok_or(ParseLogPositionError)?;
        Ok(Self { sequence: parsed, link })
    }
}

/// A link as 32 lower-case hexadecimal digits.
pub(super) fn link_digits(link: &[u8; 16]) -> String {
    let digit = |value| char::from_digit(u32::from(value), 16).unwrap_or('0');
    link.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The link that 32 lower-case hexadecimal digits are.
pub(super) fn parse_link(digits: &[u8]) -> Option<[u8; 16]> {
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(digit.wrapping_sub(b'a').wrapping_add(10)),
        _ => None,
    };
    let bytes: Option<Vec<u8>> =
        pairs.iter().map(|[high, low]| Some(value(*high)? << 4 | value(*low)?)).collect();
    bytes?.try_into().ok()
}

impl Serialize for LogPosition {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LogPosition {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::LogPosition;

    #[test]
    fn a_position_is_one_text_and_nothing_else_is_one() {
        let position = LogPosition { sequence: 7, link: *b"\x00\x01\xfe\xffabcdefghijkl" };
        let text = position.to_string();
        assert_eq!(text, "7-0001feff6162636465666768696a6b6c");
        assert_eq!(text.parse(), Ok(position));
        for wrong in [
            "",
            "7",
            "7-",
            "-0001feff6162636465666768696a6b6c",
            "07-0001feff6162636465666768696a6b6c",
            "+7-0001feff6162636465666768696a6b6c",
            "7-0001FEFF6162636465666768696a6b6c",
            "7-0001feff6162636465666768696a6b6",
            "7-0001feff6162636465666768696a6b6c0",
            "18446744073709551616-0001feff6162636465666768696a6b6c",
        ] {
            assert!(wrong.parse::<LogPosition>().is_err(), "{wrong}");
        }
    }
}
