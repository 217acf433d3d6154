//! The servers that the client of the demo talks to: two nodes with one data set behind them.

mod auditor;
mod nodes;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::Path;

use hitless_conformance::net::redis_process::RedisProcess;

pub(crate) use self::auditor::Auditor;
pub(crate) use self::nodes::Nodes;
use self::nodes::Pair;

/// Where `cargo xtask` says that there is a redis-server.
const VARIABLE: &str = "HITLESS_REDIS_SERVER";

/// An address that clients can be sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    A,
    B,
}

impl Node {
    pub(crate) const ALL: [Self; 2] = [Self::A, Self::B];
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
        })
    }
}

/// Two nodes, and a way to the data behind them that no client of theirs uses.
pub(crate) struct World {
    nodes: Box<dyn Nodes>,
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
        let (nodes, data) = Pair::embedded()?;
        let description = format!("an embedded data set, {why}");
        Ok(Self { nodes: Box::new(nodes), data, description, _redis: None })
    }

    fn with_redis_server(path: OsString) -> io::Result<Self> {
        let redis = RedisProcess::start(Path::new(&path), &[])?;
        let data = redis.address();
        let version = Auditor::connect(data)?.version()?;
        let nodes = Pair::in_front_of(data)?;
        let description = format!("redis-server {version}");
        Ok(Self { nodes: Box::new(nodes), data, description, _redis: Some(redis) })
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
