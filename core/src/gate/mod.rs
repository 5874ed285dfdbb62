//! The request path: from headers to what the proxy must do next.

pub mod cache;
pub mod encode;
pub mod failures;
pub mod intake;
pub mod lookup;
