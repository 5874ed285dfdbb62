use proptest::prelude::*;

use super::*;

/// Whether a piece of `token` of 12 bytes or more is in `text`.
fn leaks(token: &[u8], text: &str) -> bool {
    token.windows(12).any(|piece| text.as_bytes().windows(12).any(|other| other == piece))
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = UnverifiedToken::parse(&bytes, LIMIT);
    }

    #[test]
    fn arbitrary_json_never_panics(header in "\\PC{0,80}", claims in "\\PC{0,200}", valid in any::<bool>()) {
        let header = if valid { r#"{"alg":"HS256"}"# } else { &header };
        let _ = decide(sign(header, &claims).as_bytes(), &rules(), &keys());
    }

    #[test]
    fn no_error_shows_a_piece_of_the_token(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut token = sign(&header().to_string(), &claims().to_string()).into_bytes();
        *at.get_mut(&mut token) = byte;
        let shown = match UnverifiedToken::parse(&token, LIMIT) {
            Ok(parsed) => format!("{parsed:?} {:?}", verify(&parsed, &rules(), &keys(), &SoftwareSignatures)),
            Err(reason) => format!("{reason} {reason:?}"),
        };
        prop_assert!(!leaks(&token, &shown), "{shown}");
    }
}

#[test]
fn no_other_byte_anywhere_in_a_valid_token_is_accepted() {
    let valid = sign(r#"{"alg":"HS256"}"#, &claims().to_string()).into_bytes();
    assert!(decide(&valid, &rules(), &keys()).is_ok());
    for position in 0..valid.len() {
        for byte in 0..=u8::MAX {
            let mut token = valid.clone();
            token[position] = byte;
            let is_accepted = decide(&token, &rules(), &keys()).is_ok();
            assert_eq!(is_accepted, byte == valid[position], "byte {byte} at {position}");
        }
    }
}

#[test]
fn no_prefix_or_extension_of_a_valid_token_is_accepted() {
    let valid = sign(r#"{"alg":"HS256"}"#, &claims().to_string()).into_bytes();
    for end in 0..valid.len() {
        assert!(decide(&valid[..end], &rules(), &keys()).is_err(), "cut at {end}");
    }
    for byte in 0..=u8::MAX {
        assert!(decide(&[valid.as_slice(), &[byte]].concat(), &rules(), &keys()).is_err());
        assert!(decide(&[&[byte], valid.as_slice()].concat(), &rules(), &keys()).is_err());
    }
}
