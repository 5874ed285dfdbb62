//! What happens to a VM as time passes: answers to its calls, deadlines and ticks.

use std::time::Duration;

use super::abi::Status;
use super::call::{HttpAnswer, HttpCall};
use super::vm::Vm;

impl Vm {
    /// The calls that wait for an answer, oldest first.
    pub fn calls(&self) -> Vec<HttpCall> {
        self.store.data().calls.values().cloned().collect()
    }

    /// Answers a call; nothing happens if it is no longer waiting, like an answer after its deadline.
    pub fn answer(&mut self, call: &HttpCall, answer: HttpAnswer) {
        let state = self.store.data_mut();
        let Some(call) = state.calls.remove(&call.token) else { return };
        state.last_status = match answer {
            HttpAnswer::Answer { .. } => (0, Vec::new()),
            HttpAnswer::Reset => (Status::BROKEN_CONNECTION.0, b"reset".to_vec()),
        };
        let [headers, body, trailers] = answer.sizes();
        state.answer = matches!(answer, HttpAnswer::Answer { .. }).then_some(answer);
        self.run(call.root, "proxy_on_http_call_response", &[call.token, headers, body, trailers]);
        self.store.data_mut().answer = None;
        self.perform();
    }

    /// Lets every dispatch fail at once, as without a healthy host or with a full circuit breaker.
    pub fn fail_calls_at_once(&mut self, fail: bool) {
        self.store.data_mut().calls_fail = fail;
    }

    /// Lets time pass for the whole process: timers of this VM fire and deadlines of its calls pass,
    /// each at its moment.
    pub fn advance(&mut self, by: Duration) {
        let end = self.store.data().world().monotonic.saturating_add(by);
        while let Some(at) = self.next_event().filter(|at| *at <= end) {
            self.store.data().world().move_to(at);
            self.fire();
        }
        self.store.data().world().move_to(end);
    }

    /// The monotonic clock.
    pub fn monotonic(&self) -> Duration {
        self.store.data().world().monotonic
    }

    /// Lets time pass for the process without anything happening.
    pub(super) fn move_clock_to(&self, monotonic: Duration) {
        self.store.data().world().move_to(monotonic);
    }

    /// Fires what is due in this VM after another one let time pass.
    pub fn catch_up(&mut self) {
        self.advance(Duration::ZERO);
    }

    /// Sets the wall clock to a time since the epoch; timers are not touched by it.
    pub fn set_wall_clock(&mut self, to: Duration) {
        self.store.data().world().wall = to;
    }

    /// The wall clock, since the epoch.
    pub fn wall_clock(&self) -> Duration {
        self.store.data().world().wall
    }

    pub(super) fn next_event(&self) -> Option<Duration> {
        if self.trap.is_some() {
            return None;
        }
        let state = self.store.data();
        let ticks = state.roots.values().filter_map(|root| root.next_tick);
        let deadlines = state.calls.values().filter_map(|call| call.deadline);
        ticks.chain(deadlines).min()
    }

    pub(super) fn fire(&mut self) {
        let now = self.store.data().world().monotonic;
        let late = self.calls().into_iter().find(|call| call.deadline.is_some_and(|at| at <= now));
        if let Some(call) = late {
            return self.answer(&call, HttpAnswer::timeout());
        }
        let roots = &self.store.data().roots;
        let due = roots.iter().find(|(_, root)| root.next_tick.is_some_and(|at| at <= now));
        if let Some(root) = due.map(|(id, _)| *id) {
            self.tick_root(root);
        }
    }

    fn tick_root(&mut self, id: u32) {
        if let Some(root) = self.store.data_mut().roots.get_mut(&id) {
            root.next_tick = None;
        }
        self.run(id, "proxy_on_tick", &[]);
        self.perform();
        // Envoy arms the timer again after the callback, unless the callback did.
        let now = self.store.data().world().monotonic;
        if let Some(root) = self.store.data_mut().roots.get_mut(&id) {
            let next = root.tick_period.map(|period| now.saturating_add(period));
            root.next_tick = root.next_tick.or(next);
        }
    }

    /// One tick of the current root context, whatever its timer says.
    pub fn tick(&mut self) {
        self.tick_root(self.root);
    }

    /// The period that the current root context asked to be ticked in.
    pub fn tick_period(&self) -> Option<Duration> {
        self.store.data().roots.get(&self.root)?.tick_period
    }
}
