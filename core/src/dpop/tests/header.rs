use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use serde_json::{Value, json};

use super::super::DpopError;
use super::{Signer, check, claims, with};
use crate::base64url;
use crate::jwk::WhySkipped;
use crate::token::Algorithm;

#[track_caller]
fn check_header(changes: &Value, result: Result<(), DpopError>) {
    let signer = Signer::p256();
    let header = with(signer.header(), changes).to_string();
    check(&signer.jws(&header, &claims().to_string()), result);
}

#[track_caller]
fn check_jwk(changes: &Value, result: Result<(), DpopError>) {
    let signer = Signer::p256();
    let jwk = with(signer.jwk.clone(), changes);
    let header = with(signer.header(), &json!({"jwk": jwk})).to_string();
    check(&signer.jws(&header, &claims().to_string()), result);
}

#[test]
fn the_type_is_that_of_a_proof_and_nothing_else() {
    for other in [json!(null), json!("JWT"), json!("at+jwt"), json!("dpop"), json!(["dpop+jwt"])] {
        check_header(&json!({"typ": other}), Err(DpopError::TypeRefused));
    }
}

#[test]
fn no_symmetric_algorithm_and_none_at_all_is_accepted() {
    for other in [
        json!(null),
        json!(1),
        json!(""),
        json!("none"),
        json!("None"),
        json!("HS256"),
        json!("ES384"),
        json!("es256"),
    ] {
        check_header(&json!({"alg": other}), Err(DpopError::AlgorithmRefused));
    }
}

#[test]
fn an_algorithm_of_another_type_of_key_is_refused() {
    for other in ["EdDSA", "RS256", "PS256"] {
        check_header(&json!({"alg": other}), Err(DpopError::AlgorithmRefused));
    }
    check_jwk(&json!({"alg": "ES256"}), Ok(()));
}

#[test]
fn a_secret_that_stands_in_the_proof_proves_nothing() {
    let secret = json!({"kty": "oct", "k": base64url::encode(&[7; 64])});
    let why = WhySkipped::SymmetricKeyFetched;
    check_header(&json!({"jwk": secret}), Err(DpopError::KeyRefused(why)));
    check_header(&json!({"jwk": secret, "alg": "HS256"}), Err(DpopError::AlgorithmRefused));
}

#[test]
fn a_private_key_is_refused() {
    let why = WhySkipped::PrivateKey;
    check_jwk(&json!({"d": base64url::encode(&[7; 32])}), Err(DpopError::KeyRefused(why)));
    check_jwk(&json!({"d": ""}), Err(DpopError::KeyRefused(why)));
}

#[test]
fn a_key_that_is_none_is_refused() {
    check_header(&json!({"jwk": null}), Err(DpopError::KeyRefused(WhySkipped::NotAnObject)));
    check_header(&json!({"jwk": "x"}), Err(DpopError::KeyRefused(WhySkipped::NotAnObject)));
    check_jwk(&json!({"kty": null}), Err(DpopError::KeyRefused(WhySkipped::TypeMissing)));
    check_jwk(&json!({"x": null}), Err(DpopError::KeyRefused(WhySkipped::NumberInvalid)));
    check_jwk(&json!({"use": "enc"}), Err(DpopError::KeyRefused(WhySkipped::UseRefused)));
    check_jwk(&json!({"crv": "P-521"}), Err(DpopError::AlgorithmRefused));
    // A point that is on no curve is found by whoever checks the signature.
    let x = base64url::encode(&[7; 32]);
    check_jwk(&json!({"x": x}), Err(DpopError::SignatureInvalid));
    // What WebCrypto adds when it exports a key.
    check_jwk(&json!({"key_ops": ["verify"], "ext": true}), Ok(()));
}

#[test]
fn an_rsa_key_is_as_long_as_is_usual() {
    let signer = Signer::rsa(Algorithm::Rs256, &RSA_PKCS1_SHA256, KeySize::Rsa2048);
    let proof = |bytes: usize| {
        let modulus = base64url::encode(&vec![0xff; bytes]);
        let jwk = with(signer.jwk.clone(), &json!({"n": modulus}));
        let header = with(signer.header(), &json!({"jwk": jwk}));
        signer.jws(&header.to_string(), &claims().to_string())
    };
    check(&proof(513), Err(DpopError::KeyTooLong));
    check(&proof(512), Err(DpopError::SignatureInvalid));
    let why = WhySkipped::RsaLengthRefused;
    check(&proof(255), Err(DpopError::KeyRefused(why)));
}

#[test]
fn a_second_key_and_an_extension_are_refused() {
    for name in ["jku", "x5u", "x5c", "crit", "b64", "zip", "enc"] {
        check_header(&json!({name: []}), Err(DpopError::HeaderRefused));
    }
    check_header(&json!({"kid": "any", "unknown": 1}), Ok(()));
}

#[test]
fn a_header_member_that_stands_twice_is_malformed() {
    let signer = Signer::p256();
    let jwk = signer.jwk.to_string();
    let header = format!(r#"{{"typ":"dpop+jwt","alg":"ES256","jwk":{jwk},"jwk":{jwk}}}"#);
    check(&signer.jws(&header, &claims().to_string()), Err(DpopError::Malformed));
    let repeated = jwk.replace("\"kty\"", "\"crv\":\"P-256\",\"kty\"");
    let header = format!(r#"{{"typ":"dpop+jwt","alg":"ES256","jwk":{repeated}}}"#);
    check(&signer.jws(&header, &claims().to_string()), Err(DpopError::Malformed));
}
