//! Names of fixed length for what records are about.

use core::fmt;

use ring::digest;

use crate::base64url;

/// 128 bits of SHA-256: the name of a record. Two things of one fingerprint are not found by anyone,
/// so finding a fingerprint in a table is finding the thing itself.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Fingerprint(pub [u8; Fingerprint::BYTES]);

impl Fingerprint {
    /// Bytes of a fingerprint.
    pub const BYTES: usize = 16;

    /// The fingerprint of the thing of this kind that `parts` name. Each part is preceded by its
    /// length, so that no two lists of parts are the same bytes.
    pub fn of(kind: &str, parts: &[&[u8]]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"wardgate fingerprint v1");
        for part in core::iter::once(&kind.as_bytes()).chain(parts) {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            context.update(&length.to_be_bytes());
            context.update(part);
        }
        let mut fingerprint = [0; Self::BYTES];
        for (to, from) in fingerprint.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        Self(fingerprint)
    }

    /// The fingerprint of the API key of this id.
    pub fn of_api_key(id: &str) -> Self {
        Self::of("api_key", &[id.as_bytes()])
    }

    /// The fingerprint of an API key that was made elsewhere, by the SHA-256 of all of it.
    pub fn of_imported_api_key(sha256: &[u8; 32]) -> Self {
        Self::of("imported_api_key", &[sha256])
    }

    /// Reads the base64url text of a fingerprint.
    pub fn parse(text: &str) -> Option<Self> {
        base64url::decode(text.as_bytes())?.try_into().ok().map(Self)
    }

    /// The base64url text of the fingerprint.
    pub fn text(&self) -> String {
        base64url::encode(&self.0)
    }

    /// The first 32 bits: they choose the bucket.
    pub(super) fn first_bits(&self) -> u32 {
        self.word(0)
    }

    /// 32 bits that choose the block of the filter, and 32 that choose the bits in it.
    pub(super) fn filter_bits(&self) -> (u32, u32) {
        (self.word(2), self.word(3))
    }

    fn word(&self, index: usize) -> u32 {
        let bytes = self.0.iter().skip(index.saturating_mul(4)).take(4);
        bytes.fold(0, |word, byte| (word << 8) | u32::from(*byte))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Fingerprint({})", self.text())
    }
}

impl serde::Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

impl<'de> serde::Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom("a fingerprint is 16 bytes, written as base64url")
        })
    }
}
