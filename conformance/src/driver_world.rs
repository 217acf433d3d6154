//! The suite over the driver of `hitless-core` on some runtime, with real sockets and real time.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use hitless_core::client::{Invalidation, Stats};
use hitless_core::config::ConfigBuilder;
use hitless_core::driver::{Connector, Resolver, Runtime, Stream};
use hitless_core::endpoint::{Peer, Target};
use hitless_core::error::ConnectError;
use hitless_core::event::Event;
use hitless_core::observe::MetricsSnapshot;
use hitless_core::pubsub::Topic;
use hitless_core::request::{Request, SendError};
use resp3_codec::Frame;

use crate::clock;
use crate::net::names::{Named, Names};
use crate::net::{self, tcp::TcpServer};
use crate::server::Server;
use crate::session::Session;
use crate::vault::Vault;
use crate::world::{
    ClusterSettings, ClusterWorld, Finished, Holder, Host, LeaseState, Reviewer, Setup, Subscriber,
    SubscriptionState, Ticket, World,
};

/// The longest that the case's thread sleeps: it may be waiting for something at the server, which wakes nobody.
const TICK: Duration = Duration::from_millis(1);
/// By how much things may be late on a busy machine.
const SLACK: Duration = Duration::from_millis(750);
/// The longest that the last task may take to be gone after a shutdown.
const PATIENCE: Duration = Duration::from_secs(5);

/// A runtime under test. An adapter's tests implement this and say `hitless_conformance::suite!(TheirType);`.
pub trait Adapter: Default + 'static {
    /// The adapter itself: what the driver runs on.
    type Runtime: Runtime + Resolver + Connector + Default;

    /// Runs a future to its end on the runtime, whose other tasks go on running afterwards.
    fn block_on<F: Future>(&self, future: F) -> F::Output;

    /// Tasks of the runtime that are alive, if it can tell.
    fn live_tasks(&self) -> Option<usize>;
}

impl<A: Adapter> Host for A {
    fn world(&self, setup: Setup) -> Result<Box<dyn World>, String> {
        Ok(Box::new(DriverWorld::<A>::new(setup)?))
    }

    fn run(&self, case: fn(&dyn Host)) {
        case(self);
    }
}

/// A client on a runtime, and a server behind sockets.
struct DriverWorld<A: Adapter> {
    session: Session<A::Runtime>,
    names: Names,
    gate: Arc<Gate>,
    waker: Waker,
    // The runtime goes before the server, so that nothing of a failed case still dials while that stops.
    adapter: A,
    server: TcpServer<Server>,
}

impl<A: Adapter> DriverWorld<A> {
    fn new(setup: Setup) -> Result<Self, String> {
        let server = net::start(setup)?;
        Ok(Self {
            session: Session::new(),
            names: Names::default(),
            gate: Arc::default(),
            waker: Waker::from(Arc::new(Unpark(thread::current()))),
            adapter: A::default(),
            server,
        })
    }

    /// What a client of this world resolves and connects with.
    fn network(&self) -> Network<A::Runtime> {
        Network { sockets: self.names.over(A::Runtime::default()), gate: Arc::clone(&self.gate) }
    }

    /// Takes in what the client has to say. True if it was anything.
    fn collect(&mut self) -> bool {
        self.session.collect(clock::now(), &self.waker)
    }
}

impl<A: Adapter> World for DriverWorld<A> {
    fn now(&self) -> Instant {
        clock::now()
    }

    fn slack(&self) -> Duration {
        SLACK
    }

    fn seed(&self) -> u64 {
        0
    }

    fn with_server(&mut self, act: &mut dyn FnMut(&mut Server, Instant)) {
        self.server.with(|server, now| act(server, now));
    }

    fn set_name(&mut self, host: &str, addresses: Vec<IpAddr>) {
        self.names.set(host, addresses);
    }

    fn lookups(&self, host: &str) -> usize {
        self.names.lookups(host)
    }

    fn connect(&mut self, settings: ConfigBuilder) -> Result<(), ConnectError> {
        let network = self.network();
        let builder = self.session.builder(A::Runtime::default(), network, settings);
        let result = self.adapter.block_on(builder.connect());
        let result = self.session.connected(result);
        self.collect();
        result
    }

