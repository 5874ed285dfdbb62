//! The mirror alone.

use std::collections::BTreeMap;

use proptest::prelude::*;
use wardgate_core::feed::bucket::{Bucket, BucketKey, ImageId, Place};
use wardgate_core::feed::{Fingerprint, Layout, Revocation, Table};
use wardgate_core::secret::Secret;
use wardgate_core::time::UnixSeconds;
use wardgate_core::wire::feed::{ChangeKind, LogEntry, MAX_BEHIND, PIECE_BYTES};

use super::{entry, feed, fingerprint, store};
use crate::feed::mirror::{GapError, Mirror, Place as LogPlace};
use crate::feed::{BucketsQuestion, PieceError};
use crate::store::LogPosition;

fn position(sequence: u64) -> LogPosition {
    let mut link = [0; 16];
    link[8..].copy_from_slice(&sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    LogPosition { sequence, link }
}

fn revocation(number: u32, until: u64) -> Revocation {
    Revocation { fingerprint: fingerprint(number), issued_until: None, until }
}

fn full(records: u32) -> Mirror {
    let mut mirror = Mirror::new(position(1));
    (0..records).for_each(|number| mirror.put_revocation(1, &revocation(number, 100)));
    mirror
}

/// All records of a table by its buckets in a layout, each once.
fn by_buckets(mirror: &Mirror, layout: Layout) -> BTreeMap<[u8; 16], Vec<u8>> {
    let table = mirror.table(Table::Revocations);
    let mut found = BTreeMap::new();
    for index in 0..layout.buckets() {
        for record in Bucket(&table.bucket(layout, index)).records() {
            assert_eq!(layout.bucket_of(&record.fingerprint), index);
            let earlier = found.insert(record.fingerprint.0, record.content.to_vec());
            assert_eq!(earlier, None);
        }
    }
    found
}

#[test]
fn buckets_of_every_layout_are_the_same_table() {
    for records in [0, 3, 5000] {
        let mirror = full(records);
        let expected: BTreeMap<_, _> = (0..records)
            .map(|n| (fingerprint(n).0, revocation(n, 100).content().to_vec()))
            .collect();
        assert_eq!(mirror.table(Table::Revocations).records(), u64::from(records));
        // 22 bits are 4 million buckets; the last that are asked for one by one have 16.
        for bits in 6..=16 {
            let layout = Layout::checked(bits).unwrap();
            assert_eq!(by_buckets(&mirror, layout), expected, "{records} {bits}");
        }
    }
}

#[test]
fn a_table_that_empties_gets_small_again() {
    let mut mirror = full(20_000);
    let large = mirror.layouts().revocations;
    for _ in 0..100 {
        mirror.sweep(UnixSeconds(101), usize::try_from(large.buckets()).unwrap() / 50);
    }
    let table = mirror.table(Table::Revocations);
    assert_eq!((table.records(), table.layout()), (0, Layout::for_records(0)));
}

#[test]
fn a_table_that_keeps_about_one_size_keeps_its_layout() {
    let change = |mirror: &mut Mirror, kind| {
        let sequence = mirror.head().sequence + 1;
        let entry = serde_json::to_vec(&LogEntry { at_milliseconds: 1, kind }).unwrap();
        mirror.apply(position(sequence), &entry).unwrap();
    };
    let print = |number: u32| Fingerprint::of_api_key(&number.to_string());
    let add = |mirror: &mut Mirror, number| {
        let (fingerprint, record) = (print(number), Box::new(api_key(1, 1)));
        change(mirror, ChangeKind::ApiKey { fingerprint, record });
    };
    let remove = |mirror: &mut Mirror, number| {
        change(mirror, ChangeKind::ApiKeyGone { fingerprint: print(number) });
    };
    let mut mirror = Mirror::new(position(1));
    (0..1025).for_each(|number| add(&mut mirror, number));
    // One over what 64 buckets are for.
    let layout = mirror.layouts().api_keys;
    assert_eq!(layout.bucket_bits, 7);
    for number in 1024..1100 {
        remove(&mut mirror, number);
        assert_eq!(mirror.layouts().api_keys, layout);
        add(&mut mirror, number + 1);
        assert_eq!(mirror.layouts().api_keys, layout);
    }
    (0..512).for_each(|number| remove(&mut mirror, number));
    assert_eq!(mirror.layouts().api_keys, layout);
    remove(&mut mirror, 512);
    assert_eq!(mirror.layouts().api_keys, Layout::for_records(512));
    let table = mirror.table(Table::ApiKeys);
    assert!((513..1024).all(|number| table.find(&print(number)).is_some()));
}

#[test]
fn a_sweep_removes_what_is_over_and_nothing_else() {
    let mut mirror = Mirror::new(position(1));
    for number in 0..100 {
        mirror.put_revocation(1, &revocation(number, if number < 50 { 10 } else { 20 }));
    }
    mirror.sweep(UnixSeconds(10), 64);
    assert_eq!(mirror.table(Table::Revocations).records(), 100, "the last second still counts");
    mirror.sweep(UnixSeconds(11), 64);
    let table = mirror.table(Table::Revocations);
    let left = (0..100).filter(|number| table.find(&fingerprint(*number)).is_some()).count();
    assert_eq!((left, table.records()), (50, 50));
    assert!(table.find(&fingerprint(99)).is_some());
}

#[test]
fn a_gap_in_the_log_is_no_change() {
    let mut mirror = Mirror::new(position(5));
    let change = entry(revocation(1, 9));
    assert_eq!(mirror.apply(position(7), &change), Err(GapError));
    assert_eq!(mirror.apply(position(5), &change), Err(GapError));
    assert_eq!((mirror.apply(position(6), &change), mirror.head()), (Ok(()), position(6)));
}

#[test]
fn an_entry_that_nobody_understands_is_passed_over() {
    let mut mirror = Mirror::new(position(0));
    for (sequence, wrong) in
        [(1, &b"{}"[..]), (2, b""), (3, b"\x01\x03\x01"), (4, b"{\"change\":1}")]
    {
        assert_eq!(mirror.apply(position(sequence), wrong), Ok(()));
    }
    assert_eq!(mirror.head(), position(4));
    assert!(mirror.recent_after(0).all(|recent| recent.json.is_none()));
}

#[test]
fn places_are_known_as_far_back_as_changes_are_told() {
    let mut mirror = Mirror::new(position(10));
    let last = 10 + MAX_BEHIND + 20;
    for sequence in 11..=last {
        mirror.apply(position(sequence), &entry(revocation(1, 9))).unwrap();
    }
    assert!(matches!(mirror.place(&position(last)), LogPlace::Here(n) if n as u64 == MAX_BEHIND));
    assert!(matches!(mirror.place(&position(last - MAX_BEHIND)), LogPlace::Here(0)));
    assert!(matches!(mirror.place(&position(last - MAX_BEHIND - 1)), LogPlace::Elsewhere));
    assert!(matches!(mirror.place(&position(last + 1)), LogPlace::Elsewhere));
    let foreign = LogPosition { link: [1; 16], ..position(last) };
    assert!(matches!(mirror.place(&foreign), LogPlace::Foreign));
}

#[test]
fn a_hundred_thousand_revocations_take_few_bytes_beyond_themselves() {
    let mirror = full(100_000);
    let table = mirror.table(Table::Revocations);
    let records: usize = table.all().map(|record| 26 + record.content.len()).sum();
    let buckets = usize::try_from(table.layout().buckets()).unwrap();
    assert_eq!(records, 4_200_000);
    assert!(buckets * size_of::<Box<[u8]>>() < records / 10);
}

#[tokio::test]
async fn pieces_cover_a_table_and_open_for_their_loading_only() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path());
    super::revoke(&store, 0..1500).await;
    let head = super::revoke(&store, 1500..3000).await;
    let feed = feed(&store);
    super::begin(&feed).await;
    let key = BucketKey::new(&Secret::new(vec![7; 32]));
    for bits in [6, 8, 11] {
        let layout = Layout::checked(bits).unwrap();
        let (table, image) = (Table::Revocations, ImageId([3; 16]));
        let (mut first, mut found) = (0, 0);
        while first < layout.buckets() {
            let question = BucketsQuestion { table, layout, first, image, cursor: head };
            let piece = feed.buckets(&key, &question).unwrap();
            let (next, mut rest) = piece.split_first_chunk::<4>().unwrap();
            assert!(rest.len() <= PIECE_BYTES);
            for index in first..u32::from_be_bytes(*next) {
                let (length, tail) = rest.split_first_chunk::<4>().unwrap();
                let (sealed, tail) = tail.split_at(u32::from_be_bytes(*length) as usize);
                rest = tail;
                let bucket = key.open(&Place { image, table, index }, sealed).unwrap();
                found += bucket.records().count();
            }
            assert!(rest.is_empty() && u32::from_be_bytes(*next) > first);
            first = u32::from_be_bytes(*next);
        }
        assert_eq!(found, 3000);
    }
    let question = |cursor| {
        let (table, layout) = (Table::ApiKeys, Layout::for_records(0));
        let question = BucketsQuestion { table, layout, first: 0, image: ImageId([3; 16]), cursor };
        feed.buckets(&key, &question).err()
    };
    let ahead = LogPosition { sequence: head.sequence + 1, ..head };
    let foreign = LogPosition { link: [0; 16], ..head };
    assert_eq!(question(head), None);
    assert_eq!(question(ahead), Some(PieceError::Behind));
    assert_eq!(question(foreign), Some(PieceError::Foreign));
}

