//! `check-config` and `policy check`.

use super::arguments::{CheckConfig, Policy};
use super::{Failure, note};
use crate::accounts::AccountSettings;
use crate::config::{load, load_policy};

pub(super) fn config(check: &CheckConfig) -> Result<(), Failure> {
    let loaded = load(&check.from.config, check.policy.as_deref());
    let loaded = loaded.map_err(Failure::Configuration)?;
    // What the sidecar would stop at when it starts.
    AccountSettings::of(&loaded).map_err(Failure::failed)?;
    note(&format!("{}: no problems", check.from.config.display()));
    Ok(())
}

pub(super) fn policy(policy: &Policy) -> Result<(), Failure> {
    let Policy::Check { file } = policy;
    load_policy(file).map_err(Failure::Configuration)?;
    note(&format!("{}: no problems", file.display()));
    Ok(())
}
