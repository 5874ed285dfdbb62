//! Tokens: any bytes; nothing may panic, and nothing may verify with a key that signed nothing.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use wardgate_core::jwk::KeySet;
use wardgate_core::secret::Secret;
use wardgate_core::token::{Algorithm, IssuerRules, SoftwareSignatures, UnverifiedToken, verify};

static KEYS: LazyLock<KeySet> =
    LazyLock::new(|| KeySet::from_hmac_secret(Secret::new(vec![0x5a; 64])));

fuzz_target!(|bytes: &[u8]| {
    let Ok(token) = UnverifiedToken::parse(bytes, 8192) else { return };
    let mut rules = IssuerRules::new(token.unverified_issuer().to_owned(), vec!["api".to_owned()]);
    rules.algorithms = Algorithm::ALL.to_vec();
    assert!(verify(&token, &rules, &KEYS, &SoftwareSignatures).is_err());
});
