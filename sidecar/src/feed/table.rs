//! A table as the sidecar has it in memory: the records in the order of their fingerprints, encoded
//! as filters get them.

use wardgate_core::feed::bucket::{Bucket, Record, push};
use wardgate_core::feed::{Fingerprint, Layout};

/// A table of records. It holds them in buckets of its own layout, which follows the number of
/// records; since buckets are in the order of the fingerprints, it can give the buckets of any other.
#[derive(Debug)]
pub(super) struct MirrorTable {
    layout: Layout,
    buckets: Vec<Box<[u8]>>,
    records: u64,
    /// The bucket that is looked at next for records whose time is over.
    hand: usize,
}

impl MirrorTable {
    /// An empty table.
    pub(super) fn new() -> Self {
        let layout = Layout::for_records(0);
        Self { layout, buckets: empty_buckets(layout), records: 0, hand: 0 }
    }

    /// How many records there are.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// The layout that suits the number of records.
    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    /// Takes a record in, unless there is one of the same fingerprint from the same change or a later
    /// one.
    pub(super) fn put(&mut self, record: &Record<'_>) {
        let Some(bucket) = self.bucket_mut(&record.fingerprint) else { return };
        let before = count(bucket);
        let after = Bucket(bucket).with(record, |_| true);
        *bucket = after.into_boxed_slice();
        let more = count(bucket).saturating_sub(before);
        self.records = self.records.saturating_add(more);
        if Layout::for_records(self.records).bucket_bits > self.layout.bucket_bits {
            self.lay_out_anew();
        }
    }

    /// Removes a record, unless it is from a later change.
    pub(super) fn remove(&mut self, fingerprint: &Fingerprint, sequence: u64) {
        let Some(bucket) = self.bucket_mut(fingerprint) else { return };
        let before = count(bucket);
        let after = Bucket(bucket).without(fingerprint, sequence);
        *bucket = after.into_boxed_slice();
        let less = before.saturating_sub(count(bucket));
        self.leave(less);
    }

    /// Removes the records that are not to be kept from the next few buckets.
    pub(super) fn sweep(&mut self, buckets: usize, keep: impl Fn(&Record<'_>) -> bool) {
        let mut less = 0_u64;
        for _ in 0..buckets.min(self.buckets.len()) {
            let hand = self.hand;
            self.hand = hand.saturating_add(1).checked_rem(self.buckets.len()).unwrap_or(0);
            let Some(bucket) = self.buckets.get_mut(hand) else { continue };
            if Bucket(bucket).records().all(|record| keep(&record)) {
                continue;
            }
            let mut kept = Vec::new();
            for record in Bucket(bucket).records() {
                if keep(&record) {
                    push(&mut kept, &record);
                } else {
                    less = less.saturating_add(1);
                }
            }
            *bucket = kept.into_boxed_slice();
        }
        self.leave(less);
    }

    /// The records of a bucket of any layout, encoded.
    pub(super) fn bucket(&self, layout: Layout, index: u32) -> Vec<u8> {
        let (asked, own) = (layout.bucket_bits, self.layout.bucket_bits);
        if asked <= own {
            let shift = u32::from(own.saturating_sub(asked));
            let of_own = 1_usize.checked_shl(shift).unwrap_or(usize::MAX);
            let first = usize::try_from(index).unwrap_or(usize::MAX).saturating_mul(of_own);
            return self.buckets.iter().skip(first).take(of_own).flatten().copied().collect();
        }
        let shift = u32::from(asked.saturating_sub(own));
        let holder = usize::try_from(index.checked_shr(shift).unwrap_or(0)).unwrap_or(usize::MAX);
        let mut bytes = Vec::new();
        for record in self.buckets.get(holder).into_iter().flat_map(|it| Bucket(it).records()) {
            if layout.bucket_of(&record.fingerprint) == index {
                push(&mut bytes, &record);
            }
        }
        bytes
    }

    /// The record of this fingerprint.
    #[cfg(test)]
    pub(super) fn find(&self, fingerprint: &Fingerprint) -> Option<Record<'_>> {
        let index = usize::try_from(self.layout.bucket_of(fingerprint)).ok()?;
        Bucket(self.buckets.get(index)?).find(fingerprint)
    }

    /// All records, bucket by bucket.
    #[cfg(test)]
    pub(super) fn all(&self) -> impl Iterator<Item = Record<'_>> {
        self.buckets.iter().flat_map(|bucket| Bucket(bucket).records())
    }

    fn bucket_mut(&mut self, fingerprint: &Fingerprint) -> Option<&mut Box<[u8]>> {
        let index = usize::try_from(self.layout.bucket_of(fingerprint)).ok()?;
        self.buckets.get_mut(index)
    }

    fn leave(&mut self, less: u64) {
        self.records = self.records.saturating_sub(less);
        // Not before there is room for twice as many in less: filters load everything for a new layout,
        // and a table that keeps about one size must not have them do it for each that comes or goes.
        let roomy = Layout::for_records(self.records.saturating_mul(2));
        if roomy.bucket_bits < self.layout.bucket_bits {
            self.lay_out_anew();
        }
    }

    /// Lays the records out for their number.
    fn lay_out_anew(&mut self) {
        let layout = Layout::for_records(self.records);
        let bucket = |index| self.bucket(layout, index).into_boxed_slice();
        let buckets = (0..layout.buckets()).map(bucket).collect();
        self.buckets = buckets;
        self.layout = layout;
        self.hand = 0;
    }
}

fn empty_buckets(layout: Layout) -> Vec<Box<[u8]>> {
    (0..layout.buckets()).map(|_| Box::default()).collect()
}

fn count(bucket: &[u8]) -> u64 {
    u64::try_from(Bucket(bucket).records().count()).unwrap_or(u64::MAX)
}
