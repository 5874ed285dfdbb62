//! What a policy says of proofs of possession (RFC 9449).

use serde_json::{Value, json};

use crate::config::{At, Bounded, Problems, Read};
use crate::dpop::{DEFAULT_ALGORITHMS, HttpUri, Origin, ParseUriError};
use crate::section;
use crate::token::Algorithm;

/// More origins than a gateway has names; each proof is compared with all of them.
const MAX_ORIGINS: usize = 16;

section! {
    /// Proofs of possession (`DPoP`, RFC 9449) for tokens that are bound to a key (`cnf.jkt`). Without
    /// `origins` such tokens are refused.
    pub struct DpopSection = "dpop" {
        /// Scheme, host and port under which clients reach the routes: what `htu` of a proof must
        /// begin with. `https://`, or `http://` on loopback.
        pub origins: Vec<ExternalOrigin>, default(Vec::new(), json!([]));
        /// Accepted algorithms of proofs. HS* never are; ES384 and ES512 cost a worker ten times as
        /// much as ES256.
        pub algorithms: Vec<Algorithm>, default(DEFAULT_ALGORITHMS.to_vec(), DEFAULT_ALGORITHMS.iter().map(|algorithm| algorithm.word()).collect::<Vec<_>>());
        /// For how many seconds after its `iat` a proof is accepted. So long each one is remembered.
        pub max_age_seconds: Bounded<5, 300>, default(Bounded(60), 60);
        /// By how many seconds the clock of a client may be ahead.
        pub clock_skew_seconds: Bounded<0, 60>, default(Bounded(10), 10);
        /// Whether proofs need a nonce of this Envoy, with which they are worth nothing at any other.
        /// For clients that stay with one Envoy: with another one they need another nonce.
        pub nonce: NonceMode, default(NonceMode::Ignored, "ignored");
    }
}

section! {
    /// Whether proofs need a nonce.
    pub enum NonceMode = "nonce" {
        /// No; one that is there is not looked at.
        Ignored = "ignored",
        /// No; one that is there must be of this Envoy.
        Optional = "optional",
        /// Yes.
        Required = "required",
    }
}

/// An origin under which clients reach the gate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExternalOrigin(pub Origin);

impl Default for DpopSection {
    fn default() -> Self {
        Self {
            origins: Vec::new(),
            algorithms: DEFAULT_ALGORITHMS.to_vec(),
            max_age_seconds: Bounded(60),
            clock_skew_seconds: Bounded(10),
            nonce: NonceMode::Ignored,
        }
    }
}

impl Read for ExternalOrigin {
    fn read(value: &Value, at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        let text = String::read(value, at, problems)?;
        match Origin::parse(&text) {
            // Without TLS whoever listens has token and proof, and may be faster.
            Ok(origin) if origin.is_https() || origin.is_loopback() => Some(Self(origin)),
            Ok(_) => {
                at.problem(problems, "expected `https://`, or `http://` on loopback");
                None
            }
            Err(error @ (ParseUriError::Invalid | ParseUriError::NotAnOrigin)) => {
                at.problem(problems, error.to_string());
                None
            }
        }
    }

    fn kind() -> String {
        "origin, as `https://api.example.com`".to_owned()
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": "^https?://[^/?#]+/?$"})
    }
}

/// What proofs must be like.
#[derive(Clone, Debug)]
pub struct DpopRules {
    origins: Vec<Origin>,
    /// Accepted algorithms.
    pub algorithms: Vec<Algorithm>,
    /// The same as words with spaces between, for challenges (RFC 9449 §5.1).
    pub algorithm_words: String,
    /// For how many seconds after `iat` a proof is accepted.
    pub max_age_seconds: u64,
    /// By how many seconds the clock of a client may be ahead.
    pub clock_skew_seconds: u64,
    /// Whether proofs need a nonce.
    pub nonce: NonceMode,
}

impl DpopRules {
    /// The addresses that a request can have for its client: those of the origins with the host of
    /// the request, or of all where none has it, because a proxy before may have changed it.
    pub fn uris(&self, authority: &str, path: &[u8]) -> Vec<HttpUri> {
        // A proof for one host must not serve another, should both have a resource of that name.
        let is_named = self.origins.iter().any(|origin| origin.has_host(authority));
        let origins = self.origins.iter().filter(|origin| !is_named || origin.has_host(authority));
        origins.filter_map(|origin| origin.at(path)).collect()
    }

