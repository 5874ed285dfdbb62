//! A million revocations and a million API keys: decisions are right, no callback holds a worker for
//! a millisecond, and a worker needs little memory of its own.

use std::time::Duration;

use serde_json::json;
use wardgate_core::feed::{Fingerprint, Revocation, RevocationTarget, Table, encode_api_key};
use wardgate_core::wire::{ApiKeyRecord, ApiKeyState};
use wardgate_host_tests::wasm::{Costs, START};

use crate::wasm_feed::Stand;
use crate::wasm_support::{
    Issuer, assert_forwarded, assert_refused, claims, config, read_with, read_with_key,
};

const RECORDS: u32 = 1_000_000;
/// A callback may hold a worker for so long; starting and configuring are no callbacks of a request.
const CALLBACK_MICROSECONDS: u64 = 1000;
/// Memory of one worker's own, at most.
const WORKER_BYTES: usize = 4 * 1024 * 1024;

fn filled(number: u32) -> Fingerprint {
    Fingerprint::of("filled", &[&number.to_be_bytes()])
}

fn record(id: &str) -> ApiKeyRecord {
    ApiKeyRecord {
        id: id.to_owned(),
        environment: "live".to_owned(),
        name: "a name of usual length".to_owned(),
        digest: wardgate_core::base64url::encode(&[7; 32]),
        issuer: None,
        subject: None,
        roles: vec!["viewer".to_owned()],
        scopes: None,
        expires_at: None,
        state: ApiKeyState::Active,
        previous: None,
        networks: Vec::new(),
        rate_limit: None,
    }
}

/// The callbacks that hold a worker for too long.
fn dear(what: &str, costs: &Costs) -> Vec<String> {
    let mut dear = Vec::new();
    for (callback, (count, cost)) in costs.dearest() {
        let line = format!("{what}: {callback} × {count}: {} µs, {cost:?}", cost.microseconds());
        println!("{line}");
        let outside = ["proxy_on_vm_start", "proxy_on_configure"].contains(callback);
        if !outside && cost.microseconds() >= CALLBACK_MICROSECONDS {
            dear.push(line);
        }
    }
    dear
}

#[test]
fn two_million_records_are_loaded_and_followed_without_holding_a_worker_up() {
    let mut stand = Stand::unheard(&config(), 2);
    let revocation =
        Revocation { fingerprint: filled(0), issued_until: None, until: START.as_secs() + 86_400 };
    let revocations = (0..RECORDS).map(|number| (filled(number), revocation.content().to_vec()));
    stand.sidecar.feed.fill(Table::Revocations, revocations);
    let content = encode_api_key(&record("av5IXtFtXsvh")).unwrap();
    let keys = (0..RECORDS).map(|number| (filled(number), content.clone()));
    stand.sidecar.feed.fill(Table::ApiKeys, keys);
    let target = |id: &str| RevocationTarget::Token {
        issuer: "https://login.example.com".to_owned(),
        token_id: id.to_owned(),
    };
    stand.sidecar.revoke(&target("old"));
    let key = stand.sidecar.add_api_key(1, "ci", &["viewer"]);
    let before: Vec<_> =
        stand.process.vms().map(wardgate_host_tests::wasm::Vm::memory_bytes).collect();
    let start = stand.process.vm(0).monotonic();
    stand.until_ready();
    let took = stand.process.vm(0).monotonic().saturating_sub(start);
    println!("loaded in {took:?} of simulated time without any network");
    let token = |id: &str| {
        let mut claims = claims("ann", &["viewer"]);
        claims["jti"] = json!(id);
        Issuer::corp().sign(&claims)
    };
    let (old, new, good) = (token("old"), token("new"), token("good"));
    for _ in 0..3 {
        for vm in stand.process.vms() {
            assert_refused(&vm.request(read_with(&old)), "token-revoked");
            assert_forwarded(&vm.request(read_with(&good)));
            assert_forwarded(&vm.request(read_with_key(&key)));
        }
    }
    stand.sidecar.revoke(&target("new"));
    for number in 0..500 {
        stand.sidecar.revoke(&target(&number.to_string()));
    }
    stand.pass(Duration::from_millis(500));
    for vm in stand.process.vms() {
        assert_refused(&vm.request(read_with(&new)), "token-revoked");
    }
    let mut too_dear = Vec::new();
    for (number, (vm, before)) in stand.process.vms().zip(before).enumerate() {
        let grown = vm.memory_bytes().saturating_sub(before);
        println!("VM {number}: {grown} bytes more, {} shared", vm.shared_data_bytes());
        assert!(grown < WORKER_BYTES, "VM {number} has grown by {grown}");
        too_dear.extend(dear(&format!("VM {number}"), vm.costs()));
    }
    // One that comes later, as after a trap, copies what stands there.
    stand.process.add().unwrap();
    stand.pass(Duration::from_secs(2));
    let late = stand.process.vm(2);
    assert_refused(&late.request(read_with(&new)), "token-revoked");
    assert_forwarded(&late.request(read_with(&good)));
    too_dear.extend(dear("a late VM", late.costs()));
    assert!(too_dear.is_empty(), "{too_dear:#?}");
}
