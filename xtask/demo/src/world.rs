//! The servers that the client of the demo talks to: a few nodes in front of one data set, and a name that leads to some of
//! them.

mod auditor;
mod security;

use std::any::Any;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Instant;

use hitless_conformance::net::front::Front;
use hitless_conformance::net::names::{Named, Names};
use hitless_conformance::net::redis_process::RedisProcess;
use hitless_conformance::net::tcp::{self, TcpServer};
use hitless_conformance::server::{
    Detail, EndpointId, EndpointSpec, Event, Server, ServerConfig, ServerMachine, Upstream,
};
use hitless_core::driver::{Builder, Connector, Error, Resolver, Runtime};

pub(crate) use self::auditor::Auditor;
use self::security::Security;

/// Where `cargo xtask` says that there is a redis-server.
pub(crate) const VARIABLE: &str = "HITLESS_REDIS_SERVER";
/// The name that the client is configured with.
const NAME: &str = "redis.demo.test";

/// An address that clients can be sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    A,
    B,
    C,
    D,
}

/// How many nodes there are.
pub(crate) const NODES: usize = Node::ALL.len();

impl Node {
    pub(crate) const ALL: [Self; 4] = [Self::A, Self::B, Self::C, Self::D];

    /// Where it listens, 127.0.0.1 to 127.0.0.4: all at the same port, as the nodes behind one name do.
    fn ip(self) -> Ipv4Addr {
        Ipv4Addr::new(127, 0, 0, self as u8 + 1)
    }

    /// Its own name, which it is announced by to clients that verify names.
    fn host(self) -> &'static str {
        ["a.demo.test", "b.demo.test", "c.demo.test", "d.demo.test"][self as usize]
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The nodes, their name, and a way to the data behind them that no client of theirs uses.
pub(crate) struct World {
    front: Front,
    nodes: [EndpointId; NODES],
    names: Names,
    security: Security,
    data: SocketAddr,
    description: String,
    /// What holds the data. It ends after the nodes in front of it.
    _behind: Box<dyn Any + Send + Sync>,
}

impl World {
    /// Starts everything: in front of the redis-server that the environment names, or of an embedded server.
    ///
    /// # Errors
    /// No port of the loopback interface can be had, or TLS is wanted and not built in.
    pub(crate) fn start(embedded: bool, tls: bool) -> io::Result<Self> {
        let security = Security::new(tls)?;
        let why = match std::env::var_os(VARIABLE) {
            _ if embedded => "as asked for".to_owned(),
            None => "because no redis-server was found".to_owned(),
            Some(path) => match redis_server(Path::new(&path)) {
                Ok((redis, version)) => {
                    let address = redis.address();
                    let description = format!("redis-server {version}");
                    return Self::in_front_of(address, description, security, Box::new(redis));
                }
                Err(problem) => format!("because redis-server cannot be used ({problem})"),
            },
        };
        let mut server = Server::new(config());
        let endpoint = server.add_endpoint(EndpointSpec::loopback());
        let server = TcpServer::start(server)?;
        let address = server.address(endpoint);
        Self::in_front_of(address, format!("an embedded server, {why}"), security, Box::new(server))
    }

    fn in_front_of(
        data: SocketAddr,
        description: String,
        security: Security,
        behind: Box<dyn Any + Send + Sync>,
    ) -> io::Result<Self> {
        let front = tcp::on_one_port(|port| {
            let mut server = Server::in_front_of(config(), data);
            for node in Node::ALL {
                server.add_endpoint(EndpointSpec::new((node.ip(), port).into()).with_host(node.host()));
            }
            TcpServer::start_as(server, security.encryption())
        })?;
        let ids = front.with(|server, _| server.endpoints());
        let nodes = Node::ALL.map(|node| ids[node as usize]);
        let names = Names::default();
        Node::ALL.iter().for_each(|node| names.set(node.host(), vec![node.ip().into()]));
        let description = format!("{description}{}", security.description());
        Ok(Self { front, nodes, names, security, data, description, _behind: behind })
    }

    /// Does something to the nodes, or looks at them.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Server<Upstream>, Instant) -> T) -> T {
        self.front.with(act)
    }

    /// What the nodes' server knows a node by.
    pub(crate) fn id(&self, node: Node) -> EndpointId {
        self.nodes[node as usize]
    }

    /// Forgets everything that was announced, and makes every node serve as usual.
    pub(crate) fn settle(&self) {
        self.with(|server, _| {
            server.forget_maintenance();
            server.clear_rules();
            self.nodes.iter().for_each(|node| server.restore(*node));
        });
    }

    /// The name leads to these nodes from now on.
    pub(crate) fn point_name_at(&self, nodes: &[Node]) {
        self.names.set(NAME, nodes.iter().map(|node| IpAddr::from(node.ip())).collect());
    }

    /// What the client is built with: the name of the nodes, and whom it believes.
    ///
    /// # Errors
    /// The settings cannot work.
    pub(crate) fn client<A: Runtime + Resolver + Connector>(
        &self,
        adapter: &A,
    ) -> Result<Builder<A, Named<A>>, Error> {
        let url = format!("redis://{NAME}:{}", self.address(Node::A).port());
        let builder = Builder::new(adapter.clone(), self.names.over(adapter.clone()), &url)?;
        Ok(self.security.of(builder))
    }

    /// Where a node can be dialled.
    pub(crate) fn address(&self, node: Node) -> SocketAddr {
        self.front.address(self.id(node))
    }

    /// What is behind the nodes, in words.
    pub(crate) fn description(&self) -> &str {
        &self.description
    }

    /// Connections of a node.
    pub(crate) fn connections(&self, node: Node) -> usize {
        self.with(|server, _| server.connections(self.id(node)).len())
    }

    /// Dials that a node has accepted since it was started.
    pub(crate) fn accepted(&self, node: Node) -> usize {
        self.with(|server, _| server.ledger().accepted(self.id(node)))
    }

    /// When the last connection of a node ended; none if it still has one, or had none since.
    pub(crate) fn emptied_after(&self, node: Node, since: Instant) -> Option<Instant> {
        let id = self.id(node);
        self.with(|server, _| {
            if !server.connections(id).is_empty() {
                return None;
            }
            let closes = server.ledger().entries().iter().filter(|entry| {
                entry.endpoint == id && entry.at >= since && matches!(entry.event, Event::Closed(_))
            });
            closes.map(|entry| entry.at).max()
        })
    }

    /// A connection that goes round the nodes, straight to the data.
    ///
    /// # Errors
    /// The data cannot be reached.
    pub(crate) fn auditor(&self) -> io::Result<Auditor> {
        Auditor::connect(self.data)
    }
}

fn redis_server(program: &Path) -> io::Result<(RedisProcess, String)> {
    let redis = RedisProcess::start(program, &[])?;
    let version = Auditor::connect(redis.address())?.version()?;
    Ok((redis, version))
}

/// Every request of a long run under load would fill the memory.
fn config() -> ServerConfig {
    ServerConfig::default().with_detail(Detail::Connections)
}
