//! What the handles and the control task of a cluster client share.
//!
//! A request reads the [routes](Routes) and nothing else. The lock of the state is taken by the control task, and by a request that a node did
//! not run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::super::error::Error;
use super::super::handle::Client;
use super::super::hooks::Registry;
#[cfg(feature = "tracing")]
use super::super::hooks::tracing::show_cluster;
use super::super::observer::Broadcast;
use super::super::signals;
use super::super::traits::Runtime;
use super::super::waiter::{Latch, Waiter};
use super::inbox::Inbox;
use super::naps::Naps;
use super::outage::Limits;
use super::routes::{Place, Routes, Watch};
use super::unit::Unit;
use crate::cluster::{Cluster, ClusterEvent, ClusterStats, Decision, Next, Sent, Table, only_reads};
use crate::config::{Config, Protocol, WhenDisconnected, WhenFull};
use crate::endpoint::Endpoint;
use crate::error::{CloseCause, ConnectError, Delivery, RequestError, ServerError};
use crate::ids::{IdMap, NodeId, QueryId};
use crate::request::{Outcome, Request};
use crate::windows::effective_timeout;

pub(super) struct Shared<R: Runtime> {
    pub(super) runtime: R,
    /// What the clients of the nodes tell, and what wakes the control task.
    pub(super) inbox: Arc<Inbox>,
    pub(super) naps: Naps,
    /// The result of opening the cluster client.
    pub(super) started: Waiter<Result<(), Error>>,
    /// Opens when nothing of the client is left.
    pub(super) gone: Latch,
    pub(super) events: Arc<Broadcast<ClusterEvent>>,
    /// Says that requests go by other routes now.
    pub(super) swaps: Arc<Broadcast<()>>,
    /// Slots whose ways somebody wants to know of who may not look at each swap.
    watches: Mutex<Vec<Weak<Watch>>>,
    /// Those of the clients of all nodes.
    pub(super) hooks: Arc<Registry>,
    pub(super) policy: Policy,
    /// Every request reads it. Each reader of a `RwLock` would write to a cache line that all processors share.
    routes: ArcSwap<Routes<R>>,
    state: Mutex<State>,
}

/// Settings that the way of a request needs.
pub(super) struct Policy {
    pub(super) when_full: WhenFull,
    when_disconnected: WhenDisconnected,
    pub(super) protocol: Protocol,
    #[cfg(feature = "tracing")]
    log_level: crate::event::Level,
    pub(super) command_timeout: Option<Duration>,
    pub(super) lease_timeout: Option<Duration>,
    /// The longest that opening the client may take.
    pub(super) start_timeout: Option<Duration>,
    /// Whether reads go to replicas where there are any.
    pub(super) prefers_replicas: bool,
}

struct State {
    machine: Cluster,
    /// The latest time seen. Two threads may read the clock in one order and take the lock in the other.
    latest: Instant,
    phase: Phase,
    /// How many turns of the control task were asked for, and how many of them are over.
    wanted: u64,
    done: u64,
    /// Why nodes could not be opened that are not open.
    causes: IdMap<NodeId, Arc<ConnectError>>,
    /// Those who wait for the end of a turn, and how many did so.
    waiting: BTreeMap<u64, Waker>,
    waited: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// It shuts down, and what is under way may finish until then.
    Closing(Instant),
    Over,
}

/// What one turn of the control task has to do.
pub(super) struct Turn {
    pub(super) decisions: Vec<Decision>,
    pub(super) phase: Phase,
    number: u64,
}

/// What the control task has to tell the machine.
pub(super) enum Fact {
    Start,
    Ready(NodeId),
    ReadonlyRefused(NodeId),
    Failed(NodeId),
    Notified(NodeId, Box<crate::notification::Notification>),
    Topology(QueryId, resp3_codec::Frame),
    NoTopology(QueryId),
}

impl Policy {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            when_full: config.when_full(),
            when_disconnected: config.when_disconnected(),
            protocol: config.protocol(),
            #[cfg(feature = "tracing")]
            log_level: config.maintenance().log_level(),
            command_timeout: config.command_timeout(),
            lease_timeout: config.lease_timeout(),
            start_timeout: config.start_timeout(),
            prefers_replicas: config.sends_readonly(),
        }
    }

    /// Whether a request waits for a node that has no connection.
    pub(super) fn waits(&self) -> bool {
        self.when_disconnected == WhenDisconnected::Wait
    }
}