    /// `None` without origins.
    pub(super) fn compile(
        section: &DpopSection,
        at: &At<'_>,
        problems: &mut Problems,
    ) -> Option<Self> {
        check(section, at, problems);
        if section.origins.is_empty() {
            return None;
        }
        let words: Vec<&str> = section.algorithms.iter().map(|one| one.word()).collect();
        Some(Self {
            origins: section.origins.iter().map(|origin| origin.0.clone()).collect(),
            algorithms: section.algorithms.clone(),
            algorithm_words: words.join(" "),
            max_age_seconds: section.max_age_seconds.0,
            clock_skew_seconds: section.clock_skew_seconds.0,
            nonce: section.nonce,
        })
    }
}

fn check(section: &DpopSection, at: &At<'_>, problems: &mut Problems) {
    let at_origins = at.name("origins");
    if section.origins.len() > MAX_ORIGINS {
        at_origins.problem(problems, format!("more than {MAX_ORIGINS} origins"));
    }
    for (index, origin) in section.origins.iter().enumerate() {
        if section.origins.iter().take(index).any(|earlier| earlier == origin) {
            at_origins.index(index).problem(problems, format!("`{}` stands twice", origin.0));
        }
    }
    let at_algorithms = at.name("algorithms");
    if section.algorithms.is_empty() {
        at_algorithms.problem(problems, "expected at least one algorithm");
    }
    for (index, algorithm) in section.algorithms.iter().enumerate() {
        if algorithm.hmac_secret_bytes().is_some() {
            // The key stands in the proof: with a secret, everybody could make one.
            at_algorithms.index(index).problem(problems, "a proof cannot be made with a secret");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{DpopRules, DpopSection};
    use crate::config::{At, Read as _};

    fn read(section: &Value) -> Result<Option<DpopRules>, Vec<String>> {
        let mut problems = Vec::new();
        let at = At::ROOT.name("dpop");
        let rules = DpopSection::read(section, &at, &mut problems)
            .and_then(|section| DpopRules::compile(&section, &at, &mut problems));
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        if problems.is_empty() { Ok(rules) } else { Err(problems) }
    }

    #[test]
    fn defaults_are_what_an_empty_section_gives() {
        let mut problems = Vec::new();
        let empty = DpopSection::read(&json!({}), &At::ROOT, &mut problems);
        assert_eq!(empty, Some(DpopSection::default()));
        assert!(read(&json!({})).unwrap().is_none());
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let section = json!({
            "origins": ["https://a.example/x", "a.example", "http://a.example"],
            "algorithms": [], "max_age_seconds": 1, "nonce": "yes",
        });
        assert_eq!(
            read(&section).unwrap_err(),
            [
                "dpop.origins[0]: expected scheme, host and port only, as https://api.example.com",
                "dpop.origins[1]: expected an absolute http or https URL without user name",
                "dpop.origins[2]: expected `https://`, or `http://` on loopback",
                "dpop.max_age_seconds: expected whole number from 5 to 300, found 1",
                "dpop.nonce: expected one of ignored, optional, required",
            ]
        );
        let section = json!({
            "origins": ["https://a.example", "HTTPS://A.example:443/"],
            "algorithms": ["ES256", "HS256"],
        });
        assert_eq!(
            read(&section).unwrap_err(),
            [
                "dpop.origins[1]: `https://a.example` stands twice",
                "dpop.algorithms[1]: a proof cannot be made with a secret",
            ]
        );
    }

    #[test]
    fn a_request_has_the_addresses_of_the_origins_with_its_host() {
        let origins = ["https://api.example.com", "https://admin.example.com:8443"];
        let rules = read(&json!({"origins": origins})).unwrap().unwrap();
        let uris = |authority: &str, path: &str| -> Vec<String> {
            let uris = rules.uris(authority, path.as_bytes());
            uris.iter().map(|uri| uri.as_str().to_owned()).collect()
        };
        let (api, admin) = ("https://api.example.com/a", "https://admin.example.com:8443/a");
        assert_eq!(uris("api.example.com", "/a?b"), [api]);
        assert_eq!(uris("API.example.com:10000", "/a"), [api]);
        assert_eq!(uris("admin.example.com", "/a"), [admin]);
        assert_eq!(uris("inside", "/a"), [api, admin]);
        assert!(uris("inside", "*").is_empty());
    }

    #[test]
    fn loopback_may_do_without_tls() {
        for origin in ["http://127.0.0.1:10000", "http://localhost:1", "http://[::1]:1"] {
            assert!(read(&json!({"origins": [origin]})).is_ok(), "{origin}");
        }
        for origin in ["http://127.0.0.1.evil.example", "http://10.0.0.1", "http://[::2]"] {
            assert!(read(&json!({"origins": [origin]})).is_err(), "{origin}");
        }
    }
}
