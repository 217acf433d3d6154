//! What a case can see and do: a client, a server, and time that passes between them.
//!
//! Cases are written against [`World`] alone, as if everything were synchronous, so that the same case runs over the
//! bare machine in virtual time and over each runtime's sockets. They reach it through the
//! [`Testbed`](crate::testbed::Testbed), which adds the vocabulary of the cases.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hitless_core::client::{Invalidation, Stats};
use hitless_core::cluster::{ClusterEvent, ClusterStats, ReadFrom};
use hitless_core::config::ConfigBuilder;
use hitless_core::endpoint::Endpoint;
use hitless_core::error::{CloseCause, ConnectError, LeaseError};
use hitless_core::event::Event;
use hitless_core::notification::Notification;
use hitless_core::observe::{HookFailures, Metrics, MetricsSnapshot};
use hitless_core::pubsub::{Item, SubscribeError, Topic};
use hitless_core::request::{Outcome, Request, SendError};
use hitless_core::review::Verdict;
use resp3_codec::{Command, Frame};

use crate::server::Server;
use crate::vault::Vault;

/// One client and one server, driven by the thread of the case.
///
/// Time passes in [`step`](Self::step), [`connect`](Self::connect) and [`shutdown`](Self::shutdown) only, if it is
/// virtual; over sockets it passes by itself, and results become visible there.
pub trait World {
    /// The time.
    fn now(&self) -> Instant;

    /// By how much things may be later than they should be: nothing to speak of in virtual time, and what a busy
    /// machine needs over sockets. Nothing is ever too early.
    fn slack(&self) -> Duration;

    /// What a case that draws at random begins with. The same seed gives the same run where time is virtual.
    fn seed(&self) -> u64;

    /// Does something to the server, or looks at it.
    fn with_server(&mut self, act: &mut dyn FnMut(&mut Server, Instant));

    /// What looking a name up gives from now on; no address at all is an answer, too.
    fn set_name(&mut self, host: &str, addresses: Vec<IpAddr>);

    /// How often a name has been looked up.
    fn lookups(&self, host: &str) -> usize;

    /// Opens the client: the only one of this world.
    ///
    /// # Errors
    /// The pool could not be opened.
    fn connect(&mut self, settings: ConfigBuilder) -> Result<(), ConnectError>;

