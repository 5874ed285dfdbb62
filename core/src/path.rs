//! The path of a request as the upstream may read it ([RFC 3986 §3.3]).
//!
//! A gate that reads a path in one way before an upstream that reads it in another authorizes one
//! thing and lets another happen. So a path is judged before it is matched: everything that two
//! readers are known to read differently is an [`Ambiguity`].
//!
//! Some of them a route may accept ([`Tolerance`]), because some upstreams need them and read them
//! as the gate does. Never acceptable are:
//! - **dot segments**: one reader removes them, another does not, and then `/public/../admin` is two
//!   resources; no client needs them, since it can resolve them itself;
//! - **control bytes and spaces**: they end strings (`%00`), lines (`%0a`) and request lines in
//!   parsers further on, and no resource is named by them;
//! - **backslashes**: a separator on some systems and in every browser, a letter elsewhere;
//! - **bad escapes**: there is no right reading of `%zz`, of bytes that are not UTF-8 (`%c0%af` is a
//!   slash to a lax decoder) or of a third layer of encoding;
//! - **fragments**: they never belong into a request.
//!
//! [RFC 3986 §3.3]: https://www.rfc-editor.org/rfc/rfc3986#section-3.3

mod ambiguity;

#[cfg(test)]
mod tests;

pub use ambiguity::{Ambiguities, Ambiguity, Tolerance};

/// The longest path, query included: Envoy's own limit for all headers together is 60 KiB, and no
/// common upstream takes a request line longer than 8 KiB.
pub const MAX_PATH_BYTES: usize = 8 * 1024;

/// Why there is nothing to match. All of them are answered with 400.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PathError {
    /// Longer than [`MAX_PATH_BYTES`].
    #[error("the path is longer than {MAX_PATH_BYTES} bytes")]
    TooLong,
    /// Empty, `*`, or an absolute URI.
    #[error("the path does not start with `/`")]
    NotAbsolute,
}

/// A path that was judged: what is ambiguous in it is known, and it can be matched.
#[derive(Clone, Copy, Debug)]
pub struct JudgedPath<'a> {
    path: &'a [u8],
    query: Option<&'a [u8]>,
    escaped: bool,
    ambiguities: Ambiguities,
}

impl<'a> JudgedPath<'a> {
    /// The path as it came, without the query.
    pub const fn path(&self) -> &'a [u8] {
        self.path
    }

    /// What follows the first `?`.
    pub const fn query(&self) -> Option<&'a [u8]> {
        self.query
    }

    /// What can be read in two ways.
    pub const fn ambiguities(&self) -> Ambiguities {
        self.ambiguities
    }

    /// The segments behind the leading slash; `/` has one, which is empty, and `/a/` has two.
    pub fn segments(&self) -> Segments<'a> {
        Segments::of(self.path, self.escaped)
    }

    /// The path as the most eager upstreams read it: decoded as often as it goes, parameters cut
    /// off, slashes merged; some cut parameters before they decode, so there are two readings. None
    /// when the path is not ambiguous.
    ///
    /// Forbids are matched against these too: a route that accepts `%2F` must not be a way around
    /// them, nor `;a%2Fb`, of which one reader sees a directory and another nothing.
    pub fn eager_readings(&self) -> Vec<Vec<u8>> {
        if self.ambiguities.is_empty() {
            return Vec::new();
        }
        let mut cut = Vec::with_capacity(self.path.len());
        for segment in self.path.split(|byte| *byte == b'/').skip(1) {
            cut.push(b'/');
            cut.extend_from_slice(segment.split(|byte| *byte == b';').next().unwrap_or_default());
        }
        vec![eager_reading(self.path), eager_reading(&cut)]
    }
}

