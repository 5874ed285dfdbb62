//! The records of one table in the order of their fingerprints.

use std::collections::BTreeMap;

use wardgate_core::feed::bucket::{BucketKey, ImageId, Place, Record, push};
use wardgate_core::feed::{Filter, Fingerprint, Layout, Table};

/// One table.
#[derive(Debug)]
pub(super) struct Records {
    table: Table,
    by_fingerprint: BTreeMap<Fingerprint, (u64, Box<[u8]>)>,
    /// The filter that was asked for last.
    filter: Option<(Layout, Filter)>,
}

impl Records {
    pub(super) fn new(table: Table) -> Self {
        Self { table, by_fingerprint: BTreeMap::new(), filter: None }
    }

    pub(super) fn len(&self) -> usize {
        self.by_fingerprint.len()
    }

    pub(super) fn insert(&mut self, fingerprint: Fingerprint, sequence: u64, content: &[u8]) {
        self.by_fingerprint.insert(fingerprint, (sequence, content.into()));
        if let Some((_, filter)) = &mut self.filter {
            filter.insert(&fingerprint);
        }
    }

    pub(super) fn remove(&mut self, fingerprint: &Fingerprint) {
        self.by_fingerprint.remove(fingerprint);
    }

    pub(super) fn filter_piece(&mut self, layout: Layout, offset: usize, limit: usize) -> Vec<u8> {
        if self.filter.as_ref().is_none_or(|(known, _)| *known != layout) {
            let mut filter = Filter::new(layout);
            self.by_fingerprint.keys().for_each(|fingerprint| filter.insert(fingerprint));
            self.filter = Some((layout, filter));
        }
        self.filter.as_ref().map(|(_, filter)| filter.bytes(offset, limit)).unwrap_or_default()
    }

    pub(super) fn bucket_piece(
        &self,
        layout: Layout,
        first: u32,
        key: &BucketKey,
        image: ImageId,
        limit: usize,
    ) -> Vec<u8> {
        let mut next = first;
        let mut buckets = Vec::new();
        while next < layout.buckets() {
            let place = Place { image, table: self.table, index: next };
            let sealed = key.seal(&place, self.bucket(layout, next));
            let length = sealed.len().saturating_add(4);
            if !buckets.is_empty() && buckets.len().saturating_add(length).saturating_add(4) > limit
            {
                break;
            }
            let length = u32::try_from(sealed.len()).unwrap_or(u32::MAX);
            buckets.extend_from_slice(&length.to_be_bytes());
            buckets.extend_from_slice(&sealed);
            next = next.saturating_add(1);
        }
        [&next.to_be_bytes()[..], &buckets].concat()
    }

    fn bucket(&self, layout: Layout, index: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let shift = 128_u32.saturating_sub(layout.bucket_bits.into());
        let start = u128::from(index).checked_shl(shift).unwrap_or(0);
        let of_bucket = self.by_fingerprint.range(Fingerprint(start.to_be_bytes())..);
        for (fingerprint, (sequence, content)) in of_bucket {
            if layout.bucket_of(fingerprint) != index {
                break;
            }
            let record = Record { fingerprint: *fingerprint, sequence: *sequence, content };
            push(&mut bytes, &record);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wardgate_core::feed::bucket::Bucket;

    #[test]
    fn every_record_is_found_in_its_bucket_and_the_pieces_are_all_buckets() {
        let mut records = Records::new(Table::ApiKeys);
        let fingerprints: Vec<_> =
            (0..2000_u32).map(|number| Fingerprint::of("t", &[&number.to_be_bytes()])).collect();
        for fingerprint in &fingerprints {
            records.insert(*fingerprint, 1, b"content");
        }
        let layout = Layout::for_records(2000);
        for fingerprint in &fingerprints {
            let bucket = records.bucket(layout, layout.bucket_of(fingerprint));
            assert!(Bucket(&bucket).find(fingerprint).is_some());
        }
        let key = BucketKey::new(&wardgate_core::secret::Secret::new(vec![1; 32]));
        let (mut first, mut pieces) = (0, 0);
        while first < layout.buckets() {
            let piece = records.bucket_piece(layout, first, &key, ImageId([0; 16]), 4096);
            let next = u32::from_be_bytes(piece[..4].try_into().unwrap());
            assert!(next > first && piece.len() <= 4096);
            (first, pieces) = (next, pieces + 1);
        }
        assert!(pieces > 10);
    }
}
