//! The thumbprint of a key ([RFC 7638]): one name for one key, whatever else stands in its JWK.
//!
//! [RFC 7638]: https://www.rfc-editor.org/rfc/rfc7638

use ring::digest;

use super::key::{Key, Material};
use crate::base64url;

impl Key {
    /// The SHA-256 thumbprint as base64url, 43 letters (RFC 7638 §3); `None` for a shared secret,
    /// whose thumbprint would let everybody who sees it try out guesses.
    pub fn thumbprint(&self) -> Option<String> {
        let members = required_members(&self.material)?;
        let digest = digest::digest(&digest::SHA256, members.as_bytes());
        Some(base64url::encode(digest.as_ref()))
    }
}

/// The required members in the order of their names and without white space (RFC 7638 §3.2, RFC
/// 8037 §2). Values are base64url or one of our own words, so nothing needs an escape.
fn required_members(material: &Material) -> Option<String> {
    match material {
        Material::Rsa { modulus, exponent, .. } => {
            let (n, e) = (base64url::encode(modulus), base64url::encode(exponent));
            Some(format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#))
        }
        Material::P256 { point } => ec("P-256", point),
        Material::P384 { point } => ec("P-384", point),
        Material::P521 { key } => ec("P-521", key.to_sec1_point(false).as_bytes()),
        Material::Ed25519 { key } => {
            let x = base64url::encode(key.as_bytes());
            Some(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#))
        }
        Material::Hmac { .. } => None,
    }
}

/// `point` is uncompressed: a 4 and two coordinates of one length (SEC 1 §2.3.3).
fn ec(curve: &str, point: &[u8]) -> Option<String> {
    let coordinates = point.get(1..)?;
    let (x, y) = coordinates.split_at_checked(coordinates.len() / 2)?;
    let (x, y) = (base64url::encode(x), base64url::encode(y));
    Some(format!(r#"{{"crv":"{curve}","kty":"EC","x":"{x}","y":"{y}"}}"#))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::jwk::Key;

    #[track_caller]
    fn check(jwk: &Value, expected: &str) {
        let key = Key::public(jwk).unwrap();
        assert_eq!(key.thumbprint().as_deref(), Some(expected));
    }

    #[test]
    fn the_thumbprint_of_an_rsa_key_is_that_of_the_example_of_the_rfc() {
        // RFC 7638 §3.1, with members that do not count.
        let modulus = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let jwk = json!({
            "kty": "RSA", "n": modulus, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
        });
        check(&jwk, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn the_thumbprint_of_an_ed25519_key_is_that_of_the_example_of_the_rfc() {
        // RFC 8037 §A.3.
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
        check(&jwk, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn the_thumbprint_of_a_p256_key_is_that_of_the_example_of_the_rfc() {
        // RFC 9449 §6.1 has it for the key of §4.1.
        let jwk = json!({
            "kty": "EC", "crv": "P-256", "use": "sig",
            "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
            "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
        });
        check(&jwk, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
    }
}
