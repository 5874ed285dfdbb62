//! Buckets: the records of a table whose fingerprints begin alike.
//!
//! A record is 16 bytes of fingerprint, 8 bytes of sequence, 2 bytes of length (both with the most
//! significant byte first) and as many bytes of content. A sealed bucket is its records and 16 bytes
//! of MAC. Other filters of the proxy can write to the memory where buckets stand; without the MAC
//! they could take a revocation away, and without the place under the MAC put an old one back.

use ring::hmac;

use super::{Fingerprint, Table};
use crate::secret::Secret;

/// Bytes of the MAC of a bucket: forging one takes 2^128 tries, and each try is seen.
const MAC_BYTES: usize = 16;
/// What a record has before its content.
const HEADER_BYTES: usize = Fingerprint::BYTES + 8 + 2;
/// The longest content of a record.
pub const MAX_CONTENT_BYTES: usize = u16::MAX as usize;

/// One loading of the tables into the memory of a proxy; drawn at random by who loads.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ImageId(pub [u8; 16]);

/// Where a bucket stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place {
    /// The loading.
    pub image: ImageId,
    /// The table.
    pub table: Table,
    /// The bucket of the table.
    pub index: u32,
}

/// A record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Record<'a> {
    /// What it is about.
    pub fingerprint: Fingerprint,
    /// The change of the log that it is from.
    pub sequence: u64,
    /// What it says.
    pub content: &'a [u8],
}

/// The records of a bucket, as bytes.
#[derive(Clone, Copy, Debug)]
pub struct Bucket<'a>(pub &'a [u8]);

impl<'a> Bucket<'a> {
    /// The records; what is cut off at the end is none.
    pub fn records(self) -> impl Iterator<Item = Record<'a>> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let (record, tail) = split_record(rest)?;
            rest = tail;
            Some(record)
        })
    }

    /// The record of this fingerprint.
    pub fn find(self, fingerprint: &Fingerprint) -> Option<Record<'a>> {
        self.records().find(|record| record.fingerprint == *fingerprint)
    }

    /// The bucket with this record in place of an older one of the same fingerprint, and without
    /// those that are not to be kept. A record never gives way to one of a smaller sequence: changes
    /// may come twice, and a poller that was held up may come late. A content that is too long is
    /// not taken in; encoders bound it.
    #[must_use]
    pub fn with(self, new: &Record<'_>, keep: impl Fn(&Record<'_>) -> bool) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(
            self.0.len().saturating_add(HEADER_BYTES).saturating_add(new.content.len()),
        );
        let mut new = Some(new);
        for record in self.records() {
            if new.is_some_and(|new| new.fingerprint == record.fingerprint) {
                match new.take() {
                    Some(new) if new.sequence > record.sequence => push(&mut bytes, new),
                    _ => push(&mut bytes, &record),
                }
            } else if keep(&record) {
                push(&mut bytes, &record);
            }
        }
        if let Some(new) = new {
            push(&mut bytes, new);
        }
        bytes
    }

    /// The bucket without the record of this fingerprint, unless that is of a later change.
    #[must_use]
    pub fn without(self, fingerprint: &Fingerprint, sequence: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len());
        for record in self.records() {
            if record.fingerprint != *fingerprint || record.sequence > sequence {
                push(&mut bytes, &record);
            }
        }
        bytes
    }
}

fn split_record(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let (fingerprint, rest) = bytes.split_first_chunk()?;
    let (sequence, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (content, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let sequence = u64::from_be_bytes(*sequence);
    Some((Record { fingerprint: Fingerprint(*fingerprint), sequence, content }, rest))
}

/// Appends a record.
pub fn push(bytes: &mut Vec<u8>, record: &Record<'_>) {
    let Ok(length) = u16::try_from(record.content.len()) else { return };
    bytes.extend_from_slice(&record.fingerprint.0);
    bytes.extend_from_slice(&record.sequence.to_be_bytes());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(record.content);
}

/// The key of the MACs of buckets; both sides derive it from the feed secret.
#[derive(Clone)]
pub struct BucketKey(hmac::Key);

impl BucketKey {
    /// Derives the key.
    pub fn new(feed_secret: &Secret) -> Self {
        let feed = hmac::Key::new(hmac::HMAC_SHA256, feed_secret.expose());
        let derived = hmac::sign(&feed, b"wardgate bucket key v1");
        Self(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()))
    }

    /// Puts the MAC for this place behind the records.
    #[must_use]
    pub fn seal(&self, place: &Place, mut records: Vec<u8>) -> Vec<u8> {
        let mac = self.mac(place, &records);
        records.extend(mac.as_ref().iter().take(MAC_BYTES));
        records
    }

    /// The records, if the MAC is right for this place.
    pub fn open<'a>(&self, place: &Place, sealed: &'a [u8]) -> Option<Bucket<'a>> {
        let (records, shown) = sealed.split_last_chunk::<MAC_BYTES>()?;
        let mac = self.mac(place, records);
        let mac = mac.as_ref().get(..MAC_BYTES)?;
        bool::from(subtle::ConstantTimeEq::ct_eq(mac, &shown[..])).then_some(Bucket(records))
    }

    fn mac(&self, place: &Place, records: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        // Of fixed length together, so nothing can move between place and records.
        context.update(&place.image.0);
        context.update(&[match place.table {
            Table::Revocations => 0,
            Table::ApiKeys => 1,
        }]);
        context.update(&place.index.to_be_bytes());
        context.update(records);
        context.sign()
    }
}

impl core::fmt::Debug for BucketKey {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("BucketKey")
    }
}
