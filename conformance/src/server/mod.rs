//! A Redis server without sockets, clock or threads, that goes through maintenance.
//!
//! A [`Server`] holds one data set behind several *endpoints* (nodes or proxies). Requests come in as bytes, replies
//! and notifications go out as bytes, and time is a parameter, so that a test in virtual time, the TCP shell in
//! [`net`](crate::net) and a front of a real `redis-server` all run the same machine:
//!
//! 1. [`add_endpoint`](Server::add_endpoint), then [`accept`](ServerMachine::accept) for each dial;
//! 2. [`handle_bytes`](ServerMachine::handle_bytes) with what arrives,
//!    [`handle_disconnect`](ServerMachine::handle_disconnect) when the client leaves;
//! 3. [`poll_ready`](ServerMachine::poll_ready) and [`poll_transmit`](ServerMachine::poll_transmit) until nothing is left;
//! 4. [`poll_close`](ServerMachine::poll_close) until nothing is left;
//! 5. at [`poll_timeout`](ServerMachine::poll_timeout), [`handle_timeout`](ServerMachine::handle_timeout), and again from 3.
//!
//! Maintenance is started by the control methods ([`moving`](Server::moving), [`migrating`](Server::migrating) ...), which
//! do what real servers were seen to do: connections opt in one by one, those who opt in late are told right behind their
//! `+OK`, what is left on the old node is closed when the time is over, and newcomers are refused there from then on.
//! Everything that happens is written to the [`Ledger`].

pub mod script;

mod backend;
mod cluster;
mod config;
mod connection;
mod control;
mod embedded;
mod faults;
mod flow;
mod framing;
mod ledger;
mod machine;
mod maintenance;
mod opt_in;
mod outbox;
mod request;
mod upstream;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use resp3_codec::Frame;

pub use backend::{Backend, Condition, Effect, Effects, Protocol, Turn};
pub use cluster::{NodeNaming, OldChannels, ShardPorts};
pub use config::{Detail, EndpointSpec, Hello, OptIn, ServerConfig, User};
pub use control::push_frame;
pub use embedded::Dataset;
pub use faults::{Fault, Rule};
pub use ledger::{ClosedBy, Entry, Event, Ledger, OptInOutcome};
pub use machine::{CloseHow, DialRefused, EndpointId, Listening, ServerConn, ServerMachine};
pub use maintenance::{Closes, Moving, Notice, Recipients, Retires, SlotsForm, Target};
pub use request::{ProtocolError, Request, RequestParser};
pub use upstream::Upstream;

use connection::{Connection, Endpoint};
use faults::Rules;
use maintenance::Maintenance;

/// A test server: one data set, several endpoints. See the [module](self).
#[derive(Debug)]
pub struct Server<B = Dataset> {
    config: ServerConfig,
    backend: B,
    endpoints: Vec<Endpoint>,
    connections: BTreeMap<ServerConn, Connection>,
    next_conn: u64,
    maintenance: Maintenance,
    rules: Rules,
    ledger: Ledger,
    timers: BTreeSet<(Instant, Timer)>,
    /// Effects of the call in progress.
    effects: Effects,
    /// Connections with bytes to send.
    ready: VecDeque<ServerConn>,
    /// Connections that close as soon as their bytes are out.
    closing: Vec<ServerConn>,
    /// Connections that are gone, to be reported.
    closed: VecDeque<(ServerConn, CloseHow)>,
    /// Messages that their endpoint is slow to pass on, by number.
    messages: BTreeMap<u64, (ServerConn, Frame)>,
    next_message: u64,
}

/// What is to be done at a moment. Stale timers are no-ops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// Delayed bytes of a connection are due.
    Release(ServerConn),
    /// The source of a move refuses dials.
    Retire(u64),
    /// The time of a move is over.
    CloseMove(u64),
    /// A message that its endpoint was slow to pass on is due.
    Message(u64),
    /// The life of a connection is over.
    Close(ServerConn),
    /// An endpoint listens again.
    Listen(EndpointId),
}

impl Server<Dataset> {
    /// A server with an empty data set and no endpoint.
    #[must_use]
    pub fn new(config: ServerConfig) -> Self {
        let dataset = Dataset::new(&config);
        Self::with_backend(config, dataset)
    }
}

impl Server<Dataset> {
    /// Replaces the password of an account, or adds the account. Connections stay who they are.
    pub fn set_password(&mut self, user: &str, password: &str) {
        self.backend.set_password(user, password);
    }
}

impl<B: Backend> Server<B> {
    /// A server whose requests are executed by `backend`.
    #[must_use]
    pub fn with_backend(config: ServerConfig, backend: B) -> Self {
        Self {
            maintenance: Maintenance::new(config.seed),
            ledger: Ledger::new(config.detail),
            config,
            backend,
            endpoints: Vec::new(),
            connections: BTreeMap::new(),
            next_conn: 0,
            rules: Rules::default(),
            timers: BTreeSet::new(),
            effects: Effects::new(),
            ready: VecDeque::new(),
            closing: Vec::new(),
            closed: VecDeque::new(),
            messages: BTreeMap::new(),
            next_message: 0,
        }
    }

    /// Adds an endpoint.
    ///
    /// # Panics
    /// Beyond 2^32 endpoints.
    pub fn add_endpoint(&mut self, spec: EndpointSpec) -> EndpointId {
        let id = EndpointId(u32::try_from(self.endpoints.len()).expect("fewer than 2^32 endpoints"));
        self.backend.place(id, spec.address, spec.host.as_deref());
        self.endpoints.push(Endpoint::new(spec));
        id
    }

    /// What executes the requests.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// What happened so far.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The ledger, to forget what happened so far.
    pub fn ledger_mut(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// The live connections of an endpoint, oldest first.
    #[must_use]
    pub fn connections(&self, endpoint: EndpointId) -> Vec<ServerConn> {
        self.connections
            .iter()
            .filter(|(_, connection)| connection.endpoint == endpoint && connection.is_live())
            .map(|(conn, _)| *conn)
            .collect()
    }

    /// The endpoint of a live connection.
    #[must_use]
    pub fn endpoint_of(&self, conn: ServerConn) -> Option<EndpointId> {
        self.connections
            .get(&conn)
            .filter(|connection| connection.is_live())
            .map(|connection| connection.endpoint)
    }

    /// Whether a live connection gets notifications.
    #[must_use]
    pub fn is_opted_in(&self, conn: ServerConn) -> bool {
        self.connections.get(&conn).is_some_and(|connection| {
            connection.is_live() && connection.notifications != connection::Notifications::Off
        })
    }
}