    fn connect_cluster(
        &mut self,
        settings: ClusterSettings,
    ) -> Result<Result<(), ConnectError>, &'static str> {
        let network = self.network();
        let builder = self.session.cluster_builder(A::Runtime::default(), network, settings);
        let result = self.adapter.block_on(builder.connect());
        let result = self.session.cluster_connected(result);
        self.collect();
        Ok(result)
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
        Ok(self.session.lease(&self.waker))
    }

    fn lease_state(&mut self, holder: Holder) -> LeaseState {
        self.session.lease_state(holder, &self.waker)
    }

    fn send_on(&mut self, holder: Holder, request: Request) -> Result<Ticket, SendError> {
        self.session.send_on(holder, request)
    }

    fn return_lease(&mut self, holder: Holder) {
        self.session.return_lease(holder);
    }

    fn subscribe(&mut self, topics: Vec<Topic>) -> Result<Subscriber, &'static str> {
        Ok(self.session.subscribe(topics, &self.waker))
    }

    fn subscription_state(&mut self, subscriber: Subscriber) -> SubscriptionState {
        self.session.subscription_state(subscriber, &self.waker)
    }

    fn subscribe_more(&mut self, subscriber: Subscriber, topics: Vec<Topic>) {
        self.session.subscribe_more(subscriber, topics, &self.waker);
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
        if !self.collect() {
            thread::park_timeout(until.saturating_duration_since(clock::now()).min(TICK));
            self.collect();
        }
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
        let stats = self.session.stats();
        self.collect();
        stats
    }

    fn shutdown(&mut self, grace: Duration) {
        if let Some(shutdown) = self.session.shutdown(grace) {
            self.adapter.block_on(shutdown);
        }
        self.collect();
        self.session.assert_all_ended();
        let until = clock::now() + PATIENCE;
        while self.adapter.live_tasks().is_some_and(|tasks| tasks > 0) {
            assert!(clock::now() < until, "INV-15: {:?} tasks are left", self.adapter.live_tasks());
            thread::park_timeout(TICK);
        }
    }

    fn block_reads(&mut self, blocked: bool) {
        self.gate.set(blocked);
    }

    fn block_writes(&mut self, _blocked: bool) -> Result<(), &'static str> {
        Err("the system decides when a socket takes bytes")
    }
}

/// Wakes the thread of the case.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The adapter's sockets, under names that the case decides on, and read through the gate.
struct Network<R> {
    sockets: Named<R>,
    gate: Arc<Gate>,
}

/// What every read of the client goes through.
#[derive(Debug, Default)]
struct Gate(Mutex<Passage>);

#[derive(Debug, Default)]
struct Passage {
    is_blocked: bool,
    waiting: Vec<Waker>,
}

impl Gate {
    fn set(&self, blocked: bool) {
        let mut passage = lock(&self.0);
        passage.is_blocked = blocked;
        let waiting = std::mem::take(&mut passage.waiting);
        drop(passage);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Passes with `read` while it is open. Once `set` has returned, nothing passes that came before it.
    fn poll_pass<T>(&self, cx: &mut Context<'_>, read: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        let mut passage = lock(&self.0);
        if passage.is_blocked {
            passage.waiting.push(cx.waker().clone());
            return Poll::Pending;
        }
        read(cx)
    }
}

/// A stream that is read through the gate.
struct Gated<S> {
    stream: S,
    gate: Arc<Gate>,
}

impl<S: Stream> Stream for Gated<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        let stream = &mut self.stream;
        self.gate.poll_pass(cx, |cx| stream.poll_read(cx, buffer))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream.poll_write(cx, bytes)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_close(cx)
    }
}

impl<R: Runtime> Resolver for Network<R> {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        self.sockets.resolve(host).await
    }
}

impl<R: Runtime + Connector> Connector for Network<R> {
    type Stream = Gated<R::Stream>;

    async fn connect(&self, target: Target) -> io::Result<(Gated<R::Stream>, Peer)> {
        let (stream, peer) = self.sockets.connect(target).await?;
        Ok((Gated { stream, gate: Arc::clone(&self.gate) }, peer))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