impl<R: Runtime> Shared<R> {
    pub(super) fn new(
        runtime: R,
        settings: crate::cluster::Settings,
        seeds: Vec<Endpoint>,
        policy: Policy,
        (events, hooks): (Arc<Broadcast<ClusterEvent>>, Arc<Registry>),
    ) -> Arc<Self> {
        let (latest, seed) = (runtime.now(), runtime.seed());
        let routes = ArcSwap::from_pointee(Routes::new(Arc::new(Table::empty()), IdMap::new()));
        let machine = Cluster::new(settings, seeds, seed);
        let (phase, waiting) = (Phase::Open, BTreeMap::new());
        let causes = IdMap::new();
        let state = State { machine, latest, phase, wanted: 0, done: 0, causes, waiting, waited: 0 };
        let state = Mutex::new(state);
        let (inbox, naps) = (Arc::default(), Naps::default());
        let (started, gone) = (Waiter::new(), Latch::default());
        let swaps = Arc::new(Broadcast::new(1));
        let watches = Mutex::default();
        Arc::new(Self {
            runtime,
            inbox,
            naps,
            started,
            gone,
            events,
            swaps,
            watches,
            hooks,
            policy,
            routes,
            state,
        })
    }

    /// The node that serves `slot`, or any node.
    #[inline]
    pub(super) fn find(&self, slot: Option<u16>) -> Option<Place<R>> {
        let routes = self.routes.load();
        match slot {
            Some(slot) => routes.of_slot(slot).cloned(),
            None => routes.any(),
        }
    }

    /// The node that `request`, which is for the node of `slot`, is sent to first: a replica if it may be, and notes that there.
    #[inline]
    pub(super) fn find_first(&self, request: &mut Request, slot: Option<u16>) -> Option<Place<R>> {
        if self.policy.prefers_replicas {
            let replica = self.find_replica(request, slot);
            request.set_at_replica(replica.is_some());
            if replica.is_some() {
                return replica;
            }
        }
        self.find(slot)
    }

    fn find_replica(&self, request: &Request, slot: Option<u16>) -> Option<Place<R>> {
        let slot = slot.filter(|_| only_reads(request))?;
        let routes = self.routes.load();
        routes.replica_of(slot).cloned()
    }

    pub(super) fn routes(&self) -> Arc<Routes<R>> {
        self.routes.load_full()
    }

    /// Notes from now on whether `slot` leaves `node`.
    pub(super) fn watch(&self, slot: u16, node: NodeId) -> Arc<Watch> {
        let watch = Arc::new(Watch::new(slot, node));
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.retain(|watch| watch.strong_count() > 0);
        watches.push(Arc::downgrade(&watch));
        watch
    }

