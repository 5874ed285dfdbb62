use proptest::prelude::*;
use ring::hmac;
use serde_json::{Value, json};

use super::{
    Algorithm, IssuerRules, MAX_HEADER_BYTES, MAX_NUMERIC_DATE, MAX_SUBJECT_BYTES,
    MAX_TOKEN_KEY_ID_BYTES, SignatureCheck, SignatureVerdict, SoftwareSignatures, UnverifiedToken,
    VerifiedToken, check_claims, ecdsa_der, verify,
};
use crate::base64url;
use crate::jwk::{Key, KeyOrigin, KeySet};
use crate::reason::Reason;
use crate::secret::Secret;
use crate::time::UnixSeconds;

const SECRET: &[u8] = b"forty-eight bytes of secret for the tests only!!";
const ISSUER: &str = "https://issuer.example";
const NOW: UnixSeconds = UnixSeconds(1_700_000_000);
const LIMIT: usize = 8192;

fn rules() -> IssuerRules {
    IssuerRules {
        algorithms: vec![Algorithm::Hs256, Algorithm::Rs256],
        clock_skew_seconds: 10,
        ..IssuerRules::new(ISSUER.to_owned(), vec!["api".to_owned(), "other-api".to_owned()])
    }
}

fn keys() -> KeySet {
    KeySet::from_hmac_secret(Secret::new(SECRET.to_vec()))
}

fn header() -> Value {
    json!({"alg": "HS256", "typ": "JWT"})
}

