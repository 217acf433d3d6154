//! Two endpoints of a test server, whatever is behind them.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hitless_conformance::net::front;
use hitless_conformance::net::tcp::TcpServer;
use hitless_conformance::server::{
    Backend, Dataset, Detail, EndpointId, EndpointSpec, Event, Moving, Notice, Server, ServerConfig,
    ServerMachine, Target, Upstream,
};

use super::Node;

/// What can be done to the nodes, and what they have seen.
pub(crate) trait Nodes: Send + Sync {
    /// Where a node can be dialled.
    fn address(&self, node: Node) -> SocketAddr;

    /// Announces that `source` moves to `target`. When the time is over, `source` closes what is left and refuses dials.
    fn announce_move(&self, source: Node, target: Node, time: Duration);

    /// Refuses dials of a node from now on.
    fn refuse_dials(&self, node: Node);

    /// Accepts dials of a node again.
    fn accept_dials(&self, node: Node);

    /// Announces a migration that is to be over within `time`.
    fn announce_migration(&self, time: Duration);

    /// Announces that the migration is over.
    fn complete_migration(&self);

    /// Delays every reply of a node by `delay`, for so long.
    fn delay_replies(&self, node: Node, delay: Duration, lasting: Duration);

    /// Connections of a node.
    fn connections(&self, node: Node) -> usize;

    /// Dials that a node has accepted since it was started.
    fn accepted(&self, node: Node) -> usize;

    /// When the last connection of a node ended; none if it still has one, or had none since.
    fn emptied_after(&self, node: Node, since: Instant) -> Option<Instant>;
}

/// Two endpoints of one server.
pub(super) struct Pair<B: Backend + Send + 'static> {
    server: TcpServer<Server<B>>,
    nodes: [EndpointId; 2],
}

impl Pair<Dataset> {
    /// Two nodes over an embedded data set, and the address of a third endpoint, which nobody is sent to.
    pub(super) fn embedded() -> io::Result<(Self, SocketAddr)> {
        let mut server = Server::new(config());
        let nodes = Node::ALL.map(|_| server.add_endpoint(EndpointSpec::loopback()));
        let aside = server.add_endpoint(EndpointSpec::loopback());
        let server = TcpServer::start(server)?;
        let data = server.address(aside);
        Ok((Self { server, nodes }, data))
    }
}

impl Pair<Upstream> {
    /// Two nodes in front of the real server at `redis`.
    pub(super) fn in_front_of(redis: SocketAddr) -> io::Result<Self> {
        let server = front::start(config(), redis, Node::ALL.map(|_| EndpointSpec::loopback()))?;
        let ids = server.with(|server, _| server.endpoints());
        let nodes = Node::ALL.map(|node| ids[node as usize]);
        Ok(Self { server, nodes })
    }
}

/// Every request of a long run under load would fill the memory.
fn config() -> ServerConfig {
    ServerConfig::default().with_detail(Detail::Connections)
}

impl<B: Backend + Send + 'static> Pair<B> {
    fn id(&self, node: Node) -> EndpointId {
        self.nodes[node as usize]
    }
}

impl<B: Backend + Send + 'static> Nodes for Pair<B> {
    fn address(&self, node: Node) -> SocketAddr {
        self.server.address(self.id(node))
    }

    fn announce_move(&self, source: Node, target: Node, time: Duration) {
        let moving = Moving::new(Target::Endpoint(self.id(target)), time);
        self.server.with(|server, now| server.moving(now, self.id(source), moving));
    }

    fn refuse_dials(&self, node: Node) {
        self.server.with(|server, now| server.refuse_dials(now, self.id(node), None));
    }

    fn accept_dials(&self, node: Node) {
        self.server.with(|server, _| server.restore(self.id(node)));
    }

    fn announce_migration(&self, time: Duration) {
        self.server.with(|server, now| server.migrating(now, Notice::new(time)));
    }

    fn complete_migration(&self) {
        self.server.with(|server, now| server.migrated(now, Notice::new(Duration::ZERO)));
    }

    fn delay_replies(&self, node: Node, delay: Duration, lasting: Duration) {
        self.server.with(|server, now| server.set_reply_delay(self.id(node), delay, Some(now + lasting)));
    }

    fn connections(&self, node: Node) -> usize {
        self.server.with(|server, _| server.connections(self.id(node)).len())
    }

    fn accepted(&self, node: Node) -> usize {
        self.server.with(|server, _| server.ledger().accepted(self.id(node)))
    }

    fn emptied_after(&self, node: Node, since: Instant) -> Option<Instant> {
        let id = self.id(node);
        self.server.with(|server, _| {
            if !server.connections(id).is_empty() {
                return None;
            }
            let closes = server.ledger().entries().iter().filter(|entry| {
                entry.endpoint == id && entry.at >= since && matches!(entry.event, Event::Closed(_))
            });
            closes.map(|entry| entry.at).max()
        })
    }
}
