//! The sidecar and command line of Wardgate.
//!
//! Holds what a filter cannot hold: API keys, signing keys and the audit log.

pub mod accounts;
pub mod app;
pub mod audit;
pub mod cli;
pub mod clock;
pub mod config;
pub mod desk;
pub mod families;
pub mod feed;
pub mod http;
pub mod issuers;
pub mod keeper;
pub mod keys;
pub mod limits;
pub mod live;
pub mod log;
pub mod metrics;
pub mod notify;
pub mod oauth;
pub mod outgoing;
pub mod policy;
pub mod random;
pub mod seal;
pub mod social;
pub mod store;
pub mod usage;
