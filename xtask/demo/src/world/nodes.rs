//! Endpoints of a test server, whatever is behind them.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hitless_conformance::net::front;
use hitless_conformance::net::tcp::{self, TcpServer};
use hitless_conformance::server::{
    Backend, CloseHow, Dataset, Detail, EndpointId, EndpointSpec, Event, Fault, Moving, Notice, Rule, Server,
    ServerConfig, ServerMachine, Target, Upstream,
};
use hitless_core::Frame;

use super::{NODES, Node};

/// What a demoted node says to writes.
const DEMOTED: &str = "READONLY You can't write against a read only replica.";
/// The writes of the load.
const WRITES: [&str; 2] = ["INCR", "SET"];

/// What can be done to the nodes, and what they have seen.
pub(crate) trait Nodes: Send + Sync {
    /// Where a node can be dialled.
    fn address(&self, node: Node) -> SocketAddr;

    /// Announces that `source` moves to `target`, or to wherever its name will lead. When the time is over, `source`
    /// closes what is left and refuses dials.
    fn announce_move(&self, source: Node, target: Option<Node>, time: Duration);

    /// Forgets everything that was announced, and makes every node serve as usual.
    fn settle(&self);

    /// Refuses dials of a node from now on.
    fn refuse_dials(&self, node: Node);

    /// Accepts dials of a node again.
    fn accept_dials(&self, node: Node);

    /// Announces a migration that is to be over within `time`.
    fn announce_migration(&self, time: Duration);

    /// Announces that the migration is over.
    fn complete_migration(&self);

    /// Announces a failover that is to be over within `time`.
    fn announce_failover(&self, time: Duration);

    /// Announces that the failover is over.
    fn complete_failover(&self);

    /// Refuses writes at a node from now on, as a server that was demoted.
    fn demote(&self, node: Node);

    /// Closes every connection of a node.
    fn close_connections(&self, node: Node);

    /// Delays every reply of a node by `delay`, for so long.
    fn delay_replies(&self, node: Node, delay: Duration, lasting: Duration);

    /// Connections of a node.
    fn connections(&self, node: Node) -> usize;

    /// Dials that a node has accepted since it was started.
    fn accepted(&self, node: Node) -> usize;

    /// When the last connection of a node ended; none if it still has one, or had none since.
    fn emptied_after(&self, node: Node, since: Instant) -> Option<Instant>;
}

/// The endpoints of one server.
pub(super) struct Endpoints<B: Backend + Send + 'static> {
    server: TcpServer<Server<B>>,
    nodes: [EndpointId; NODES],
}

impl Endpoints<Dataset> {
    /// Nodes over an embedded data set, and the address of another endpoint, which nobody is sent to.
    pub(super) fn embedded() -> io::Result<(Self, SocketAddr)> {
        tcp::on_one_port(|port| {
            let mut server = Server::new(config());
            let nodes = specs(port).map(|spec| server.add_endpoint(spec));
            let aside = server.add_endpoint(EndpointSpec::loopback());
            let server = TcpServer::start(server)?;
            let data = server.address(aside);
            Ok((Self { server, nodes }, data))
        })
    }
}

impl Endpoints<Upstream> {
    /// Nodes in front of the real server at `redis`.
    pub(super) fn in_front_of(redis: SocketAddr) -> io::Result<Self> {
        let server = tcp::on_one_port(|port| front::start(config(), redis, specs(port)))?;
        let ids = server.with(|server, _| server.endpoints());
        let nodes = Node::ALL.map(|node| ids[node as usize]);
        Ok(Self { server, nodes })
    }
}

fn specs(port: u16) -> [EndpointSpec; NODES] {
    Node::ALL.map(|node| EndpointSpec::new((node.ip(), port).into()))
}

/// Every request of a long run under load would fill the memory.
fn config() -> ServerConfig {
    ServerConfig::default().with_detail(Detail::Connections)
}

impl<B: Backend + Send + 'static> Endpoints<B> {
    fn id(&self, node: Node) -> EndpointId {
        self.nodes[node as usize]
    }
}

impl<B: Backend + Send + 'static> Nodes for Endpoints<B> {
    fn address(&self, node: Node) -> SocketAddr {
        self.server.address(self.id(node))
    }

    fn announce_move(&self, source: Node, target: Option<Node>, time: Duration) {
        let target = target.map_or(Target::Null, |target| Target::Endpoint(self.id(target)));
        let moving = Moving::new(target, time);
        self.server.with(|server, now| server.moving(now, self.id(source), moving));
    }

    fn settle(&self) {
        self.server.with(|server, _| {
            server.forget_maintenance();
            server.clear_rules();
            self.nodes.iter().for_each(|node| server.restore(*node));
        });
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

    fn announce_failover(&self, time: Duration) {
        self.server.with(|server, now| server.failing_over(now, Notice::new(time)));
    }

    fn complete_failover(&self) {
        self.server.with(|server, now| server.failed_over(now, Notice::new(Duration::ZERO)));
    }

    fn demote(&self, node: Node) {
        let rule =
            |command| Rule::new(Fault::Refuse(Frame::error(DEMOTED))).on(command).at(self.id(node)).always();
        self.server.with(|server, _| WRITES.map(rule).into_iter().for_each(|rule| server.add_rule(rule)));
    }

    fn close_connections(&self, node: Node) {
        self.server.with(|server, now| server.kill_all(now, self.id(node), CloseHow::Fin));
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
