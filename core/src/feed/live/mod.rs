//! The feed in the VMs of a proxy: one polls, all follow.
//!
//! What the sidecar says stands once per process, in [`SharedMemory`]: settings, the tables in two
//! sets, a ring of what changed last, and a meta that says what is the newest. The VM that has the
//! lease asks the sidecar and writes; every VM reads the meta on each tick. Everything here is a
//! state machine: time, randomness, memory and answers are arguments.

mod answers;
mod apply;
mod asking;
pub mod desk;
mod intake;
mod lease;
mod load;
mod member;
mod memory;
mod meta;
mod poller;
mod replica;
mod stream;
mod tables;
mod upkeep;
mod vault;
mod view;

pub use member::{Ask, Member, MemberLimits, Now};
pub use memory::{Collision, LocalMemory, NoMemory, SharedMemory};
pub use poller::PollerFigures;
pub use replica::{FeedFigures, Freshness, Replica};
pub use view::{FoundRecord, Unreadable};

#[cfg(test)]
mod tests;
