//! A proxy-wasm host (ABI 0.2.1) on wasmtime that does to the real wasm file what Envoy 1.40 does,
//! with time, randomness, calls, faults and memory under the control of a test.
//!
//! What it imitates was measured on a real Envoy: `get_header_map_value` gives the first of repeated
//! headers, buffers come through `proxy_on_memory_allocate`, header lists are gone once the request
//! went on, calls belong to the root context, and what a callback asks for happens when it has ended.

pub mod abi;
mod artifact;
mod call;
pub mod capabilities;
mod cost;
mod faults;
mod foreign;
mod guest;
mod host;
mod imports;
mod passing;
mod process;
mod sidecar;
mod state;
mod stream;
mod vm;
mod watching;
mod world;

pub use abi::{Headers, Status};
pub use artifact::{imports_of_the_wasm_file, wasm_bytes, wasm_path};
pub use call::{HttpAnswer, HttpCall};
pub use cost::{Cost, Costs, SharedUse};
pub use faults::When;
pub use host::Host;
pub use process::Process;
pub use sidecar::{FakeSidecar, Mood};
pub use state::LogLine;
pub use stream::{LocalResponse, Outcome, Request, StreamId};
pub use vm::Vm;
pub use world::START;
