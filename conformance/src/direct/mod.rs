//! The suite over the bare machine, in virtual time: no runtime, no socket, no thread.
//!
//! `embedder` is the loop that an application without the driver would write, and `wire` the network that it runs
//! on here. A seed decides how long each hop takes and where the bytes are cut; the same seed gives the same run.

mod embedder;
mod wire;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use hitless_core::client::{Invalidation, Stats};
use hitless_core::config::ConfigBuilder;
use hitless_core::error::{ConnectError, LeaseError};
use hitless_core::event::Event;
use hitless_core::ids::{ChangeId, LeaseId, RequestId, SubscriptionId};
use hitless_core::pubsub::{SubscribeError, Topic};
use hitless_core::request::{Request, SendError};
use resp3_codec::Frame;

use self::embedder::{Embedder, Opinion};
use self::wire::Wire;
use crate::clock;
use crate::server::{Server, ServerMachine};
use crate::vault::Vault;
use crate::world::{
    Finished, Holder, Host, Layout, LeaseState, Reviewer, Setup, Subscriber, SubscriptionState, Ticket, World,
};

/// Seeds that each case runs with.
const SEEDS: u64 = 4;
/// Longest virtual time that a connect or a shutdown may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// When time begins in every world, so that two runs can be compared.
static ORIGIN: OnceLock<Instant> = OnceLock::new();

/// Runs cases in virtual time, with one seed or with several.
#[derive(Clone, Debug, Default)]
pub struct Direct {
    seed: Option<u64>,
    hop: Option<Duration>,
    trace: Option<Trace>,
}

/// What happened in the worlds of one run, a line each.
type Trace = Rc<RefCell<Vec<String>>>;

impl Direct {
    /// Runs each case with this seed alone.
    #[must_use]
    pub fn with_seed(seed: u64) -> Self {
        Self { seed: Some(seed), ..Self::default() }
    }

    /// The same, and keeps a trace.
    #[must_use]
    pub fn tracing(seed: u64) -> Self {
        Self { trace: Some(Trace::default()), ..Self::with_seed(seed) }
    }

    /// Runs each case on a network where every way takes as long as every other one and nothing is cut.
    #[must_use]
    pub fn with_hop(hop: Duration) -> Self {
        Self { hop: Some(hop), ..Self::with_seed(0) }
    }

    /// What the clients said and the servers saw, in the worlds that are gone. Empty without [`tracing`](Self::tracing).
    #[must_use]
    pub fn take_trace(&self) -> Vec<String> {
        self.trace.as_ref().map(|trace| trace.take()).unwrap_or_default()
    }
}

impl Host for Direct {
    fn world(&self, setup: Setup) -> Result<Box<dyn World>, String> {
        setup.encryption.decline("the machine has no streams that could be encrypted")?;
        Ok(Box::new(DirectWorld::new(setup, self)))
    }

    fn run(&self, case: fn(&dyn Host)) {
        match self.seed {
            Some(_) => case(self),
            None => (0..SEEDS).for_each(|seed| run_with_seed(case, seed)),
        }
    }
}

/// Runs a case, and says which seed it was if it fails.
fn run_with_seed(case: fn(&dyn Host), seed: u64) {
    let run = AssertUnwindSafe(|| case(&Direct::with_seed(seed)));
    if let Err(payload) = catch_unwind(run) {
        let _ = writeln!(io::stderr(), "the case ended with seed {seed}");
        resume_unwind(payload);
    }
}

/// A client and a server, with a virtual network between them.
#[derive(Debug)]
struct DirectWorld {
    now: Instant,
    seed: u64,
    wire: Wire,
    embedder: Option<Embedder>,
    reviewer: Option<Opinion>,
    vault: Option<Arc<Vault>>,
    next_ticket: u64,
    tickets: BTreeMap<RequestId, Ticket>,
    finished: BTreeMap<Ticket, Finished>,
    holders: BTreeMap<Holder, Result<LeaseId, LeaseError>>,
    subscribers: BTreeMap<Subscriber, (SubscriptionId, Result<ChangeId, SubscribeError>)>,
    trace: Option<Trace>,
}

impl DirectWorld {
    fn new(mut setup: Setup, host: &Direct) -> Self {
        let seed = host.seed.unwrap_or(0);
        assign_addresses(&mut setup.server, setup.layout);
        Self {
            now: *ORIGIN.get_or_init(clock::now),
            seed,
            wire: Wire::new(setup.server, seed, host.hop),
            embedder: None,
            reviewer: None,
            vault: None,
            next_ticket: 0,
            tickets: BTreeMap::new(),
            finished: BTreeMap::new(),
            holders: BTreeMap::new(),
            subscribers: BTreeMap::new(),
            trace: host.trace.clone(),
        }
    }