    /// Opens a client of the cluster that the server is, as the only client of this world.
    ///
    /// # Errors
    /// The reason why this world cannot do that. Inside, how it ended.
    fn connect_cluster(
        &mut self,
        settings: ClusterSettings,
    ) -> Result<Result<(), ConnectError>, &'static str> {
        let _ = settings;
        Err("it drives one machine, which is a client for one server")
    }

    /// What the client of a cluster can do beside what any client can; none if there is no such client.
    fn cluster(&mut self) -> Option<&mut dyn ClusterWorld> {
        None
    }

    /// Sends a request; it is on its way when this returns.
    ///
    /// # Errors
    /// The client does not accept it, and gives it back.
    fn send(&mut self, request: Request) -> Result<Ticket, SendError>;

    /// How a request ended, if it has.
    fn finished(&self, ticket: Ticket) -> Option<&Finished>;

    /// Gives up on a request: it will never be finished.
    fn cancel(&mut self, ticket: Ticket);

    /// Wants a connection for one caller: what becomes of it is [`lease_state`](Self::lease_state).
    ///
    /// # Errors
    /// The reason why this world cannot do that.
    fn lease(&mut self) -> Result<Holder, &'static str> {
        Err("nobody lends connections here")
    }

    /// What has become of a lease so far.
    fn lease_state(&mut self, holder: Holder) -> LeaseState {
        let _ = holder;
        LeaseState::default()
    }

    /// Sends a request on the connection of a lease that was granted.
    ///
    /// # Errors
    /// The client does not accept it, and gives it back.
    fn send_on(&mut self, holder: Holder, request: Request) -> Result<Ticket, SendError> {
        let _ = holder;
        self.send(request)
    }

    /// Returns a lease, or gives it up that is awaited. Its requests must have ended, or be cancelled.
    fn return_lease(&mut self, holder: Holder) {
        let _ = holder;
    }

    /// Subscribes to `topics`: what becomes of it is [`subscription_state`](Self::subscription_state).
    ///
    /// # Errors
    /// The reason why this world cannot do that.
    fn subscribe(&mut self, topics: Vec<Topic>) -> Result<Subscriber, &'static str> {
        let _ = topics;
        Err("nobody subscribes here")
    }

    /// What a subscription has received so far.
    fn subscription_state(&mut self, subscriber: Subscriber) -> SubscriptionState {
        let _ = subscriber;
        SubscriptionState::default()
    }

    /// Has a subscription that was confirmed receive more topics.
    fn subscribe_more(&mut self, subscriber: Subscriber, topics: Vec<Topic>) {
        let _ = (subscriber, topics);
    }

    /// Has a subscription receive nothing of these topics any more.
    fn unsubscribe(&mut self, subscriber: Subscriber, topics: Vec<Topic>) {
        let _ = (subscriber, topics);
    }

    /// Closes a subscription.
    fn close_subscription(&mut self, subscriber: Subscriber) {
        let _ = subscriber;
    }

    /// Has every notification judged by `reviewer`, from the beginning of the client that is to be opened.
    ///
    /// # Errors
    /// The reason why this world cannot do that.
    fn review_by(&mut self, reviewer: Reviewer) -> Result<(), &'static str> {
        let _ = reviewer;
        Err("nobody reviews notifications here")
    }

    /// Has the client that is to be opened ask `vault` for its credentials.
    ///
    /// # Errors
    /// The reason why this world cannot do that.
    fn ask(&mut self, vault: &Arc<Vault>) -> Result<(), &'static str> {
        let _ = vault;
        Err("nobody asks for credentials here")
    }

    /// The client's figures: what an embedder would count, or what the driver's hook says. To be asked for only where
    /// [`review_by`](Self::review_by) was.
    fn figures(&mut self) -> MetricsSnapshot {
        let stats = self.stats();
        let mut metrics = Metrics::default();
        self.events().iter().for_each(|(_, event)| metrics.handle_event(event));
        let mut figures = MetricsSnapshot::default();
        figures.add(&metrics, HookFailures::default(), &stats);
        figures
    }

    /// Lets something happen, or time pass, but not beyond `until`.
    fn step(&mut self, until: Instant);

    /// Everything that the client said so far.
    fn events(&self) -> &[(Instant, Event)];

    /// The pushes that are no maintenance notifications, so far.
    fn pushes(&self) -> &[Vec<Frame>];

    /// What caches were told so far.
    ///
    /// # Errors
    /// The reason why this world cannot say that.
    fn invalidations(&self) -> Result<&[Invalidation], &'static str> {
        Err("nobody keeps a cache here")
    }

    /// What is going on in the client. What it said until then is among the [`events`](Self::events) afterwards.
    fn stats(&mut self) -> Stats;

    /// Shuts the client down and waits until it is gone. Checks that nothing of it is left.
    fn shutdown(&mut self, grace: Duration);

    /// Stops the client from reading, or lets it again: what has arrived by then, the end of a connection included, is
    /// there to be read at once.
    fn block_reads(&mut self, blocked: bool);

    /// Stops the client's sockets from taking bytes, or lets them again.
    ///
    /// # Errors
    /// The reason why this world cannot do that.
    fn block_writes(&mut self, blocked: bool) -> Result<(), &'static str>;
}

/// What a case does with the client of a cluster, and sees of it.
pub trait ClusterWorld {
    /// Sends a command whose keys may have several slots, to be split.
    fn send_split(&mut self, command: Command) -> Ticket;

    /// Wants a connection to the node that serves the slot of `key`.
    fn lease_for(&mut self, key: &str) -> Holder;

    /// Where the node is that serves the slot of `key`, as far as the client knows.
    fn node_for(&self, key: &str) -> Option<Endpoint>;

