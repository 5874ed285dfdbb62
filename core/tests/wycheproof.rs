//! The signature vectors of Project Wycheproof through [`SoftwareSignatures`].
//!
//! What is valid there and refused here has its reason in [`Skip`]. A vector with a reason that
//! passes after all is a failure, and so is a reason that no vector needs.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test: what fails here is a finding"
)]

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wardgate_core::base64url;
use wardgate_core::jwk::{Key, KeyOrigin, KeySet};
use wardgate_core::token::{Algorithm, SignatureCheck, SignatureVerdict, SoftwareSignatures};
use wycheproof::{TestResult, ecdsa, eddsa, mac, rsa_pkcs1_verify, rsa_pss_verify};

/// Why vectors that are valid by their own standard are refused here.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Skip {
    /// RFC 7518 §3.5: the salt is as long as the hash. These vectors have another length.
    SaltLength,
    /// RFC 7518 §3.5: MGF1 uses the same hash as the message. These vectors mix two.
    MaskHash,
    /// RFC 7518 §3.2: the tag is not truncated.
    TruncatedTag,
    /// RFC 7518 §3.2: the secret is at least as long as the hash.
    ShortSecret,
    /// "Acceptable" there, because some old signers leave the NULL of the hash algorithm away;
    /// RFC 8017 §9.2 compares whole encodings, so that no second one is valid.
    MissingNull,
}

struct Vector<'a> {
    name: String,
    message: &'a [u8],
    signature: &'a [u8],
    result: TestResult,
    skip: Option<Skip>,
}

/// What was seen of one family of vectors.
#[derive(Default)]
struct Tally {
    accepted: usize,
    refused: usize,
    skipped: BTreeMap<Skip, usize>,
}

impl Tally {
    #[track_caller]
    fn check(&mut self, key: Option<&Key>, algorithm: Algorithm, vector: &Vector<'_>) {
        let verdict = key.map_or(SignatureVerdict::Invalid, |key| {
            SoftwareSignatures.check(algorithm, key, vector.message, vector.signature)
        });
        let name = &vector.name;
        match (vector.result, verdict, vector.skip) {
            (TestResult::Valid, SignatureVerdict::Valid, None) => self.accepted += 1,
            (TestResult::Invalid, SignatureVerdict::Invalid, _) => self.refused += 1,
            (TestResult::Valid | TestResult::Acceptable, SignatureVerdict::Invalid, Some(skip)) => {
                *self.skipped.entry(skip).or_default() += 1;
            }
            (result, verdict, skip) => {
                panic!("{name}: {result:?} there, {verdict:?} here, skip {skip:?}");
            }
        }
    }

    #[track_caller]
    fn check_totals(&self, accepted: usize, refused: usize, skipped: &[(Skip, usize)]) {
        let found: Vec<(Skip, usize)> =
            self.skipped.iter().map(|(skip, count)| (*skip, *count)).collect();
        assert_eq!(
            (self.accepted, self.refused, found.as_slice()),
            (accepted, refused, skipped),
            "the vectors changed, or what is accepted of them did"
        );
    }
}

fn parse_key(jwk: &Value) -> Option<Key> {
    let set = json!({"keys": [jwk]});
    let (keys, _) = KeySet::parse(set.as_object().unwrap(), KeyOrigin::Configured).unwrap();
    keys.iter().next().cloned()
}

/// The number as a JWK wants it, without the zeros in front.
fn number(bytes: &[u8]) -> String {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    base64url::encode(&bytes[start..])
}

/// The number as a coordinate of `length` bytes.
fn coordinate(bytes: &[u8], length: usize) -> String {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let mut padded = vec![0; length];
    padded[length + start - bytes.len()..].copy_from_slice(&bytes[start..]);
    base64url::encode(&padded)
}

