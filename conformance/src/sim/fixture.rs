//! The simulation without chance: the driver step by step, for tests that say what happens when.

use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use hitless_core::driver::Runtime as _;
use hitless_core::endpoint::Target;

use super::network::Network;
use super::runtime::Executor;
use super::simulation::{Progress, Simulation};
use super::trace::{Trace, What};
use crate::clock;
use crate::server::{CloseHow, EndpointId, Event, Fault, Rule, Server, ServerConn, ServerMachine as _};

/// Longer than any timer.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);

/// A runtime whose tasks run in the order of their wake-ups, and a network on which everything arrives at once.
pub struct Fixture {
    sim: Simulation,
}

/// Whether a future has been woken.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Fixture {
    /// Nothing runs yet, and `server` is at the other end of the network.
    #[must_use]
    pub fn new(server: Server) -> Self {
        let executor = Executor::orderly(clock::now());
        let trace = Trace::new(&executor);
        let network = Network::instant(&executor, &trace, server);
        Self { sim: Simulation::new(executor, network, trace) }
    }

    /// Runs tasks, and time when no task is ready, until `future` is done.
    ///
    /// # Panics
    /// If nobody will ever wake the future.
    pub fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&woken));
        let until = self.now() + YEAR;
        loop {
            while woken.0.swap(false, Ordering::Relaxed) {
                if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return output;
                }
            }
            assert_ne!(self.sim.step(until), Progress::Deadlock, "nobody will ever wake the future");
        }
    }

    /// Runs what is ready, without letting time pass.
    pub fn run(&mut self) {
        while self.sim.act().is_some() {}
    }

    /// Does one thing that is ready, without letting time pass. False if there is none.
    pub fn step(&mut self) -> bool {
        self.sim.act().is_some()
    }

    /// Lets virtual time pass, and runs what becomes ready.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now() + time;
        self.run();
        while self.now() < until {
            self.sim.step(until);
            self.run();
        }
    }

    /// Stops the process for so long. When it goes on, its timers ring before it hears of its sockets.
    pub fn stop(&mut self, time: Duration) {
        self.sim.executor.advance_to(self.now() + time);
        self.sim.executor.ring();
        while self.sim.executor.run_one().is_some() {}
    }

    /// Drops all tasks, as a runtime does that goes away.
    pub fn die(&self) {
        self.sim.executor.die();
    }

    /// Lets every write of the client fail from now on, while what arrives can still be read.
    pub fn break_writes(&self) {
        self.sim.network.break_writes();
    }

    /// Lets streams that are opened from now on keep what is written until it is flushed, as encrypted ones may. A long
    /// write sends what does not fit into the stream.
    pub fn keep_writes(&self) {
        self.sim.network.keep_writes(true);
    }

    /// Leaves every flush pending, or lets flushes go on.
    pub fn block_flushes(&self, blocked: bool) {
        self.sim.network.block_flushes(blocked);
    }

    /// Lets every flush of the client fail from now on, while what arrives can still be read.
    pub fn break_flushes(&self) {
        self.sim.network.break_flushes();
    }

    /// Leads a host name to these addresses.
    pub fn set_name(&self, host: &str, addresses: Vec<IpAddr>) {
        self.sim.network.state().names.insert(host.to_owned(), addresses);
    }

    /// Does something to the server, or looks at it.
    pub fn with_server<T>(&self, act: impl FnOnce(&mut Server, Instant) -> T) -> T {
        self.sim.network.with_server(act)
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.sim.executor.now()
    }

    /// What the driver runs on.
    #[must_use]
    pub fn runtime(&self) -> Executor {
        self.sim.executor.clone()
    }

    /// What the driver resolves and connects with. No host name leads anywhere.
    #[must_use]
    pub fn network(&self) -> Network {
        self.sim.network.clone()
    }

    /// Sockets, tasks and timers that there are: none of a client that is gone.
    #[must_use]
    pub fn leftovers(&self) -> (usize, usize, usize) {
        let executor = &self.sim.executor;
        (self.sim.network.open_sockets(), executor.tasks(), executor.alarms())
    }

    /// How often a task was polled.
    #[must_use]
    pub fn polls(&self) -> usize {
        self.sim.trace.count(|what| matches!(what, What::Polled(_)))
    }

    /// How often the client wrote to a socket.
    #[must_use]
    pub fn writes(&self) -> usize {
        self.sim.trace.count(|what| matches!(what, What::Wrote(..)))
    }

    /// How often the client called for a flush.
    #[must_use]
    pub fn flushes(&self) -> usize {
        self.sim.trace.count(|what| matches!(what, What::Flush(_)))
    }

    /// What the client dialled, in order.
    #[must_use]
    pub fn dialled(&self) -> Vec<Target> {
        let dialled = self.sim.trace.entries().into_iter().filter_map(|(_, what)| match what {
            What::Dialled(_, target) => Some(target),
            _ => None,
        });
        dialled.collect()
    }

    /// How often the client looked a host name up.
    #[must_use]
    pub fn lookups(&self, host: &str) -> usize {
        self.sim.network.state().lookups.get(host).copied().unwrap_or(0)
    }

    /// The names of the commands that arrived, without those of handshakes.
    #[must_use]
    pub fn received(&self) -> Vec<String> {
        self.with_server(|server, _| {
            let received = server.ledger().entries().iter().filter_map(|entry| match &entry.event {
                Event::Received(request) if !request.is_handshake() => Some(request.name()),
                _ => None,
            });
            received.map(|name| String::from_utf8_lossy(name).into_owned()).collect()
        })
    }

    /// Sends `bytes` to every connection.
    pub fn say(&self, bytes: &[u8]) {
        self.with_connections(|server, now, conn| server.push_bytes(now, conn, bytes));
    }

    /// Ends every connection, behind what was sent.
    pub fn end(&self) {
        self.with_connections(|server, now, conn| server.kill(now, conn, CloseHow::Fin));
    }

    /// Leaves every request without a reply from now on.
    pub fn answer_nothing(&self) {
        self.with_server(|server, _| server.add_rule(Rule::new(Fault::Unanswered).always()));
    }

    /// Refuses every dial from now on.
    pub fn refuse_dials(&self) {
        self.with_endpoints(|server, now, endpoint| server.refuse_dials(now, endpoint, None));
    }

    /// Leaves every dial unanswered until dials are [restored](Self::restore_dials).
    pub fn swallow_dials(&self) {
        self.with_endpoints(|server, now, endpoint| server.black_hole(now, endpoint, None));
    }

    /// Accepts dials again.
    pub fn restore_dials(&self) {
        self.with_endpoints(|server, _, endpoint| server.restore(endpoint));
    }

    /// Does something to every endpoint.
    pub fn with_endpoints(&self, mut act: impl FnMut(&mut Server, Instant, EndpointId)) {
        self.with_server(|server, now| {
            server.endpoints().into_iter().for_each(|endpoint| act(server, now, endpoint));
        });
    }

    fn with_connections(&self, mut act: impl FnMut(&mut Server, Instant, ServerConn)) {
        self.with_endpoints(|server, now, endpoint| {
            server.connections(endpoint).into_iter().for_each(|conn| act(server, now, conn));
        });
    }
}
