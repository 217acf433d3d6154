//! What a case does to the server, and what it sees of it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hitless_core::endpoint::Peer;
use resp3_codec::Frame;

use super::Testbed;
use crate::server::{CloseHow, EndpointId, Event, Moving, Rule, Server, ServerConn, ServerMachine, Target};

impl Testbed {
    /// Does something to the server, or looks at it.
    pub fn server<T>(&mut self, act: impl FnOnce(&mut Server, Instant) -> T) -> T {
        let (mut act, mut result) = (Some(act), None);
        self.world.with_server(&mut |server, now| {
            if let Some(act) = act.take() {
                result = Some(act(server, now));
            }
        });
        result.expect("the world calls it")
    }

    /// The address of an endpoint.
    pub fn address(&mut self, endpoint: EndpointId) -> SocketAddr {
        self.server(|server, _| server.address(endpoint))
    }

    /// The same, as the client names it.
    pub fn peer(&mut self, endpoint: EndpointId) -> Peer {
        self.address(endpoint).into()
    }

    /// What looking a name up gives from now on.
    pub fn set_name(&mut self, name: &str, endpoints: &[EndpointId]) {
        let addresses = endpoints.iter().map(|endpoint| self.address(*endpoint).ip()).collect();
        self.world.set_name(name, addresses);
    }

    /// How often a name has been looked up.
    #[must_use]
    pub fn lookups(&self, name: &str) -> usize {
        self.world.lookups(name)
    }

    /// The connections of an endpoint.
    pub fn connections(&mut self, endpoint: EndpointId) -> Vec<ServerConn> {
        self.server(|server, _| server.connections(endpoint))
    }

    /// How many dials an endpoint has accepted. Over sockets the system refuses the others, and nobody counts them.
    pub fn accepted(&mut self, endpoint: EndpointId) -> usize {
        self.server(|server, _| server.ledger().accepted(endpoint))
    }

    /// Announces that the clients of `from` are to go to `to`, within so many seconds.
    pub fn moving(&mut self, from: EndpointId, to: EndpointId, seconds: u64) {
        self.announce(from, Moving::new(Target::Endpoint(to), Duration::from_secs(seconds)));
    }

    /// Announces a move of the clients of `from`. Returns its id.
    pub fn announce(&mut self, from: EndpointId, moving: Moving) -> u64 {
        self.server(|server, now| server.moving(now, from, moving))
    }

    /// Writes a frame to every connection of an endpoint, opted in or not.
    pub fn push(&mut self, endpoint: EndpointId, frame: &Frame) {
        for conn in self.connections(endpoint) {
            self.server(|server, now| server.push(now, conn, std::slice::from_ref(frame)));
        }
    }

    /// Waits until all connections of the client are at `endpoint`.
    pub fn run_until_all_at(&mut self, endpoint: EndpointId) {
        let peer = self.peer(endpoint);
        let size = self.config().pool_size();
        self.run_until_soon("all connections are at the new endpoint", |bed| {
            let there = bed.stats().coordinator.connections;
            there.get(&peer) == Some(&size) && there.len() == 1
        });
    }

    /// Waits until the client has no connection to `a` any more.
    pub fn run_until_all_gone_from_a(&mut self) {
        let a = self.a;
        self.run_until_soon("no connection is left at the old endpoint", |bed| bed.connections(a).is_empty());
    }

    /// The requests that arrived on a connection, in words.
    pub fn requests_on(&mut self, conn: ServerConn) -> Vec<String> {
        self.server(|server, _| {
            server.ledger().received_on(conn).map(|request| format!("{request:?}")).collect()
        })
    }

    /// Endpoint and connection of the requests that begin with these words, in the order of their arrival.
    pub fn arrivals(&mut self, words: &str) -> Vec<(EndpointId, ServerConn)> {
        self.server(|server, _| {
            let entries = server.ledger().entries().iter();
            let meant = entries.filter(|entry| match &entry.event {
                Event::Received(request) => request.is(words),
                _ => false,
            });
            meant.filter_map(|entry| Some((entry.endpoint, entry.conn?))).collect()
        })
    }

    /// The opt-ins that an endpoint was asked for.
    pub fn opt_ins(&mut self, endpoint: EndpointId) -> usize {
        self.server(|server, _| server.ledger().opt_ins(endpoint).count())
    }

    /// Adds a rule for what happens to certain requests.
    pub fn rule(&mut self, rule: Rule) {
        self.server(|server, _| server.add_rule(rule));
    }

    /// Answers requests at an endpoint late from now on.
    pub fn slow_down(&mut self, endpoint: EndpointId, delay: Duration) {
        self.server(|server, _| server.set_reply_delay(endpoint, delay, None));
    }

    /// Refuses dials of an endpoint from now on, for so long or until it is restored.
    pub fn refuse(&mut self, endpoint: EndpointId, time: impl Into<Option<Duration>>) {
        let time = time.into();
        self.server(|server, now| server.refuse_dials(now, endpoint, time.map(|time| now + time)));
    }

    /// Leaves dials of an endpoint unanswered from now on, for so long or until it is restored.
    pub fn black_hole(&mut self, endpoint: EndpointId, time: impl Into<Option<Duration>>) {
        let time = time.into();
        self.server(|server, now| server.black_hole(now, endpoint, time.map(|time| now + time)));
    }

    /// Makes an endpoint answer at once again.
    pub fn restore(&mut self, endpoint: EndpointId) {
        self.server(|server, _| server.restore(endpoint));
    }

    /// Ends every connection of an endpoint.
    pub fn kill_all(&mut self, endpoint: EndpointId, how: CloseHow) {
        self.server(|server, now| server.kill_all(now, endpoint, how));
    }

    /// Ends the oldest connection of an endpoint.
    pub fn kill_one(&mut self, endpoint: EndpointId) {
        let conn = self.connections(endpoint)[0];
        self.server(|server, now| server.kill(now, conn, CloseHow::Fin));
    }

    /// Waits until the pool is whole.
    pub fn run_until_whole(&mut self) {
        let size = self.config().pool_size() as usize;
        self.run_until_soon("the pool is whole", |bed| bed.stats().serving == size);
    }

    /// How often an INCR of `key` was executed.
    pub fn increments(&mut self, key: &str) -> usize {
        self.server(|server, _| server.ledger().executions("INCR", key.as_bytes()).count())
    }
}