#[track_caller]
fn check_ecdsa(name: ecdsa::TestName, algorithm: Algorithm, curve: &str, length: usize) -> Tally {
    let mut tally = Tally::default();
    for group in ecdsa::TestSet::load(name).unwrap().test_groups {
        let key = parse_key(&json!({"kty": "EC", "crv": curve,
            "x": coordinate(&group.key.affine_x, length),
            "y": coordinate(&group.key.affine_y, length)}));
        let key = key.expect("every key of these vectors is usable");
        assert_eq!(key.spki_der(), Some(group.der.as_slice()), "the DER of the key");
        for test in &group.tests {
            let name = format!("{name:?} {} {}", test.tc_id, test.comment);
            let (message, signature, result) = (&test.msg, &test.sig, test.result);
            tally.check(
                Some(&key),
                algorithm,
                &Vector { name, message, signature, result, skip: None },
            );
        }
    }
    tally
}

#[test]
fn es256() {
    let name = ecdsa::TestName::EcdsaSecp256r1Sha256P1363;
    check_ecdsa(name, Algorithm::Es256, "P-256", 32).check_totals(173, 89, &[]);
}

#[test]
fn es384() {
    let name = ecdsa::TestName::EcdsaSecp384r1Sha384P1363;
    check_ecdsa(name, Algorithm::Es384, "P-384", 48).check_totals(193, 87, &[]);
}

#[test]
fn es512() {
    let name = ecdsa::TestName::EcdsaSecp521r1Sha512P1363;
    check_ecdsa(name, Algorithm::Es512, "P-521", 66).check_totals(231, 87, &[]);
}

#[test]
fn eddsa() {
    let mut tally = Tally::default();
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
        let x = base64url::encode(&group.key.pk);
        let key = parse_key(&json!({"kty": "OKP", "crv": "Ed25519", "x": x}));
        let key = key.expect("every key of these vectors is usable");
        for test in &group.tests {
            let name = format!("Ed25519 {} {}", test.tc_id, test.comment);
            let (message, signature, result) = (&test.msg, &test.sig, test.result);
            tally.check(
                Some(&key),
                Algorithm::EdDsa,
                &Vector { name, message, signature, result, skip: None },
            );
        }
    }
    tally.check_totals(88, 63, &[]);
}

#[test]
fn rs256_rs384_rs512() {
    use rsa_pkcs1_verify::{TestFlag, TestName, TestSet};
    let sets = [
        (TestName::Rsa2048Sha256, Algorithm::Rs256),
        (TestName::Rsa2048Sha384, Algorithm::Rs384),
        (TestName::Rsa2048Sha512, Algorithm::Rs512),
        (TestName::Rsa3072Sha256, Algorithm::Rs256),
        (TestName::Rsa3072Sha384, Algorithm::Rs384),
        (TestName::Rsa3072Sha512, Algorithm::Rs512),
        (TestName::Rsa4096Sha256, Algorithm::Rs256),
        (TestName::Rsa4096Sha384, Algorithm::Rs384),
        (TestName::Rsa4096Sha512, Algorithm::Rs512),
        (TestName::Rsa8192Sha256, Algorithm::Rs256),
        (TestName::Rsa8192Sha384, Algorithm::Rs384),
        (TestName::Rsa8192Sha512, Algorithm::Rs512),
    ];
    let mut tally = Tally::default();
    for (name, algorithm) in sets {
        for group in TestSet::load(name).unwrap().test_groups {
            let (n, e) = (number(&group.key.n), number(&group.key.e));
            let key = parse_key(&json!({"kty": "RSA", "n": n, "e": e}));
            let key = key.expect("every key of these vectors is usable");
            assert_eq!(key.spki_der(), Some(group.der.as_slice()), "the DER of the key");
            for test in &group.tests {
                let skip = test.flags.contains(&TestFlag::MissingNull).then_some(Skip::MissingNull);
                let name = format!("{name:?} {} {}", test.tc_id, test.comment);
                let (message, signature, result) = (&test.msg, &test.sig, test.result);
                tally.check(
                    Some(&key),
                    algorithm,
                    &Vector { name, message, signature, result, skip },
                );
            }
        }
    }
    tally.check_totals(89, 3005, &[(Skip::MissingNull, 12)]);
}

