//! The section about OAuth clients and the endpoints where they get tokens.

use serde_json::{Value, json};
use wardgate_core::config::{At, Bounded, Problems, Read};
use wardgate_core::dpop::{Origin, ParseUriError};
use wardgate_core::section;

section! {
    /// OAuth: how clients authenticate and get tokens.
    pub struct OAuthSection = "oauth" {
        /// Whether certificates of clients are believed as `x-forwarded-client-cert` reports them, and
        /// clients can authenticate by them. Only where nobody but an Envoy can reach the public
        /// listener, and that Envoy writes the header itself
        /// (`forward_client_cert_details: SANITIZE_SET`): whoever else can write it is any client.
        pub forwarded_client_certificate: bool, default(false, false);
        /// How often one address may fail to authenticate as a client per minute, and at once; of IPv6
        /// each network of 64 bits. 0 switches it off.
        pub failures_per_minute_per_address: Bounded<0, 100_000>, default(Bounded(30), 30);
        /// What is demanded of the nonce of a DPoP proof at the token endpoint. A proof with a nonce
        /// that was given out here cannot have been made ahead of time.
        pub dpop_nonce: DpopNonce, default(DpopNonce::Optional, "optional");
        /// The origins of browser applications whose scripts may ask the token endpoint, end tokens,
        /// log users in and out, change their passwords, and read the answers (CORS): scheme, host and
        /// port, nothing else. Those of the issuer's own origin need not stand here. There is no `*`:
        /// any page that a user opens could guess passwords by their browser, from their address.
        pub allowed_origins: Vec<AllowedOrigin>, default(Vec::new(), Vec::<String>::new());
    }
}

section! {
    /// What is demanded of the nonce of a DPoP proof.
    pub enum DpopNonce = "dpop_nonce" {
        /// Nothing; none is given out.
        Ignored = "ignored",
        /// One that is there must be one that was given out lately.
        Optional = "optional",
        /// There must be one; a client without is given one and tries again.
        Required = "required",
    }
}

impl Default for OAuthSection {
    fn default() -> Self {
        Self {
            forwarded_client_certificate: false,
            failures_per_minute_per_address: Bounded(30),
            dpop_nonce: DpopNonce::Optional,
            allowed_origins: Vec::new(),
        }
    }
}

/// The origin of a browser application, as a browser sends it (RFC 6454 §6.2).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AllowedOrigin(pub Origin);

impl Read for AllowedOrigin {
    fn read(value: &Value, at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        let text = String::read(value, at, problems)?;
        let wrong = match Origin::parse(&text) {
            // Without TLS whoever is on the way to the application writes its scripts, and they may do
            // here whatever it may.
            Ok(origin) if origin.is_https() || origin.is_loopback() => return Some(Self(origin)),
            Ok(_) => "expected `https://`, or `http://` on loopback",
            Err(ParseUriError::NotAnOrigin) => {
                "expected scheme, host and port only, as https://app.example.com"
            }
            // `null` is the origin of every file, and of a frame that anybody has made a sandbox of.
            Err(ParseUriError::Invalid) => {
                "expected the origin of an application, as https://app.example.com: \
                 `*` and `null` would be everybody's"
            }
        };
        at.problem(problems, wrong);
        None
    }

    fn kind() -> String {
        "origin, as `https://app.example.com`".to_owned()
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": "^https?://[^/?#]+/?$"})
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wardgate_core::config::{At, Problems, Read as _};

    use super::OAuthSection;

    #[test]
    fn defaults_are_what_an_empty_section_gives() {
        let read = OAuthSection::read(&json!({}), &At::ROOT, &mut Problems::new());
        assert_eq!(read, Some(OAuthSection::default()));
    }

    #[test]
    fn an_allowed_origin_is_kept_as_browsers_send_it() {
        let section = json!({"allowed_origins": [
            "https://app.example.com", "HTTPS://App.example.com:443/", "https://a.example:8443",
            "http://localhost:5173", "http://127.0.0.1", "http://[::1]:3000",
        ]});
        let mut problems = Problems::new();
        let read = OAuthSection::read(&section, &At::ROOT, &mut problems).unwrap();
        let kept: Vec<&str> = read.allowed_origins.iter().map(|it| it.0.as_str()).collect();
        let expected = [
            "https://app.example.com",
            "https://app.example.com",
            "https://a.example:8443",
            "http://localhost:5173",
            "http://127.0.0.1",
            "http://[::1]:3000",
        ];
        assert_eq!((kept.as_slice(), problems), (&expected[..], Problems::new()));
    }

    #[test]
    fn every_origin_that_is_none_of_one_application_is_told_with_its_place() {
        let not_alone = "expected scheme, host and port only";
        let none = "expected the origin of an application";
        let wrong = [
            ("*", none),
            ("null", none),
            ("", none),
            ("app.example.com", none),
            ("https://*.example.com", none),
            ("https://u@app.example.com", none),
            ("https://app.example.com:port", none),
            ("capacitor://localhost", none),
            ("https://app.example.com/login", not_alone),
            ("https://app.example.com?a", not_alone),
            ("https://app.example.com#a", not_alone),
            ("http://app.example.com", "expected `https://`"),
            ("http://localhost.example.com", "expected `https://`"),
        ];
        let origins = wrong.map(|(origin, _)| origin);
        let mut problems = Problems::new();
        let section = json!({"allowed_origins": origins, "dpop_nonce": "never"});
        assert_eq!(OAuthSection::read(&section, &At::ROOT, &mut problems), None);
        let found: Vec<String> = problems.iter().map(ToString::to_string).collect();
        // One more: all problems of a section are told at once.
        assert_eq!(found.len(), wrong.len() + 1, "{found:#?}");
        for (index, (origin, expected)) in wrong.into_iter().enumerate() {
            let start = format!("allowed_origins[{index}]: {expected}");
            assert!(found.iter().any(|it| it.starts_with(&start)), "{origin}: {found:#?}");
        }
    }
}
