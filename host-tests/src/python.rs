//! The Python in which others' libraries are installed, by `make python`.

use std::{env, path::PathBuf};

use anyhow::{Result, ensure};

use crate::envoy::repository;

/// The interpreter: `WARDGATE_PYTHON`, or the one in `.tools/python`.
///
/// # Errors
///
/// When there is none.
pub fn interpreter() -> Result<PathBuf> {
    let named = env::var_os("WARDGATE_PYTHON").map(PathBuf::from);
    let path = named.unwrap_or_else(|| repository().join(".tools/python/bin/python3"));
    ensure!(
        path.exists(),
        "no Python with the libraries of the tests at {}: `make python`",
        path.display()
    );
    Ok(path)
}
