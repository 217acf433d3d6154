//! The suite on this runtime: the driver, a calm network, virtual time.

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

use hitless_core::client::{Invalidation, Stats};
use hitless_core::config::ConfigBuilder;
use hitless_core::driver::Runtime as _;
use hitless_core::error::ConnectError;
use hitless_core::event::Event;
use hitless_core::guide::Rng;
use hitless_core::observe::MetricsSnapshot;
use hitless_core::pubsub::Topic;
use hitless_core::request::{Request, SendError};
use resp3_codec::Frame;

use super::network::Network;
use super::runtime::Executor;
use super::simulation::Simulation;
use super::trace::{Lines, Trace};
use crate::clock;
use crate::direct::assign_addresses;
use crate::server::Server;
use crate::session::Session;
use crate::vault::Vault;
use crate::world::{
    ClusterSettings, ClusterWorld, Finished, Holder, Host, LeaseState, Reviewer, Setup, Subscriber,
    SubscriptionState, Ticket, World,
};

/// Seeds that each case runs with.
const SEEDS: u64 = 4;
/// Longest virtual time that a connect or a shutdown may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Entries of the trace that are shown with a failure.
const TAIL: usize = 40;

/// Runs cases over the driver in virtual time, with several seeds: another order of polls and other delays each time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sim {
    seed: Option<u64>,
}

impl Host for Sim {
    fn world(&self, setup: Setup) -> Result<Box<dyn World>, String> {
        setup.encryption.decline("cryptography draws at random, and two runs of a seed must be the same")?;
        Ok(Box::new(SimWorld::new(setup, self.seed.unwrap_or(0))))
    }

    fn run(&self, case: fn(&dyn Host)) {
        let seeds = self.seed.map_or(0..SEEDS, |seed| seed..seed + 1);
        for seed in seeds {
            let run = AssertUnwindSafe(|| case(&Self { seed: Some(seed) }));
            if let Err(payload) = catch_unwind(run) {
                let _ = writeln!(io::stderr(), "the case ended with seed {seed}");
                resume_unwind(payload);
            }
        }
    }
}

/// A client on the simulated runtime, and a server at the other end of the simulated network.
struct SimWorld {
    sim: Simulation,
    seed: u64,
    epoch: Instant,
    /// The case asked for something that there is not, and ends without having failed.
    declined: bool,
    session: Session<Executor>,
}

impl SimWorld {
    fn new(mut setup: Setup, seed: u64) -> Self {
        assign_addresses(&mut setup.server, setup.layout);
        let mut rng = Rng::new(seed);
        let epoch = clock::now();
        let executor = Executor::new(epoch, rng.next_u64());
        let trace = Trace::new(&executor);
        let network = Network::new(&executor, &trace, setup.server, rng.next_u64());
        Self {
            sim: Simulation::new(executor, network, trace),
            seed,
            epoch,
            declined: false,
            session: Session::new(),
        }
    }

    /// Takes in what the client has to say.
    fn collect(&mut self) {
        // Looked at after every step: there is no need to be woken.
        self.session.collect(self.sim.executor.now(), Waker::noop());
    }

    /// Steps until `done`, with everything that the client says taken in on the way.
    fn step_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let until = self.sim.executor.now() + PATIENCE;
        while !done(self) {
            assert!(self.sim.executor.now() < until, "it takes for ever: {what}");
            self.step(until);
        }
    }
}

impl World for SimWorld {
    fn now(&self) -> Instant {
        self.sim.executor.now()
    }

    fn slack(&self) -> Duration {
        Duration::from_millis(5)
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn with_server(&mut self, act: &mut dyn FnMut(&mut Server, Instant)) {
        self.sim.network.with_server(|server, now| act(server, now));
    }

    fn set_name(&mut self, host: &str, addresses: Vec<IpAddr>) {
        self.sim.network.state().names.insert(host.to_owned(), addresses);
    }

    fn lookups(&self, host: &str) -> usize {
        self.sim.network.state().lookups.get(host).copied().unwrap_or(0)
    }

    fn connect(&mut self, settings: ConfigBuilder) -> Result<(), ConnectError> {
        let (executor, network) = (self.sim.executor.clone(), self.sim.network.clone());
        let builder = self.session.builder(executor, network, settings);
        let slot = self.sim.start(builder.connect());
        self.step_until("the pool opens", |_| super::lock(&slot).is_some());
        let result = super::lock(&slot).take().expect("it has just been put there");
        self.session.connected(result)
    }

    fn connect_cluster(
        &mut self,
        settings: ClusterSettings,
    ) -> Result<Result<(), ConnectError>, &'static str> {
        let (executor, network) = (self.sim.executor.clone(), self.sim.network.clone());
        let builder = self.session.cluster_builder(executor, network, settings);
        let slot = self.sim.start(builder.connect());
        self.step_until("the client opens", |_| super::lock(&slot).is_some());
        let result = super::lock(&slot).take().expect("it has just been put there");
        Ok(self.session.cluster_connected(result))
    }

