//! The sidecar as a process, with its real command line, sockets and files.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests"
)]

mod api_keys;
mod audit;
mod commands;
mod cors;
mod endpoints;
mod feed;
mod home;
mod http;
mod internal;
mod lifecycle;
mod lists;
mod oauth;
mod passwords;
mod revocations;
#[path = "../../src/store/redis/tests/servers.rs"]
#[expect(dead_code, reason = "the tests of the library use more of it")]
mod servers;
mod sessions;
mod signing_keys;
mod social;
mod store;
mod token_usage;
mod users;
