//! The decisions of Wardgate: tokens, API keys, policy and the request path.
//!
//! Everything here is a pure function of its arguments. Time, keys and randomness are arguments;
//! nothing reads a clock, a file, the network or the environment.

#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::wildcard_enum_match_arm,
        reason = "a test that overflows or meets a new variant fails, as it should"
    )
)]

pub mod answer;
pub mod api_key;
pub mod audit;
pub mod base64url;
pub mod config;
pub mod dpop;
pub mod feed;
pub mod gate;
pub mod json;
pub mod jwk;
pub mod path;
pub mod policy;
pub mod rate_limit;
pub mod reason;
mod sealed_table;
pub mod secret;
pub mod time;
pub mod token;
pub mod wire;
