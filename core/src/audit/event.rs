//! One decision as a line of JSON. Never holds a credential, a query string or a header value other
//! than the request id.

use serde_json::{Value, json};

use crate::reason::Reason;

/// What was decided.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The request went on.
    Permit,
    /// The request was answered by the gate.
    Deny(Reason),
    /// The request went on only because its route is in shadow mode.
    ShadowDeny(Reason),
}

/// What is recorded of one decision. All texts are cut to [`MAX_TEXT_BYTES`] when written.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// What was decided.
    pub outcome: Outcome,
    /// Name of the route that decided, if one did.
    pub route: Option<&'a str>,
    /// Method of the request.
    pub method: &'a str,
    /// Host of the request.
    pub host: &'a str,
    /// Path of the request without the query, which may hold secrets.
    pub path: &'a [u8],
    /// How the principal was authenticated: `jwt`, `api_key`, `session` or `none`.
    pub auth: &'static str,
    /// Issuer of the principal.
    pub issuer: Option<&'a str>,
    /// Subject of the principal.
    pub subject: Option<&'a str>,
    /// The client that the token was issued to.
    pub client_id: Option<&'a str>,
    /// `jti` of the token, or id of the API key.
    pub credential_id: Option<&'a str>,
    /// Whether an API key was shown with the secret that it had before its last rotation: written
    /// only if so, to find who has not changed over yet.
    pub previous_secret: bool,
    /// The proxy's request id, to find the request in other logs.
    pub request_id: &'a [u8],
    /// Address of the client as the proxy trusts it, if it was asked for.
    pub source_address: Option<&'a [u8]>,
    /// A shadow rule that would have decided otherwise.
    pub shadow_route: Option<&'a str>,
    /// Name of the rate limit that the request was too many for.
    pub limit: Option<&'a str>,
}

/// Longest text in an event: an attacker chooses paths, and must not choose the size of the log.
pub(crate) const MAX_TEXT_BYTES: usize = 512;

impl Event<'_> {
    /// Appends the event as a JSON object with its `sequence` and time in Unix milliseconds.
    pub fn write(&self, sequence: u64, unix_milliseconds: u64, to: &mut Vec<u8>) {
        to.extend_from_slice(b"{\"sequence\":");
        write_number(sequence, to);
        to.extend_from_slice(b",\"time\":");
        write_number(unix_milliseconds, to);
        let (decision, reason) = match self.outcome {
            Outcome::Permit => ("permit", None),
            Outcome::Deny(reason) => ("deny", Some(reason)),
            Outcome::ShadowDeny(reason) => ("shadow-deny", Some(reason)),
        };
        write_member("decision", decision.as_bytes(), to);
        if let Some(reason) = reason {
            write_member("reason", reason.code().as_bytes(), to);
        }
        write_member("method", self.method.as_bytes(), to);
        write_member("host", self.host.as_bytes(), to);
        write_member("path", self.path, to);
        write_member("auth", self.auth.as_bytes(), to);
        let optional = [
            ("route", self.route.map(str::as_bytes)),
            ("issuer", self.issuer.map(str::as_bytes)),
            ("subject", self.subject.map(str::as_bytes)),
            ("client_id", self.client_id.map(str::as_bytes)),
            ("credential_id", self.credential_id.map(str::as_bytes)),
            ("request_id", Some(self.request_id).filter(|id| !id.is_empty())),
            ("source_address", self.source_address),
            ("shadow_route", self.shadow_route.map(str::as_bytes)),
            ("limit", self.limit.map(str::as_bytes)),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                write_member(name, value, to);
            }
        }
        if self.previous_secret {
            to.extend_from_slice(b",\"previous_secret\":true");
        }
        to.push(b'}');
    }
}

/// The event that stands for `count` events lost from `first` to `last`, because nothing could hold
/// them: a gap that is recorded is no gap in what can be trusted.
pub(super) fn gap(sequence: u64, unix_milliseconds: u64, first: u64, last: u64) -> Value {
    json!({
        "sequence": sequence,
        "time": unix_milliseconds,
        "decision": "gap",
        "first": first,
        "last": last,
        "count": last.saturating_sub(first).saturating_add(1),
    })
}

