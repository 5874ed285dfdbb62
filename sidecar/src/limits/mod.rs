//! Limits that the sidecar keeps: those of filters across proxies, and those of its own endpoints.

mod address;
mod leases;
mod ledger;
mod seen;

pub use address::{AddressLimit, Peer, limit_by_address};
pub use leases::{LeaseError, LeaseServer};
pub use ledger::Ledger;

#[cfg(test)]
mod tests;
