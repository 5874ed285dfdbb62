//! What several VMs of one Envoy process have in common: clock, shared data, queues and metrics.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use super::abi::Status;

/// The wall clock at which every test starts: 2026-01-01T00:00:00Z.
pub const START: Duration = Duration::from_hours(490_896);

/// One Envoy process, seen from its VMs.
#[derive(Debug)]
pub(super) struct World {
    /// Time since the epoch, as `proxy_get_current_time_nanoseconds` and WASI clock 0 tell it.
    pub(super) wall: Duration,
    /// Time since some start, never set back: WASI clock 1, timers and deadlines.
    pub(super) monotonic: Duration,
    shared: HashMap<(String, Vec<u8>), (Vec<u8>, u32)>,
    last_cas: u32,
    generations: u64,
    queues: Vec<Queue>,
    metrics: Vec<Metric>,
}

#[derive(Debug)]
struct Queue {
    vm_id: String,
    name: Vec<u8>,
    messages: VecDeque<Vec<u8>>,
}

#[derive(Debug)]
struct Metric {
    kind: u32,
    name: String,
    value: u64,
}

const COUNTER: u32 = 0;
const GAUGE: u32 = 1;
const HISTOGRAM: u32 = 2;

impl World {
    pub(super) fn new() -> Self {
        Self {
            wall: START,
            monotonic: Duration::from_secs(1_000),
            shared: HashMap::new(),
            last_cas: 0,
            generations: 0,
            queues: Vec::new(),
            metrics: Vec::new(),
        }
    }

    /// The number of the next VM of the process.
    pub(super) fn next_generation(&mut self) -> u64 {
        self.generations = self.generations.saturating_add(1);
        self.generations
    }

    /// Lets both clocks go on until the monotonic one shows `monotonic`.
    pub(super) fn move_to(&mut self, monotonic: Duration) {
        let passed = monotonic.saturating_sub(self.monotonic);
        self.monotonic = self.monotonic.saturating_add(passed);
        self.wall = self.wall.saturating_add(passed);
    }

    pub(super) fn shared_get(&self, vm_id: &str, key: &[u8]) -> Option<(Vec<u8>, u32)> {
        self.shared.get(&(vm_id.to_owned(), key.to_vec())).cloned()
    }

    /// As cpp-host does it: CAS 0 always writes, and so does any CAS where the key does not exist.
    pub(super) fn shared_set(
        &mut self,
        vm_id: &str,
        key: &[u8],
        value: Vec<u8>,
        cas: u32,
    ) -> Result<(), Status> {
        let slot = (vm_id.to_owned(), key.to_vec());
        if cas != 0 && self.shared.get(&slot).is_some_and(|(_, current)| *current != cas) {
            return Err(Status::CAS_MISMATCH);
        }
        self.last_cas = self.last_cas.saturating_add(1);
        self.shared.insert(slot, (value, self.last_cas));
        Ok(())
    }

    pub(super) fn shared_keys(&self, vm_id: &str) -> Vec<Vec<u8>> {
        let of_vm = self.shared.keys().filter(|(known, _)| known == vm_id);
        of_vm.map(|(_, key)| key.clone()).collect()
    }

    pub(super) fn shared_bytes(&self) -> usize {
        self.shared.iter().map(|((_, key), (value, _))| key.len().saturating_add(value.len())).sum()
    }

    pub(super) fn queue(&mut self, vm_id: &str, name: &[u8], create: bool) -> Option<u32> {
        let known = self.queues.iter().position(|queue| queue.vm_id == vm_id && queue.name == name);
        if known.is_none() && create {
            self.queues.push(Queue {
                vm_id: vm_id.to_owned(),
                name: name.to_vec(),
                messages: VecDeque::new(),
            });
            return u32::try_from(self.queues.len()).ok();
        }
        known.and_then(|index| u32::try_from(index).ok()).map(|index| index.saturating_add(1))
    }

    pub(super) fn messages(&mut self, token: u32) -> Option<&mut VecDeque<Vec<u8>>> {
        let index = usize::try_from(token).ok()?.checked_sub(1)?;
        self.queues.get_mut(index).map(|queue| &mut queue.messages)
    }

