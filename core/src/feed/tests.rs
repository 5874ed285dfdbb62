use proptest::prelude::*;

use super::bucket::{Bucket, BucketKey, ImageId, Place, Record};
use super::{
    Filter, Fingerprint, Layout, Revocation, RevocationTarget, Table, decode_api_key,
    encode_api_key,
};
use crate::base64url;
use crate::secret::Secret;
use crate::time::UnixSeconds;
use crate::wire::{ApiKeyRecord, ApiKeyState, PreviousApiKey, RateLimitRecord};

fn fingerprint(number: u32) -> Fingerprint {
    Fingerprint::of("test", &[&number.to_be_bytes()])
}

fn key() -> BucketKey {
    BucketKey::new(&Secret::new(vec![7; 32]))
}

fn place() -> Place {
    Place { image: ImageId([1; 16]), table: Table::Revocations, index: 3 }
}

#[test]
fn parts_cannot_move_into_their_neighbours() {
    let of = |parts: &[&[u8]]| Fingerprint::of("kind", parts);
    assert_ne!(of(&[b"ab", b"c"]), of(&[b"a", b"bc"]));
    assert_ne!(of(&[b"abc"]), of(&[b"abc", b""]));
    assert_ne!(Fingerprint::of("a", &[b"b"]), Fingerprint::of("b", &[b"b"]));
    let token = RevocationTarget::Token { issuer: "i".to_owned(), token_id: "x".to_owned() };
    let session = RevocationTarget::Session { issuer: "i".to_owned(), session: "x".to_owned() };
    assert_ne!(token.fingerprint(), session.fingerprint());
}

#[test]
fn a_layout_has_at_most_sixteen_records_a_bucket_on_average() {
    for records in [0, 1, 1024, 1025, 999_999, 1_000_000, 5_000_000] {
        let layout = Layout::for_records(records);
        assert!(u64::from(layout.buckets()) * 16 >= records, "{records}");
        assert!(layout.filter_blocks() > 0);
    }
    assert_eq!(Layout::for_records(1_000_000).buckets(), 65_536);
    assert_eq!(Layout::for_records(u64::MAX).bucket_bits, 22);
    assert_eq!(Layout::checked(5), None);
    assert_eq!(Layout::checked(23), None);
}

#[test]
fn buckets_are_in_the_order_of_fingerprints() {
    let layout = Layout::for_records(100_000);
    let mut all: Vec<Fingerprint> = (0..1000).map(fingerprint).collect();
    all.sort();
    let buckets: Vec<u32> = all.iter().map(|one| layout.bucket_of(one)).collect();
    assert!(buckets.is_sorted());
    assert!(buckets.iter().all(|bucket| *bucket < layout.buckets()));
}

#[test]
fn the_filter_never_denies_what_is_there_and_rarely_admits_what_is_not() {
    let layout = Layout::for_records(16_384);
    let mut filter = Filter::new(layout);
    (0..16_384).for_each(|number| filter.insert(&fingerprint(number)));
    assert!((0..16_384).all(|number| filter.may_contain(&fingerprint(number))));
    let wrong = (100_000..200_000).filter(|n| filter.may_contain(&fingerprint(*n))).count();
    assert!(wrong < 2500, "{wrong} of 100000");
    assert!(Filter::default().may_contain(&fingerprint(1)), "an unfilled filter denies nothing");
}

#[test]
fn a_filter_travels_in_pieces() {
    let layout = Layout::for_records(5000);
    let mut filter = Filter::new(layout);
    (0..5000).for_each(|number| filter.insert(&fingerprint(number)));
    let mut copy = Filter::new(layout);
    let mut offset = 0;
    while offset < filter.len_bytes() {
        let piece = filter.bytes(offset, 4096);
        assert!(copy.merge_bytes(offset, &piece));
        offset += piece.len();
    }
    assert!((0..5000).all(|number| copy.may_contain(&fingerprint(number))));
    assert!(!copy.may_contain(&fingerprint(77_777)) || !copy.may_contain(&fingerprint(77_778)));
    assert!(!copy.merge_bytes(offset, &[0; 32]), "behind the end");
    assert!(!copy.merge_bytes(16, &[0; 32]), "in the middle of a block");
    assert!(!copy.merge_bytes(0, &[0; 31]), "half a block");
}

#[test]
fn a_bucket_opens_only_at_its_place_under_its_key_and_as_it_was() {
    let record = Record { fingerprint: fingerprint(1), sequence: 5, content: b"hello" };
    let sealed = key().seal(&place(), Bucket(&[]).with(&record, |_| true));
    assert_eq!(key().open(&place(), &sealed).unwrap().find(&fingerprint(1)), Some(record));
    let elsewhere = [
        Place { image: ImageId([2; 16]), ..place() },
        Place { table: Table::ApiKeys, ..place() },
        Place { index: 4, ..place() },
    ];
    for place in elsewhere {
        assert!(key().open(&place, &sealed).is_none(), "{place:?}");
    }
    assert!(BucketKey::new(&Secret::new(vec![8; 32])).open(&place(), &sealed).is_none());
    for index in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[index] ^= 1;
        assert!(key().open(&place(), &changed).is_none(), "byte {index}");
        assert!(key().open(&place(), &sealed[..index]).is_none(), "cut at {index}");
    }
}

