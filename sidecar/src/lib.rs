//! The sidecar and command line of Wardgate.
//!
//! Holds what a filter cannot hold: API keys, signing keys and the audit log.

pub mod clock;
pub mod config;
pub mod keys;
pub mod random;
pub mod seal;
pub mod store;
