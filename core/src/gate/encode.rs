//! Values for headers to the upstream: no claim can end a header, start another or add an item.

/// Appends `text` with every byte escaped (RFC 3986 §2.1) that is no visible ASCII letter, or is a
/// `%`, or separates items of a list (`,` and space).
///
/// A subject `a\r\nx-admin: 1` or a role `viewer,admin` would otherwise be read as more than one
/// thing by the upstream.
pub fn escape(text: &str, to: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !matches!(byte, b'%' | b',') {
            to.push(byte);
            continue;
        }
        to.push(b'%');
        to.extend(HEX.get(usize::from(byte >> 4)));
        to.extend(HEX.get(usize::from(byte & 15)));
    }
}

/// The escaped value of one text.
pub fn value(text: &str) -> Vec<u8> {
    let mut value = Vec::with_capacity(text.len());
    escape(text, &mut value);
    value
}

/// The escaped values of a list, with `separator` between them.
pub fn list<'a>(items: impl IntoIterator<Item = &'a str>, separator: u8) -> Vec<u8> {
    let mut value = Vec::new();
    for item in items {
        if !value.is_empty() {
            value.push(separator);
        }
        escape(item, &mut value);
    }
    value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{list, value};

    #[test]
    fn separators_and_line_ends_are_escaped() {
        assert_eq!(value("a\r\nb: c%,\u{e9}"), b"a%0D%0Ab:%20c%25%2C%C3%A9");
        assert_eq!(list(["a,b", "c d"], b','), b"a%2Cb,c%20d");
    }

    #[test]
    fn usual_identifiers_stay_readable() {
        assert_eq!(value("auth0|42@example.com/x"), b"auth0|42@example.com/x");
    }

    proptest! {
        #[test]
        fn no_text_adds_an_item_or_a_line(text in any::<String>()) {
            let value = value(&text);
            prop_assert!(value.iter().all(|byte| byte.is_ascii_graphic() && *byte != b','));
        }
    }
}
