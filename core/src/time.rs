//! Time as a value: the core never reads a clock.

/// Seconds since 1970-01-01T00:00:00Z, leap seconds not counted (the `NumericDate` of RFC 7519 §2).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UnixSeconds(pub u64);

impl UnixSeconds {
    /// This time, `seconds` later; stays at the end of time instead of overflowing.
    #[must_use]
    pub const fn plus(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// This time, `seconds` earlier; stays at the epoch instead of overflowing.
    #[must_use]
    pub const fn minus(self, seconds: u64) -> Self {
        Self(self.0.saturating_sub(seconds))
    }
}
