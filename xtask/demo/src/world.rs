//! The servers that the client of the demo talks to: a few nodes with one data set behind them, and a name that leads to
//! some of them.

mod auditor;
mod nodes;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use hitless_conformance::net::redis_process::RedisProcess;

pub(crate) use self::auditor::Auditor;
use self::nodes::Endpoints;
pub(crate) use self::nodes::Nodes;
use crate::names::Names;

/// Where `cargo xtask` says that there is a redis-server.
const VARIABLE: &str = "HITLESS_REDIS_SERVER";

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

    /// Where it listens: all at the same port, as the nodes behind one name do.
    fn ip(self) -> Ipv4Addr {
        match self {
            Self::A => Ipv4Addr::new(127, 0, 0, 1),
            Self::B => Ipv4Addr::new(127, 0, 0, 2),
            Self::C => Ipv4Addr::new(127, 0, 0, 3),
            Self::D => Ipv4Addr::new(127, 0, 0, 4),
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
            Self::D => "D",
        })
    }
}

/// The nodes, their name, and a way to the data behind them that no client of theirs uses.
pub(crate) struct World {
    nodes: Box<dyn Nodes>,
    names: Arc<Names>,
    data: SocketAddr,
    description: String,
    /// Ends after the nodes in front of it.
    _redis: Option<RedisProcess>,
}

impl World {
    /// Starts everything: in front of the redis-server that the environment names, or with an embedded data set.
    ///
    /// # Errors
    /// No port of the loopback interface can be had.
    pub(crate) fn start(embedded: bool) -> io::Result<Self> {
        let why = match std::env::var_os(VARIABLE) {
            _ if embedded => "as asked for".to_owned(),
            None => "because no redis-server was found".to_owned(),
            Some(path) => match Self::with_redis_server(path) {
                Ok(world) => return Ok(world),
                Err(problem) => format!("because redis-server cannot be used ({problem})"),
            },
        };
        let (nodes, data) = Endpoints::embedded()?;
        Ok(Self::new(Box::new(nodes), data, format!("an embedded data set, {why}"), None))
    }

    fn with_redis_server(path: OsString) -> io::Result<Self> {
        let redis = RedisProcess::start(Path::new(&path), &[])?;
        let data = redis.address();
        let version = Auditor::connect(data)?.version()?;
        let nodes = Endpoints::in_front_of(data)?;
        Ok(Self::new(Box::new(nodes), data, format!("redis-server {version}"), Some(redis)))
    }

    fn new(
        nodes: Box<dyn Nodes>,
        data: SocketAddr,
        description: String,
        redis: Option<RedisProcess>,
    ) -> Self {
        let names = Arc::new(Names::new(nodes.address(Node::A).port()));
        Self { nodes, names, data, description, _redis: redis }
    }

    /// The name of the nodes.
    pub(crate) fn names(&self) -> &Arc<Names> {
        &self.names
    }

    /// The name leads to these nodes from now on.
    pub(crate) fn point_name_at(&self, nodes: &[Node]) {
        self.names.point_at(nodes.iter().map(|node| IpAddr::from(node.ip())).collect());
    }

    /// What is behind the nodes, in words.
    pub(crate) fn description(&self) -> &str {
        &self.description
    }

    /// A connection that goes round the nodes, straight to the data.
    ///
    /// # Errors
    /// The data cannot be reached.
    pub(crate) fn auditor(&self) -> io::Result<Auditor> {
        Auditor::connect(self.data)
    }
}

impl Deref for World {
    type Target = dyn Nodes;

    fn deref(&self) -> &Self::Target {
        &*self.nodes
    }
}