    pub(super) fn set_routes(&self, routes: Routes<R>) {
        let watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.iter().filter_map(Weak::upgrade).for_each(|watch| watch.note(&routes));
        // Whoever begins to watch sees either.
        self.routes.store(Arc::new(routes));
        drop(watches);
        let mut wakers = Vec::new();
        self.swaps.publish((), &mut wakers);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// What becomes of a request that a node has refused to run (with `error`), or that no node has got.
    pub(super) fn judge(&self, sent: &Sent, error: Option<&ServerError>) -> Next {
        let next = self.enter(|state, now| {
            if state.phase != Phase::Open {
                return Next::ReturnToCaller;
            }
            state.wanted += 1;
            match error {
                Some(error) => state.machine.handle_refusal(now, sent, error),
                None => state.machine.handle_unsent(now, sent),
            }
        });
        self.wake();
        next
    }

    /// A request had no reply of `node` in its time.
    pub(super) fn note_timed_out(&self, node: NodeId) {
        self.enter(|state, now| state.machine.handle_timed_out(now, node));
        self.wake();
    }

    /// When the caller of `unit` stops waiting; windows at the node that it was sent to make that later.
    pub(super) fn deadline(&self, unit: &Unit, node: Option<NodeId>) -> Option<Instant> {
        let relaxed =
            node.and_then(|node| Some(self.routes().client(node)?.shared().time_limit(&unit.request)));
        let limit = relaxed.unwrap_or_else(|| unit.request.time_limit(self.policy.command_timeout));
        let deadline = limit.map(|limit| crate::timer::after(unit.since, limit));
        let lease = self.policy.lease_timeout.unwrap_or_default();
        let limits = Limits {
            no_server: self.relax(node, self.policy.lease_timeout),
            refused: self.relax(node, self.policy.command_timeout.map(|limit| limit.max(lease))),
        };
        unit.deadline(deadline, limits)
    }

    /// `limit`, or more where a window at `node` says so.
    pub(super) fn relax(&self, node: Option<NodeId>, limit: Option<Duration>) -> Option<Duration> {
        effective_timeout(limit, self.relaxed(node))
    }

    /// Whether a request, or whatever else has found no connection at `node`, waits for one: because the client waits, or because maintenance is announced there.
    pub(super) fn waits_for(&self, node: Option<NodeId>) -> bool {
        self.policy.waits() || self.relaxed(node).is_some()
    }

    fn relaxed(&self, node: Option<NodeId>) -> Option<Duration> {
        self.routes().client(node?)?.shared().relaxed()
    }

    /// The client of `node`, once the control task has obeyed what was decided so far; `None` if it is closed.
    pub(super) async fn client_of(&self, node: NodeId) -> Option<Client<R>> {
        let client = || self.routes().client(node).cloned();
        if let Some(client) = client() {
            return Some(client);
        }
        let (wanted, ticket) = self.enter(|state, _| {
            state.waited += 1;
            (state.wanted, state.waited)
        });
        std::future::poll_fn(|cx| {
            // Cloning and dropping a waker runs foreign code, which must not find the lock taken.
            let mut waker = Some(cx.waker().clone());
            self.enter(|state, _| {
                if state.done >= wanted || state.phase != Phase::Open {
                    return Poll::Ready(());
                }
                waker = waker.take().and_then(|waker| state.waiting.insert(ticket, waker));
                Poll::Pending
            })
        })
        .await;
        client()
    }

    /// Waits for `pause`.
    pub(super) async fn nap(&self, pause: Duration) {
        let nap = self.naps.begin(crate::timer::after(self.runtime.now(), pause));
        self.wake();
        std::future::poll_fn(|cx| nap.poll(cx)).await;
    }

    /// Begins a turn of the control task: tells the machine what has happened, and takes what it has decided.
    pub(super) fn begin_turn(&self, facts: &[Fact]) -> Turn {
        self.enter(|state, now| {
            for fact in facts {
                state.tell(now, fact);
            }
            if state.machine.poll_timeout().is_some_and(|at| at <= now) {
                state.machine.handle_timeout(now);
            }
            let decisions = std::iter::from_fn(|| state.machine.poll_decision()).collect();
            Turn { decisions, phase: state.phase, number: state.wanted }
        })
    }

    /// What was decided in `turn` is done.
    pub(super) fn end_turn(&self, turn: &Turn) {
        let waiting = self.enter(|state, _| {
            state.done = turn.number;
            std::mem::take(&mut state.waiting)
        });
        waiting.into_values().for_each(Waker::wake);
    }

    /// When the machine has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.enter(|state, _| state.machine.poll_timeout())
    }

    pub(super) fn endpoint(&self, node: NodeId) -> Option<Endpoint> {
        self.enter(|state, _| state.machine.endpoint(node).cloned())
    }

    pub(super) fn stats(&self) -> ClusterStats {
        self.enter(|state, _| state.machine.stats())
    }

    /// Shuts down; a second call can only bring the end nearer.
    pub(super) fn shutdown(&self, grace: Duration) {
        let waiting = self.enter(|state, now| {
            let until = crate::timer::after(now, grace);
            state.phase = match state.phase {
                Phase::Open => Phase::Closing(until),
                Phase::Closing(before) => Phase::Closing(until.min(before)),
                Phase::Over => Phase::Over,
            };
            // No turn ends from now on.
            std::mem::take(&mut state.waiting)
        });
        waiting.into_values().for_each(Waker::wake);
        self.naps.end();
        self.wake();
    }

    /// The control task has ended, or was dropped before its end.
    pub(super) fn end(&self) {
        let waiting = self.enter(|state, _| {
            state.phase = Phase::Over;
            std::mem::take(&mut state.waiting)
        });
        self.started.complete(Err(ConnectError::TaskEnded.into()));
        self.set_routes(Routes::new(Arc::new(Table::empty()), IdMap::new()));
        self.naps.end();
        let mut wakers: Vec<Waker> = waiting.into_values().collect();
        self.events.close(&mut wakers);
        self.swaps.close(&mut wakers);
        wakers.into_iter().for_each(Waker::wake);
        self.gone.open();
    }

