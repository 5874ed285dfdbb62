//! `check-config` and `policy check`.

use super::arguments::{CheckConfig, Policy};
use super::{Failure, note};
use crate::config::{load, load_policy};

pub(super) fn config(check: &CheckConfig) -> Result<(), Failure> {
    let loaded = load(&check.from.config, check.policy.as_deref());
    loaded.map_err(Failure::Configuration)?;
    note(&format!("{}: no problems", check.from.config.display()));
    Ok(())
}

pub(super) fn policy(policy: &Policy) -> Result<(), Failure> {
    let Policy::Check { file } = policy;
    load_policy(file).map_err(Failure::Configuration)?;
    note(&format!("{}: no problems", file.display()));
    Ok(())
}
