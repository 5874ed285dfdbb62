use std::cell::Cell;

use super::*;

fn key_set(keys: &Value) -> KeySet {
    let set = json!({"keys": keys});
    let (keys, skipped) = KeySet::parse(set.as_object().unwrap(), KeyOrigin::Configured).unwrap();
    assert_eq!(skipped, []);
    keys
}

fn oct(kid: Option<&str>, secret: &[u8]) -> Value {
    let key = json!({"kty": "oct", "k": base64url::encode(secret)});
    kid.map_or(key.clone(), |kid| with(key, &json!({"kid": kid})))
}

#[track_caller]
fn check_keys(keys: &Value, header_changes: &Value, expected: Result<(), Reason>) {
    let token = sign(&with(header(), header_changes).to_string(), &claims().to_string());
    let result = decide(token.as_bytes(), &rules(), &key_set(keys));
    assert_eq!(result.map(|_| ()), expected);
}

#[test]
fn a_wrong_signature_is_refused() {
    check_keys(&json!([oct(None, &[7; 32])]), &json!({}), Err(Reason::TokenSignatureInvalid));
}

#[test]
fn an_algorithm_that_the_issuer_may_not_use_is_refused() {
    let only_rsa: fn(&mut IssuerRules) = |rules| rules.algorithms = vec![Algorithm::Rs256];
    check_rules(only_rsa, &json!({}), Err(Reason::TokenAlgorithmRefused));
    let nothing: fn(&mut IssuerRules) = |rules| rules.algorithms.clear();
    check_rules(nothing, &json!({}), Err(Reason::TokenAlgorithmRefused));
}

#[test]
fn slow_and_shared_algorithms_are_not_in_the_default() {
    for explicit in [Algorithm::Es512, Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512] {
        assert!(!Algorithm::DEFAULT.contains(&explicit));
    }
}

#[test]
fn a_key_is_chosen_by_its_exact_kid() {
    let keys = json!([oct(Some("a"), &[7; 32]), oct(Some("b"), SECRET)]);
    check_keys(&keys, &json!({"kid": "b"}), Ok(()));
    check_keys(&keys, &json!({"kid": "a"}), Err(Reason::TokenSignatureInvalid));
    check_keys(&keys, &json!({"kid": "B"}), Err(Reason::TokenKeyUnknown));
    check_keys(&keys, &json!({"kid": ""}), Err(Reason::TokenKeyUnknown));
    check_keys(&json!([oct(None, SECRET)]), &json!({"kid": "b"}), Err(Reason::TokenKeyUnknown));
}

#[test]
fn keys_with_the_same_kid_are_all_tried() {
    let keys = json!([oct(Some("a"), &[7; 32]), oct(Some("a"), SECRET)]);
    check_keys(&keys, &json!({"kid": "a"}), Ok(()));
}

#[test]
fn without_a_kid_four_keys_are_tried_and_no_fifth() {
    let wrong = oct(Some("w"), &[7; 32]);
    let right = oct(Some("r"), SECRET);
    check_keys(&json!([wrong, wrong, wrong, right]), &json!({}), Ok(()));
    check_keys(
        &json!([wrong, wrong, wrong, wrong, right]),
        &json!({}),
        Err(Reason::TokenSignatureInvalid),
    );
}

#[test]
fn keys_that_do_not_fit_are_not_counted_as_tried() {
    let other = with(oct(None, &[7; 64]), &json!({"alg": "HS512"}));
    let keys = json!([other, other, other, other, other, oct(None, SECRET)]);
    check_keys(&keys, &json!({}), Ok(()));
}

#[test]
fn the_alg_of_a_key_restricts_it() {
    let keys = json!([with(oct(None, SECRET), &json!({"alg": "HS384"}))]);
    check_keys(&keys, &json!({}), Err(Reason::TokenKeyUnknown));
}

#[test]
fn an_hmac_secret_shorter_than_the_hash_is_not_used() {
    let mut rules = rules();
    rules.algorithms = vec![Algorithm::Hs256, Algorithm::Hs512];
    let token = sign(r#"{"alg":"HS512"}"#, &claims().to_string());
    let result = decide(token.as_bytes(), &rules, &keys());
    assert_eq!(result.map(|_| ()), Err(Reason::TokenKeyUnknown));
    let short = KeySet::from_hmac_secret(Secret::new(vec![1; 31]));
    let token = sign(&header().to_string(), &claims().to_string());
    let result = decide(token.as_bytes(), &rules, &short);
    assert_eq!(result.map(|_| ()), Err(Reason::TokenKeyUnknown));
}

fn rsa(bytes: usize) -> Value {
    let mut modulus = vec![0xff; bytes];
    modulus[1] = 0xfe;
    json!({"kty": "RSA", "n": base64url::encode(&modulus), "e": "AQAB"})
}

#[test]
fn an_rsa_key_is_no_hmac_secret() {
    // The attack: sign with HMAC under the public key, in any encoding of it.
    let keys = key_set(&json!([rsa(256)]));
    let spki = keys.iter().next().unwrap().spki_der().unwrap().to_vec();
    let input = sign(&header().to_string(), &claims().to_string());
    let (input, _) = input.rsplit_once('.').unwrap();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &spki), input.as_bytes());
    let token = format!("{input}.{}", base64url::encode(tag.as_ref()));
    let result = decide(token.as_bytes(), &rules(), &keys);
    assert_eq!(result.map(|_| ()), Err(Reason::TokenKeyUnknown));
}

