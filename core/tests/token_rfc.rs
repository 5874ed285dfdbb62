//! The examples of RFC 7515 appendix A and RFC 8037 appendix A.
//!
//! Their payloads are no claims that are accepted here (no `sub`, or no JSON at all), so the
//! signatures are checked over the signing input.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test: what fails here is a finding"
)]

use serde_json::{Value, json};
use wardgate_core::jwk::{KeyOrigin, KeySet};
use wardgate_core::reason::Reason;
use wardgate_core::token::{
    Algorithm, SignatureCheck, SignatureVerdict, SoftwareSignatures, UnverifiedToken,
};
use wardgate_core::{base64url, jwk::Key};

const CLAIMS: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

fn key(jwk: &Value) -> Key {
    let set = json!({"keys": [jwk]});
    let (keys, skipped) = KeySet::parse(set.as_object().unwrap(), KeyOrigin::Configured).unwrap();
    assert_eq!(skipped, []);
    keys.iter().next().unwrap().clone()
}

#[track_caller]
fn check(jwk: &Value, algorithm: Algorithm, token: &str) {
    let key = key(jwk);
    let (input, signature) = token.rsplit_once('.').unwrap();
    let mut signature = base64url::decode(signature.as_bytes()).unwrap();
    let verdict =
        |input: &str| SoftwareSignatures.check(algorithm, &key, input.as_bytes(), &signature);
    assert_eq!(verdict(input), SignatureVerdict::Valid);
    assert_eq!(verdict(&format!("{input}A")), SignatureVerdict::Invalid);
    for other in Algorithm::ALL.iter().filter(|other| **other != algorithm) {
        let verdict = SoftwareSignatures.check(*other, &key, input.as_bytes(), &signature);
        assert_eq!(verdict, SignatureVerdict::Invalid, "{other:?}");
    }
    signature[0] ^= 1;
    let verdict = SoftwareSignatures.check(algorithm, &key, input.as_bytes(), &signature);
    assert_eq!(verdict, SignatureVerdict::Invalid);
}

#[track_caller]
fn check_refused(token: &str, expected: Reason) {
    let result = UnverifiedToken::parse(token.as_bytes(), 8192).map(|_| ());
    assert_eq!(result, Err(expected));
}

#[test]
fn rfc_7515_a_1_hs256() {
    let jwk = json!({"kty": "oct", "k":
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"});
    let token = format!(
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{CLAIMS}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    );
    check(&jwk, Algorithm::Hs256, &token);
    check_refused(&token, Reason::TokenClaimInvalid);
}

#[test]
fn rfc_7515_a_2_rs256() {
    let jwk = json!({"kty": "RSA", "e": "AQAB", "n": concat!(
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4",
        "d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5re",
        "xMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxX",
        "FvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
    )});
    let signature = concat!(
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5",
        "jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb",
        "1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QO",
        "YEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
    );
    let token = format!("eyJhbGciOiJSUzI1NiJ9.{CLAIMS}.{signature}");
    check(&jwk, Algorithm::Rs256, &token);
    check_refused(&token, Reason::TokenClaimInvalid);
}

#[test]
fn rfc_7515_a_3_es256() {
    let jwk = json!({"kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
    let token = format!(
        "eyJhbGciOiJFUzI1NiJ9.{CLAIMS}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    );
    check(&jwk, Algorithm::Es256, &token);
    check_refused(&token, Reason::TokenClaimInvalid);
}

#[test]
fn rfc_7515_a_4_es512() {
    let jwk = json!({"kty": "EC", "crv": "P-521",
        "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
        "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"});
    let token = concat!(
        "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.",
        "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8G",
        "aSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn"
    );
    check(&jwk, Algorithm::Es512, token);
    check_refused(token, Reason::TokenMalformed);
}

#[test]
fn rfc_7515_a_5_unsecured() {
    check_refused(&format!("eyJhbGciOiJub25lIn0.{CLAIMS}."), Reason::TokenAlgorithmRefused);
}

#[test]
fn rfc_7515_e_critical_header_that_is_not_understood() {
    let token = concat!(
        "eyJhbGciOiJub25lIiwNCiAiY3JpdCI6WyJodHRwOi8vZXhhbXBsZS5jb20vVU5ERUZJTkVEIl0sDQogImh0dHA6Ly9l",
        "eGFtcGxlLmNvbS9VTkRFRklORUQiOnRydWUNCn0.RkFJTA."
    );
    check_refused(token, Reason::TokenAlgorithmRefused);
}

#[test]
fn rfc_8037_a_4_eddsa() {
    let jwk = json!({"kty": "OKP", "crv": "Ed25519",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let token = concat!(
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.",
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    );
    check(&jwk, Algorithm::EdDsa, token);
    check_refused(token, Reason::TokenMalformed);
}
