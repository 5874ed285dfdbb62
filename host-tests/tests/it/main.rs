//! The real wasm file under wasmtime and in a real Envoy: one binary of integration tests.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unreachable,
    clippy::unwrap_used,
    reason = "everything here is a test, helpers included"
)]

mod axum_service;
mod cases_core;
mod chaos;
mod cors;
mod docker_compose;
mod docker_support;
mod envoy_cases;
mod envoy_dpop;
mod envoy_filter;
mod envoy_harness;
mod envoy_limits;
mod envoy_sidecar;
mod envoy_soak;
mod envoy_support;
mod generated;
mod manifests;
mod oauth_clients;
mod oauth_support;
mod oracle;
mod policy_files;
mod schemathesis;
mod services;
mod tidy;
mod tls_support;
mod wasm_abi;
mod wasm_audit;
mod wasm_cases;
mod wasm_dpop;
mod wasm_faults;
mod wasm_feed;
mod wasm_hostile;
mod wasm_million;
mod wasm_requests;
mod wasm_sidecar;
mod wasm_support;
