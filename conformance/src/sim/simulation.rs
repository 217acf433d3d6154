//! The loop: what is due is delivered, one task that is ready is polled, and when nobody is, time passes.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use hitless_core::cluster::ClusterEvent;
use hitless_core::driver::{Events, Observer, Pushes, Runtime as _};

use super::faults::FaultKind;
use super::lock;
use super::network::Network;
use super::plan::{Ending, Step};
use super::runtime::Executor;
use super::trace::{Trace, What};
use crate::server::ServerMachine as _;

/// The longest that a client may take to open, or to be gone.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// The longest from the end of all faults until everybody has an answer and nothing is broken any more.
pub(super) const RECOVERY: Duration = Duration::from_secs(60);
/// The longest that something which a fault has held up is still on its way afterwards.
pub(super) const SETTLING: Duration = Duration::from_secs(5);

/// A runtime, a network, what is to happen to it, and who listens to the client.
pub(super) struct Simulation {
    pub(super) executor: Executor,
    pub(super) network: Network,
    pub(super) trace: Trace,
    /// What is still to happen, the last first.
    pub(super) agenda: Vec<(Instant, Step)>,
    /// From then on nothing happens any more.
    pub(super) calm_at: Option<Instant>,
    pub(super) events: Option<Events>,
    pub(super) pushes: Option<Pushes>,
    pub(super) cluster_events: Option<Observer<ClusterEvent>>,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// A task was polled.
    Ran,
    /// Something was delivered, or time has passed.
    Waited,
    /// Nothing is ready, and nothing will ever be.
    Deadlock,
}

/// The result of a task, once it is there.
pub(super) type Slot<T> = Arc<Mutex<Option<T>>>;

impl Simulation {
    /// A simulation in which nothing is to happen yet.
    pub(super) fn new(executor: Executor, network: Network, trace: Trace) -> Self {
        let (agenda, events, pushes, cluster_events) = (Vec::new(), None, None, None);
        Self { executor, network, trace, agenda, calm_at: None, events, pushes, cluster_events }
    }

    /// Does one thing, or lets time pass, but not beyond `until`.
    pub(super) fn step(&mut self, until: Instant) -> Progress {
        if let Some(progress) = self.act() {
            return progress;
        }
        let next = self.agenda.last().map(|(at, _)| *at).into_iter().chain(self.calm_at);
        let next = next.chain(self.network.poll_timeout()).chain(self.executor.next_alarm()).min();
        self.executor.advance_to(next.unwrap_or(until).min(until));
        if next.is_none() { Progress::Deadlock } else { Progress::Waited }
    }

    /// Does one of the things that are due now, if there is any.
    pub(super) fn act(&mut self) -> Option<Progress> {
        self.keep_agenda();
        let delivered = self.network.handle_timeout();
        self.executor.ring();
        let pause = self.network.hiccup();
        if !pause.is_zero() {
            self.executor.advance_to(self.executor.now() + pause);
        }
        if let Some(task) = self.executor.run_one() {
            self.trace.note(What::Polled(task));
            self.listen();
            return Some(Progress::Ran);
        }
        // Whoever steps may want to look before time passes.
        delivered.then_some(Progress::Waited)
    }

    /// Goes on until `done`.
    ///
    /// # Panics
    /// If that takes longer than `limit`, or can never be.
    pub(super) fn run_until(&mut self, what: &str, limit: Duration, mut done: impl FnMut(&Self) -> bool) {
        let until = self.executor.now() + limit;
        while !done(self) {
            assert!(self.executor.now() < until, "liveness: not within {limit:?}: {what}");
            let progress = self.step(until);
            assert!(progress != Progress::Deadlock || done(self), "deadlock: {what}");
        }
    }

    /// Starts a task whose result is wanted.
    pub(super) fn start<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Slot<T> {
        let slot = Slot::default();
        let result = Arc::clone(&slot);
        self.executor.spawn(async move {
            let value = future.await;
            *lock(&result) = Some(value);
        });
        slot
    }

