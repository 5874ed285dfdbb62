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
    let parsed = UnverifiedToken::parse(token.as_bytes(), LIMIT).unwrap();
    let token = verify(&parsed, &rules(), &keys(), &SoftwareSignatures).unwrap();
    let mut others = rules();
    others.issuer = "https://other.example".to_owned();
    assert_eq!(
        verify(&parsed, &others, &keys(), &SoftwareSignatures).map(|_| ()),
        Err(Reason::TokenIssuerUnknown)
    );
    assert_eq!(check_claims(&token, &others, NOW), Err(Reason::TokenIssuerUnknown));
}
