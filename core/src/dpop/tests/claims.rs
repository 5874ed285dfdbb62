use serde_json::{Value, json};

use super::super::{DpopError, Expected, NonceRule, Nonces};
use super::{NOW, Signer, check, claims, expected, judge, uris, with};
use crate::secret::Secret;

#[track_caller]
fn check_claim(changes: &Value, result: Result<(), DpopError>) {
    check(&Signer::p256().proof(&with(claims(), changes)), result);
}

#[test]
fn every_claim_must_be_there_and_of_its_type() {
    let invalid = Err(DpopError::ClaimInvalid);
    for name in ["jti", "htm", "htu", "iat"] {
        check_claim(&json!({name: null}), invalid);
        check_claim(&json!({name: []}), invalid);
    }
    for name in ["jti", "htm", "htu"] {
        check_claim(&json!({name: ""}), invalid);
        check_claim(&json!({name: 1}), invalid);
    }
    check_claim(&json!({"iat": NOW.0.to_string()}), invalid);
    check_claim(&json!({"iat": -1}), invalid);
    check_claim(&json!({"ath": 1}), invalid);
    check_claim(&json!({"nonce": 1}), invalid);
    check_claim(&json!({"jti": "x".repeat(257)}), invalid);
    check_claim(&json!({"jti": "x".repeat(256)}), Ok(()));
    check_claim(&json!({"nonce": "x".repeat(257)}), invalid);
    check_claim(&json!({"unknown": {"any": "thing"}}), Ok(()));
}

#[test]
fn a_claim_that_stands_twice_is_malformed() {
    let signer = Signer::p256();
    let payload = claims().to_string().replace('{', "{\"htm\":\"GET\",");
    let proof = signer.jws(&signer.header().to_string(), &payload);
    check(&proof, Err(DpopError::Malformed));
}

#[test]
fn the_method_is_compared_letter_by_letter() {
    check_claim(&json!({"htm": "POST"}), Err(DpopError::MethodMismatch));
    check_claim(&json!({"htm": "get"}), Err(DpopError::MethodMismatch));
    check_claim(&json!({"htm": "GET "}), Err(DpopError::MethodMismatch));
}

#[test]
fn the_address_is_one_of_those_expected_without_query_and_fragment() {
    for uri in [
        "https://api.example.com/a",
        "https://api.example.com/a?b=c#d",
        "HTTPS://API.example.com:443/%61",
        "https://www.example.com/api/a",
    ] {
        check_claim(&json!({"htu": uri}), Ok(()));
    }
    for uri in [
        "https://api.example.com/",
        "https://api.example.com/a/",
        "https://api.example.com/b",
        "http://api.example.com/a",
        "https://api.example.com:8443/a",
        "https://www.example.com/a",
        "https://api.example.com.evil.example/a",
        "https://api.example.com@evil.example/a",
        "https://evil.example/a",
        "/a",
        "a",
    ] {
        check_claim(&json!({"htu": uri}), Err(DpopError::UriMismatch));
    }
}

#[test]
fn without_an_expected_address_none_is_right() {
    let proof = Signer::p256().proof(&claims());
    assert_eq!(judge(&proof, &expected(&[])), Err(DpopError::UriMismatch));
}

#[test]
fn a_proof_is_good_for_a_minute() {
    let at = |seconds: i64| json!({"iat": NOW.0.saturating_add_signed(seconds)});
    check_claim(&at(-60), Ok(()));
    check_claim(&at(-61), Err(DpopError::TooOld));
    check_claim(&at(10), Ok(()));
    check_claim(&at(11), Err(DpopError::IssuedInFuture));
    check_claim(&json!({"iat": 0}), Err(DpopError::TooOld));
    check_claim(&json!({"iat": 1.7e9}), Ok(()));
    // Milliseconds.
    check_claim(&json!({"iat": NOW.0 * 1000}), Err(DpopError::ClaimInvalid));
    check_claim(&json!({"iat": 253_402_300_799_u64}), Err(DpopError::IssuedInFuture));
}

#[test]
fn a_proof_may_say_that_it_is_good_for_less_time() {
    check_claim(&json!({"exp": NOW.0 + 1}), Ok(()));
    check_claim(&json!({"exp": NOW.0}), Err(DpopError::TooOld));
    check_claim(&json!({"exp": 0}), Err(DpopError::TooOld));
    check_claim(&json!({"nbf": NOW.0 + 11}), Err(DpopError::IssuedInFuture));
    let proof = Signer::p256().proof(&with(claims(), &json!({"exp": NOW.0 + 5})));
    let valid_until = judge(&proof, &expected(&uris())).unwrap().valid_until();
    assert_eq!(valid_until, NOW.plus(4));
}

#[test]
fn the_hash_is_that_of_the_presented_token() {
    let mismatch = Err(DpopError::TokenHashMismatch);
    check_claim(&json!({"ath": null}), mismatch);
    check_claim(&json!({"ath": ""}), mismatch);
    check_claim(&json!({"ath": "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"}), mismatch);
    let uris = uris();
    let expected = Expected { access_token: None, ..expected(&uris) };
    let proof = Signer::p256().proof(&with(claims(), &json!({"ath": null})));
    assert!(judge(&proof, &expected).is_ok(), "without a token there is nothing to hash");
}

#[test]
fn a_nonce_is_demanded_and_checked_as_the_rule_says() {
    let nonces = Nonces::new(&Secret::new(vec![7; 32]));
    let uris = uris();
    let signer = Signer::p256();
    let current = nonces.current(NOW);
    let without = signer.proof(&claims());
    let right = signer.proof(&with(claims(), &json!({"nonce": current})));
    let wrong = signer.proof(&with(claims(), &json!({"nonce": "made-up"})));
    let judge = |nonce, proof: &str| {
        judge(proof, &Expected { nonce, ..expected(&uris) })
            .map(|proof| proof.nonce().map(str::to_owned))
    };
    let required = NonceRule::Required(&nonces);
    let optional = NonceRule::Optional(&nonces);
    assert_eq!(judge(required, &without), Err(DpopError::NonceMissing));
    assert_eq!(judge(required, &wrong), Err(DpopError::NonceRefused));
    assert_eq!(judge(required, &right), Ok(Some(current.clone())));
    assert_eq!(judge(optional, &without), Ok(None));
    assert_eq!(judge(optional, &wrong), Err(DpopError::NonceRefused));
    assert_eq!(judge(optional, &right), Ok(Some(current)));
    assert_eq!(judge(NonceRule::Ignored, &wrong), Ok(Some("made-up".to_owned())));
}
