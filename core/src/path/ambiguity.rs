//! What can be read in two ways in a path: flags, and which of them a route may accept.

use core::fmt;

use crate::section;

section! {
    /// An ambiguity of the path that a route may accept, where its upstream reads it as the gate does.
    pub enum Tolerance = "ambiguity" {
        /// `%2F`: part of one segment here; some upstreams decode it to a separator.
        EncodedSlash = "encoded-slash",
        /// `//`: an empty segment here; some upstreams merge the slashes.
        EmptySegments = "empty-segments",
        /// `;name=value`: part of the segment here; some upstreams cut it off.
        PathParameters = "path-parameters",
        /// `%25` before two hexadecimal digits: decoded once here; some upstreams decode twice.
        DoubleEncoding = "double-encoding",
        /// `%3F` and `%23`: part of the segment here; some upstreams cut the query only after decoding.
        EncodedDelimiter = "encoded-delimiter",
        /// Bytes above 127 that are not escaped: taken as UTF-8 here.
        NonAscii = "non-ascii",
    }
}

/// What can be read in two ways in one path: a set of flags.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Ambiguities(pub(super) u16);

/// One flag of [`Ambiguities`].
pub type Ambiguity = Ambiguities;

impl Ambiguities {
    /// No ambiguity.
    pub const NONE: Self = Self(0);
    /// `%2F`, which a decoder may turn into a separator.
    pub const ENCODED_SLASH: Ambiguity = Self(1);
    /// `//`, which a reader may merge.
    pub const EMPTY_SEGMENTS: Ambiguity = Self(1 << 1);
    /// `;` or `%3B`: what follows may be cut off.
    pub const PATH_PARAMETERS: Ambiguity = Self(1 << 2);
    /// `%25` before two hexadecimal digits, plain or itself composed of escapes.
    pub const DOUBLE_ENCODING: Ambiguity = Self(1 << 3);
    /// `%3F` or `%23`, which a reader may take for the start of the query or fragment.
    pub const ENCODED_DELIMITER: Ambiguity = Self(1 << 4);
    /// Raw bytes above 127.
    pub const NON_ASCII: Ambiguity = Self(1 << 5);
    /// `.` or `..` as a segment in any reading; also with parameters (`..;x`, an old way in).
    pub const DOT_SEGMENTS: Ambiguity = Self(1 << 6);
    /// Control bytes raw or encoded, and raw spaces.
    pub const CONTROL_BYTES: Ambiguity = Self(1 << 7);
    /// `\` raw or encoded.
    pub const BACKSLASH: Ambiguity = Self(1 << 8);
    /// `%` without two hexadecimal digits, bytes that are not UTF-8, or three layers of encoding.
    pub const BAD_ESCAPE: Ambiguity = Self(1 << 9);
    /// `#`, with or without anything behind it.
    pub const FRAGMENT: Ambiguity = Self(1 << 10);

    /// What no route can accept; the reasons stand at the head of the module.
    pub const NEVER_ACCEPTED: Self = Self(
        Self::DOT_SEGMENTS.0
            | Self::CONTROL_BYTES.0
            | Self::BACKSLASH.0
            | Self::BAD_ESCAPE.0
            | Self::FRAGMENT.0,
    );

    const WORDS: [(Ambiguity, &'static str); 11] = [
        (Self::ENCODED_SLASH, "encoded-slash"),
        (Self::EMPTY_SEGMENTS, "empty-segments"),
        (Self::PATH_PARAMETERS, "path-parameters"),
        (Self::DOUBLE_ENCODING, "double-encoding"),
        (Self::ENCODED_DELIMITER, "encoded-delimiter"),
        (Self::NON_ASCII, "non-ascii"),
        (Self::DOT_SEGMENTS, "dot-segments"),
        (Self::CONTROL_BYTES, "control-bytes"),
        (Self::BACKSLASH, "backslash"),
        (Self::BAD_ESCAPE, "bad-escape"),
        (Self::FRAGMENT, "fragment"),
    ];

    /// Whether nothing is ambiguous.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// These flags and those of `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether any flag of `other` is set here.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether every flag set here is also set in `other`.
    pub const fn within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// The words of the flags, in fixed order.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        Self::WORDS
            .into_iter()
            .filter(move |(flag, _)| self.intersects(*flag))
            .map(|(_, word)| word)
    }
}

impl From<Tolerance> for Ambiguities {
    fn from(tolerance: Tolerance) -> Self {
        match tolerance {
            Tolerance::EncodedSlash => Self::ENCODED_SLASH,
            Tolerance::EmptySegments => Self::EMPTY_SEGMENTS,
            Tolerance::PathParameters => Self::PATH_PARAMETERS,
            Tolerance::DoubleEncoding => Self::DOUBLE_ENCODING,
            Tolerance::EncodedDelimiter => Self::ENCODED_DELIMITER,
            Tolerance::NonAscii => Self::NON_ASCII,
        }
    }
}

impl fmt::Display for Ambiguities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.words().enumerate() {
            if index > 0 {
                formatter.write_str(", ")?;
            }
            formatter.write_str(word)?;
        }
        Ok(())
    }
}
