//! The real wasm file under wasmtime and in a real Envoy: one binary of integration tests.

mod envoy_harness;
mod generated;
mod wasm_abi;
mod wasm_audit;
mod wasm_faults;
mod wasm_hostile;
mod wasm_requests;
mod wasm_sidecar;
mod wasm_support;