    /// Where the nodes are to which the client has connections.
    fn nodes(&self) -> Vec<Endpoint>;

    /// The figures of the cluster.
    fn stats(&self) -> ClusterStats;

    /// Everything that was said of the cluster so far.
    fn events(&self) -> &[(Instant, ClusterEvent)];
}

/// Settings of a client of a cluster.
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    /// Those of each node. The endpoint, and those besides, are the seeds.
    pub nodes: ConfigBuilder,
    /// The time between two topology reads without a reason.
    pub refresh_interval: Duration,
    /// Which nodes reads go to.
    pub read_from: ReadFrom,
    /// Where nodes are dialled that are announced under these names; the others are dialled where they are announced.
    pub address_map: Vec<(Endpoint, Endpoint)>,
}

/// What a case has to say of a notification; `None` is nothing at all, ever.
pub type Reviewer = Arc<dyn Fn(&Notification) -> Option<Verdict> + Send + Sync>;

/// An accepted request, in the eyes of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub(crate) u64);

impl Ticket {
    /// The ticket of this number: a world numbers the requests that it accepts.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

/// Somebody who has a lease, or wants one, in the eyes of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder(pub(crate) u64);

/// What has become of a lease.
#[derive(Clone, Debug, Default)]
pub struct LeaseState {
    /// Whether the connection is there, or why there is none; `None` while it is awaited.
    pub outcome: Option<Result<(), LeaseError>>,
    /// The deadline of the move that was told last.
    pub moving: Option<Instant>,
    /// Why the connection is gone.
    pub lost: Option<CloseCause>,
}

/// A subscription, in the eyes of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subscriber(pub(crate) u64);

/// What has become of a subscription.
#[derive(Clone, Debug, Default)]
pub struct SubscriptionState {
    /// How the latest wish for topics has ended; `None` while it is awaited.
    pub outcome: Option<Result<(), SubscribeError>>,
    /// Everything that was received.
    pub items: Vec<Item>,
}

/// How a request ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// When.
    pub at: Instant,
    /// How.
    pub outcome: Outcome,
}

/// What a world is to be made of.
#[derive(Debug)]
pub struct Setup {
    /// The server. Endpoints with port 0 are given addresses by the world.
    pub server: Server,
    /// Which addresses they are given.
    pub layout: Layout,
    /// What they speak.
    pub encryption: Encryption,
}

/// What the endpoints of a server speak.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Encryption {
    /// RESP as it is.
    #[default]
    None,
    /// TLS, each as it is configured, in the order in which they were added.
    #[cfg(feature = "tls")]
    Tls(Vec<Arc<rustls::ServerConfig>>),
}

impl Encryption {
    /// For worlds without streams, or without chance: why they cannot have this.
    ///
    /// # Errors
    /// The reason, unless nothing is encrypted.
    pub fn decline(&self, reason: &str) -> Result<(), String> {
        match self {
            Self::None => {
                let _ = reason;
                Ok(())
            }
            #[cfg(feature = "tls")]
            Self::Tls(_) => Err(reason.to_owned()),
        }
    }
}

/// How the endpoints of a server are spread over addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One host, a port for each.
    Ports,
    /// A host for each, and one port: what DNS needs to tell them apart.
    Hosts,
    /// A host for each at the port 6379, which a target without a port means.
    DefaultPort,
}

/// A way of running the suite.
pub trait Host {
    /// Makes a world.
    ///
    /// # Errors
    /// The reason why this machine cannot run such a world; the case is then reported as declined.
    fn world(&self, setup: Setup) -> Result<Box<dyn World>, String>;

    /// Why this host does not run the case of this name, such as `moving::healthy_target`, if it does not; the case is
    /// then reported as declined.
    fn declines(&self, id: &str) -> Option<&'static str> {
        let _ = id;
        None
    }

    /// Runs a case, as often as this host thinks fit.
    fn run(&self, case: fn(&dyn Host));
}
