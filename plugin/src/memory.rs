//! The memory that all VMs of a proxy process share.

use wardgate_core::feed::live::{Collision, SharedMemory};

use crate::host;

/// The shared data of the proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostMemory;

impl SharedMemory for HostMemory {
    fn get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        // Whatever the host refuses to show is as good as missing: the core denies then.
        host::shared_data(key).ok()
    }

    fn set(&self, key: &str, value: &[u8], version: Option<u32>) -> Result<(), Collision> {
        // The host numbers versions from 1, and takes 0 for 'whatever there is'.
        host::set_shared_data(key, value, version.unwrap_or(0)).map_err(|_| Collision)
    }

    fn create(&self, key: &str, value: &[u8]) -> Result<(), Collision> {
        // The host compares a version only where there is a value, and numbers them from 1 up: with
        // the last of all numbers it sets nothing but the first.
        host::set_shared_data(key, value, u32::MAX).map_err(|_| Collision)
    }
}
