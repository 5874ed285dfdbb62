//! Builds a VM with everything around it under control.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use serde_json::Value;

use super::state::Setup;
use super::vm::Vm;
use super::world::World;

/// An Envoy process to be: what a listener's configuration says about the filter.
#[derive(Clone, Debug)]
pub struct Host {
    setup: Setup,
    configuration: Vec<u8>,
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// The names of the shipped configurations; one cluster, `wardgate_sidecar`; no environment.
    pub fn new() -> Self {
        Self {
            setup: Setup {
                name: "wardgate".into(),
                vm_id: "wardgate".into(),
                root_id: "wardgate".into(),
                vm_configuration: Vec::new(),
                environment: Vec::new(),
                clusters: BTreeSet::from(["wardgate_sidecar".into()]),
                capabilities: None,
                log_level: 2,
                verify_signature: true,
                seed: 1,
            },
            configuration: Vec::new(),
        }
    }

    /// Gives the VM an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.setup.environment.push((name.into(), value.into()));
        self
    }

    /// Configures the plugin with this JSON.
    #[must_use]
    pub fn config(self, configuration: &Value) -> Self {
        self.config_bytes(configuration.to_string())
    }

    /// Configures the plugin with these bytes, JSON or not.
    #[must_use]
    pub fn config_bytes(mut self, configuration: impl Into<Vec<u8>>) -> Self {
        self.configuration = configuration.into();
        self
    }

    /// Allows only these host calls and callbacks, as `capability_restriction_config` does.
    #[must_use]
    pub fn capabilities(mut self, allowed: impl IntoIterator<Item = String>) -> Self {
        self.setup.capabilities = Some(allowed.into_iter().collect());
        self
    }

    /// An Envoy without the foreign function `verify_signature`.
    #[must_use]
    pub fn without_verify_signature(mut self) -> Self {
        self.setup.verify_signature = false;
        self
    }

    /// An Envoy that knows no cluster of the sidecar (yet).
    #[must_use]
    pub fn without_clusters(mut self) -> Self {
        self.setup.clusters.clear();
        self
    }

    /// Another seed for `random_get`.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.setup.seed = seed;
        self
    }

    /// Starts a VM: `_initialize`, root context, `on_vm_start`, `on_configure`.
    ///
    /// # Errors
    ///
    /// With the log of the VM, when it traps or refuses its configuration.
    pub fn start(self) -> Result<Vm> {
        Vm::start(Arc::new(self.setup), Arc::new(Mutex::new(World::new())), self.configuration, 1)
    }
}