    /// Carries everything out that is to be done now.
    fn settle(&mut self) {
        self.wire.drain_server(self.now);
        let Some(embedder) = &mut self.embedder else { return };
        embedder.obey(self.now, &mut self.wire);
        while embedder.look_into_the_vault(self.now) {
            embedder.obey(self.now, &mut self.wire);
        }
        for (request, outcome) in embedder.completed.drain(..) {
            // A completion that was not expected has no ticket. INV-01
            let ticket = self.tickets.remove(&request).expect("an accepted request completes once");
            self.finished.insert(ticket, Finished { at: self.now, outcome });
        }
    }

    /// Lets everything happen that is due now.
    fn pass(&mut self) {
        self.wire.handle_timeout(self.now);
        while let Some(arrival) = self.wire.poll_arrival(self.now) {
            if let Some(embedder) = &mut self.embedder {
                embedder.hear(self.now, arrival, &mut self.wire);
            }
            self.settle();
        }
        if let Some(embedder) = &mut self.embedder {
            embedder.client.handle_timeout(self.now);
        }
        self.settle();
        let next = self.embedder.as_ref().and_then(|embedder| embedder.client.poll_timeout());
        assert!(next.is_none_or(|next| next > self.now), "INV-12: the client spins");
    }

    fn step_while(&mut self, pending: impl Fn(&Self) -> bool) {
        let until = self.now + PATIENCE;
        while pending(self) {
            assert!(self.now < until, "it takes for ever");
            self.step(until);
        }
    }
}

impl World for DirectWorld {
    fn now(&self) -> Instant {
        self.now
    }

    fn slack(&self) -> Duration {
        Duration::from_millis(5)
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn with_server(&mut self, act: &mut dyn FnMut(&mut Server, Instant)) {
        act(&mut self.wire.server, self.now);
        self.settle();
    }

    fn set_name(&mut self, host: &str, addresses: Vec<IpAddr>) {
        self.wire.names.insert(host.to_owned(), addresses);
    }

    fn lookups(&self, host: &str) -> usize {
        self.wire.lookups.get(host).copied().unwrap_or(0)
    }

    fn connect(&mut self, settings: ConfigBuilder) -> Result<(), ConnectError> {
        assert!(self.embedder.is_none(), "a world has one client");
        let vault = self.vault.take();
        let settings = if vault.is_some() { settings.ask_for_credentials() } else { settings };
        let config = settings.build().expect("the settings of a case fit together");
        self.embedder = Some(Embedder::new(self.now, config, self.seed, self.reviewer.take(), vault));
        self.settle();
        let started = |world: &Self| world.embedder.as_ref().and_then(|embedder| embedder.started.clone());
        self.step_while(|world| started(world).is_none());
        started(self).unwrap_or(Ok(()))
    }

    fn send(&mut self, request: Request) -> Result<Ticket, SendError> {
        let embedder = self.embedder.as_mut().expect("connect first");
        let id = embedder.client.send(self.now, request)?;
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.tickets.insert(id, ticket);
        self.settle();
        Ok(ticket)
    }

    fn finished(&self, ticket: Ticket) -> Option<&Finished> {
        self.finished.get(&ticket)
    }

    fn cancel(&mut self, ticket: Ticket) {
        let found = self.tickets.iter().find(|(_, known)| **known == ticket).map(|(id, _)| *id);
        if let (Some(id), Some(embedder)) = (found, &mut self.embedder) {
            self.tickets.remove(&id);
            embedder.client.cancel(self.now, id);
            self.settle();
        }
    }

    fn lease(&mut self) -> Result<Holder, &'static str> {
        let holder = Holder(self.next_ticket);
        self.next_ticket += 1;
        let embedder = self.embedder.as_mut().expect("connect first");
        let lease = embedder.client.lease(self.now);
        self.holders.insert(holder, lease);
        self.settle();
        Ok(holder)
    }

    fn lease_state(&mut self, holder: Holder) -> LeaseState {
        match (&self.holders[&holder], &self.embedder) {
            (Err(error), _) => LeaseState { outcome: Some(Err(error.clone())), ..LeaseState::default() },
            (Ok(lease), Some(embedder)) => embedder.leases.get(lease).cloned().unwrap_or_default(),
            (Ok(_), None) => LeaseState::default(),
        }
    }

    fn send_on(&mut self, holder: Holder, request: Request) -> Result<Ticket, SendError> {
        let lease = self.holders[&holder].clone().expect("it was granted");
        let embedder = self.embedder.as_mut().expect("connect first");
        let id = embedder.client.send_on(self.now, lease, request)?;
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.tickets.insert(id, ticket);
        self.settle();
        Ok(ticket)
    }

    fn return_lease(&mut self, holder: Holder) {
        if let (Some(Ok(lease)), Some(embedder)) = (self.holders.remove(&holder), &mut self.embedder) {
            embedder.client.return_lease(self.now, lease);
            self.settle();
        }
    }