/// Appends a number in decimal.
pub(super) fn write_number(mut number: u64, to: &mut Vec<u8>) {
    let mut digits = [0_u8; 20];
    let mut used = 0_usize;
    for digit in digits.iter_mut().rev() {
        *digit = b'0'.saturating_add(u8::try_from(number % 10).unwrap_or(0));
        number /= 10;
        used = used.saturating_add(1);
        if number == 0 {
            break;
        }
    }
    to.extend_from_slice(digits.get(digits.len().saturating_sub(used)..).unwrap_or_default());
}

/// Appends `,"name":"value"`, the value cut and escaped (RFC 8259 §7).
fn write_member(name: &str, value: &[u8], to: &mut Vec<u8>) {
    to.extend_from_slice(b",\"");
    to.extend_from_slice(name.as_bytes());
    to.extend_from_slice(b"\":\"");
    write_escaped(value.get(..MAX_TEXT_BYTES).unwrap_or(value), to);
    to.push(b'"');
}

/// Appends the bytes as the inside of a JSON string. Bytes that are not UTF-8 become U+FFFD.
fn write_escaped(value: &[u8], to: &mut Vec<u8>) {
    if value.iter().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')) {
        to.extend_from_slice(value);
        return;
    }
    for letter in String::from_utf8_lossy(value).chars() {
        match letter {
            '"' | '\\' => to.extend_from_slice(&[b'\\', if letter == '"' { b'"' } else { b'\\' }]),
            '\0'..='\u{1f}' | '\u{7f}' => {
                to.extend_from_slice(format!("\\u{:04x}", u32::from(letter)).as_bytes());
            }
            _ => to.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Event, MAX_TEXT_BYTES, Outcome, write_number};
    use crate::json::parse_strict;
    use crate::reason::Reason;

    fn event<'a>(path: &'a [u8], subject: &'a str) -> Event<'a> {
        Event {
            outcome: Outcome::Deny(Reason::Forbidden),
            route: Some("route"),
            method: "GET",
            host: "example.com",
            path,
            auth: "jwt",
            issuer: Some("https://issuer"),
            subject: Some(subject),
            client_id: None,
            credential_id: None,
            request_id: b"",
            source_address: None,
            shadow_route: None,
            limit: None,
            previous_secret: false,
        }
    }

    #[test]
    fn an_event_is_one_json_object_with_the_names_of_the_reference() {
        let mut line = Vec::new();
        event(b"/a", "42").write(7, 1_800_000_000_123, &mut line);
        assert_eq!(
            String::from_utf8_lossy(&line),
            r#"{"sequence":7,"time":1800000000123,"decision":"deny","reason":"forbidden","method":"GET","host":"example.com","path":"/a","auth":"jwt","route":"route","issuer":"https://issuer","subject":"42"}"#
        );
    }

    #[test]
    fn a_long_text_is_cut() {
        let path = vec![b'a'; 100_000];
        let mut line = Vec::new();
        event(&path, "42").write(1, 1, &mut line);
        assert!(line.len() < MAX_TEXT_BYTES + 400);
    }

    proptest! {
        #[test]
        fn any_bytes_make_valid_json_on_one_line(path in prop::collection::vec(any::<u8>(), 0..700), subject in any::<String>()) {
            let mut line = Vec::new();
            event(&path, &subject).write(1, 2, &mut line);
            let value = parse_strict(&line);
            prop_assert!(value.is_ok(), "{}", String::from_utf8_lossy(&line));
            prop_assert!(!line.contains(&b'\n'));
        }

        #[test]
        fn numbers_are_written_in_decimal(number in any::<u64>()) {
            let mut text = Vec::new();
            write_number(number, &mut text);
            prop_assert_eq!(String::from_utf8(text).unwrap(), number.to_string());
        }
    }
}