/// What the writers of the store do.
#[derive(Clone, Copy, Debug)]
enum Act {
    Put(u8),
    Remove(u8),
}

fn api_key(number: u8, sequence: u64) -> wardgate_core::wire::ApiKeyRecord {
    serde_json::from_value(serde_json::json!({
        "id": number.to_string(), "environment": "live", "name": sequence.to_string(),
        "digest": wardgate_core::base64url::encode(&[1; 32]), "roles": [], "state": "active",
    }))
    .unwrap()
}

proptest! {
    /// The tables are read key by key while others write. Whatever is read when, with the log after
    /// the place where the reading began it comes to what the store has.
    #[test]
    fn a_scan_and_the_log_after_it_are_the_table_however_they_interleave(
        acts in proptest::collection::vec((0_u8..8, any::<bool>()), 0..80),
        begin in 0_usize..80,
        moments in proptest::collection::vec(0_usize..80, 8),
    ) {
        let acts: Vec<Act> =
            acts.into_iter().map(|(n, put)| if put { Act::Put(n) } else { Act::Remove(n) }).collect();
        let begin = begin.min(acts.len());
        // The value of each key after the first acts.
        let after = |acts: &[Act], number: u8| {
            let mut value = None;
            for (act, sequence) in acts.iter().zip(1_u64..) {
                match act {
                    Act::Put(n) if *n == number => value = Some(api_key(number, sequence)),
                    Act::Remove(n) if *n == number => value = None,
                    Act::Put(_) | Act::Remove(_) => {}
                }
            }
            value
        };
        let print = |number: u8| wardgate_core::feed::Fingerprint::of_api_key(&number.to_string());
        let at = begin as u64;
        let mut mirror = Mirror::new(position(at));
        for (number, moment) in (0_u8..8).zip(moments) {
            let moment = moment.clamp(begin, acts.len());
            if let Some(record) = after(&acts[..moment], number) {
                mirror.put_api_key(at, print(number), &record);
            }
        }
        for (act, sequence) in acts.iter().zip(1_u64..).skip(begin) {
            let kind = match act {
                Act::Put(n) => ChangeKind::ApiKey {
                    fingerprint: print(*n),
                    record: Box::new(api_key(*n, sequence)),
                },
                Act::Remove(n) => ChangeKind::ApiKeyGone { fingerprint: print(*n) },
            };
            let entry = serde_json::to_vec(&LogEntry { at_milliseconds: 1, kind }).unwrap();
            mirror.apply(position(sequence), &entry).unwrap();
        }
        let table = mirror.table(Table::ApiKeys);
        for number in 0_u8..8 {
            let found = table.find(&print(number));
            let found = found.map(|it| wardgate_core::feed::decode_api_key(it.content).unwrap());
            prop_assert_eq!(found, after(&acts, number));
        }
    }
}
