//! Rate limits: how often somebody may do something.
//!
//! A [`Limit`] is a GCRA (generic cell rate algorithm): of everybody only one moment is kept, the
//! *arrival*, at which all that was used would have been paid for at the even rate. [`Slots`] keep
//! the arrivals in memory that all workers of a proxy share. Limits across proxies are kept by the
//! sidecar, which hands out pieces of them ([`ledger`]) that a worker uses up on its own
//! ([`Leases`]).

pub mod fields;
mod gcra;
mod leases;
pub mod ledger;
mod memory;
mod slots;

pub use gcra::{Limit, MAX_PERIOD_SECONDS, MAX_REQUESTS, Standing};
pub use leases::{
    Account, HOLD_NANOSECONDS, LEASE_NANOSECONDS, LeaseAnswer, LeaseVerdict, Leases, MAX_ASKS,
    MAX_LEASES,
};
pub use memory::LocalMemory;
pub use slots::{BATCH_NANOSECONDS, Slots, Who};

#[cfg(test)]
mod tests;
