//! Paths: a path without ambiguities reads the same before and after it is decoded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wardgate_core::path::judge;

fuzz_target!(|bytes: &[u8]| {
    let Ok(judged) = judge(bytes) else { return };
    if judged.ambiguities().is_empty() {
        assert!(judged.path().starts_with(b"/"));
        assert!(!judged.path().windows(2).any(|pair| pair == b"//"));
        let mut segments = judged.path().split(|byte| *byte == b'/');
        assert!(!segments.any(|segment| segment == b"." || segment == b".."));
    }
    for _ in judged.segments() {}
});
