//! The form of refresh tokens.
//!
//! `wgr_` and the base64url of: id of the family (12 bytes), number of the token in it (4 bytes), 32
//! random bytes, tag (16 bytes). The client reads nothing of it (RFC 6749 §1.5).

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use wardgate_core::base64url;
use wardgate_core::secret::Secret;
use zeroize::Zeroizing;

use crate::random::{Random, RandomError};

/// What refresh tokens begin with, so that scanners of leaked secrets find them.
const PREFIX: &str = "wgr_";
/// Bytes of the id of a family: nobody finds one by guessing, and no two are alike.
const ID_BYTES: usize = 12;
/// Bytes of the random part.
const SECRET_BYTES: usize = 32;
/// Bytes of the tag: a forgery is one chance in 2^128.
const TAG_BYTES: usize = 16;
/// Bytes before the tag.
const BODY_BYTES: usize = ID_BYTES + 4 + SECRET_BYTES;
/// Bytes of all.
const BYTES: usize = BODY_BYTES + TAG_BYTES;
/// Letters of a whole token. What has another length is no token.
const TEXT_BYTES: usize = PREFIX.len() + (BYTES * 4).div_ceil(3);

/// The key of tags and digests.
pub(super) struct TokenKey(hmac::Key);

/// A token that was made here: only [`TokenKey`] makes one, of randomness or of a text whose tag is
/// right.
///
/// The tag is what tells a token that was used long ago, whose digest nobody keeps, from a guess. The
/// first ends its family, because it was stolen. The second must have no effect at all: ids of
/// families stand in access tokens and logs as `sid`, and whoever has read one could otherwise log
/// its user out by making up a token.
pub(super) struct GenuineToken {
    bytes: Zeroizing<[u8; BYTES]>,
    /// The id of the family.
    pub(super) family: String,
    /// The same, as bytes.
    pub(super) family_id: FamilyId,
    /// Its number in the family.
    pub(super) generation: u32,
    /// What the store has of it.
    pub(super) digest: String,
}

impl TokenKey {
    pub(super) fn new(secret: &Secret) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.expose()))
    }

    /// A new token of a family.
    pub(super) fn make(
        &self,
        family: &FamilyId,
        generation: u32,
        random: Random,
    ) -> Result<GenuineToken, RandomError> {
        let secret = Zeroizing::new(random.bytes::<SECRET_BYTES>()?);
        let mut bytes = Zeroizing::new([0; BYTES]);
        // With room from the beginning: a vector that grows leaves a copy behind.
        let mut body = Zeroizing::new(Vec::with_capacity(BODY_BYTES));
        body.extend_from_slice(&family.0);
        body.extend_from_slice(&generation.to_be_bytes());
        body.extend_from_slice(secret.as_slice());
        let tag = self.tag(&body);
        for (to, from) in bytes.iter_mut().zip(body.iter().chain(tag.as_ref())) {
            *to = *from;
        }
        Ok(self.genuine(bytes, *family, generation))
    }

    /// Reads a token; `None` for what was not made here.
    pub(super) fn read(&self, text: &str) -> Option<GenuineToken> {
        if text.len() != TEXT_BYTES {
            return None;
        }
        let decoded =
            base64url::decode(text.strip_prefix(PREFIX)?.as_bytes()).map(Zeroizing::new)?;
        let bytes = Zeroizing::new(<[u8; BYTES]>::try_from(decoded.as_slice()).ok()?);
        let (body, tag) = bytes.split_at_checked(BODY_BYTES)?;
        // In constant time: a comparison that stops early tells how much of a guess was right.
        let expected = self.tag(body);
        verify_slices_are_equal(expected.as_ref().get(..TAG_BYTES)?, tag).ok()?;
        let family = FamilyId(*bytes.first_chunk()?);
        let generation = u32::from_be_bytes(*bytes.get(ID_BYTES..)?.first_chunk()?);
        Some(self.genuine(bytes, family, generation))
    }

    fn genuine(
        &self,
        bytes: Zeroizing<[u8; BYTES]>,
        family_id: FamilyId,
        generation: u32,
    ) -> GenuineToken {
        let digest = self.mac(b"wardgate refresh token digest\0", bytes.as_slice());
        let digest = base64url::encode(digest.as_ref());
        GenuineToken { bytes, family: family_id.text(), family_id, generation, digest }
    }

    fn tag(&self, body: &[u8]) -> hmac::Tag {
        self.mac(b"wardgate refresh token tag\0", body)
    }

    /// Labelled, so that no tag is ever a digest.
    fn mac(&self, label: &[u8], bytes: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(label);
        context.update(bytes);
        context.sign()
    }
}

impl GenuineToken {
    /// The token as the client has it.
    pub(super) fn text(&self) -> Zeroizing<String> {
        let encoded = Zeroizing::new(base64url::encode(self.bytes.as_slice()));
        Zeroizing::new(format!("{PREFIX}{}", encoded.as_str()))
    }

    /// All of it but the tag: what a key is made of that only its holder has.
    pub(super) fn body(&self) -> &[u8] {
        self.bytes.get(..BODY_BYTES).unwrap_or_default()
    }
}

impl std::fmt::Debug for GenuineToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "GenuineToken({} {})", self.family, self.generation)
    }
}

/// The id of a family: the `sid` of its access tokens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct FamilyId([u8; ID_BYTES]);

impl FamilyId {
    pub(super) fn new(random: Random) -> Result<Self, RandomError> {
        random.bytes().map(Self)
    }

    pub(super) fn text(&self) -> String {
        base64url::encode(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{FamilyId, TEXT_BYTES, TokenKey};
    use crate::random::Random;
    use wardgate_core::secret::Secret;

    fn key(byte: u8) -> TokenKey {
        TokenKey::new(&Secret::new(vec![byte; 32]))
    }

    #[test]
    fn a_token_is_read_as_it_was_made() {
        let family = FamilyId::new(Random::system()).unwrap();
        let made = key(1).make(&family, 7, Random::system()).unwrap();
        let text = made.text();
        assert_eq!((text.len(), &text[..4]), (TEXT_BYTES, "wgr_"));
        let read = key(1).read(&text).unwrap();
        assert_eq!((&read.family, read.generation), (&family.text(), 7));
        assert_eq!((&read.digest, read.family_id), (&made.digest, family));
        assert!(!format!("{read:?}").contains(&text[20..]));
    }

    #[test]
    fn what_was_not_made_here_is_no_token() {
        let family = FamilyId::new(Random::system()).unwrap();
        let text = key(1).make(&family, 1, Random::system()).unwrap().text();
        assert!(key(2).read(&text).is_none());
        for position in 4..text.len() {
            let mut forged = text.as_bytes().to_vec();
            forged[position] = if forged[position] == b'A' { b'B' } else { b'A' };
            assert!(key(1).read(std::str::from_utf8(&forged).unwrap()).is_none(), "{position}");
        }
        for wrong in ["", "wgr_", &text[1..], &format!("{}=", &*text), &text[..text.len() - 1]] {
            assert!(key(1).read(wrong).is_none(), "{wrong}");
        }
    }
}
