//! What a test sees of a VM, and the faults that it sets.

use std::collections::BTreeMap;

use super::abi::Status;
use super::cost::Costs;
use super::faults::When;
use super::state::LogLine;
use super::stream::StreamId;
use super::vm::Vm;

impl Vm {
    /// Makes a host call answer `status` and do nothing.
    pub fn fault(&mut self, call: &str, status: Status, when: When) {
        self.store.data_mut().faults.set(call, status, when);
    }

    /// Ends all faults.
    pub fn clear_faults(&mut self) {
        self.store.data_mut().faults.clear();
    }

    /// How often each host call was made since the VM started.
    pub fn host_calls(&self) -> &BTreeMap<&'static str, u64> {
        self.store.data().faults.counts()
    }

    /// The trap that killed the VM, if one did.
    pub fn trap(&self) -> Option<&str> {
        self.trap.as_deref()
    }

    /// Streams that a dead VM left paused: in Envoy they hang until the idle timeout.
    pub fn hung_streams(&self) -> &[StreamId] {
        &self.hung
    }

    /// What the filter did that Envoy takes ill: two answers, control bytes in a header.
    pub fn misuse(&self) -> &[String] {
        &self.store.data().misuse
    }

    /// Fuel that the last callback used: about one unit per wasm instruction.
    pub fn fuel_used_by_last_callback(&self) -> u64 {
        self.fuel_used
    }

    /// What callbacks have cost since [`Self::forget_costs`].
    pub fn costs(&self) -> &Costs {
        &self.costs
    }

    /// Begins the count of costs anew.
    pub fn forget_costs(&mut self) {
        self.costs = Costs::default();
    }

    /// All keys in the shared data of the process.
    pub fn shared_keys(&self) -> Vec<Vec<u8>> {
        self.store.data().world().shared_keys(&self.store.data().setup.vm_id)
    }

    /// What any filter of the process can read.
    pub fn shared_get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let state = self.store.data();
        state.world().shared_get(&state.setup.vm_id, key).map(|(value, _)| value)
    }

    /// What any filter of the process can write.
    pub fn shared_set(&mut self, key: &[u8], value: Vec<u8>) {
        let state = self.store.data();
        // Without a CAS number it always writes.
        let _ = state.world().shared_set(&state.setup.vm_id, key, value, 0);
    }

    /// The VM dies, as of a trap.
    pub fn kill(&mut self) {
        self.trap = Some("killed by the test".to_owned());
    }

    /// Everything that the VM has logged.
    pub fn log_lines(&self) -> &[LogLine] {
        &self.store.data().logs
    }

    pub(super) fn log_text(&self) -> String {
        let lines: Vec<&str> = self.log_lines().iter().map(|line| line.text.as_str()).collect();
        lines.join("\n")
    }

    /// The metrics of the process by name.
    pub fn metrics(&self) -> BTreeMap<String, u64> {
        self.store.data().world().metrics()
    }

    /// The filter state that a stream has or had; the last ones are remembered.
    pub fn filter_state(&self, stream: StreamId) -> BTreeMap<String, String> {
        let known = self.store.data().streams.get(&stream.0).or_else(|| self.finished.get(&stream));
        let state = known.map(|stream| &stream.filter_state);
        let text = |value: &Vec<u8>| String::from_utf8_lossy(value).into_owned();
        state.into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect()
    }

    /// Linear memory in bytes; it never shrinks.
    pub fn memory_bytes(&mut self) -> usize {
        let memory = self.instance.get_memory(&mut self.store, "memory");
        memory.map_or(0, |memory| memory.data_size(&self.store))
    }

    /// Bytes of shared data of the process.
    pub fn shared_data_bytes(&self) -> usize {
        self.store.data().world().shared_bytes()
    }

    /// How many VMs the process had started when this one started.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}
