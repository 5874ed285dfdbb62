//! The Envoy filter of Wardgate.
//!
//! Everything here translates between the proxy and `wardgate-core`: host calls into values, values
//! into host calls. No decision is made here.

mod audit;
mod feed;
mod host;
mod memory;
mod metrics;
mod pairs;
mod rate_limit;
mod request;
mod root;
mod sidecar;
mod signatures;
mod state;

use proxy_wasm::types::LogLevel;

use root::Root;

#[allow(missing_docs, reason = "the macro makes a function that nobody calls by name")]
mod entry {
    use super::{LogLevel, Root};

    proxy_wasm::main! {{
        // Also makes a panic, which must not happen, show its message in the proxy's log.
        proxy_wasm::set_log_level(LogLevel::Warn);
        proxy_wasm::set_root_context(|_| Box::new(Root::default()));
    }}
}
