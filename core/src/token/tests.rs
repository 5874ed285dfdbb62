mod claim_checks;
mod form;
mod header_checks;
mod keys_and_signatures;
mod properties;

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
