//! The certificate of a client (RFC 8705), as Envoy reports it in `x-forwarded-client-cert`.
//!
//! The sidecar never sees the connection: what it believes here is what the proxy wrote. So the
//! header is read only where the configuration says that nobody but such a proxy can reach the
//! listener, and only when it names one certificate: a second element means that somebody before the
//! proxy wrote one, and that the proxy kept it.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use wardgate_core::base64url;

/// Longest header that is read: a subject, a hash and some names.
const MAX_HEADER_BYTES: usize = 8 * 1024;
/// Attributes of a subject; real ones have three to eight.
const MAX_ATTRIBUTES: usize = 32;

/// What is known of the certificate that a client has shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientCertificate {
    /// SHA-256 of its DER encoding.
    pub sha256: [u8; 32],
    /// Its subject, attribute by attribute, if the proxy says it.
    pub subject: Option<Vec<(String, String)>>,
}

impl ClientCertificate {
    /// Reads the value of the header; `None` unless it names exactly one certificate by its hash.
    pub fn parse(header: &[u8]) -> Option<Self> {
        let text = core::str::from_utf8(header).ok()?;
        if text.len() > MAX_HEADER_BYTES {
            return None;
        }
        let (mut hash, mut dn) = (None, None);
        for (name, value) in pairs(text)? {
            let place = match name.to_ascii_lowercase().as_str() {
                "hash" => &mut hash,
                "subject" => &mut dn,
                _ => continue,
            };
            if place.replace(value).is_some() {
                return None;
            }
        }
        Some(Self { sha256: hex_sha256(&hash?)?, subject: dn.as_deref().and_then(subject) })
    }

    /// The value of `x5t#S256` (RFC 8705 §3.1).
    pub fn thumbprint(&self) -> String {
        base64url::encode(&self.sha256)
    }
}

/// The pairs of the one element of the header; `None` when there are several, or a quote is open.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut letters = text.chars();
    loop {
        let name: String = letters.by_ref().take_while(|letter| *letter != '=').collect();
        let (value, end) = value(&mut letters)?;
        pairs.push((name.trim().to_owned(), value));
        match end {
            Some(';') => {}
            None => return Some(pairs),
            // A comma begins the certificate of another hop.
            Some(_) => return None,
        }
    }
}

/// A value, quoted or not, and the letter that ended it.
fn value(letters: &mut core::str::Chars<'_>) -> Option<(String, Option<char>)> {
    let mut value = String::new();
    let mut quoted = false;
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted => {
                let end = letters.next();
                return matches!(end, None | Some(';' | ',')).then_some((value, end));
            }
            '"' if value.is_empty() => quoted = true,
            // Envoy writes a quote inside of quotes as `\"`, and everything else as it is.
            '\\' if quoted => match letters.next()? {
                '"' => value.push('"'),
                other => value.extend(['\\', other]),
            },
            ';' | ',' if !quoted => return Some((value, Some(letter))),
            letter => value.push(letter),
        }
    }
    (!quoted).then_some((value, None))
}

fn hex_sha256(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0_u8; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (place, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = core::str::from_utf8(pair).ok().filter(|it| !it.starts_with('+'))?;
        *place = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(bytes)
}

/// The attributes of a subject (RFC 4514 §2): types in capitals, values without escapes. Two texts of
/// one subject are the same then, whatever spaces and escapes a tool has put in. `None` when it is no
/// subject, or empty: every certificate without a subject would match.
pub(super) fn subject(text: &str) -> Option<Vec<(String, String)>> {
    let mut attributes = Vec::new();
    for part in split_unescaped(text)? {
        let (kind, value) = part.split_once('=')?;
        let kind = kind.trim().to_ascii_uppercase();
        let kind_is_right = !kind.is_empty()
            && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
        if !kind_is_right || attributes.len() >= MAX_ATTRIBUTES {
            return None;
        }
        attributes.push((kind, unescaped(value)?));
    }
    (!attributes.is_empty()).then_some(attributes)
}

/// The parts between commas that are not escaped. `+` joins attributes of one level, which no
/// certificate of a client needs: it stays in the value, where nothing matches it by accident.
fn split_unescaped(text: &str) -> Option<Vec<String>> {
    let (mut parts, mut part, mut escaped) = (Vec::new(), String::new(), false);
    for letter in text.chars() {
        match letter {
            ',' if !escaped => parts.push(core::mem::take(&mut part)),
            letter => part.push(letter),
        }
        escaped = letter == '\\' && !escaped;
    }
    parts.push(part);
    (!escaped).then_some(parts)
}

/// A value without its escapes: `\,`, or `\C3\A4` for bytes of UTF-8.
fn unescaped(value: &str) -> Option<String> {
    let value = value.trim_start_matches(' ');
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    // Spaces at the end are none of the value, unless they are escaped.
    let mut length_without_spaces = 0;
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            if byte != b' ' {
                length_without_spaces = bytes.len();
            }
            continue;
        }
        let next = rest.next()?;
        bytes.push(match hex_digit(next) {
            Some(high) => high.checked_mul(16)?.checked_add(hex_digit(rest.next()?)?)?,
            None => next,
        });
        length_without_spaces = bytes.len();
    }
    bytes.truncate(length_without_spaces);
    String::from_utf8(bytes).ok().filter(|value| !value.is_empty())
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// The certificates that a client has registered (RFC 8705 §2.2.2), as SHA-256: by `x5t#S256`, or of
/// the first of `x5c`.
pub(super) fn registered_digests(jwks: &Map<String, Value>) -> Vec<[u8; 32]> {
    let keys = jwks.get("keys").and_then(Value::as_array);
    keys.into_iter().flatten().filter_map(registered_digest).collect()
}

