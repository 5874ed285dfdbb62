use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{KeyOrigin, KeySet, KeyType, MAX_KEYS, ParseKeySetError, WhySkipped};
use crate::base64url;
use crate::secret::Secret;
use crate::token::Algorithm;

/// The keys of RFC 7515 §A.2 to §A.4 and RFC 8037 §A.2.
fn rsa() -> Value {
    json!({"kty": "RSA", "kid": "rsa", "e": "AQAB", "n": concat!(
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4",
        "d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5re",
        "xMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxX",
        "FvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
    )})
}

fn p256() -> Value {
    json!({"kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})
}

fn p521() -> Value {
    json!({"kty": "EC", "crv": "P-521",
        "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
        "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"})
}

fn ed25519() -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
}

fn oct() -> Value {
    json!({"kty": "oct", "k": base64url::encode(&[7; 32])})
}

/// `value` with the members of `changes`; null takes a member away.
fn with(mut value: Value, changes: &Value) -> Value {
    let members = value.as_object_mut().unwrap();
    for (name, member) in changes.as_object().unwrap() {
        members.shift_remove(name);
        if !member.is_null() {
            members.insert(name.clone(), member.clone());
        }
    }
    value
}

fn set(keys: &[Value]) -> Map<String, Value> {
    json!({"keys": keys}).as_object().unwrap().clone()
}

#[track_caller]
fn accepted(key: Value) -> super::Key {
    let (keys, skipped) = KeySet::parse(&set(&[key]), KeyOrigin::Configured).unwrap();
    assert_eq!(skipped, []);
    keys.iter().next().unwrap().clone()
}

#[track_caller]
fn check_skipped(key: &Value, origin: KeyOrigin, expected: WhySkipped) {
    let (keys, skipped) = KeySet::parse(&set(&[key.clone(), p256()]), origin).unwrap();
    assert_eq!(keys.len(), 1, "the key beside it is used");
    let why: Vec<WhySkipped> = skipped.iter().map(|skipped| skipped.why).collect();
    assert_eq!(why, [expected], "{key}");
}

#[track_caller]
fn check(key: &Value, expected: WhySkipped) {
    check_skipped(key, KeyOrigin::Configured, expected);
}

#[test]
fn each_kind_of_key_fits_its_algorithms_and_no_other() {
    let fits = |key: Value| {
        let key = accepted(key);
        let words = Algorithm::ALL.iter().filter(|algorithm| key.fits(**algorithm));
        let words: Vec<&str> = words.map(|algorithm| algorithm.word()).collect();
        (key.key_type(), words.join(" "))
    };
    let p384 = json!({"kty": "EC", "crv": "P-384",
        "x": base64url::encode(&[1; 48]), "y": base64url::encode(&[2; 48])});
    assert_eq!(fits(rsa()), (KeyType::Rsa, "RS256 RS384 RS512 PS256 PS384 PS512".to_owned()));
    assert_eq!(fits(p256()), (KeyType::EcP256, "ES256".to_owned()));
    assert_eq!(fits(p384), (KeyType::EcP384, "ES384".to_owned()));
    assert_eq!(fits(p521()), (KeyType::EcP521, "ES512".to_owned()));
    assert_eq!(fits(ed25519()), (KeyType::Ed25519, "EdDSA".to_owned()));
    assert_eq!(fits(oct()), (KeyType::Hmac, "HS256".to_owned()));
    let long = json!({"kty": "oct", "k": base64url::encode(&[7; 64])});
    assert_eq!(fits(long), (KeyType::Hmac, "HS256 HS384 HS512".to_owned()));
}

#[test]
fn the_alg_of_a_key_leaves_only_that_algorithm() {
    let key = accepted(with(rsa(), &json!({"alg": "PS384", "use": "sig", "key_ops": ["verify"]})));
    assert_eq!(key.algorithm(), Some(Algorithm::Ps384));
    assert!(key.fits(Algorithm::Ps384));
    assert!(!key.fits(Algorithm::Rs256));
}

#[test]
fn a_text_that_is_no_key_set_is_an_error() {
    let parse = |set: Value| {
        KeySet::parse(set.as_object().unwrap(), KeyOrigin::Fetched).map(|(keys, _)| keys.len())
    };
    assert_eq!(parse(json!({})), Err(ParseKeySetError::KeysMissing));
    assert_eq!(parse(rsa()), Err(ParseKeySetError::KeysMissing));
    assert_eq!(parse(json!({"keys": {}})), Err(ParseKeySetError::KeysNotAList));
    assert_eq!(parse(json!({"keys": []})), Ok(0));
    assert_eq!(parse(json!({"keys": vec![p256(); MAX_KEYS]})), Ok(MAX_KEYS));
    let found = MAX_KEYS + 1;
    let many = json!({"keys": vec![p256(); found]});
    assert_eq!(parse(many), Err(ParseKeySetError::TooManyKeys { found }));
}

#[test]
fn keys_of_unknown_kinds_are_skipped() {
    check(&json!("x"), WhySkipped::NotAnObject);
    check(&json!({}), WhySkipped::TypeMissing);
    check(&json!({"kty": 1}), WhySkipped::TypeMissing);
    check(&json!({"kty": "rsa"}), WhySkipped::TypeUnknown);
    check(&json!({"kty": "AKP"}), WhySkipped::TypeUnknown);
    check(&with(p256(), &json!({"crv": "secp256k1"})), WhySkipped::CurveUnknown);
    check(&with(p256(), &json!({"crv": null})), WhySkipped::CurveUnknown);
    check(&with(ed25519(), &json!({"crv": "Ed448"})), WhySkipped::CurveUnknown);
    check(&with(ed25519(), &json!({"crv": "X25519"})), WhySkipped::CurveUnknown);
}

#[test]
fn keys_for_other_purposes_are_skipped() {
    for purpose in [json!("enc"), json!("x"), json!(1)] {
        check(&with(rsa(), &json!({"use": purpose})), WhySkipped::UseRefused);
    }
    for operations in [
        json!(["sign"]),
        json!([]),
        json!("verify"),
        json!(["verify", 1]),
        json!(["verify", "verify"]),
    ] {
        check(&with(rsa(), &json!({"key_ops": operations})), WhySkipped::OperationsRefused);
    }
    accepted(with(rsa(), &json!({"key_ops": ["verify", "sign"]})));
}

#[test]
fn an_alg_that_is_not_one_of_the_keys_type_is_refused() {
    for (key, algorithm) in [
        (rsa(), "RSA-OAEP"),
        (rsa(), "ES256"),
        (rsa(), "HS256"),
        (p256(), "ES384"),
        (oct(), "RS256"),
    ] {
        check(&with(key, &json!({"alg": algorithm})), WhySkipped::AlgorithmRefused);
    }
    check(&with(rsa(), &json!({"alg": 1})), WhySkipped::AlgorithmRefused);
}

#[test]
fn a_kid_must_be_a_string_of_bounded_length() {
    check(&with(rsa(), &json!({"kid": 1})), WhySkipped::KeyIdInvalid);
    check(&with(rsa(), &json!({"kid": "k".repeat(257)})), WhySkipped::KeyIdInvalid);
    assert_eq!(accepted(rsa()).key_id(), Some("rsa"));
}

#[test]
fn a_private_key_is_refused_and_not_shown() {
    for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        check(&with(rsa(), &json!({name: "AQAB"})), WhySkipped::PrivateKey);
    }
    check(&with(p256(), &json!({"d": "x"})), WhySkipped::PrivateKey);
    check(&with(ed25519(), &json!({"d": null, "k": "x"})), WhySkipped::PrivateKey);
    let key = with(p256(), &json!({"d": "the private number", "kid": "leaked"}));
    let (_, skipped) = KeySet::parse(&set(&[key]), KeyOrigin::Configured).unwrap();
    let shown = format!("{skipped:?} {}", skipped[0].why);
    assert!(shown.contains("leaked") && shown.contains("must not stand in a key set"), "{shown}");
    assert!(!shown.contains("the private number"), "{shown}");
}

