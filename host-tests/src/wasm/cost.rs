//! What a callback costs a worker: instructions by fuel, and shared data by what was measured.
//!
//! Fuel is about one unit per wasm instruction; what happens on the host's side of a call is not in
//! it. Only shared data costs enough there to matter for a callback that makes many such calls.

use std::collections::BTreeMap;

/// Fuel that V8 burns in a microsecond. Measured: ES256 in wasm, 14.6 million units, takes 0.7 to
/// 0.9 ms; the slower is reckoned.
const FUEL_PER_MICROSECOND: u64 = 16_000;
/// Reading a value of shared data, in nanoseconds: measured in Envoy at 1.4 for a small one to 3.3
/// µs for a bucket, in part by its length.
const READ_NS: u64 = 1400;
/// Writing one likewise, measured at 2.3 µs for a bucket of 1 KiB.
const WRITE_NS: u64 = 1500;
/// Copying in and out of the VM: 64 KiB take about 4 µs more than nothing.
const BYTES_PER_NS: u64 = 16;

/// What a callback did with shared data.
#[derive(Clone, Copy, Debug, Default)]
pub struct SharedUse {
    /// Values asked for.
    pub reads: u64,
    /// Values written.
    pub writes: u64,
    /// Bytes of all of them.
    pub bytes: u64,
}

impl SharedUse {
    pub(super) fn read(&mut self, bytes: usize) {
        self.reads = self.reads.saturating_add(1);
        self.copied(bytes);
    }

    pub(super) fn write(&mut self, bytes: usize) {
        self.writes = self.writes.saturating_add(1);
        self.copied(bytes);
    }

    fn copied(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }
}

/// The cost of one callback.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Wasm instructions, about.
    pub fuel: u64,
    /// Shared data.
    pub shared: SharedUse,
}

impl Cost {
    /// How long it holds a worker, in microseconds, by what fuel and shared data stand for.
    pub fn microseconds(&self) -> u64 {
        let reads = self.shared.reads.saturating_mul(READ_NS);
        let writes = self.shared.writes.saturating_mul(WRITE_NS);
        let shared = reads.saturating_add(writes).saturating_add(self.shared.bytes / BYTES_PER_NS);
        (self.fuel / FUEL_PER_MICROSECOND).saturating_add(shared / 1000)
    }
}

/// The costs of the callbacks of a VM.
#[derive(Clone, Debug, Default)]
pub struct Costs {
    of: BTreeMap<&'static str, (u64, Cost)>,
}

impl Costs {
    pub(super) fn add(&mut self, callback: &'static str, cost: Cost) {
        let (count, dearest) = self.of.entry(callback).or_default();
        *count = count.saturating_add(1);
        if cost.microseconds() >= dearest.microseconds() {
            *dearest = cost;
        }
    }

    /// The dearest call of each callback, with how often it was called.
    pub fn dearest(&self) -> &BTreeMap<&'static str, (u64, Cost)> {
        &self.of
    }
}