fn claims() -> Value {
    json!({"iss": ISSUER, "sub": "alice", "aud": "api", "exp": NOW.0 + 60})
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

fn sign(header: &str, claims: &str) -> String {
    let input = format!(
        "{}.{}",
        base64url::encode(header.as_bytes()),
        base64url::encode(claims.as_bytes())
    );
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    let tag = hmac::sign(&key, input.as_bytes());
    format!("{input}.{}", base64url::encode(tag.as_ref()))
}

fn decide(token: &[u8], rules: &IssuerRules, keys: &KeySet) -> Result<VerifiedToken, Reason> {
    let token = UnverifiedToken::parse(token, LIMIT)?;
    let token = verify(&token, rules, keys, &SoftwareSignatures)?;
    check_claims(&token, rules, NOW)?;
    Ok(token)
}

#[track_caller]
fn check_token(token: &str, expected: Result<(), Reason>) {
    assert_eq!(decide(token.as_bytes(), &rules(), &keys()).map(|_| ()), expected);
}

#[track_caller]
fn check_header(changes: &Value, expected: Result<(), Reason>) {
    check_token(&sign(&with(header(), changes).to_string(), &claims().to_string()), expected);
}

#[track_caller]
fn check_claim(changes: &Value, expected: Result<(), Reason>) {
    check_token(&sign(&header().to_string(), &with(claims(), changes).to_string()), expected);
}

#[track_caller]
fn check_rules(change: fn(&mut IssuerRules), header_changes: &Value, expected: Result<(), Reason>) {
    let mut rules = rules();
    change(&mut rules);
    let token = sign(&with(header(), header_changes).to_string(), &claims().to_string());
    assert_eq!(decide(token.as_bytes(), &rules, &keys()).map(|_| ()), expected);
}

mod form {
    use super::*;

    #[test]
    fn a_plain_token_is_accepted_and_its_claims_can_be_read() {
        let claims =
            with(claims(), &json!({"jti": "t1", "iat": NOW.0, "nbf": NOW.0 - 5, "roles": ["r"]}));
        let token = sign(&header().to_string(), &claims.to_string());
        let token = decide(token.as_bytes(), &rules(), &keys()).unwrap();
        assert_eq!(token.subject(), "alice");
        assert_eq!(token.issuer(), ISSUER);
        assert_eq!(token.token_id(), Some("t1"));
        assert_eq!(token.expires_at(), NOW.plus(60));
        assert_eq!(token.not_before(), Some(NOW.minus(5)));
        assert_eq!(token.issued_at(), Some(NOW));
        assert_eq!(Some(token.claims()), claims.as_object());
        assert!(token.memory_bytes() > claims.to_string().len());
    }

    #[test]
    fn the_parts_of_a_token_can_be_read_before_it_is_verified() {
        let token = sign(r#"{"alg":"HS256","kid":"k"}"#, &claims().to_string());
        let (input, signature) = token.rsplit_once('.').unwrap();
        let parsed = UnverifiedToken::parse(token.as_bytes(), LIMIT).unwrap();
        assert_eq!(parsed.algorithm(), Algorithm::Hs256);
        assert_eq!(parsed.key_id(), Some("k"));
        assert_eq!(parsed.unverified_issuer(), ISSUER);
        assert_eq!(parsed.signing_input(), input.as_bytes());
        assert_eq!(base64url::encode(parsed.signature()), signature);
    }

    #[test]
    fn a_token_over_the_limit_is_refused_before_it_is_read() {
        let result = UnverifiedToken::parse(b"no token at all", 14).map(|_| ());
        assert_eq!(result, Err(Reason::TokenOversize));
        let result = UnverifiedToken::parse(b"no token at all", 15).map(|_| ());
        assert_eq!(result, Err(Reason::TokenMalformed));
    }

    #[test]
    fn anything_but_three_parts_is_refused() {
        let token = sign(&header().to_string(), &claims().to_string());
        let (input, _) = token.rsplit_once('.').unwrap();
        for other in ["", ".", "..", "a", input, &format!("{token}."), &format!("{token}.a.b")] {
            check_token(other, Err(Reason::TokenMalformed));
        }
    }

    #[test]
    fn padding_white_space_and_the_other_alphabet_are_refused() {
        let token = sign(&header().to_string(), &claims().to_string());
        let spaced = token.replacen('.', " .", 1);
        let standard = token.replacen('J', "+", 1);
        for other in
            [format!("{token}="), format!(" {token}"), format!("{token}\n"), spaced, standard]
        {
            check_token(&other, Err(Reason::TokenMalformed));
        }
    }

    #[test]
    fn trailing_bits_that_are_not_zero_are_refused() {
        // 32 bytes end in a letter with two unused bits.
        let token = sign(&header().to_string(), &claims().to_string());
        let (start, last) = token.split_at(token.len() - 1);
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let value = alphabet.find(last).unwrap();
        for bits in 1..4 {
            let other = &alphabet[value + bits..=value + bits];
            check_token(&format!("{start}{other}"), Err(Reason::TokenMalformed));
        }
    }

    #[test]
    fn repeated_names_are_refused_in_header_and_payload() {
        let double = r#"{"alg":"HS256","alg":"none"}"#;
        check_token(&sign(double, &claims().to_string()), Err(Reason::TokenMalformed));
        let double = claims().to_string().replacen('{', r#"{"s\u0075b":"mallory","#, 1);
        check_token(&sign(&header().to_string(), &double), Err(Reason::TokenMalformed));
        let nested = claims().to_string().replacen('{', r#"{"x":{"a":1,"a":2},"#, 1);
        check_token(&sign(&header().to_string(), &nested), Err(Reason::TokenMalformed));
    }

    #[test]
    fn only_objects_are_headers_and_payloads() {
        for other in
            ["", "null", "[]", "1", "\"x\"", "{", "{}x", "\u{feff}{}", "{\"a\":\"\\ud800\"}"]
        {
            check_token(&sign(other, &claims().to_string()), Err(Reason::TokenMalformed));
            check_token(&sign(&header().to_string(), other), Err(Reason::TokenMalformed));
        }
    }

    #[test]
    fn a_signature_longer_than_any_key_makes_is_refused() {
        let token = sign(&header().to_string(), &claims().to_string());
        let (input, _) = token.rsplit_once('.').unwrap();
        let long = base64url::encode(&[1; 1025]);
        check_token(&format!("{input}.{long}"), Err(Reason::TokenOversize));
        let longest = base64url::encode(&[1; 1024]);
        check_token(&format!("{input}.{longest}"), Err(Reason::TokenSignatureInvalid));
        check_token(&format!("{input}."), Err(Reason::TokenSignatureInvalid));
    }

    #[test]
    fn nothing_of_a_token_is_in_its_debug_form() {
        let token = sign(&header().to_string(), &claims().to_string());
        let parsed = UnverifiedToken::parse(token.as_bytes(), LIMIT).unwrap();
        assert_eq!(format!("{parsed:?}"), "UnverifiedToken(…)");
        let verified = verify(&parsed, &rules(), &keys(), &SoftwareSignatures).unwrap();
        assert_eq!(format!("{verified:?}"), "VerifiedToken(…)");
    }
}

mod header_checks {
    use super::*;

    #[test]
    fn the_algorithm_none_is_refused_in_any_spelling() {
        for none in ["none", "None", "NONE", "nOnE", "none ", ""] {
            check_header(&json!({"alg": none}), Err(Reason::TokenAlgorithmRefused));
        }
    }

    #[test]
    fn an_unsigned_token_is_refused() {
        let header = base64url::encode(br#"{"alg":"none"}"#);
        let payload = base64url::encode(claims().to_string().as_bytes());
        check_token(&format!("{header}.{payload}."), Err(Reason::TokenAlgorithmRefused));
    }

    #[test]
    fn an_unknown_algorithm_is_refused() {
        for unknown in ["hs256", "HS1", "ES256K", "RSA1_5", "Ed25519", "dir"] {
            check_header(&json!({"alg": unknown}), Err(Reason::TokenAlgorithmRefused));
        }
    }

    #[test]
    fn a_header_without_an_algorithm_is_malformed() {
        check_header(&json!({"alg": null}), Err(Reason::TokenMalformed));
        check_header(&json!({"alg": 1}), Err(Reason::TokenMalformed));
        check_header(&json!({"alg": ["HS256"]}), Err(Reason::TokenMalformed));
    }

    #[test]
    fn a_critical_header_is_refused_whatever_it_lists() {
        for critical in [json!(["exp"]), json!([]), json!("b64"), json!(1)] {
            check_header(&json!({"crit": critical}), Err(Reason::TokenCriticalHeader));
        }
    }

    #[test]
    fn an_unencoded_payload_is_refused() {
        check_header(&json!({"b64": false}), Err(Reason::TokenCriticalHeader));
        check_header(&json!({"b64": true}), Err(Reason::TokenCriticalHeader));
    }

    #[test]
    fn a_token_that_brings_or_names_its_key_is_refused() {
        for name in ["jwk", "jku", "x5u", "x5c"] {
            check_header(&json!({name: "x"}), Err(Reason::TokenKeyEmbedded));
        }
    }

    #[test]
    fn headers_of_encrypted_and_nested_tokens_are_refused() {
        check_header(&json!({"zip": "DEF"}), Err(Reason::TokenMalformed));
        check_header(&json!({"enc": "A256GCM"}), Err(Reason::TokenMalformed));
        for nested in ["JWT", "jwt", "application/jwt"] {
            check_header(&json!({"cty": nested}), Err(Reason::TokenMalformed));
        }
        check_header(&json!({"cty": "json"}), Ok(()));
    }

    #[test]
    fn registered_members_of_the_wrong_type_are_refused() {
        for name in ["kid", "typ", "cty", "x5t", "x5t#S256"] {
            check_header(&json!({name: 1}), Err(Reason::TokenMalformed));
            check_header(&json!({name: ["x"]}), Err(Reason::TokenMalformed));
        }
    }

    #[test]
    fn members_that_are_not_understood_are_ignored() {
        check_header(&json!({"epk": {}, "x": [1], "exp": "x"}), Ok(()));
    }

    #[test]
    fn a_header_or_a_kid_over_its_limit_is_refused() {
        let padding = "x".repeat(MAX_HEADER_BYTES);
        check_header(&json!({"x": padding}), Err(Reason::TokenOversize));
        let kid = "k".repeat(MAX_TOKEN_KEY_ID_BYTES + 1);
        check_header(&json!({"kid": kid}), Err(Reason::TokenMalformed));
        let kid = "k".repeat(MAX_TOKEN_KEY_ID_BYTES);
        check_header(&json!({"kid": kid}), Err(Reason::TokenKeyUnknown));
    }

    #[test]
    fn the_type_is_compared_without_case_and_without_application() {
        for accepted in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "Application/JWT"]
        {
            check_header(&json!({"typ": accepted}), Ok(()));
        }
        for other in ["", "JOSE", "id+jwt", "application/", "application/application/jwt", "x/jwt"]
        {
            check_header(&json!({"typ": other}), Err(Reason::TokenTypeRefused));
        }
    }

    #[test]
    fn a_missing_type_is_accepted_unless_the_rules_say_otherwise() {
        let absent = json!({"typ": null});
        check_header(&absent, Ok(()));
        let refuse: fn(&mut IssuerRules) = |rules| rules.allow_absent_token_type = false;
        check_rules(refuse, &absent, Err(Reason::TokenTypeRefused));
    }

    #[test]
    fn the_types_of_an_issuer_can_be_narrowed() {
        let narrow: fn(&mut IssuerRules) =
            |rules| rules.token_types = vec!["application/at+jwt".to_owned()];
        check_rules(narrow, &json!({"typ": "at+jwt"}), Ok(()));
        check_rules(narrow, &json!({"typ": "JWT"}), Err(Reason::TokenTypeRefused));
    }
}

mod claim_checks {
    use super::*;

    #[test]
    fn claims_that_are_missing_are_refused() {
        for name in ["iss", "sub", "aud", "exp"] {
            check_claim(&json!({name: null}), Err(Reason::TokenClaimInvalid));
        }
    }

    #[test]
    fn claims_of_the_wrong_type_are_refused() {
        let wrong = [
            ("iss", json!([ISSUER])),
            ("iss", json!("")),
            ("sub", json!(42)),
            ("sub", json!("")),
            ("sub", json!("s".repeat(MAX_SUBJECT_BYTES + 1))),
            ("aud", json!({"api": true})),
            ("aud", json!(["api", 1])),
            ("aud", json!(true)),
            ("exp", json!("1800000000")),
            ("exp", json!(true)),
            ("nbf", json!("1")),
            ("iat", json!([1])),
            ("jti", json!(7)),
            ("jti", json!("j".repeat(513))),
        ];
        for (name, value) in wrong {
            check_claim(&json!({name: value}), Err(Reason::TokenClaimInvalid));
        }
    }

    #[test]
    fn null_is_a_value_of_the_wrong_type() {
        for name in ["nbf", "iat", "jti"] {
            let text = claims().to_string().replacen('{', &format!(r#"{{"{name}":null,"#), 1);
            check_token(&sign(&header().to_string(), &text), Err(Reason::TokenClaimInvalid));
        }
    }

    #[test]
    fn dates_that_are_negative_or_absurd_are_refused() {
        for date in ["-1", "-0.5", "-1e300", "1e300", "253402300800", "1700000000000", "1e99"] {
            for name in ["nbf", "iat"] {
                let text = claims().to_string().replacen('{', &format!(r#"{{"{name}":{date},"#), 1);
                check_token(&sign(&header().to_string(), &text), Err(Reason::TokenClaimInvalid));
            }
            let text = claims().to_string().replace(&(NOW.0 + 60).to_string(), date);
            check_token(&sign(&header().to_string(), &text), Err(Reason::TokenClaimInvalid));
        }
        check_claim(&json!({"exp": MAX_NUMERIC_DATE}), Ok(()));
    }

    #[test]
    fn a_token_expires_at_its_second_plus_the_skew() {
        check_claim(&json!({"exp": NOW.0 - 9}), Ok(()));
        check_claim(&json!({"exp": NOW.0 - 10}), Err(Reason::TokenExpired));
        check_claim(&json!({"exp": 0}), Err(Reason::TokenExpired));
    }

    #[test]
    fn a_token_is_valid_from_its_second_minus_the_skew() {
        check_claim(&json!({"nbf": NOW.0 + 10}), Ok(()));
        check_claim(&json!({"nbf": NOW.0 + 11}), Err(Reason::TokenNotYetValid));
    }

    #[test]
    fn a_token_is_not_issued_in_the_future() {
        check_claim(&json!({"iat": NOW.0 + 10}), Ok(()));
        check_claim(&json!({"iat": NOW.0 + 11}), Err(Reason::TokenIssuedInFuture));
    }

    #[test]
    #[expect(clippy::cast_precision_loss, reason = "the seconds of this century are exact")]
    fn fractions_are_rounded_to_the_stricter_side() {
        let now = NOW.0 as f64;
        check_claim(&json!({"exp": now - 9.5}), Err(Reason::TokenExpired));
        check_claim(&json!({"exp": now - 8.5}), Ok(()));
        check_claim(&json!({"nbf": now + 10.5}), Err(Reason::TokenNotYetValid));
        check_claim(&json!({"nbf": now + 9.5}), Ok(()));
        check_claim(&json!({"iat": now + 10.5}), Err(Reason::TokenIssuedInFuture));
    }

    #[test]
    fn one_of_the_audiences_must_be_accepted() {
        check_claim(&json!({"aud": "other-api"}), Ok(()));
        check_claim(&json!({"aud": ["x", "api"]}), Ok(()));
        for other in [json!("API"), json!("api "), json!(""), json!([]), json!(["x"])] {
            check_claim(&json!({"aud": other}), Err(Reason::TokenAudienceMismatch));
        }
    }

    #[test]
    fn rules_without_an_audience_refuse_every_token() {
        let clear: fn(&mut IssuerRules) = |rules| rules.audiences.clear();
        check_rules(clear, &json!({}), Err(Reason::TokenAudienceMismatch));
    }

    #[test]
    fn another_issuer_is_refused_by_verify_and_again_by_the_claims() {
        for other in ["https://issuer.example/", "HTTPS://issuer.example", "https://evil.example"] {
            check_claim(&json!({"iss": other}), Err(Reason::TokenIssuerUnknown));
        }
        let token = sign(&header().to_string(), &claims().to_string());
        let token = UnverifiedToken::parse(token.as_bytes(), LIMIT).unwrap();
        let token = verify(&token, &rules(), &keys(), &SoftwareSignatures).unwrap();
        let mut others = rules();
        others.issuer = "https://other.example".to_owned();
        assert_eq!(check_claims(&token, &others, NOW), Err(Reason::TokenIssuerUnknown));
    }
}

mod keys_and_signatures {
    use std::cell::Cell;

    use super::*;

    fn key_set(keys: &Value) -> KeySet {
        let set = json!({"keys": keys});
        let (keys, skipped) =
            KeySet::parse(set.as_object().unwrap(), KeyOrigin::Configured).unwrap();
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
        let result =
            verify(&token, &rules, &key_set(&json!([rsa(key_bytes)])), &Gullible::default());
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
}

/// Whether a piece of `token` of 12 bytes or more is in `text`.
fn leaks(token: &[u8], text: &str) -> bool {
    token.windows(12).any(|piece| text.as_bytes().windows(12).any(|other| other == piece))
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = UnverifiedToken::parse(&bytes, LIMIT);
    }

    #[test]
    fn arbitrary_json_never_panics(header in "\\PC{0,80}", claims in "\\PC{0,200}", valid in any::<bool>()) {
        let header = if valid { r#"{"alg":"HS256"}"# } else { &header };
        let _ = decide(sign(header, &claims).as_bytes(), &rules(), &keys());
    }

    #[test]
    fn no_error_shows_a_piece_of_the_token(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut token = sign(&header().to_string(), &claims().to_string()).into_bytes();
        *at.get_mut(&mut token) = byte;
        let shown = match UnverifiedToken::parse(&token, LIMIT) {
            Ok(parsed) => format!("{parsed:?} {:?}", verify(&parsed, &rules(), &keys(), &SoftwareSignatures)),
            Err(reason) => format!("{reason} {reason:?}"),
        };
        prop_assert!(!leaks(&token, &shown), "{shown}");
    }
}

#[test]
fn no_other_byte_anywhere_in_a_valid_token_is_accepted() {
    let valid = sign(r#"{"alg":"HS256"}"#, &claims().to_string()).into_bytes();
    assert!(decide(&valid, &rules(), &keys()).is_ok());
    for position in 0..valid.len() {
        for byte in 0..=u8::MAX {
            let mut token = valid.clone();
            token[position] = byte;
            let is_accepted = decide(&token, &rules(), &keys()).is_ok();
            assert_eq!(is_accepted, byte == valid[position], "byte {byte} at {position}");
        }
    }
}

#[test]
fn no_prefix_or_extension_of_a_valid_token_is_accepted() {
    let valid = sign(r#"{"alg":"HS256"}"#, &claims().to_string()).into_bytes();
    for end in 0..valid.len() {
        assert!(decide(&valid[..end], &rules(), &keys()).is_err(), "cut at {end}");
    }
    for byte in 0..=u8::MAX {
        assert!(decide(&[valid.as_slice(), &[byte]].concat(), &rules(), &keys()).is_err());
        assert!(decide(&[&[byte], valid.as_slice()].concat(), &rules(), &keys()).is_err());
    }
}
