//! JWK Sets: any JSON; a fetched set never yields a symmetric key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wardgate_core::jwk::{KeyOrigin, KeySet};
use wardgate_core::json::parse_strict;

fuzz_target!(|bytes: &[u8]| {
    let Ok(serde_json::Value::Object(set)) = parse_strict(bytes) else { return };
    let _ = KeySet::parse(&set, KeyOrigin::Configured);
    if let Ok((keys, _)) = KeySet::parse(&set, KeyOrigin::Fetched) {
        for key in keys.named(None) {
            assert!(key.spki_der().is_some() || !key.fits(wardgate_core::token::Algorithm::Hs256));
        }
    }
});