#[test]
fn a_record_never_gives_way_to_an_older_one() {
    let record = |sequence, content| Record { fingerprint: fingerprint(1), sequence, content };
    let bytes = Bucket(&[]).with(&record(5, b"five"), |_| true);
    let bytes = Bucket(&bytes).with(&record(4, b"four"), |_| true);
    assert_eq!(Bucket(&bytes).find(&fingerprint(1)), Some(record(5, b"five")));
    assert_eq!(Bucket(&bytes).without(&fingerprint(1), 4), bytes);
    let bytes = Bucket(&bytes).with(&record(6, b"six"), |_| true);
    assert_eq!(Bucket(&bytes).records().collect::<Vec<_>>(), [record(6, b"six")]);
    assert!(Bucket(&bytes).without(&fingerprint(1), 6).is_empty());
}

#[test]
fn what_is_not_to_be_kept_leaves_when_another_comes() {
    let record =
        |number, content| Record { fingerprint: fingerprint(number), sequence: 1, content };
    let bytes = Bucket(&[]).with(&record(1, b"old"), |_| true);
    let bytes = Bucket(&bytes).with(&record(2, b"new"), |record| record.content != b"old");
    assert_eq!(Bucket(&bytes).records().collect::<Vec<_>>(), [record(2, b"new")]);
}

#[test]
fn a_revocation_matches_what_was_issued_until_its_moment() {
    let all = Revocation { fingerprint: fingerprint(1), issued_until: None, until: 9 };
    let old = Revocation { issued_until: Some(100), ..all };
    assert!(all.matches(None) && all.matches(Some(UnixSeconds(1000))));
    assert!(old.matches(None), "a token that does not say when it was issued counts as old");
    assert!(old.matches(Some(UnixSeconds(100))));
    assert!(!old.matches(Some(UnixSeconds(101))));
    for revocation in [all, old] {
        let read = Revocation::from_content(revocation.fingerprint, &revocation.content());
        assert_eq!(read, Some(revocation));
    }
    assert_eq!(Revocation::from_content(fingerprint(1), &[0; 15]), None);
}

fn api_key() -> ApiKeyRecord {
    ApiKeyRecord {
        id: "av5IXtFtXsvh".to_owned(),
        environment: "live".to_owned(),
        name: "ci".to_owned(),
        digest: base64url::encode(&[9; 32]),
        issuer: Some("https://auth.example.com".to_owned()),
        subject: Some("42".to_owned()),
        roles: vec!["viewer".to_owned(), "editor".to_owned()],
        scopes: Some(vec!["read".to_owned()]),
        expires_at: Some(2_000_000_000),
        state: ApiKeyState::Disabled,
        previous: Some(PreviousApiKey { digest: base64url::encode(&[8; 32]), until: 7 }),
        networks: vec!["10.0.0.0/8".to_owned()],
        rate_limit: Some(RateLimitRecord { requests: 60, period_seconds: 60 }),
    }
}

#[test]
fn an_api_key_comes_back_as_it_was() {
    let bare = ApiKeyRecord {
        issuer: None,
        subject: None,
        roles: Vec::new(),
        scopes: None,
        expires_at: None,
        state: ApiKeyState::Active,
        previous: None,
        networks: Vec::new(),
        rate_limit: None,
        ..api_key()
    };
    for record in [api_key(), bare] {
        let content = encode_api_key(&record).unwrap();
        assert_eq!(decode_api_key(&content), Ok(record));
        for length in 0..content.len() {
            assert!(decode_api_key(&content[..length]).is_err(), "cut at {length}");
        }
    }
}

#[test]
fn an_api_key_that_does_not_fit_is_refused() {
    let long = ApiKeyRecord { roles: vec!["r".repeat(1000); 70], ..api_key() };
    assert!(encode_api_key(&long).is_err());
    let no_digest = ApiKeyRecord { digest: "?".to_owned(), ..api_key() };
    assert!(encode_api_key(&no_digest).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_readers_fail_otherwise_than_in_order(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode_api_key(&bytes);
        let _ = Bucket(&bytes).records().count();
        let _ = key().open(&place(), &bytes);
    }

    #[test]
    fn a_bucket_holds_the_latest_of_each_record_in_whatever_order_they_come(
        changes in proptest::collection::vec((0_u32..8, 1_u64..100), 0..60)
    ) {
        let mut bytes = Vec::new();
        let mut latest = std::collections::BTreeMap::new();
        for (number, sequence) in changes {
            let content = sequence.to_be_bytes();
            let record = Record { fingerprint: fingerprint(number), sequence, content: &content };
            bytes = Bucket(&bytes).with(&record, |_| true);
            let known = latest.entry(number).or_insert(sequence);
            *known = sequence.max(*known);
        }
        prop_assert_eq!(Bucket(&bytes).records().count(), latest.len());
        for (number, sequence) in latest {
            prop_assert_eq!(Bucket(&bytes).find(&fingerprint(number)).unwrap().sequence, sequence);
        }
    }
}
