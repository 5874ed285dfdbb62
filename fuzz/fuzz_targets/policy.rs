//! Plugin configurations and policies: any bytes; a bad one is problems, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wardgate_core::config::plugin::PluginConfig;
use wardgate_core::gate::{Gate, Seed};
use wardgate_core::json::parse_strict;
use wardgate_core::policy::Policy;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(config) = PluginConfig::parse(bytes) {
        let seed = Seed([1, 2, 3, 4]);
        if let Err(problems) = Gate::new(&config, &|_| None, seed, None) {
            assert!(!problems.is_empty());
        }
    }
    if let Ok(value) = parse_strict(bytes) {
        if let Err(problems) = Policy::read(&value) {
            assert!(!problems.is_empty());
        }
    }
});
