//! DPoP proofs: any bytes; nothing may panic, nothing is accepted whose signature is not, and what is
//! accepted was judged in full. Addresses: normalising one twice changes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wardgate_core::dpop::{Expected, HttpUri, MAX_TOKEN_ID_BYTES, NonceRule, verify};
use wardgate_core::jwk::Key;
use wardgate_core::time::UnixSeconds;
use wardgate_core::token::{Algorithm, SignatureCheck, SignatureVerdict, SoftwareSignatures};

/// Believes every signature: so the fuzzer gets past what it cannot forge.
struct Believer;

impl SignatureCheck for Believer {
    fn check(&self, _: Algorithm, key: &Key, _: &[u8], signature: &[u8]) -> SignatureVerdict {
        assert!(key.thumbprint().is_some(), "a secret stands in no proof");
        assert!(!signature.is_empty());
        SignatureVerdict::Valid
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = str::from_utf8(bytes)
        && let Ok(uri) = HttpUri::parse(text)
    {
        assert_eq!(HttpUri::parse(uri.as_str()).as_ref(), Ok(&uri));
    }
    let uris: Vec<HttpUri> = HttpUri::parse("https://server.example.com/token").into_iter().collect();
    let expected = Expected {
        method: "POST",
        uris: &uris,
        access_token: None,
        thumbprint: None,
        algorithms: Algorithm::ALL,
        max_age_seconds: 60,
        clock_skew_seconds: 10,
        nonce: NonceRule::Ignored,
        now: UnixSeconds(1_562_262_616),
    };
    if let Ok(proof) = verify(bytes, &expected, &Believer) {
        assert_eq!(proof.thumbprint().len(), 43);
        assert!((1..=MAX_TOKEN_ID_BYTES).contains(&proof.token_id().len()));
        assert!(proof.issued_at() <= expected.now.plus(10));
        assert!(proof.valid_until() >= expected.now);
    }
    // With the signature judged, only the example of the RFC itself could pass.
    let judged = verify(bytes, &expected, &SoftwareSignatures);
    assert!(judged.is_err() || judged.is_ok_and(|proof| proof.token_id() == "-BwC3ESc6acc2lTc"));
});
