use proptest::prelude::*;

use super::{ApiKey, GENERATE_RANDOM_BYTES, GenerateApiKeyError, ParseApiKeyError};
use crate::secret::Secret;

fn key(seed: u8) -> ApiKey {
    let random: [u8; GENERATE_RANDOM_BYTES] =
        core::array::from_fn(|index| seed.wrapping_add(u8::try_from(index % 200).unwrap()));
    ApiKey::generate("test", &random).unwrap()
}

#[track_caller]
fn refused(text: &str, expected: ParseApiKeyError) {
    assert_eq!(ApiKey::parse(text.as_bytes()).err(), Some(expected));
}

#[test]
fn a_made_key_parses_and_names_its_parts() {
    let made = key(7);
    let parsed = ApiKey::parse(made.expose().as_bytes()).unwrap();
    assert_eq!(parsed.expose(), made.expose());
    assert_eq!(parsed.environment(), "test");
    assert_eq!(parsed.id().len(), 12);
    assert_eq!(parsed.id(), &made.expose()[8..20]);
}

#[test]
fn a_key_of_known_bytes_has_a_known_checksum() {
    // Computed with Python's zlib.crc32 of the same bytes.
    assert_eq!(super::checksum(b"123456789"), *b"3jZRME");
}

#[test]
fn wrong_forms_are_refused() {
    let good = key(3).expose().to_owned();
    refused("", ParseApiKeyError::Form);
    refused("wg_", ParseApiKeyError::Form);
    refused(&good.replace("wg_", "wx_"), ParseApiKeyError::Form);
    refused(&good.replace("test", "Test"), ParseApiKeyError::Form);
    refused(&good.replace("test", ""), ParseApiKeyError::Form);
    refused(&format!("{good}_"), ParseApiKeyError::Form);
    refused(&good[..good.len() - 1], ParseApiKeyError::Form);
    refused(&"w".repeat(10_000), ParseApiKeyError::Form);
    refused(&good.replace("test", "abcdefghijklmnopq"), ParseApiKeyError::Form);
}

#[test]
fn a_changed_letter_breaks_the_checksum() {
    let good = key(3).expose().to_owned();
    for index in 8..good.len() {
        let mut bytes = good.clone().into_bytes();
        if bytes[index] == b'_' {
            continue;
        }
        bytes[index] = if bytes[index] == b'0' { b'1' } else { b'0' };
        let changed = String::from_utf8(bytes).unwrap();
        refused(&changed, ParseApiKeyError::Checksum);
    }
}

#[test]
fn a_dump_shows_the_id_and_not_the_secret() {
    let key = key(5);
    let dump = format!("{key:?}");
    assert!(dump.contains(key.id()));
    assert!(!dump.contains(&key.expose()[20..52]));
}

#[test]
fn the_digest_depends_on_key_and_digest_key() {
    let (one, two) = (Secret::new(vec![1; 32]), Secret::new(vec![2; 32]));
    assert_eq!(key(1).digest(&one), key(1).digest(&one));
    assert_ne!(key(1).digest(&one), key(2).digest(&one));
    assert_ne!(key(1).digest(&one), key(1).digest(&two));
}

#[test]
fn a_bad_environment_or_too_little_randomness_is_refused() {
    let random = [1; GENERATE_RANDOM_BYTES];
    for environment in ["", "UP", "a_b", "abcdefghijklmnopq"] {
        let made = ApiKey::generate(environment, &random);
        assert_eq!(made.err(), Some(GenerateApiKeyError::Environment));
    }
    let unusable = ApiKey::generate("test", &[255; GENERATE_RANDOM_BYTES]);
    assert_eq!(unusable.err(), Some(GenerateApiKeyError::Randomness));
}

proptest! {
    #[test]
    fn parsing_never_panics_and_never_accepts_junk(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        prop_assert!(ApiKey::parse(&bytes).is_err());
    }

    #[test]
    fn every_made_key_parses(random in prop::collection::vec(any::<u8>(), GENERATE_RANDOM_BYTES)) {
        let random: [u8; GENERATE_RANDOM_BYTES] = random.try_into().unwrap();
        if let Ok(key) = ApiKey::generate("ci", &random) {
            prop_assert!(ApiKey::parse(key.expose().as_bytes()).is_ok());
        }
    }
}

#[test]
fn a_key_is_made_again_under_its_id_with_another_secret() {
    let old = key(7);
    let random = [9; GENERATE_RANDOM_BYTES];
    let new = ApiKey::generate_for("test", old.id(), &random).unwrap();
    assert_eq!((new.id(), new.environment()), (old.id(), "test"));
    assert_ne!(new.expose(), old.expose());
    assert!(ApiKey::parse(new.expose().as_bytes()).is_ok());
    for wrong in ["", "short", "av5IXtFtXsv_", "av5IXtFtXsvhx", "av5IXtFtXsé"] {
        let refused = ApiKey::generate_for("test", wrong, &random).err();
        assert_eq!(refused, Some(GenerateApiKeyError::Id), "{wrong}");
    }
}

#[test]
fn the_last_four_letters_are_of_the_secret_and_not_of_the_checksum() {
    let made = key(7);
    let (rest, _) = made.expose().rsplit_once('_').unwrap();
    assert_eq!(made.last_four(), &rest[rest.len() - 4..]);
}