    /// Tells hooks, the log, and those who observe the cluster.
    pub(super) fn emit(&self, event: ClusterEvent) {
        let now = self.runtime.now();
        self.hooks.each(|hook| hook.cluster_event(now, &event));
        #[cfg(feature = "tracing")]
        self.hooks.failures().guard(|| show_cluster(self.policy.log_level, &event));
        let mut wakers = Vec::new();
        drop(self.events.publish(event, &mut wakers));
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Why there is no node for a request of this slot.
    pub(super) fn no_place(&self, slot: Option<u16>) -> RequestError {
        match self.is_open() {
            true => RequestError::NotServed { slot, delivery: Delivery::NotSent },
            false => RequestError::ShutDown { delivery: Delivery::NotSent },
        }
    }

    /// Notes why `node` could not be opened; nothing if it is open now, or gone.
    pub(super) fn note_cause(&self, node: NodeId, cause: Option<Arc<ConnectError>>) {
        self.enter(|state, _| match cause {
            Some(cause) => drop(state.causes.insert(node, cause)),
            None => drop(state.causes.remove(node)),
        });
    }

    /// Where `node` is, and why it could not be opened, if that is so.
    pub(super) fn cause(&self, node: Option<NodeId>) -> Option<(Endpoint, Arc<ConnectError>)> {
        self.enter(|state, _| {
            let node = node?;
            Some((state.machine.endpoint(node)?.clone(), Arc::clone(state.causes.get(node)?)))
        })
    }

    /// What the caller of a request is told that has ended at `node`, and began at `since`. The machine is told of one that has timed out. That the node's client was shut down says nothing
    /// to a caller whose own client is open.
    pub(super) fn explain(
        &self,
        node: Option<NodeId>,
        slot: Option<u16>,
        since: Instant,
        outcome: Outcome,
    ) -> Outcome {
        if let (Err(RequestError::TimedOut { .. }), Some(node)) = (&outcome, node) {
            self.note_timed_out(node);
        }
        if let Err(RequestError::TimedOut { after, delivery } | RequestError::NotLent { after, delivery }) =
            outcome
        {
            let cause = self.cause(node).filter(|_| delivery == Delivery::NotSent);
            return match cause {
                Some((endpoint, cause)) => {
                    Err(RequestError::NoConnection { endpoint, cause, after, delivery })
                }
                None => outcome,
            };
        }
        let Err(RequestError::ShutDown { delivery }) = outcome else { return outcome };
        if !self.is_open() {
            return outcome;
        }
        let after = self.runtime.now().saturating_duration_since(since);
        Err(match self.cause(node) {
            Some((endpoint, cause)) => RequestError::NoConnection { endpoint, cause, after, delivery },
            None if delivery == Delivery::Unknown => {
                RequestError::ConnectionLost { cause: CloseCause::ByClient, delivery }
            }
            None => RequestError::NotServed { slot, delivery },
        })
    }

    pub(super) fn is_open(&self) -> bool {
        self.enter(|state, _| state.phase == Phase::Open)
    }

    /// Wakes the control task.
    pub(super) fn wake(&self) {
        self.inbox.signals.raise(signals::WORK);
    }

    fn enter<T>(&self, change: impl FnOnce(&mut State, Instant) -> T) -> T {
        let now = self.runtime.now();
        let mut state = self.lock();
        let now = now.max(state.latest);
        state.latest = now;
        change(&mut state, now)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The machine's methods are total: they still work after one of them has panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn tell(&mut self, now: Instant, fact: &Fact) {
        match *fact {
            Fact::Start => self.machine.handle_start(now),
            Fact::Ready(node) => self.machine.handle_node_ready(now, node),
            Fact::ReadonlyRefused(node) => self.machine.handle_readonly_refused(now, node),
            Fact::Failed(node) => self.machine.handle_node_failed(now, node),
            Fact::Notified(node, ref notification) => {
                self.machine.handle_notification(now, node, notification);
            }
            Fact::Topology(query, ref reply) => self.machine.handle_topology(now, query, reply),
            Fact::NoTopology(query) => self.machine.handle_topology_failed(now, query),
        }
    }
}
