//! The real wasm file under wasmtime and in a real Envoy: one binary of integration tests.

mod envoy_harness;
mod generated;
