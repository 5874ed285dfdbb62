//! The only place that takes randomness from the operating system.
//!
//! Signing keys are the exception: aws-lc generates them with its own generator, which is seeded
//! from the same source.

use wardgate_core::base64url;

/// Where randomness comes from.
#[derive(Clone, Copy, Debug)]
pub struct Random(());

/// The operating system gave no randomness; nothing secret may be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the operating system gives no randomness")]
pub struct RandomError;

impl Random {
    /// The generator of the operating system.
    pub fn system() -> Self {
        Self(())
    }

    /// `BYTES` random bytes.
    ///
    /// # Errors
    ///
    /// [`RandomError`] when the operating system has none.
    pub fn bytes<const BYTES: usize>(&self) -> Result<[u8; BYTES], RandomError> {
        let mut bytes = [0; BYTES];
        getrandom::fill(&mut bytes).map_err(|_| RandomError)?;
        Ok(bytes)
    }

    /// `BYTES` random bytes as base64url.
    ///
    /// # Errors
    ///
    /// [`RandomError`] when the operating system has none.
    pub fn text<const BYTES: usize>(&self) -> Result<String, RandomError> {
        self.bytes::<BYTES>().map(|bytes| base64url::encode(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn two_draws_differ() {
        let random = Random::system();
        assert_ne!(random.bytes::<16>(), random.bytes::<16>());
        assert_eq!(random.text::<32>().map(|text| text.len()), Ok(43));
    }
}
