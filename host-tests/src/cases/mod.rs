//! The decision cases of `policies/cases/`: one corpus for the core in process, for the wasm file
//! under wasmtime, and for a real Envoy. The format is described in its `README.md`.
//!
//! A case describes its credentials; they are made when the case runs, under keys that are generated
//! once per process. So no key and no token stands in the repository, and none expires.

mod build;
mod file;
mod keys;
mod mint;
mod proof;

pub use build::{BuiltRequest, build_request};
pub use file::{ApiKeySpec, Case, CaseFile, Decision, Expect, Level, Request};
pub use keys::{ApiKeyFixture, DIGEST_KEY, Keys};

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The folder of the cases.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/cases")
}

/// Reads all case files, in the order of their names.
///
/// # Errors
///
/// When a file cannot be read or is no case file; the message names the file and the place.
pub fn load_all() -> Result<Vec<CaseFile>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            paths.push(path);
        }
    }
    paths.sort();
    paths
        .iter()
        .map(|path| CaseFile::load(path).with_context(|| path.display().to_string()))
        .collect()
}
