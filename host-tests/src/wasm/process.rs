//! An Envoy process of several workers: their VMs tick, call and are answered on one clock.

use std::time::Duration;

use anyhow::Result;

use super::host::Host;
use super::sidecar::FakeSidecar;
use super::stream::{Outcome, Request};
use super::vm::Vm;

/// Between the starts of two VMs, so that they do not tick at the same moments.
const APART: Duration = Duration::from_millis(3);

/// The VMs of one Envoy process. The first is that of the main thread: it gets no requests unless a
/// test sends it some.
pub struct Process {
    workers: Vec<Worker>,
}

struct Worker {
    vm: Vm,
    /// Whether its thread is held up: nothing happens in it, though time passes.
    held: bool,
}

impl Process {
    /// Starts this many VMs.
    ///
    /// # Errors
    ///
    /// As [`Host::start`].
    pub fn start(host: Host, vms: usize) -> Result<Self> {
        let mut process = Self { workers: vec![Worker { vm: host.start()?, held: false }] };
        while process.workers.len() < vms {
            process.add()?;
        }
        Ok(process)
    }

    /// Starts one more VM.
    ///
    /// # Errors
    ///
    /// As [`Host::start`].
    pub fn add(&mut self) -> Result<()> {
        let Some(first) = self.workers.first() else { return Ok(()) };
        let now = first.vm.monotonic();
        first.vm.move_clock_to(now.saturating_add(APART));
        let vm = first.vm.another_worker()?;
        self.workers.push(Worker { vm, held: false });
        Ok(())
    }

    /// How many VMs there are.
    pub fn len(&self) -> usize {
        self.workers.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    /// All VMs.
    pub fn vms(&mut self) -> impl Iterator<Item = &mut Vm> {
        self.workers.iter_mut().map(|worker| &mut worker.vm)
    }

    /// The VM of this number.
    ///
    /// # Panics
    ///
    /// When there is none.
    #[expect(clippy::indexing_slicing, reason = "a test that names a VM has started it")]
    pub fn vm(&mut self, number: usize) -> &mut Vm {
        &mut self.workers[number].vm
    }

    /// Holds the thread of a VM up, or lets it go on.
    pub fn hold(&mut self, number: usize, held: bool) {
        if let Some(worker) = self.workers.get_mut(number) {
            worker.held = held;
        }
    }

    /// Sends the request to every VM; the answers in their order.
    pub fn request(&mut self, request: &Request) -> Vec<Outcome> {
        self.vms().map(|vm| vm.request(request.clone())).collect()
    }

    /// Lets time pass with the sidecar answering at once; events happen in their order, whichever
    /// VM they belong to.
    pub fn pass(&mut self, time: Duration, sidecar: &mut FakeSidecar) {
        let Some(first) = self.workers.first() else { return };
        let end = first.vm.monotonic().saturating_add(time);
        self.serve(sidecar);
        while let Some((number, at)) = self.next_event(sidecar).filter(|(_, at)| *at <= end) {
            let vm = self.vm(number);
            vm.move_clock_to(at);
            vm.fire();
            sidecar.serve(vm);
        }
        self.vm(0).move_clock_to(end);
        self.serve(sidecar);
    }

    fn serve(&mut self, sidecar: &mut FakeSidecar) {
        for worker in self.workers.iter_mut().filter(|worker| !worker.held) {
            sidecar.serve(&mut worker.vm);
        }
    }

    /// The next moment at which something happens in a VM: a tick, a deadline, an answer.
    fn next_event(&self, sidecar: &FakeSidecar) -> Option<(usize, Duration)> {
        let free = self.workers.iter().enumerate().filter(|(_, worker)| !worker.held);
        let next = free.filter_map(|(number, worker)| {
            let answers = worker.vm.calls().into_iter().filter_map(|call| sidecar.due(&call));
            Some((number, worker.vm.next_event().into_iter().chain(answers).min()?))
        });
        next.min_by_key(|(_, at)| *at)
    }
}
