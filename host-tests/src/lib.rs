//! Hosts for the real wasm file: one on wasmtime with everything under control, and a real Envoy.

pub mod cases;
pub mod chaos;
pub mod envoy;
pub mod feed;
pub mod mesh;
pub mod network;
pub mod oracle;
pub mod python;
pub mod schemathesis;
pub mod soak;
pub mod upstream;
#[cfg(feature = "wasm-host")]
pub mod wasm;