#[test]
fn a_symmetric_key_is_used_only_when_configured() {
    check_skipped(&oct(), KeyOrigin::Fetched, WhySkipped::SymmetricKeyFetched);
    let key = accepted(oct());
    let shown = format!("{key:?}");
    assert!(!shown.contains("7, 7"), "{shown}");
}

#[test]
fn a_short_symmetric_key_is_refused() {
    let of = |bytes: usize| json!({"kty": "oct", "k": base64url::encode(&vec![7; bytes])});
    check(&of(31), WhySkipped::SecretTooShort);
    check(&json!({"kty": "oct", "k": ""}), WhySkipped::SecretTooShort);
    check(&json!({"kty": "oct"}), WhySkipped::NumberInvalid);
    check(&with(of(47), &json!({"alg": "HS384"})), WhySkipped::SecretTooShort);
    accepted(with(of(48), &json!({"alg": "HS384"})));
}

#[test]
fn rsa_numbers_must_be_canonical() {
    for name in ["n", "e"] {
        for bad in [json!(null), json!(1), json!(""), json!("AQAB="), json!("AAEAAQ"), json!("é")]
        {
            check(&with(rsa(), &json!({name: bad})), WhySkipped::NumberInvalid);
        }
    }
}

#[test]
fn rsa_keys_that_are_too_short_or_too_long_are_refused() {
    let of = |first: u8, bytes: usize| {
        let mut modulus = vec![0xff; bytes];
        modulus[0] = first;
        with(rsa(), &json!({"n": base64url::encode(&modulus)}))
    };
    check(&of(0x7f, 256), WhySkipped::RsaLengthRefused);
    check(&of(0xff, 128), WhySkipped::RsaLengthRefused);
    assert_eq!(accepted(of(0x80, 256)).rsa_bits(), Some(2048));
    assert_eq!(accepted(of(0xff, 1024)).rsa_bits(), Some(8192));
    check(&of(0xff, 1025), WhySkipped::NumberInvalid);
}