/// One eager reading of a path.
fn eager_reading(path: &[u8]) -> Vec<u8> {
    let once = decode(path).0;
    let decoded = if has_escape(&once) { decode(&once).0 } else { once };
    let mut eager = Vec::with_capacity(decoded.len());
    let end = decoded.iter().position(|byte| matches!(byte, b'?' | b'#'));
    let decoded = decoded.get(..end.unwrap_or(decoded.len())).unwrap_or_default();
    let closed = decoded.last() == Some(&b'/');
    for segment in decoded.split(|byte| *byte == b'/') {
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        if !name.is_empty() {
            eager.push(b'/');
            eager.extend_from_slice(name);
        }
    }
    if closed || eager.is_empty() {
        eager.push(b'/');
    }
    eager
}

/// The segments of a path, decoded once as they are compared. A clone costs nothing, so that a
/// matcher can go back.
#[derive(Clone, Debug)]
pub struct Segments<'a> {
    rest: Option<&'a [u8]>,
    escaped: bool,
}

impl<'a> Segments<'a> {
    /// The segments of a path that is decoded already.
    pub fn of_decoded(path: &'a [u8]) -> Self {
        Self::of(path, false)
    }

    fn of(path: &'a [u8], escaped: bool) -> Self {
        Self { rest: path.strip_prefix(b"/"), escaped }
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    fn next(&mut self) -> Option<Segment<'a>> {
        let rest = self.rest?;
        let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
        let raw = rest.get(..end).unwrap_or_default();
        // Behind the last segment stands no slash, and so nothing is left.
        self.rest = rest.get(end.saturating_add(1)..);
        Some(Segment { raw, escaped: self.escaped })
    }
}

/// One segment of a path.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    raw: &'a [u8],
    escaped: bool,
}

impl Segment<'_> {
    /// Whether nothing stands between the slashes.
    pub const fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// How the decoded segment compares with `literal`, byte by byte.
    pub fn compare(&self, literal: &[u8]) -> core::cmp::Ordering {
        if self.escaped {
            return Decoded(self.raw).cmp(literal.iter().copied());
        }
        self.raw.cmp(literal)
    }
}

/// The bytes of a text with every good escape decoded once.
struct Decoded<'a>(&'a [u8]);

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        if let Some(byte) = escape(self.0) {
            self.0 = self.0.get(3..).unwrap_or_default();
            return Some(byte);
        }
        self.0 = rest;
        Some(*first)
    }
}

/// The byte that the escape at the start of `text` stands for.
fn escape(text: &[u8]) -> Option<u8> {
    match text {
        [b'%', high, low, ..] => {
            let high = char::from(*high).to_digit(16)?;
            let low = char::from(*low).to_digit(16)?;
            u8::try_from((high << 4) | low).ok()
        }
        _ => None,
    }
}

fn has_escape(text: &[u8]) -> bool {
    text.windows(3).any(|window| escape(window).is_some())
}

/// Decodes every escape once; says what the decoded bytes are.
fn decode(text: &[u8]) -> (Vec<u8>, Ambiguities) {
    let mut decoded = Vec::with_capacity(text.len());
    let mut found = Ambiguities::NONE;
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        if let Some(byte) = escape(rest) {
            found = found.with(encoded(byte));
            decoded.push(byte);
            rest = rest.get(3..).unwrap_or_default();
            continue;
        }
        if *first == b'%' {
            found = found.with(Ambiguities::BAD_ESCAPE);
        }
        decoded.push(*first);
        rest = tail;
    }
    (decoded, found)
}

const fn encoded(byte: u8) -> Ambiguities {
    match byte {
        b'/' => Ambiguities::ENCODED_SLASH,
        b'\\' => Ambiguities::BACKSLASH,
        b';' => Ambiguities::PATH_PARAMETERS,
        b'?' | b'#' => Ambiguities::ENCODED_DELIMITER,
        0..=0x1f | 0x7f => Ambiguities::CONTROL_BYTES,
        _ => Ambiguities::NONE,
    }
}

