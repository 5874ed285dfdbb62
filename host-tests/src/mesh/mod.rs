//! Several real processes as one system, and the means to break it: sidecars on a Redis of three with
//! Sentinels, Envoys, and between them links that can be cut.

mod link;
mod redis;
mod system;

pub use link::{Cut, Link, Target};
pub use redis::{Server, Trio};
pub(crate) use system::viewer_token;
pub use system::{Layout, System};
