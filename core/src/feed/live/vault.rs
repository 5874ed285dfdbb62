//! Names and seals of what stands in shared memory.

use core::cell::Cell;

use ring::{aead, hmac};

use crate::base64url;
use crate::feed::bucket::{BucketKey, ImageId, Place};
use crate::feed::{Fingerprint, Table};
use crate::secret::Secret;

/// The layout of keys and values: another version reads none of this one's.
const PREFIX: &str = "wardgate1.";
/// Bytes of the MAC behind a value: forging one takes 2^128 tries.
const MAC_BYTES: usize = 16;
/// Bytes of a nonce (RFC 8439 §2.8).
const NONCE_BYTES: usize = 12;

/// Which of the two sets of tables: a reader of one never meets what is loaded into the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Set {
    A,
    B,
}

impl Set {
    pub(super) fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    fn letter(self) -> char {
        match self {
            Self::A => 'a',
            Self::B => 'b',
        }
    }
}

/// Names, seals and encrypts the values of one feed.
pub(super) struct Vault {
    prefix: String,
    buckets: BucketKey,
    values: hmac::Key,
    secrets: aead::LessSafeKey,
    randomness: hmac::Key,
    drawn: Cell<u64>,
}

impl core::fmt::Debug for Vault {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "Vault({})", self.prefix)
    }
}

impl Vault {
    /// The vault of the feed of `cluster` under `secret`; `seed` is random, and another in each VM.
    /// `None` only if the cryptography refuses its own key lengths.
    pub(super) fn new(cluster: &str, secret: &Secret, seed: [u8; 32]) -> Option<Self> {
        let feed = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
        let derived = |context: &str| hmac::sign(&feed, context.as_bytes());
        // Under the secret, so that nobody learns anything of it from a name.
        let name = derived(&format!("wardgate shared names v1 {cluster}"));
        let name = base64url::encode(name.as_ref().get(..6)?);
        let secrets = derived("wardgate shared secrets key v1");
        let secrets = aead::UnboundKey::new(&aead::CHACHA20_POLY1305, secrets.as_ref()).ok()?;
        Some(Self {
            prefix: format!("{PREFIX}{name}."),
            buckets: BucketKey::new(secret),
            values: hmac::Key::new(
                hmac::HMAC_SHA256,
                derived("wardgate shared values key v1").as_ref(),
            ),
            secrets: aead::LessSafeKey::new(secrets),
            randomness: hmac::Key::new(hmac::HMAC_SHA256, &seed),
            drawn: Cell::new(0),
        })
    }

    pub(super) fn name(&self, what: &str) -> String {
        format!("{}{what}", self.prefix)
    }

    pub(super) fn bucket_name(&self, set: Set, table: Table, index: u32) -> String {
        let table = match table {
            Table::Revocations => 'r',
            Table::ApiKeys => 'k',
        };
        format!("{}{}{table}{index}", self.prefix, set.letter())
    }

    pub(super) fn numbered_name(&self, set: Set, what: &str, number: u64) -> String {
        format!("{}{}{what}{number}", self.prefix, set.letter())
    }

    pub(super) fn buckets(&self) -> &BucketKey {
        &self.buckets
    }

    /// Puts a MAC behind `payload`, for this name only: what stands elsewhere cannot be moved here.
    pub(super) fn seal(&self, name: &str, mut payload: Vec<u8>) -> Vec<u8> {
        let mac = self.mac(name, &payload);
        payload.extend(mac.as_ref().iter().take(MAC_BYTES));
        payload
    }

    /// The payload, if the MAC is right for this name.
    pub(super) fn open<'a>(&self, name: &str, sealed: &'a [u8]) -> Option<&'a [u8]> {
        let (payload, shown) = sealed.split_last_chunk::<MAC_BYTES>()?;
        let mac = self.mac(name, payload);
        let mac = mac.as_ref().get(..MAC_BYTES)?;
        bool::from(subtle::ConstantTimeEq::ct_eq(mac, &shown[..])).then_some(payload)
    }

    fn mac(&self, name: &str, payload: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.values);
        context.update(&u64::try_from(name.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(name.as_bytes());
        context.update(payload);
        context.sign()
    }

    /// Encrypts what others must not read.
    pub(super) fn encrypt(&self, name: &str, mut payload: Vec<u8>) -> Option<Vec<u8>> {
        let nonce: [u8; NONCE_BYTES] = self.draw();
        let unique = aead::Nonce::assume_unique_for_key(nonce);
        let context = aead::Aad::from(name.as_bytes());
        self.secrets.seal_in_place_append_tag(unique, context, &mut payload).ok()?;
        payload.splice(0..0, nonce);
        Some(payload)
    }

    /// Decrypts what [`Self::encrypt`] made under the same name.
    pub(super) fn decrypt(&self, name: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        let mut payload = sealed.to_vec();
        let nonce = aead::Nonce::assume_unique_for_key(*nonce);
        let context = aead::Aad::from(name.as_bytes());
        let length = self.secrets.open_in_place(nonce, context, &mut payload).ok()?.len();
        payload.truncate(length);
        Some(payload)
    }

    /// Random bytes: of the seed and a count, so that no two are alike.
    pub(super) fn draw<const BYTES: usize>(&self) -> [u8; BYTES] {
        let count = self.drawn.get();
        self.drawn.set(count.wrapping_add(1));
        let tag = hmac::sign(&self.randomness, &count.to_be_bytes());
        let mut drawn = [0; BYTES];
        for (to, from) in drawn.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        drawn
    }

    pub(super) fn draw_name(&self) -> Fingerprint {
        Fingerprint(self.draw())
    }

    pub(super) fn draw_image(&self) -> ImageId {
        ImageId(self.draw())
    }

    pub(super) fn place(image: ImageId, table: Table, index: u32) -> Place {
        Place { image, table, index }
    }
}