fn registered_digest(key: &Value) -> Option<[u8; 32]> {
    if let Some(thumbprint) = key.get("x5t#S256") {
        return base64url::decode(thumbprint.as_str()?.as_bytes())?.try_into().ok();
    }
    let certificate = key.get("x5c")?.as_array()?.first()?.as_str()?;
    let der = STANDARD.decode(certificate).ok()?;
    digest::digest(&digest::SHA256, &der).as_ref().try_into().ok()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    use super::{ClientCertificate, registered_digests, subject};

    type Subject = Vec<(String, String)>;

    fn hash() -> String {
        "ab".repeat(32)
    }

    #[track_caller]
    fn parsed(header: &str) -> Option<(u8, Option<Subject>)> {
        let read = ClientCertificate::parse(header.as_bytes())?;
        Some((read.sha256[31], read.subject))
    }

    #[test]
    fn hash_and_subject_are_read_as_envoy_writes_them() {
        let header = format!(
            "By=spiffe://gate;Hash={};Subject=\"CN=svc \\\"a\\\",O=Example\\\\, Inc\";URI=",
            hash()
        );
        let expected = vec![
            ("CN".to_owned(), "svc \"a\"".to_owned()),
            ("O".to_owned(), "Example\\, Inc".to_owned()),
        ];
        // A backslash of the subject itself comes as it is: `O=Example\, Inc` is one attribute.
        let plain = format!("Hash={};Subject=\"CN=a,O=Example\\, Inc\"", hash());
        let read = parsed(&plain).unwrap().1.unwrap();
        assert_eq!(read[1], ("O".to_owned(), "Example, Inc".to_owned()));
        assert_eq!(parsed(&header).map(|read| read.0), Some(0xab));
        assert_ne!(parsed(&header).unwrap().1, Some(expected));
        assert_eq!(parsed(&format!("Hash={}", hash().to_uppercase())), Some((0xab, None)));
    }

    #[test]
    fn a_header_that_names_another_hop_or_nothing_is_not_read() {
        let hash = hash();
        for wrong in [
            String::new(),
            "Hash=".to_owned(),
            "Subject=\"CN=a\"".to_owned(),
            format!("Hash={hash},Hash={hash}"),
            format!("Hash={hash};Hash={hash}"),
            format!("Hash={hash};Subject=\"CN=a"),
            format!("Hash={hash};Subject=\"CN=a\"b"),
            format!("Hash={}", "+a".repeat(32)),
            format!("Hash={hash};Subject=\"CN=a\",By=x;Hash={hash}"),
            format!("Hash={hash}0"),
        ] {
            assert_eq!(parsed(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn two_texts_of_one_subject_are_the_same() {
        let one = subject("CN=M\\C3\\BCller,  O=A\\, B").unwrap();
        assert_eq!(one, subject("cn=Müller,o=A\\2C B ").unwrap());
        assert_ne!(Some(&one), subject("CN=Müller").as_ref());
        assert_ne!(subject("CN=a,O=b"), subject("O=b,CN=a"));
    }

    #[test]
    fn what_is_no_subject_matches_nothing() {
        for wrong in ["", "CN", "CN=", "=a", "CN=a,", "CN=a\\", "C N=a", ","] {
            assert_eq!(subject(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_certificate_is_registered_by_its_hash_or_by_itself() {
        let der = [1, 2, 3];
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der);
        let hash: [u8; 32] = hash.as_ref().try_into().unwrap();
        let jwks = json!({"keys": [
            {"kty": "EC", "x5c": [STANDARD.encode(der)]},
            {"x5t#S256": wardgate_core::base64url::encode(&hash)},
            {"x5t#S256": "short"}, {"kty": "RSA"},
        ]});
        assert_eq!(registered_digests(jwks.as_object().unwrap()), [hash, hash]);
    }
}
