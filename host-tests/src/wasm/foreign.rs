//! Envoy's foreign function `verify_signature`, for real.

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};

use super::abi::Status;

/// Object identifiers that tell the kind of key in a `SubjectPublicKeyInfo`, in DER.
const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
const P521: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23];

#[derive(Default)]
struct Arguments {
    hash: Vec<u8>,
    key: Vec<u8>,
    signature: Vec<u8>,
    text: Vec<u8>,
}

/// Answers one call: a serialized `VerifySignatureResult`.
///
/// # Errors
///
/// [`Status::BAD_ARGUMENT`] when the argument does not parse or names no key.
pub(super) fn verify_signature(argument: &[u8]) -> Result<Vec<u8>, Status> {
    let arguments = decode(argument).ok_or(Status::BAD_ARGUMENT)?;
    if arguments.key.is_empty() {
        return Err(Status::BAD_ARGUMENT);
    }
    let hash = arguments.hash.to_ascii_lowercase();
    let Some(algorithm) = algorithm(&hash, &arguments.key) else {
        return Ok(encode_failure(b"Failed to initialize digest verify."));
    };
    let key = UnparsedPublicKey::new(algorithm, &arguments.key);
    Ok(match key.verify(&arguments.text, &arguments.signature) {
        // `result = true`; in proto3 false is an absent field.
        Ok(()) => vec![0x08, 0x01],
        Err(_) => encode_failure(b"Failed to verify digest. Error code: 0"),
    })
}

fn algorithm(hash: &[u8], key: &[u8]) -> Option<&'static dyn VerificationAlgorithm> {
    // The head of a SubjectPublicKeyInfo names its algorithm; a PKCS#1 key has none and is refused.
    let head = key.get(..key.len().min(32))?;
    let is = |kind: &[u8]| head.windows(kind.len()).any(|window| window == kind);
    Some(match hash {
        b"sha256" if is(RSA) => &signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
        b"sha384" if is(RSA) => &signature::RSA_PKCS1_2048_8192_SHA384,
        b"sha512" if is(RSA) => &signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
        b"sha256" if is(P256) => &signature::ECDSA_P256_SHA256_ASN1,
        b"sha384" if is(P256) => &signature::ECDSA_P256_SHA384_ASN1,
        b"sha512" if is(P256) => &signature::ECDSA_P256_SHA512_ASN1,
        b"sha256" if is(P384) => &signature::ECDSA_P384_SHA256_ASN1,
        b"sha384" if is(P384) => &signature::ECDSA_P384_SHA384_ASN1,
        b"sha512" if is(P384) => &signature::ECDSA_P384_SHA512_ASN1,
        b"sha256" if is(P521) => &signature::ECDSA_P521_SHA256_ASN1,
        b"sha384" if is(P521) => &signature::ECDSA_P521_SHA384_ASN1,
        b"sha512" if is(P521) => &signature::ECDSA_P521_SHA512_ASN1,
        _ => return None,
    })
}

fn encode_failure(error: &[u8]) -> Vec<u8> {
    let mut encoded = vec![0x12, u8::try_from(error.len()).unwrap_or(0)];
    encoded.extend_from_slice(error);
    encoded
}

fn decode(mut bytes: &[u8]) -> Option<Arguments> {
    let mut arguments = Arguments::default();
    while !bytes.is_empty() {
        let (tag, rest) = varint(bytes)?;
        // Every field of the message is length-delimited (wire type 2).
        if tag & 7 != 2 {
            return None;
        }
        let (length, rest) = varint(rest)?;
        let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        match tag >> 3 {
            1 => arguments.hash = value.to_vec(),
            2 => arguments.key = value.to_vec(),
            3 => arguments.signature = value.to_vec(),
            4 => arguments.text = value.to_vec(),
            _ => {}
        }
        bytes = rest;
    }
    Some(arguments)
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(9) {
        let shift = u32::try_from(index).ok()?.checked_mul(7)?;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(index.saturating_add(1)..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::AsDer as _;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};

    use super::{Status, verify_signature};

    fn field(number: u8, value: &[u8]) -> Vec<u8> {
        let mut encoded = vec![number << 3 | 2];
        let mut length = value.len();
        while length > 0x7f {
            encoded.push(0x80 | u8::try_from(length & 0x7f).unwrap());
            length >>= 7;
        }
        encoded.push(u8::try_from(length).unwrap());
        encoded.extend_from_slice(value);
        encoded
    }

    #[test]
    fn a_right_ecdsa_signature_is_told_from_a_wrong_one() {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let spki = pair.public_key().as_der().unwrap();
        let signature = pair.sign(&SystemRandom::new(), b"text").unwrap();
        let call = |text: &[u8]| {
            let parts = [
                field(1, b"SHA256"),
                field(2, spki.as_ref()),
                field(3, signature.as_ref()),
                field(4, text),
            ];
            verify_signature(&parts.concat())
        };
        assert_eq!(call(b"text"), Ok(vec![0x08, 0x01]));
        assert_ne!(call(b"other"), Ok(vec![0x08, 0x01]));
    }

    #[test]
    fn no_key_and_a_cut_message_are_bad_arguments() {
        assert_eq!(verify_signature(&field(1, b"sha256")), Err(Status::BAD_ARGUMENT));
        assert_eq!(verify_signature(b"\x0a\x05ab"), Err(Status::BAD_ARGUMENT));
    }

    #[test]
    fn an_unknown_hash_and_a_junk_key_are_a_false_result() {
        let junk = [field(1, b"md5"), field(2, b"junk")].concat();
        assert_eq!(verify_signature(&junk).unwrap().first(), Some(&0x12));
    }
}