#[test]
fn ps256_ps384_ps512() {
    use rsa_pss_verify::{TestName, TestSet};
    let sets = [
        (TestName::RsaPss2048Sha256Mgf1SaltLen32, Algorithm::Ps256, 32, None),
        (TestName::RsaPss3072Sha256Mgf1SaltLen32, Algorithm::Ps256, 32, None),
        (TestName::RsaPss4096Sha256Mgf1SaltLen32, Algorithm::Ps256, 32, None),
        (TestName::RsaPss2048Sha384Mgf1SaltLen48, Algorithm::Ps384, 48, None),
        (TestName::RsaPss4096Sha384Mgf1SaltLen48, Algorithm::Ps384, 48, None),
        (TestName::RsaPss4096Sha512Mgf1SaltLen64, Algorithm::Ps512, 64, None),
        (TestName::RsaPss2048Sha256Mgf1SaltLen0, Algorithm::Ps256, 32, Some(Skip::SaltLength)),
        (TestName::RsaPss4096Sha512Mgf1SaltLen32, Algorithm::Ps512, 64, Some(Skip::SaltLength)),
        (TestName::RsaPss2048Sha256Mgf1Sha1_20, Algorithm::Ps256, 32, Some(Skip::MaskHash)),
    ];
    let mut tally = Tally::default();
    for (name, algorithm, hash_bytes, skip) in sets {
        for group in TestSet::load(name).unwrap().test_groups {
            let (n, e) = (number(&group.key.n), number(&group.key.e));
            let key = parse_key(&json!({"kty": "RSA", "n": n, "e": e}));
            let key = key.expect("every key of these vectors is usable");
            assert_eq!(key.spki_der(), Some(group.der.as_slice()), "the DER of the key");
            for test in &group.tests {
                let name = format!("{name:?} {} {}", test.tc_id, test.comment);
                // Invalid under a set's own salt length, and just right by RFC 7518.
                let has_jws_salt = skip == Some(Skip::SaltLength)
                    && test.comment == format!("s_len changed to {hash_bytes}");
                let (result, skip) =
                    if has_jws_salt { (TestResult::Valid, None) } else { (test.result, skip) };
                let (message, signature) = (&test.msg, &test.sig);
                tally.check(
                    Some(&key),
                    algorithm,
                    &Vector { name, message, signature, result, skip },
                );
            }
        }
    }
    tally.check_totals(512, 405, &[(Skip::SaltLength, 193), (Skip::MaskHash, 63)]);
}

#[test]
fn hs256_hs384_hs512() {
    use mac::{TestName, TestSet};
    let sets = [
        (TestName::HmacSha256, Algorithm::Hs256, 32),
        (TestName::HmacSha384, Algorithm::Hs384, 48),
        (TestName::HmacSha512, Algorithm::Hs512, 64),
    ];
    let mut tally = Tally::default();
    for (name, algorithm, hash_bytes) in sets {
        for group in TestSet::load(name).unwrap().test_groups {
            for test in &group.tests {
                let key = parse_key(&json!({"kty": "oct", "k": base64url::encode(&test.key)}));
                let skip = if test.key.len() < hash_bytes {
                    Some(Skip::ShortSecret)
                } else {
                    (test.tag.len() < hash_bytes).then_some(Skip::TruncatedTag)
                };
                let name = format!("{name:?} {} {}", test.tc_id, test.comment);
                let (message, signature, result) = (&test.msg, &test.tag, test.result);
                let vector = Vector { name, message, signature, result, skip };
                tally.check(key.as_ref(), algorithm, &vector);
            }
        }
    }
    tally.check_totals(90, 324, &[(Skip::TruncatedTag, 90), (Skip::ShortSecret, 18)]);
}
