//! Signatures by the host's `verify_signature` where it has one: twenty times as fast as in wasm.

use serde_json::json;
use wardgate_core::jwk::{Key, KeyOrigin, KeySet};
use wardgate_core::token::{
    Algorithm, SignatureCheck, SignatureVerdict, SoftwareSignatures, ecdsa_der,
};

use crate::host;

const FUNCTION: &str = "verify_signature";

/// Checks RS* and ES* by the host if it can, everything else in wasm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostSignatures {
    host_has_function: bool,
}

impl HostSignatures {
    /// Finds out whether the host verifies signatures, by one that is known to be good and one that
    /// is known to be bad: a host that says yes to everything must not be believed.
    pub(crate) fn probe() -> Self {
        let host_has_function = probe().unwrap_or(false);
        Self { host_has_function }
    }

    /// Whether the host verifies signatures.
    pub(crate) fn host_has_function(self) -> bool {
        self.host_has_function
    }
}

impl SignatureCheck for HostSignatures {
    fn check(
        &self,
        algorithm: Algorithm,
        key: &Key,
        signing_input: &[u8],
        signature: &[u8],
    ) -> SignatureVerdict {
        if self.host_has_function
            && let Some(verdict) = ask_host(algorithm, key, signing_input, signature)
        {
            return verdict;
        }
        SoftwareSignatures.check(algorithm, key, signing_input, signature)
    }
}

/// The host's verdict, or `None` where it has none to give.
fn ask_host(
    algorithm: Algorithm,
    key: &Key,
    signing_input: &[u8],
    signature: &[u8],
) -> Option<SignatureVerdict> {
    let hash = host_hash(algorithm)?;
    let converted = if is_ecdsa(algorithm) {
        match ecdsa_der(signature) {
            Some(der) => Some(der),
            // A signature with a zero in it has no DER form, and no key makes one.
            None => return Some(SignatureVerdict::Invalid),
        }
    } else {
        None
    };
    let signature = converted.as_deref().unwrap_or(signature);
    let argument = argument(hash, key.spki_der()?, signature, signing_input);
    let answer = host::foreign(FUNCTION, &argument).ok()?;
    // Field 1, `result`, is true; a false one is absent in proto3. Anything else is no yes.
    let is_valid = answer.starts_with(&[0x08, 0x01]);
    Some(if is_valid { SignatureVerdict::Valid } else { SignatureVerdict::Invalid })
}

/// Whether the signature is a pair of numbers, which the host wants as ASN.1.
fn is_ecdsa(algorithm: Algorithm) -> bool {
    matches!(algorithm, Algorithm::Es256 | Algorithm::Es384 | Algorithm::Es512)
}

/// The hash of the algorithms that the host verifies: RSA PKCS #1 v1.5 and ECDSA. It has no padding
/// argument for RSA-PSS, and asks for a hash that Ed25519 has not.
fn host_hash(algorithm: Algorithm) -> Option<&'static [u8]> {
    match algorithm {
        Algorithm::Rs256 | Algorithm::Es256 => Some(b"sha256"),
        Algorithm::Rs384 | Algorithm::Es384 => Some(b"sha384"),
        Algorithm::Rs512 | Algorithm::Es512 => Some(b"sha512"),
        Algorithm::Ps256
        | Algorithm::Ps384
        | Algorithm::Ps512
        | Algorithm::EdDsa
        | Algorithm::Hs256
        | Algorithm::Hs384
        | Algorithm::Hs512 => None,
    }
}

/// `VerifySignatureArguments`: 1 hash function, 2 public key (DER), 3 signature, 4 text. All are
/// length-delimited (wire type 2).
fn argument(hash: &[u8], public_key: &[u8], signature: &[u8], text: &[u8]) -> Vec<u8> {
    let size = [hash, public_key, signature, text].iter().map(|part| part.len()).sum::<usize>();
    let mut bytes = Vec::with_capacity(size.saturating_add(16));
    for (number, part) in [(1_u8, hash), (2, public_key), (3, signature), (4, text)] {
        bytes.push((number << 3) | 2);
        append_varint(&mut bytes, part.len());
        bytes.extend_from_slice(part);
    }
    bytes
}

fn append_varint(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        bytes.push(u8::try_from(number & 0x7f).unwrap_or(0) | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap_or(0));
}

/// The example of RFC 7515, appendix A.3.
fn probe() -> Option<bool> {
    const TOKEN: &[u8] = b"eyJhbGciOiJFUzI1NiJ9.\
        eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
        DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    let set = json!({"keys": [{
        "kty": "EC",
        "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    }]});
    let (keys, _) = KeySet::parse(set.as_object()?, KeyOrigin::Configured).ok()?;
    let key = keys.named(None).next()?;
    let mut parts = TOKEN.rsplitn(2, |byte| *byte == b'.');
    let signature = wardgate_core::base64url::decode(parts.next()?)?;
    let signing_input = parts.next()?;
    let good = ask_host(Algorithm::Es256, key, signing_input, &signature)?;
    let bad = ask_host(Algorithm::Es256, key, b"another text", &signature)?;
    Some(good == SignatureVerdict::Valid && bad == SignatureVerdict::Invalid)
}
