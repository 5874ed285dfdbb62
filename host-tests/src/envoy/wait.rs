//! Waiting for something with a deadline instead of sleeping and hoping.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// Between two looks; short enough not to be felt, long enough not to keep a core busy.
const PAUSE: Duration = Duration::from_millis(5);

/// Asks `look` until it gives a value.
///
/// # Errors
///
/// What `look` reports, or that `what` did not come within `deadline`.
pub fn wait_for<T>(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = look()? {
            return Ok(value);
        }
        if start.elapsed() > deadline {
            bail!("waited {deadline:?} in vain for {what}");
        }
        thread::sleep(PAUSE);
    }
}

/// Asks `look` until it says yes.
///
/// # Errors
///
/// What `look` reports, or that `what` did not come within `deadline`.
pub fn wait_until(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> Result<bool>,
) -> Result<()> {
    wait_for(what, deadline, || Ok(look()?.then_some(())))
}