/// Class of a raw byte, so that a plain path costs one table look-up per byte.
const CLASSES: [u16; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
        {
            classes[byte] = match byte {
                // A raw space ends the request target of HTTP/1.1.
                0..=0x20 | 0x7f => Ambiguities::CONTROL_BYTES.0,
                0x5c => Ambiguities::BACKSLASH.0,
                0x3b => Ambiguities::PATH_PARAMETERS.0,
                0x23 => Ambiguities::FRAGMENT.0,
                0x25 => ESCAPED,
                0x80.. => Ambiguities::NON_ASCII.0,
                _ => 0,
            };
        }
        byte += 1;
    }
    classes
};

/// Class of `%`: no ambiguity by itself.
const ESCAPED: u16 = 1 << 15;

fn classes(text: &[u8]) -> u16 {
    text.iter().fold(0, |seen, byte| seen | CLASSES.get(usize::from(*byte)).copied().unwrap_or(0))
}

/// Judges the `:path` of a request, with its query if it has one.
///
/// A path without escapes and bytes above 127 is judged without any allocation.
///
/// # Errors
///
/// [`PathError`] when it is too long or not a path at all.
pub fn judge(raw: &[u8]) -> Result<JudgedPath<'_>, PathError> {
    if raw.len() > MAX_PATH_BYTES {
        return Err(PathError::TooLong);
    }
    if raw.first() != Some(&b'/') {
        return Err(PathError::NotAbsolute);
    }
    let (path, query) = match raw.iter().position(|byte| *byte == b'?') {
        Some(end) => (raw.get(..end).unwrap_or_default(), raw.get(end.saturating_add(1)..)),
        None => (raw, None),
    };
    let seen = classes(path);
    let escaped = seen & ESCAPED != 0;
    let mut found = Ambiguities(seen & !ESCAPED).with(shape(path));
    if let Some(query) = query {
        // The query is not matched, but what breaks a request line breaks it there too.
        let fatal = Ambiguities::CONTROL_BYTES.with(Ambiguities::FRAGMENT).0;
        found = found.with(Ambiguities(classes(query) & fatal));
    }
    if escaped || found.intersects(Ambiguities::NON_ASCII) {
        found = found.with(decoded_readings(path));
    }
    Ok(JudgedPath { path, query, escaped, ambiguities: found })
}

/// What is ambiguous in the path decoded once, and twice where it can be.
fn decoded_readings(path: &[u8]) -> Ambiguities {
    let (once, mut found) = decode(path);
    found = found.with(shape(&once)).with(not_utf8(&once));
    if has_escape(&once) {
        let (twice, flags) = decode(&once);
        // A lone `%` is a bad escape in the first layer only; here it may be meant.
        let flags = Ambiguities(flags.0 & !Ambiguities::BAD_ESCAPE.0);
        found = found.with(Ambiguities::DOUBLE_ENCODING).with(flags);
        found = found.with(shape(&twice)).with(not_utf8(&twice));
        if has_escape(&twice) {
            found = found.with(Ambiguities::BAD_ESCAPE);
        }
    }
    found
}

fn not_utf8(reading: &[u8]) -> Ambiguities {
    match core::str::from_utf8(reading) {
        Ok(_) => Ambiguities::NONE,
        Err(_) => Ambiguities::BAD_ESCAPE,
    }
}

/// Empty segments and dot segments of one reading; a trailing slash is not an empty segment.
fn shape(reading: &[u8]) -> Ambiguities {
    let mut found = Ambiguities::NONE;
    let mut previous_is_empty = false;
    for segment in reading.strip_prefix(b"/").unwrap_or(reading).split(|byte| *byte == b'/') {
        if previous_is_empty {
            found = found.with(Ambiguities::EMPTY_SEGMENTS);
        }
        previous_is_empty = segment.is_empty();
        if matches!(segment, [b'.'] | [b'.', b'.'] | [b'.', b';', ..] | [b'.', b'.', b';', ..]) {
            found = found.with(Ambiguities::DOT_SEGMENTS);
        }
    }
    found
}
