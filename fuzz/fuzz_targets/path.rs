//! Paths: a path without ambiguities reads the same before and after it is decoded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wardgate_core::path::judge;

fuzz_target!(|bytes: &[u8]| {
    let Ok(judged) = judge(bytes) else { return };
    if judged.ambiguities().is_empty() {
        assert!(judged.path().starts_with(b"/"));
        assert!(!judged.path().windows(2).any(|pair| pair == b"//"));
        assert!(!judged.path().windows(3).any(|three| three == b"/.." || three == b"%2f"));
    }
    for _ in judged.segments() {}
});