    fn cluster(&mut self) -> Option<&mut dyn ClusterWorld> {
        self.session.cluster()
    }

    fn send(&mut self, request: Request) -> Result<Ticket, SendError> {
        self.session.send(request)
    }

    fn finished(&self, ticket: Ticket) -> Option<&Finished> {
        self.session.finished(ticket)
    }

    fn cancel(&mut self, ticket: Ticket) {
        self.session.cancel(ticket);
    }

    fn lease(&mut self) -> Result<Holder, &'static str> {
        Ok(self.session.lease(Waker::noop()))
    }

    fn lease_state(&mut self, holder: Holder) -> LeaseState {
        self.session.lease_state(holder, Waker::noop())
    }

    fn send_on(&mut self, holder: Holder, request: Request) -> Result<Ticket, SendError> {
        self.session.send_on(holder, request)
    }

    fn return_lease(&mut self, holder: Holder) {
        self.session.return_lease(holder);
    }

    fn subscribe(&mut self, topics: Vec<Topic>) -> Result<Subscriber, &'static str> {
        Ok(self.session.subscribe(topics, Waker::noop()))
    }

    fn subscription_state(&mut self, subscriber: Subscriber) -> SubscriptionState {
        self.session.subscription_state(subscriber, Waker::noop())
    }

    fn subscribe_more(&mut self, subscriber: Subscriber, topics: Vec<Topic>) {
        self.session.subscribe_more(subscriber, topics, Waker::noop());
    }

    fn unsubscribe(&mut self, subscriber: Subscriber, topics: Vec<Topic>) {
        self.session.unsubscribe(subscriber, topics);
    }

    fn close_subscription(&mut self, subscriber: Subscriber) {
        self.session.close_subscription(subscriber);
    }

    fn review_by(&mut self, reviewer: Reviewer) -> Result<(), &'static str> {
        self.session.reviewer = Some(reviewer);
        Ok(())
    }

    fn ask(&mut self, vault: &Arc<Vault>) -> Result<(), &'static str> {
        self.session.vault = Some(Arc::clone(vault));
        Ok(())
    }

    fn figures(&mut self) -> MetricsSnapshot {
        self.session.metrics.snapshot()
    }

    fn step(&mut self, until: Instant) {
        self.sim.step(until);
        self.collect();
    }

    fn events(&self) -> &[(Instant, Event)] {
        self.session.events()
    }

    fn pushes(&self) -> &[Vec<Frame>] {
        self.session.pushes()
    }

    fn invalidations(&self) -> Result<&[Invalidation], &'static str> {
        Ok(self.session.invalidations())
    }

    fn stats(&mut self) -> Stats {
        self.session.stats()
    }

    fn shutdown(&mut self, grace: Duration) {
        if let Some(shutdown) = self.session.shutdown(grace) {
            drop(self.sim.start(shutdown));
        }
        self.step_until("every task ends", |world| world.sim.executor.tasks() == 0);
        self.session.assert_all_ended();
        let executor = &self.sim.executor;
        let left = (executor.alarms(), self.sim.network.open_sockets(), executor.wakers());
        assert_eq!(left, (0, 0, 0), "INV-15: timers, sockets, wakers");
        self.step_until("the last FIN arrives", |world| world.sim.network.is_deserted());
    }

    fn block_reads(&mut self, blocked: bool) {
        self.sim.network.block_reads(blocked);
    }

    fn block_writes(&mut self, _blocked: bool) -> Result<(), &'static str> {
        self.declined = true;
        Err("the driver takes a batch off the machine before it hears that the socket takes nothing")
    }
}

impl Drop for SimWorld {
    /// Shows the end of the trace of a case that failed.
    fn drop(&mut self) {
        if thread::panicking() && !self.declined {
            let entries = self.sim.trace.entries();
            let tail = &entries[entries.len().saturating_sub(TAIL)..];
            let _ = write!(io::stderr(), "{}", Lines { epoch: self.epoch, entries: tail });
        }
    }
}
