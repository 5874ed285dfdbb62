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
    for other in [format!("{token}="), format!(" {token}"), format!("{token}\n"), spaced, standard]
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
    for other in ["", "null", "[]", "1", "\"x\"", "{", "{}x", "\u{feff}{}", "{\"a\":\"\\ud800\"}"] {
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
