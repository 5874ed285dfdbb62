//! The wasm file as Envoy loads it.

use std::time::Duration;

use wardgate_host_tests::wasm::{Host, abi::ENVOY_IMPORTS, imports_of_the_wasm_file, wasm_bytes};

use crate::wasm_support::{
    Gate, assert_forwarded, config, host, read_with, reader_token, shipped_capabilities,
};

/// The budget of the file.
const MAX_WASM_BYTES: usize = 2 * 1024 * 1024;

#[test]
fn every_import_is_one_that_envoy_offers() {
    for (module, name) in imports_of_the_wasm_file().unwrap() {
        let offered = ENVOY_IMPORTS
            .iter()
            .any(|(from, names)| *from == module && names.contains(&name.as_str()));
        assert!(offered, "{module}.{name}");
    }
}

#[test]
fn the_file_keeps_its_budget() {
    let size = wasm_bytes().unwrap().len();
    assert!(size < MAX_WASM_BYTES, "{size} bytes");
}

#[track_caller]
fn refused(host: Host, expected: &[&str]) {
    let error = host.start().err().expect("the configuration is refused").to_string();
    for part in expected {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}

#[test]
fn all_problems_of_a_configuration_are_named_at_once() {
    let mut config = config();
    config["limitz"] = 1.into();
    config["policy"]["routes"][0]["effect"] = "allow".into();
    config["policy"]["roles"]["viewer"]["inherits"] = ["nobody"].into_iter().collect();
    refused(host().config(&config), &["limitz", "routes[0].effect"]);
}

#[test]
fn a_configuration_that_is_no_json_is_refused_and_not_a_trap() {
    for junk in [&b""[..], b"\xff\xfe", b"{", b"[]", b"null", b"{\"policy\":{},\"policy\":{}}"] {
        refused(host().config_bytes(junk), &["proxy_on_configure refused"]);
    }
}

#[test]
fn without_the_feed_secret_the_configuration_is_refused() {
    refused(Host::new().config(&config()), &["WARDGATE_FEED_SECRET"]);
    let short = Host::new().env("WARDGATE_FEED_SECRET", "c2hvcnQ");
    refused(short.config(&config()), &["WARDGATE_FEED_SECRET"]);
}

#[test]
fn a_refused_configuration_leaves_the_old_one_in_force() {
    let mut gate = Gate::ready(&config());
    assert!(gate.vm.reconfigure(&serde_json::json!({"policy": 1})).is_err());
    assert_forwarded(&gate.vm.request(read_with(&reader_token())));
    gate.assert_sound();
}

#[test]
fn a_new_configuration_takes_over_and_open_requests_end_under_the_old_one() {
    let mut gate = Gate::ready(&config());
    let open = gate.vm.open(read_with(&reader_token()).with_more_to_come());
    let mut stricter = config();
    stricter["policy"]["routes"][0]["require"] = serde_json::json!({"all": ["write"]});
    gate.vm.reconfigure(&stricter).unwrap();
    // What this VM has is taken over: nobody waits for another load.
    let outcome = gate.vm.request(read_with(&reader_token()));
    crate::wasm_support::assert_refused(&outcome, "permission-missing");
    assert_forwarded(&gate.vm.outcome(open));
    gate.vm.close(open);
    gate.settle();
    let outcome = gate.vm.request(read_with(&reader_token()));
    crate::wasm_support::assert_refused(&outcome, "permission-missing");
    gate.assert_sound();
}

#[test]
fn a_second_worker_and_a_restarted_vm_decide_alike() {
    let mut gate = Gate::ready(&config());
    let mut other = gate.vm.another_worker().unwrap();
    // From what stands in the memory of the process, without a call.
    other.advance(Duration::from_millis(100));
    assert_eq!(other.calls().len(), 0);
    assert_forwarded(&other.request(read_with(&reader_token())));
    gate.vm.restart_after_trap().unwrap();
    gate.settle();
    assert_forwarded(&gate.vm.request(read_with(&reader_token())));
    gate.assert_sound();
}

#[test]
fn the_shipped_configuration_allows_nothing_that_the_file_does_not_use() {
    let imports = imports_of_the_wasm_file().unwrap();
    let allowed = shipped_capabilities();
    assert!(allowed.len() > 20, "{allowed:?}");
    for name in allowed.iter().filter(|name| !name.starts_with("proxy_on_")) {
        assert!(imports.iter().any(|(_, import)| import == name), "{name} is not imported");
    }
}