    pub(super) fn define_metric(&mut self, kind: u32, name: &str) -> Result<u32, Status> {
        if kind > HISTOGRAM {
            return Err(Status::BAD_ARGUMENT);
        }
        let known = self.metrics.iter().position(|metric| metric.name == name);
        let index = known.unwrap_or(self.metrics.len());
        if known.is_none() {
            self.metrics.push(Metric { kind, name: name.to_owned(), value: 0 });
        }
        u32::try_from(index)
            .map(|index| index.saturating_add(1))
            .map_err(|_| Status::INTERNAL_FAILURE)
    }

    fn metric(&mut self, id: u32) -> Result<&mut Metric, Status> {
        let index = usize::try_from(id).ok().and_then(|id| id.checked_sub(1));
        index.and_then(|index| self.metrics.get_mut(index)).ok_or(Status::NOT_FOUND)
    }

    /// Counters only go up; a histogram cannot be incremented.
    pub(super) fn increment_metric(&mut self, id: u32, offset: i64) -> Result<(), Status> {
        let metric = self.metric(id)?;
        match metric.kind {
            COUNTER if offset > 0 => {
                metric.value = metric.value.saturating_add(offset.unsigned_abs());
            }
            GAUGE => metric.value = metric.value.saturating_add_signed(offset),
            _ => return Err(Status::BAD_ARGUMENT),
        }
        Ok(())
    }

    /// Recording on a counter adds, as in Envoy; a histogram keeps its last value here.
    pub(super) fn record_metric(&mut self, id: u32, value: u64) -> Result<(), Status> {
        let metric = self.metric(id)?;
        metric.value =
            if metric.kind == COUNTER { metric.value.saturating_add(value) } else { value };
        Ok(())
    }

    pub(super) fn metric_value(&mut self, id: u32) -> Result<u64, Status> {
        self.metric(id).map(|metric| metric.value)
    }

    pub(super) fn metrics(&self) -> BTreeMap<String, u64> {
        self.metrics.iter().map(|metric| (metric.name.clone(), metric.value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Status, World};

    #[test]
    fn shared_data_refuses_a_stale_cas_and_takes_the_current_one() {
        let mut world = World::new();
        world.shared_set("a", b"k", b"1".to_vec(), 0).unwrap();
        let (_, cas) = world.shared_get("a", b"k").unwrap();
        world.shared_set("a", b"k", b"2".to_vec(), cas).unwrap();
        assert_eq!(world.shared_set("a", b"k", b"3".to_vec(), cas), Err(Status::CAS_MISMATCH));
        assert_eq!(world.shared_get("a", b"k").unwrap().0, b"2");
    }

    #[test]
    fn shared_data_of_another_vm_id_is_not_seen() {
        let mut world = World::new();
        world.shared_set("a", b"k", b"1".to_vec(), 0).unwrap();
        assert_eq!(world.shared_get("b", b"k"), None);
    }

    #[test]
    fn a_counter_only_goes_up() {
        let mut world = World::new();
        let id = world.define_metric(0, "requests").unwrap();
        assert_eq!(world.define_metric(0, "requests"), Ok(id));
        world.increment_metric(id, 2).unwrap();
        assert_eq!(world.increment_metric(id, -1), Err(Status::BAD_ARGUMENT));
        assert_eq!(world.metrics()["requests"], 2);
        assert_eq!(world.increment_metric(99, 1), Err(Status::NOT_FOUND));
    }

    #[test]
    fn a_queue_is_found_by_its_name_and_keeps_order() {
        let mut world = World::new();
        assert_eq!(world.queue("a", b"q", false), None);
        let token = world.queue("a", b"q", true).unwrap();
        assert_eq!(world.queue("a", b"q", false), Some(token));
        world.messages(token).unwrap().push_back(b"1".to_vec());
        assert_eq!(world.messages(token).unwrap().pop_front().as_deref(), Some(b"1".as_slice()));
    }
}