    /// Runs a task to its end.
    pub(super) fn block_on<T: Send + 'static>(
        &mut self,
        what: &str,
        limit: Duration,
        future: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let slot = self.start(future);
        self.run_until(what, limit, |_| lock(&slot).is_some());
        lock(&slot).take().expect("it has just been put there")
    }

    /// Ends `client` in one way or another, to which the requests of the replies in `last` were sent a moment ago; whoever still waits is told.
    /// INV-01, INV-15
    pub(super) fn end<C, F>(
        &mut self,
        ending: Ending,
        client: C,
        last: Vec<impl Future + Unpin>,
        shut_down: impl FnOnce(C, Duration) -> F,
    ) where
        C: Clone,
        F: Future<Output = ()> + Send + 'static,
    {
        self.trace.note(What::Shutdown);
        match ending {
            Ending::Shutdown(grace) => {
                let shutdown = shut_down(client.clone(), grace);
                self.block_on("the client is shut down", grace + PATIENCE, shutdown);
            }
            Ending::Dropped => {}
            Ending::RuntimeDies => self.executor.die(),
        }
        drop(client);
        let mut cx = Context::from_waker(Waker::noop());
        if ending == Ending::Dropped {
            // A reply keeps the client: with the last one it goes.
            drop(last);
        } else {
            for mut reply in last {
                let is_told = Pin::new(&mut reply).poll(&mut cx).is_ready();
                assert!(is_told, "INV-01: a request that never ended");
            }
        }
        self.run_until("every task has ended", PATIENCE, |sim| sim.executor.tasks() == 0);
        self.listen();
        self.trace.note(What::Gone);
        assert!(self.has_said_all(), "INV-15: a stream of events or pushes goes on after the end");
    }

    /// Nothing is left after the end. INV-15
    pub(super) fn leave_nothing(&mut self) {
        let (network, executor) = (self.network.clone(), self.executor.clone());
        self.run_until("every task has ended", PATIENCE, |sim| sim.executor.tasks() == 0);
        let left = (executor.alarms(), network.open_sockets(), executor.wakers());
        assert_eq!(left, (0, 0, 0), "INV-15: timers, sockets, wakers");
        self.run_until("the last FIN arrives", PATIENCE, |sim| sim.network.is_deserted());
        let at_server = network.with_server(|server, _| {
            server.endpoints().into_iter().map(|id| server.connections(id).len()).sum::<usize>()
        });
        assert_eq!(at_server, 0, "INV-15: connections at the server");
    }

    /// Takes in what the client has to say.
    pub(super) fn listen(&mut self) {
        while let Some(event) = self.events.as_mut().and_then(|events| events.try_next()) {
            self.trace.note(What::Event(event.expect("no event is missed")));
        }
        while let Some(push) = self.pushes.as_mut().and_then(|pushes| pushes.try_next()) {
            push.expect("no push is missed");
            self.trace.note(What::Push);
        }
        while let Some(event) = self.cluster_events.as_mut().and_then(|events| events.try_next()) {
            self.trace.note(What::ClusterEvent(event.expect("no event is missed")));
        }
    }

    /// Whether the client has said that it will say no more.
    pub(super) fn has_said_all(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let events = self.events.as_mut().map(|events| events.poll_next(&mut cx));
        let pushes = self.pushes.as_mut().map(|pushes| pushes.poll_next(&mut cx));
        let cluster_events = self.cluster_events.as_mut().map(|events| events.poll_next(&mut cx));
        let is_over =
            matches!((events, pushes), (None | Some(Poll::Ready(None)), None | Some(Poll::Ready(None))));
        is_over && matches!(cluster_events, None | Some(Poll::Ready(None)))
    }

    fn keep_agenda(&mut self) {
        let now = self.executor.now();
        while let Some((_, step)) = self.agenda.pop_if(|(at, _)| *at <= now) {
            match step {
                Step::Begin(fault) => {
                    self.network.begin(fault);
                    match fault.kind {
                        FaultKind::ProcessStops => self.stop(now + fault.delay),
                        FaultKind::ClockJumps => self.executor.advance_to(now + fault.delay),
                        _ => {}
                    }
                }
                Step::End(fault) => self.network.end(fault),
                Step::Maintain(step) => self.network.maintain(&step),
                Step::Reshape(step) => self.network.reshape(&step),
            }
        }
        if self.calm_at.take_if(|at| *at <= now).is_some() {
            self.agenda.clear();
            self.network.calm();
        }
    }

    /// No task runs and no timer rings before `until`; the network and the server go on.
    fn stop(&mut self, until: Instant) {
        loop {
            let next = self.agenda.last().map(|(at, _)| *at).into_iter().chain(self.calm_at);
            let next = next.chain(self.network.poll_timeout()).min();
            let Some(next) = next.filter(|next| *next <= until) else { break };
            self.executor.advance_to(next);
            self.keep_agenda();
            self.network.handle_timeout();
        }
        self.executor.advance_to(until);
    }
}
