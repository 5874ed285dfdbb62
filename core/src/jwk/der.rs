//! As much ASN.1 DER (X.690) as public keys and ECDSA signatures need, for writing only.

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// `AlgorithmIdentifier` of `rsaEncryption` with its NULL parameters (RFC 3279 §2.3.1).
pub(crate) const RSA_ENCRYPTION: &[u8] =
    &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// `AlgorithmIdentifier` of `id-ecPublicKey` on P-256 (RFC 5480 §2.1.1).
pub(crate) const EC_P256: &[u8] = &[
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
    0xce, 0x3d, 0x03, 0x01, 0x07,
];

/// `AlgorithmIdentifier` of `id-ecPublicKey` on P-384.
pub(crate) const EC_P384: &[u8] = &[
    0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04,
    0x00, 0x22,
];

/// `AlgorithmIdentifier` of `id-ecPublicKey` on P-521.
pub(crate) const EC_P521: &[u8] = &[
    0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04,
    0x00, 0x23,
];

/// A `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7).
pub(crate) fn subject_public_key_info(algorithm: &[u8], public_key: &[u8]) -> Vec<u8> {
    // The first byte says how many bits at the end are unused: none.
    sequence(&[algorithm, &element(BIT_STRING, &[&[0], public_key])])
}

/// An `RSAPublicKey` (RFC 8017 §A.1.1).
pub(crate) fn rsa_public_key(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    sequence(&[&unsigned_integer(modulus), &unsigned_integer(exponent)])
}

/// A sequence of elements that are already encoded.
pub(crate) fn sequence(elements: &[&[u8]]) -> Vec<u8> {
    element(SEQUENCE, elements)
}

/// The number whose big-endian bytes are `bytes`, in the shortest form, as DER demands.
pub(crate) fn unsigned_integer(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let digits = bytes.get(start..).unwrap_or_default();
    // A first bit that is set would make the number negative; zero itself is one zero byte.
    let needs_zero = digits.first().is_none_or(|first| *first >= 0x80);
    element(INTEGER, &[if needs_zero { &[0] } else { &[] }, digits])
}

fn element(tag: u8, contents: &[&[u8]]) -> Vec<u8> {
    let length: usize = contents.iter().map(|content| content.len()).sum();
    let mut encoded = Vec::with_capacity(length.saturating_add(6));
    encoded.push(tag);
    push_length(&mut encoded, length);
    for content in contents {
        encoded.extend_from_slice(content);
    }
    encoded
}

fn push_length(encoded: &mut Vec<u8>, length: usize) {
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => encoded.push(short),
        Ok(_) | Err(_) => {
            let bytes = length.to_be_bytes();
            let digits = bytes.iter().copied().skip_while(|byte| *byte == 0);
            let count = u8::try_from(digits.clone().count()).unwrap_or(u8::MAX);
            encoded.push(0x80 | count);
            encoded.extend(digits);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{element, unsigned_integer};

    #[test]
    fn integers_have_the_shortest_form_and_stay_positive() {
        assert_eq!(unsigned_integer(&[0, 0, 1]), [2, 1, 1]);
        assert_eq!(unsigned_integer(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!(unsigned_integer(&[0x7f, 0]), [2, 2, 0x7f, 0]);
        assert_eq!(unsigned_integer(&[0, 0]), [2, 1, 0]);
        assert_eq!(unsigned_integer(&[]), [2, 1, 0]);
    }

    #[test]
    fn lengths_from_128_on_are_written_in_the_long_form() {
        assert_eq!(element(4, &[&[0; 127]]).get(..2), Some([4, 127].as_slice()));
        assert_eq!(element(4, &[&[0; 128]]).get(..3), Some([4, 0x81, 128].as_slice()));
        assert_eq!(element(4, &[&[0; 256]]).get(..4), Some([4, 0x82, 1, 0].as_slice()));
    }
}