#[test]
fn rsa_numbers_that_no_key_has_are_refused() {
    let exponent = |bytes: &[u8]| with(rsa(), &json!({"e": base64url::encode(bytes)}));
    for bytes in [&[1][..], &[2], &[1, 0, 0], &[2, 0, 0, 0, 1], &[1, 0, 0, 0, 0, 1]] {
        check(&exponent(bytes), WhySkipped::RsaNumbersRefused);
    }
    accepted(exponent(&[3]));
    accepted(exponent(&[1, 0xff, 0xff, 0xff, 0xff]));
    let even = base64url::encode(&[0xfe; 256]);
    check(&with(rsa(), &json!({"n": even})), WhySkipped::RsaNumbersRefused);
}

#[test]
fn coordinates_must_have_the_full_length_of_the_curve() {
    for length in [0, 31, 33, 48] {
        let short = base64url::encode(&vec![1; length]);
        check(&with(p256(), &json!({"x": short})), WhySkipped::NumberInvalid);
        check(&with(p256(), &json!({"y": short})), WhySkipped::NumberInvalid);
        check(&with(ed25519(), &json!({"x": short})), WhySkipped::NumberInvalid);
    }
    check(&with(p521(), &json!({"x": base64url::encode(&[1; 65])})), WhySkipped::NumberInvalid);
}

#[test]
fn points_that_can_be_no_key_are_refused() {
    check(&with(p521(), &json!({"y": base64url::encode(&[1; 66])})), WhySkipped::PointRefused);
    let mut identity = [0; 32];
    identity[0] = 1;
    for small_order in [[0; 32], identity] {
        let x = base64url::encode(&small_order);
        check(&with(ed25519(), &json!({"x": x})), WhySkipped::PointRefused);
    }
    check(&with(ed25519(), &json!({"x": base64url::encode(&[2; 32])})), WhySkipped::PointRefused);
}

#[test]
fn what_was_skipped_is_named_by_place_and_kid() {
    let bad = with(rsa(), &json!({"kid": "old", "use": "enc"}));
    let (keys, skipped) = KeySet::parse(&set(&[p256(), bad]), KeyOrigin::Fetched).unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!((skipped[0].index, skipped[0].key_id.as_deref()), (1, Some("old")));
    assert_eq!(skipped[0].to_string(), "key 1 (`old`) is not used: `use` is not `sig`");
}

#[test]
fn sets_are_merged_in_order_and_keep_equal_kids() {
    let (first, _) = KeySet::parse(&set(&[rsa()]), KeyOrigin::Configured).unwrap();
    let (second, _) = KeySet::parse(&set(&[rsa(), p256()]), KeyOrigin::Fetched).unwrap();
    let both = KeySet::merged(first, second);
    assert_eq!(both.len(), 3);
    assert!(!both.is_empty());
    assert_eq!(both.named(Some("rsa")).count(), 2);
    assert_eq!(both.named(None).count(), 3);
    let secret = KeySet::from_hmac_secret(Secret::new(vec![1; 32]));
    assert_eq!(KeySet::merged(KeySet::default(), secret).len(), 1);
}

#[track_caller]
fn check_spki(key: Value, start: &[u8], length: usize) {
    let key = accepted(key);
    let der = key.spki_der().unwrap();
    assert_eq!(&der[..start.len()], start);
    assert_eq!(der.len(), length);
}

/// The whole encoding is compared with that of others by the Wycheproof test.
#[test]
fn public_keys_are_encoded_as_subject_public_key_info() {
    check_spki(rsa(), &[0x30, 0x82, 0x01, 0x22, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48], 294);
    check_spki(p256(), &[0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce], 91);
    check_spki(p521(), &[0x30, 0x81, 0x9b, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48], 158);
    assert_eq!(accepted(ed25519()).spki_der(), None);
    assert_eq!(accepted(oct()).spki_der(), None);
}

proptest! {
    #[test]
    fn arbitrary_members_never_panic(
        kty in "RSA|EC|OKP|oct|x",
        crv in "P-256|P-384|P-521|Ed25519",
        bytes in proptest::collection::vec(any::<u8>(), 0..1100),
        split in 0..1100_usize,
    ) {
        let (a, b) = bytes.split_at(split.min(bytes.len()));
        let (a, b) = (base64url::encode(a), base64url::encode(b));
        let key = json!({"kty": kty, "crv": crv, "x": a, "y": b, "n": a, "e": b});
        let _ = KeySet::parse(&set(&[key]), KeyOrigin::Configured);
    }
}
