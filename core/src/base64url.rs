//! base64url without padding (RFC 4648 §5, RFC 7515 §2), strict in both directions.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The text of `bytes`.
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of `text`, or `None` if it has padding, white space, a foreign letter or trailing bits
/// that are not zero: two texts for one value would let one token be shown under two names.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};

    #[test]
    fn only_the_canonical_text_is_accepted() {
        assert_eq!(decode(b"AQ"), Some(vec![1]));
        for other in ["AR", "AQ==", "AQ ", "A", "A+", "\u{e9}"] {
            assert_eq!(decode(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn decoding_undoes_encoding() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(encode(&bytes).as_bytes()), Some(bytes));
    }
}
