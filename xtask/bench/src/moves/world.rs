//! Two nodes in front of a real redis-server, which announce moves and close connections as they are told.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hitless_conformance::net::front::{self, Front};
use hitless_conformance::net::redis_connection::RedisConnection;
use hitless_conformance::net::redis_process::RedisProcess;
use hitless_conformance::server::{
    CloseHow, Detail, EndpointId, EndpointSpec, Event, Ledger, Listening, Moving, Retires, ServerConfig,
    ServerConn, ServerMachine, Target,
};

use crate::program::redis_server;

/// How late each reply is, as over a network: so that replies are on their way whenever something happens.
pub(super) const LATENCY: Duration = Duration::from_millis(1);

/// What dials of the new node meet at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// A node that serves.
    Healthy,
    /// They are refused for so long.
    Refuses(Duration),
    /// They are not answered for so long.
    Swallows(Duration),
}

/// What the address of the old node does when its connections have been closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// It leads to the new node.
    Follows,
    /// It refuses dials.
    Refuses,
}

/// The nodes and the data behind them. Each node has one data set with the other.
pub(super) struct World {
    front: Front,
    old: EndpointId,
    new: EndpointId,
    /// It ends after the nodes in front of it.
    redis: RedisProcess,
}

/// The connections of the old node at the moment of an event.
pub(super) struct Connections {
    pub(super) since: Instant,
    conns: Vec<ServerConn>,
}

impl World {
    /// Starts everything.
    ///
    /// # Errors
    /// There is no redis-server, or no port can be had.
    pub(super) fn start() -> io::Result<Self> {
        let program = redis_server();
        let no_server =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", program.display()));
        let redis = RedisProcess::start(&program, &[]).map_err(no_server)?;
        // Every request of a load would fill the memory.
        let config = ServerConfig::default().with_detail(Detail::Connections);
        let node = || EndpointSpec::loopback().with_latency(LATENCY);
        let front = front::start(config, redis.address(), [node(), node()])?;
        let ids = front.with(|server, _| server.endpoints());
        let [old, new] = ids[..] else { return Err(io::Error::other("there are to be two nodes")) };
        Ok(Self { front, old, new, redis })
    }

    /// Where clients find the old node, and later whatever its address leads to.
    pub(super) fn address(&self) -> SocketAddr {
        self.front.address(self.old)
    }

    /// A connection to the data that goes round the nodes.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub(super) fn data(&self) -> io::Result<RedisConnection> {
        RedisConnection::dial(self.redis.address())
    }

    /// The connections that the old node has now.
    pub(super) fn connections(&self) -> Connections {
        self.front.with(|server, now| Connections { since: now, conns: server.connections(self.old) })
    }

    /// The clients of the old node are told to go to the new one, and closed when `grace` is over.
    pub(super) fn announce_move(&self, grace: Duration, start: Start, address: Address) {
        self.front.with(|server, now| match start {
            Start::Healthy => {}
            Start::Refuses(time) => server.refuse_dials(now, self.new, Some(now + time)),
            Start::Swallows(time) => server.black_hole(now, self.new, Some(now + time)),
        });
        let retires = match address {
            Address::Follows => Retires::Never,
            Address::Refuses => Retires::AtClose,
        };
        let moving = Moving::new(Target::Endpoint(self.new), grace).retiring(retires);
        self.front.with(|server, now| server.moving(now, self.old, moving));
    }

    /// The address of the old node leads to the new one from now on.
    pub(super) fn lead_address_on(&self) {
        self.front.with(|server, _| server.restore(self.old));
    }

    /// The old node closes its connections without a word, and serves those that dial it again. Replies that are on their
    /// way are lost.
    pub(super) fn close_connections(&self) {
        self.front.with(|server, now| server.kill_all(now, self.old, CloseHow::Fin));
    }

    /// Connections that both nodes have accepted since then.
    pub(super) fn opened_since(&self, since: Instant) -> usize {
        let of = |ledger: &Ledger, node| {
            let dials = ledger.dials(node);
            dials.filter(|(at, listening)| *at > since && *listening == Listening::Accepting).count()
        };
        self.front.with(|server, _| of(server.ledger(), self.old) + of(server.ledger(), self.new))
    }

    /// How long it took until the last of `connections` was closed; none if one of them is open.
    pub(super) fn empty_after(&self, connections: &Connections) -> Option<Duration> {
        self.front.with(|server, _| {
            let closed = server.ledger().entries().iter().filter_map(|entry| match entry.event {
                Event::Closed(_) => entry.conn.map(|conn| (conn, entry.at)),
                _ => None,
            });
            let closed: Vec<Instant> =
                closed.filter(|(conn, _)| connections.conns.contains(conn)).map(|(_, at)| at).collect();
            let last = closed.iter().max().filter(|_| closed.len() == connections.conns.len())?;
            Some(last.saturating_duration_since(connections.since))
        })
    }
}