    fn subscribe(&mut self, topics: Vec<Topic>) -> Result<Subscriber, &'static str> {
        let subscriber = Subscriber(self.next_ticket);
        self.next_ticket += 1;
        let client = &mut self.embedder.as_mut().expect("connect first").client;
        let id = client.open_subscription().expect("the client takes it");
        let change = client.subscribe(self.now, id, topics);
        self.subscribers.insert(subscriber, (id, change));
        self.settle();
        Ok(subscriber)
    }

    fn subscription_state(&mut self, subscriber: Subscriber) -> SubscriptionState {
        let (id, change) = &self.subscribers[&subscriber];
        let embedder = self.embedder.as_ref().expect("connect first");
        let outcome = match change {
            Ok(change) => embedder.changes.get(change).cloned(),
            Err(error) => Some(Err(error.clone())),
        };
        SubscriptionState { outcome, items: embedder.received.get(id).cloned().unwrap_or_default() }
    }

    fn subscribe_more(&mut self, subscriber: Subscriber, topics: Vec<Topic>) {
        let client = &mut self.embedder.as_mut().expect("connect first").client;
        let (id, change) = self.subscribers.get_mut(&subscriber).expect("it is open");
        *change = client.subscribe(self.now, *id, topics);
        self.settle();
    }

    fn unsubscribe(&mut self, subscriber: Subscriber, topics: Vec<Topic>) {
        let client = &mut self.embedder.as_mut().expect("connect first").client;
        client.unsubscribe(self.now, self.subscribers[&subscriber].0, &topics);
        self.settle();
    }

    fn close_subscription(&mut self, subscriber: Subscriber) {
        if let (Some((id, _)), Some(embedder)) = (self.subscribers.remove(&subscriber), &mut self.embedder) {
            embedder.client.close_subscription(self.now, id);
            self.settle();
        }
    }

    fn review_by(&mut self, reviewer: Reviewer) -> Result<(), &'static str> {
        self.reviewer = Some(Opinion(reviewer));
        Ok(())
    }

    fn ask(&mut self, vault: &Arc<Vault>) -> Result<(), &'static str> {
        self.vault = Some(Arc::clone(vault));
        Ok(())
    }

    fn step(&mut self, until: Instant) {
        if self.embedder.as_mut().is_some_and(|embedder| embedder.look_into_the_vault(self.now)) {
            // What the case has put there takes no time.
            return self.settle();
        }
        let client = self.embedder.as_ref().and_then(|embedder| embedder.client.poll_timeout());
        let next = client.into_iter().chain(self.wire.poll_timeout()).min();
        self.now = next.unwrap_or(until).min(until).max(self.now);
        self.pass();
    }

    fn events(&self) -> &[(Instant, Event)] {
        self.embedder.as_ref().map_or(&[], |embedder| &embedder.events)
    }

    fn pushes(&self) -> &[Vec<Frame>] {
        self.embedder.as_ref().map_or(&[], |embedder| &embedder.pushes)
    }

    fn invalidations(&self) -> Result<&[Invalidation], &'static str> {
        Ok(self.embedder.as_ref().map_or(&[], |embedder| &embedder.invalidations))
    }

    fn stats(&mut self) -> Stats {
        self.embedder.as_ref().map(|embedder| embedder.client.stats()).unwrap_or_default()
    }

    fn shutdown(&mut self, grace: Duration) {
        let Some(embedder) = &mut self.embedder else { return };
        embedder.client.shutdown(self.now, self.now + grace);
        self.settle();
        let is_running = |embedder: &Embedder| !embedder.client.is_terminated();
        self.step_while(|world| world.embedder.as_ref().is_some_and(is_running));
        if let Some(embedder) = &self.embedder {
            embedder.check_that_nothing_is_left();
        }
        self.step_while(|world| !world.wire.is_deserted());
    }

    fn block_reads(&mut self, blocked: bool) {
        self.wire.block_reads(blocked);
        self.pass();
    }

    fn block_writes(&mut self, blocked: bool) -> Result<(), &'static str> {
        let embedder = self.embedder.as_mut().expect("connect first");
        embedder.blocked = blocked;
        if !blocked {
            embedder.unblock(self.now, &mut self.wire);
        }
        Ok(())
    }
}

impl Drop for DirectWorld {
    fn drop(&mut self) {
        let Some(trace) = &self.trace else { return };
        let mut trace = trace.borrow_mut();
        trace.extend(self.events().iter().map(|event| format!("{event:?}")));
        trace.extend(self.wire.server.ledger().entries().iter().map(|entry| format!("{entry:?}")));
    }
}

/// Gives addresses of a private network to endpoints that have none.
pub(crate) fn assign_addresses(server: &mut Server, layout: Layout) {
    for (index, endpoint) in (1..=u8::MAX).zip(server.endpoints()) {
        let given = server.address(endpoint);
        if given.port() != 0 {
            continue;
        }
        let host = |index: u8| -> IpAddr {
            if given.is_ipv6() {
                [0xfd00, 0, 0, 0, 0, 0, 0, u16::from(index)].into()
            } else {
                [10, 0, 0, index].into()
            }
        };
        let (host, port) = match layout {
            Layout::Ports => (host(1), 7000 + u16::from(index)),
            Layout::Hosts => (host(index), 7000),
            Layout::DefaultPort => (host(index), 6379),
        };
        server.set_address(endpoint, SocketAddr::new(host, port));
    }
}