/// Accepts everything, and counts how often it is asked.
#[derive(Default)]
struct Gullible(Cell<usize>);

impl SignatureCheck for Gullible {
    fn check(&self, _: Algorithm, _: &Key, _: &[u8], _: &[u8]) -> SignatureVerdict {
        self.0.set(self.0.get().saturating_add(1));
        SignatureVerdict::Valid
    }
}

#[track_caller]
fn check_large_rsa(is_allowed: bool, key_bytes: usize, expected: Result<(), Reason>) {
    let mut rules = rules();
    rules.allow_rsa_above_4096_bits = is_allowed;
    let payload = base64url::encode(claims().to_string().as_bytes());
    let signature = base64url::encode(&vec![1; key_bytes]);
    let token = format!("{}.{payload}.{signature}", base64url::encode(br#"{"alg":"RS256"}"#));
    let token = UnverifiedToken::parse(token.as_bytes(), LIMIT).unwrap();
    let result = verify(&token, &rules, &key_set(&json!([rsa(key_bytes)])), &Gullible::default());
    assert_eq!(result.map(|_| ()), expected);
}

#[test]
fn rsa_above_4096_bits_must_be_allowed() {
    check_large_rsa(false, 512, Ok(()));
    check_large_rsa(false, 513, Err(Reason::TokenKeyUnknown));
    check_large_rsa(true, 513, Ok(()));
    check_large_rsa(true, 1024, Ok(()));
}

#[test]
fn a_signature_of_the_wrong_length_never_reaches_the_check() {
    let checks = Gullible::default();
    let token = sign(&header().to_string(), &claims().to_string());
    let token = &token[..token.len() - 4];
    let token = UnverifiedToken::parse(token.as_bytes(), LIMIT).unwrap();
    let result = verify(&token, &rules(), &keys(), &checks);
    assert_eq!(result.map(|_| ()), Err(Reason::TokenSignatureInvalid));
    assert_eq!(checks.0.get(), 0);
}

#[test]
fn software_refuses_an_algorithm_that_is_not_the_keys() {
    let keys = keys();
    let key = keys.iter().next().unwrap();
    for algorithm in Algorithm::ALL {
        let verdict = SoftwareSignatures.check(*algorithm, key, b"x", &[0; 32]);
        assert_eq!(verdict, SignatureVerdict::Invalid);
    }
}

#[test]
fn software_refuses_a_right_signature_by_an_algorithm_that_the_key_is_not_for() {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), b"x");
    let check = |keys: &KeySet| {
        let key = keys.iter().next().unwrap();
        SoftwareSignatures.check(Algorithm::Hs256, key, b"x", tag.as_ref())
    };
    assert_eq!(check(&key_set(&json!([oct(None, SECRET)]))), SignatureVerdict::Valid);
    let other = with(oct(None, SECRET), &json!({"alg": "HS384"}));
    assert_eq!(check(&key_set(&json!([other]))), SignatureVerdict::Invalid);
}

#[test]
fn raw_ecdsa_signatures_become_der() {
    let mut raw = [0; 64];
    raw[31] = 0x80;
    raw[63] = 1;
    assert_eq!(ecdsa_der(&raw), Some(vec![0x30, 7, 2, 2, 0, 0x80, 2, 1, 1]));
    let long = ecdsa_der(&[0xff; 132]).unwrap();
    assert_eq!(long[..6], [0x30, 0x81, 138, 2, 67, 0]);
}

#[test]
fn ecdsa_signatures_of_a_wrong_length_or_with_zero_have_no_der() {
    for length in [0, 1, 63, 65, 95, 128, 133] {
        assert_eq!(ecdsa_der(&vec![1; length]), None);
    }
    let mut zero = [0; 64];
    assert_eq!(ecdsa_der(&zero), None);
    zero[0] = 1;
    assert_eq!(ecdsa_der(&zero), None, "s is zero");
    zero[0] = 0;
    zero[63] = 1;
    assert_eq!(ecdsa_der(&zero), None, "r is zero");
}
