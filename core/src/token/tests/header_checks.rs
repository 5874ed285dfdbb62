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
    for accepted in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "Application/JWT"] {
        check_header(&json!({"typ": accepted}), Ok(()));
    }
    for other in ["", "JOSE", "id+jwt", "application/", "application/application/jwt", "x/jwt"] {
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
